"""Command line in, resolved sweep out: `--config FILE [--workdir DIR] [--config.FIELD=VALUE ...]`.

Not absl with config_flags: that reads a missing file as an empty config, wants `--config` first,
cannot override lists or fields that are None, turns `--config.betas=0.5` into `(0.5,)`, ignores
stray arguments and keeps its state in the process. Python's argparse for the options and
`ast.literal_eval` for the values are shorter than the guards against all that.
"""

import argparse
import ast
import os
import signal
import sys
import textwrap
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

from ml_collections import ConfigDict

from grokjax.cli.help import WIDTH, CommandParser, called, fields
from grokjax.config import axes as table
from grokjax.config import sweep as config_lib
from grokjax.config.sweep import SWEEP_SETTINGS, SweepConfig
from grokjax.core.errors import ConfigError, UserError, suggest
from grokjax.runner.signals import CODES, Interrupted

_PREFIX = "--config."
MOST_ROWS = 1_000_000
"""Of sweep(): one that yields more is taken for one that does not end."""


class CommandLine(NamedTuple):
    sweep: SweepConfig
    workdir: str
    options: argparse.Namespace  # Whatever the caller's `add_options` added.


def read_sweep(
    argv: Sequence[str], add_options: Callable[[argparse.ArgumentParser], Any] | None = None
) -> CommandLine:
    """Reads the arguments that follow the program's name.

    Raises:
        ConfigError: what is wrong with the arguments or the config file, in one line.
        SystemExit: after `--help`.
    """
    rest, overrides = _split_overrides(argv)
    parser = _parser()
    if add_options is not None:
        add_options(parser)
    options, strays = parser.parse_known_args(rest)
    if strays:
        kind, remedy = "argument", "remove it, or quote a value that contains spaces"
        if strays[0].startswith("-"):
            kind, remedy = "option", "see --help for those there are"
        raise ConfigError(f"unknown {kind} {strays[0]!r}: {remedy}")
    if not options.config:
        raise ConfigError("--config is missing: name a config file, as in --config quickstart")
    if options.workdir == "":
        raise ConfigError("--workdir is empty: name a directory, or leave the option out")
    get_config, sweep = load(options.config)
    config = get_config()
    for path, text in overrides:
        _override(config, path, text)
    resolved = table.resolve(config, sweep)
    _refuse_idle_overrides(overrides, config, resolved)
    workdir = options.workdir or str(Path("runs") / Path(options.config).stem)
    return CommandLine(resolved, workdir, options)


def load(path: str) -> tuple[Callable[[], ConfigDict], Callable | None]:
    """The `get_config` of a config file, and its `sweep` if it has one.

    Whatever goes wrong in either is raised as a ConfigError that names the line of the file.
    """
    path = find_file(path)
    names = run_file(path)
    get_config, sweep = names.get("get_config"), names.get("sweep")
    if not callable(get_config):
        raise ConfigError(f"{path} defines no get_config(): add one that returns a ConfigDict")
    if sweep is not None and not callable(sweep):
        kind = type(sweep).__name__
        raise ConfigError(
            f"{path}: sweep is a {kind}; make it a function that yields rows, or rename it"
        )

    def checked_config() -> ConfigDict:
        config = _blame(path, get_config)
        if not isinstance(config, ConfigDict):
            raise ConfigError(f"{path}: get_config() must return what config.default() gave it")
        return config

    def checked_rows(config: ConfigDict) -> Any:
        rows = _blame(path, sweep, config)
        # A generator runs only here, so only here can its errors be caught.
        rows = (
            _blame(path, list, islice(rows, MOST_ROWS + 1)) if hasattr(rows, "__next__") else rows
        )
        if hasattr(rows, "__len__") and len(rows) > MOST_ROWS:
            raise ConfigError(f"{path}: sweep() yields more than {MOST_ROWS:,} rows: does it end?")
        return rows

    return checked_config, None if sweep is None else checked_rows


def shipped_sweeps() -> dict[str, Path]:
    """The config files that come with grokjax, by name: in a wheel within it, else beside it."""
    package = Path(__file__).parents[1]
    folder = next(x for x in (package / "sweeps", package.parent / "sweeps") if x.is_dir())
    return {path.stem: path for path in sorted(folder.glob("*.py"))}


def find_file(text: str) -> str:
    """The path of a config file: as written, or that of the one with this name that is shipped.

    A file of the user's comes first; "sweeps/NAME.py" means the shipped one where there is none.
    """
    path, shipped = Path(text), shipped_sweeps()
    stem = path.stem if path == Path("sweeps") / f"{path.stem}.py" else text
    return str(shipped[stem]) if stem in shipped and not path.is_file() else text


def run_file(path: str) -> dict[str, Any]:
    """The names that a config file defines; registers the parts in it."""
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        hint = "check the path"
        if Path(path).suffix != ".py":
            hint = f"{suggest(path, shipped_sweeps())} Or give the path of a file"
        reason = f"--config {path!r} cannot be read: {error.strerror}; {hint}"
        raise ConfigError(reason) from error
    # A module of its own, in which Flax and inspect find its classes.
    module = ModuleType(f"config_{Path(path).stem}")
    module.__file__ = path
    sys.modules[module.__name__] = module
    _blame(path, lambda: exec(compile(source, path, "exec"), module.__dict__))
    return module.__dict__


