"""The command line: one parser for all commands, and their exit codes.

Starting must not import JAX: each command imports what it needs when it runs.

Overrides (`--config.FIELD=VALUE`) do not use absl's config_flags: it reads a missing file as an
empty config, needs `--config` first, cannot override lists or None, turns `--config.betas=0.5` into
`(0.5,)`, ignores stray arguments and keeps state in the process.
"""

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from grokjax.cli import (
    analyze,
    block,
    completion,
    explore,
    jobs,
    parts,
    publish,
    refine,
    report,
    sweep,
)
from grokjax.cli.help import Parser
from grokjax.core.errors import ConfigError, UserError, suggest
from grokjax.runner.signals import CODES, Interrupted
from grokjax.storage.transfer import TransferError

COMMANDS = {
    "sweep": sweep,
    "refine": refine,
    "analyze": analyze,
    "report": report,
    "explore": explore,
    "publish": publish,
    "block": block,
    "jobs": jobs,
    "parts": parts,
    "completion": completion,
}
PREFIX = "--config."


def main(argv: Sequence[str]) -> int:
    """Run the command that the arguments name; return its exit code."""
    options = parse(argv)
    if options.version:
        from importlib.metadata import version  # slow

        print(version("grokjax"))
        return 0
    if not options.command:
        _parser().print_help()
        return 2
    COMMANDS[options.command].run(options)
    return 0


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments after the program's name; `overrides` holds (field, text) pairs.

    Raises:
        ConfigError: invalid arguments.
        SystemExit: after `--help`.
    """
    rest, overrides = _split_overrides(argv)
    if rest and not rest[0].startswith("-") and rest[0] not in COMMANDS:
        raise ConfigError(f"there is no command {rest[0]!r}: {suggest(rest[0], COMMANDS)}")
    parser = _parser()
    options, unknown = parser.parse_known_args(rest)
    if overrides and options.command not in ("sweep", "block", "jobs"):
        unknown.append(PREFIX + overrides[0][0])
    if unknown:
        kind, remedy = "argument", "remove it, or quote a value that contains spaces"
        if unknown[0].startswith("-"):
            kind, remedy = "option", "see --help for the options there are"
        raise ConfigError(f"unknown {kind} {unknown[0]!r}: {remedy}")
    options.overrides, options.parser = overrides, parser
    return options


def run_main(main: Callable[[list[str]], int | None], argv: Sequence[str] | None = None) -> int:
    """Call `main(argv)`; return its exit code, or for an error that of `help.EXIT_CODES`."""
    try:
        return main(list(sys.argv[1:] if argv is None else argv)) or 0
    except UserError as error:
        if os.environ.get("GROKJAX_TRACEBACK"):
            traceback.print_exc()
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except TransferError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 1
    except BrokenPipeError:  # a pager was closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        message = " ".join(str(error).split())
        print(f"error: {message}; the same command continues from the last save", file=sys.stderr)
        return 1
    except Interrupted as interrupted:
        print(interrupted, file=sys.stderr)
        return interrupted.code
    except KeyboardInterrupt:
        return CODES[signal.SIGINT]


def _parser() -> Parser:
    program = "grokjax" if Path(sys.argv[0]).stem == "grokjax" else "python -m grokjax"
    parser = Parser(
        prog=program,
        description="Train sweeps of small networks and measure how each of them groks.\n"
        "Run COMMAND --help for details.",
        examples=("sweep --config quickstart", "report runs/quickstart", "parts measure"),
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", prog=program
    )
    for name, module in COMMANDS.items():
        about = (module.__doc__ or "").strip()
        command = commands.add_parser(
            name,
            help=about.partition("\n")[0],
            description=about,
            examples=module.EXAMPLES,
            more=getattr(module, "more", str),
        )
        module.add_options(command)
    return parser


def _split_overrides(argv: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Take `--config.FIELD=VALUE` and `--config.FIELD VALUE` out of the arguments."""
    rest, overrides = [], []
    arguments = iter(argv)
    for argument in arguments:
        if not argument.startswith(PREFIX):
            rest.append(argument)
            continue
        path, equals, text = argument.removeprefix(PREFIX).partition("=")
        if not equals:
            text = next(arguments, "--")
        if text.startswith("--"):
            raise ConfigError(f"{PREFIX}{path} has no value: write {PREFIX}{path}=VALUE")
        overrides.append((path, text))
    return rest, overrides
