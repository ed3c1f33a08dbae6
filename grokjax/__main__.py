"""All commands under one name: grokjax COMMAND, or python -m grokjax COMMAND."""

import importlib
import importlib.metadata

from grokjax.runner.early import end_at_once

if __name__ == "__main__":
    end_at_once()  # while jax is imported

from grokjax.cli.arguments import leave, run_main  # noqa: E402
from grokjax.cli.help import EXIT_CODES, called  # noqa: E402
from grokjax.core.errors import ConfigError, suggest  # noqa: E402

COMMANDS = {
    "sweep": ("grokjax.sweep", "train, measure and draw a sweep, or go on with it"),
    "analyze": ("grokjax.analyze", "measure and draw a sweep anew, or add measures to it"),
    "report": ("grokjax.cli.report", "one page with all of a sweep, or of several"),
    "parts": ("grokjax.cli.parts", "what tasks, networks, measures, ... there are"),
}


def main(argv: list[str]) -> int:
    if argv[:1] == ["--version"]:
        print(importlib.metadata.version("grokjax"))
        return 0
    if not argv or argv[0] in ("-h", "--help"):
        print(_help())
        return 0 if argv else 2
    if argv[0] not in COMMANDS:
        raise ConfigError(f"there is no command {argv[0]!r}: {suggest(argv[0], COMMANDS)}")
    return importlib.import_module(COMMANDS[argv[0]][0]).main(argv[1:])


def _help() -> str:
    width = max(map(len, COMMANDS))
    name = called("").strip().removesuffix(".")
    lines = [f"  {word:<{width}}  {about}" for word, (_, about) in COMMANDS.items()]
    examples = ("sweep --config quickstart", "report runs/quickstart", "parts measure", "--version")
    return "\n".join(
        [
            f"usage: {name} COMMAND [options]; COMMAND --help tells of each",
            "\ncommands:",
            *lines,
            "\nexamples:",
            *(f"  {name} {example}" for example in examples),
            f"\n{EXIT_CODES}",
        ]
    )


def run() -> int:
    """What the console's `grokjax` calls."""
    end_at_once()
    return run_main(main)


if __name__ == "__main__":
    leave(run())