def run_main(main: Callable[[list[str]], int | None], argv: Sequence[str] | None = None) -> int:
    """The exit code of `main(argv)`: what it returns, or as `usage.EXIT_CODES` has it."""
    try:
        return main(list(sys.argv[1:] if argv is None else argv)) or 0
    except UserError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # of a pager that was closed
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        told = " ".join(str(error).split())
        print(f"error: {told}; the same command goes on from the last save", file=sys.stderr)
        return 1
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        return stop.code
    except KeyboardInterrupt:
        return CODES[signal.SIGINT]


def leave(code: int) -> NoReturn:
    """Ends the process. One that was stopped does not wait for what its threads still compile."""
    sys.stdout.flush()
    sys.stderr.flush()
    if code in CODES.values():
        os._exit(code)
    sys.exit(code)


def _parser() -> CommandParser:
    swept = 'A field of a run becomes an axis by --config.axes.weight_decay="(1.0, 3.0)".'
    about = f"{called('parts')} tells what each task, network, optimizer and measure is."
    parser = CommandParser(
        "sweep",
        "Train, measure and draw the sweep of a config file, or go on with it.",
        [
            "--config quickstart",
            "--config weight_decay --config.steps=5000",
            "--config own.py --workdir runs/mine",
            '--config mainline --config.axes.seed="(0, 1)"',
        ],
        "\n\n".join(
            [fields(), *(textwrap.fill(x, WIDTH, break_on_hyphens=False) for x in (swept, about))]
        ),
        usage="%(prog)s --config FILE [options] [--config.FIELD=VALUE]",
    )
    which = f"a Python file, or one of those that come along: {', '.join(shipped_sweeps())}"
    parser.add_argument("--config", metavar="FILE", help=which)
    parser.add_argument("--workdir", metavar="DIR", help="default: runs/ and the name of FILE")
    return parser


def _split_overrides(argv: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Takes `--config.FIELD=VALUE` and `--config.FIELD VALUE` out of the arguments."""
    rest, overrides = [], []
    arguments = iter(argv)
    for argument in arguments:
        if not argument.startswith(_PREFIX):
            rest.append(argument)
            continue
        path, equals, text = argument.removeprefix(_PREFIX).partition("=")
        if not equals:
            text = next(arguments, "--")
        if text.startswith("--"):
            raise ConfigError(f"{_PREFIX}{path} has no value: write {_PREFIX}{path}=VALUE")
        overrides.append((path, text))
    return rest, overrides


def _override(config: ConfigDict, path: str, text: str) -> None:
    """Sets one field, or one entry of `axes`, of a config from its text."""
    name, swept = path.removeprefix("axes."), path.startswith("axes.")
    names = tuple(config_lib.run_settings())
    if path == "axes":
        raise ConfigError(f'{_PREFIX}axes needs a field: write {_PREFIX}axes.FIELD="(VALUE, ...)"')
    if name not in (names if swept else (*names, *SWEEP_SETTINGS)):
        if name in SWEEP_SETTINGS:
            raise ConfigError(f"{name} cannot be an axis: set {_PREFIX}{name} for the whole sweep")
        raise ConfigError(f"unknown field {path!r}: {suggest(name, (*names, *SWEEP_SETTINGS))}")
    value = _parse(text)
    group, dot, short = name.partition(".")
    checked = table.check_axis if swept else config_lib.check
    value = None if swept and value is None else checked(name, value)
    with config.unlocked():
        place = config.get("axes") if swept else config
        if not isinstance(place, ConfigDict):
            return  # axes was replaced, which `table.resolve` refuses
        if dot and group not in place:
            place[group] = ConfigDict(type_safe=False)
        (place[group] if dot else place)[short if dot else name] = value


def _parse(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text  # A bare word, such as the name of an operation.


def _refuse_idle_overrides(
    overrides: list[tuple[str, str]], config: ConfigDict, sweep: SweepConfig
) -> None:
    """Refuses a value for a field that the sweep sets anyway: it would be silently ignored."""
    for name, text in overrides:
        if name in config_lib.run_settings() and not any(name in run for run in sweep.runs):
            raise ConfigError(f"{_PREFIX}{name}={text} has no effect: no run uses {name}")
        if name not in sweep.axes:
            continue
        where, remedy = "sweep()", "change it in the config file"
        group, dot, short = name.partition(".")
        axes, fields = (
            (config.axes.get(group, {}), config.get(group, {})) if dot else (config.axes, config)
        )
        if axes.get(short if dot else name) is not None:
            where, value = f"axes.{name}", fields.get(short if dot else name)
            remedy = f'write {_PREFIX}axes.{name}="({value!r},)", or =None to unsweep it'
        raise ConfigError(f"{_PREFIX}{name}={text} has no effect, {where} sets it: {remedy}")


def _blame(path: str, function: Callable, *args: Any) -> Any:
    """Calls code of a config file; its errors become ConfigErrors that say where."""
    try:
        return function(*args)
    except (Exception, SystemExit) as error:
        line, trace, message = 1, error.__traceback__, f"{type(error).__name__}: {error}"
        while trace is not None:
            line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == path else line
            trace = trace.tb_next
        if isinstance(error, ConfigError):
            message = str(error)
        elif isinstance(error, SyntaxError) and error.filename == path:
            line, message = error.lineno, f"cannot be parsed, mend the syntax: {error.msg}"
        raise ConfigError(" ".join(f"{path}:{line}: {message}".split())) from error
