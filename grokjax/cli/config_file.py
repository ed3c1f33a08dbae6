"""A sweep from a config file and the overrides of the command line."""

import ast
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from grokjax.config import axes as table
from grokjax.config import refine
from grokjax.config import sweep as config_lib
from grokjax.config.sweep import SWEEP_SETTINGS, SweepConfig
from grokjax.core.errors import ConfigError, suggest
from grokjax.core.source import execute

MOST_ROWS = 1_000_000
"""A sweep() that yields more rows is taken to be endless."""


def read_sweep(path: str | None, overrides: Sequence[tuple[str, str]] = ()) -> SweepConfig:
    """Resolve the sweep of a config file, with `overrides` as (field, text) pairs.

    Raises:
        ConfigError: the file or an override is invalid.
    """
    if not path:
        raise ConfigError("--config is missing: name a config file, as in --config quickstart")
    names = run_file(path)
    config = _config(names["__file__"], names.get("get_config"))
    for name, text in overrides:
        _override(config, name, text)
    sweep = table.resolve(config, _rows(names["__file__"], names.get("sweep")))
    for name, text in overrides:
        _check_effect(name, text, config, sweep)
    return sweep


def _config(path: str, get_config: Any) -> ConfigDict:
    if not callable(get_config):
        raise ConfigError(f"{path} defines no get_config(): add one that returns a ConfigDict")
    config = _call(path, get_config)
    if not isinstance(config, ConfigDict):
        raise ConfigError(f"{path}: get_config() must return what config.default() gave it")
    return config


def _rows(path: str, sweep: Any) -> Callable[[ConfigDict], Any] | None:
    """The `sweep` of a config file, if any, with its errors as ConfigErrors."""
    if sweep is None:
        return None
    if not callable(sweep):
        remedy = "make it a function that yields rows, or rename it"
        raise ConfigError(f"{path}: sweep is a {type(sweep).__name__}; {remedy}")

    def rows_of(config: ConfigDict) -> Any:
        rows = _call(path, sweep, config)
        if hasattr(rows, "__next__"):  # the code of a generator runs only now
            rows = _call(path, list, islice(rows, MOST_ROWS + 1))
        if hasattr(rows, "__len__") and len(rows) > MOST_ROWS:
            raise ConfigError(f"{path}: sweep() yields more than {MOST_ROWS:,} rows: does it end?")
        return rows

    return rows_of


def shipped_sweeps() -> dict[str, Path]:
    """The config files that come with grokjax by name, from the package or from a clone."""
    package = Path(__file__).parents[1]
    folder = next(x for x in (package / "sweeps", package.parent / "sweeps") if x.is_dir())
    return {path.stem: path for path in sorted(folder.glob("*.py"))}


def run_file(path: str) -> dict[str, Any]:
    """Run a config file, which registers its parts; return the names that it defines.

    A user's file comes first. Otherwise "NAME" and "sweeps/NAME.py" mean the shipped one.
    """
    path = located(path)
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        hint = "check the path"
        if Path(path).suffix != ".py":
            hint = f"{suggest(path, shipped_sweeps())} Or give the path of a file"
        reason = f"--config {path!r} cannot be read: {error.strerror}; {hint}"
        raise ConfigError(reason) from error
    return _call(path, execute, path, source)


def located(path: str) -> str:
    """The path of a config file, which may be given by the name of a shipped one."""
    name = Path(path).stem
    if path in (name, str(Path("sweeps") / f"{name}.py")) and not Path(path).is_file():
        return str(shipped_sweeps().get(name, path))
    return path


def _call(path: str, function: Callable, *args: Any) -> Any:
    """Call code of a config file; raise its errors as ConfigErrors that name the line."""
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
            line, message = error.lineno, f"invalid syntax, fix it: {error.msg}"
        raise ConfigError(" ".join(f"{path}:{line}: {message}".split())) from error


def _override(config: ConfigDict, path: str, text: str) -> None:
    """Set one field, or one entry of `axes` or `refine`, of a config from its text."""
    runs = tuple(config_lib.run_settings())
    if path.startswith("refine."):
        _override_refine(config, path.removeprefix("refine."), _parse(text))
        return
    name, swept = path.removeprefix("axes."), path.startswith("axes.")
    if path == "axes":
        raise ConfigError('--config.axes needs a field: write --config.axes.FIELD="(VALUE, ...)"')
    if path == "refine":
        raise ConfigError(
            '--config.refine needs a field: write --config.refine.FIELD="(LOW, HIGH)"'
        )
    if swept and name in SWEEP_SETTINGS:
        raise ConfigError(f"{name} cannot be an axis: set --config.{name} for the whole sweep")
    if name not in (*runs, *SWEEP_SETTINGS):
        raise ConfigError(f"unknown field {path!r}: {suggest(name, (*runs, *SWEEP_SETTINGS))}")
    value = _parse(text)
    if not swept:
        value = config_lib.check(name, value)
    elif value is not None:
        value = table.check_axis(name, value)
    _set(config, config.get("axes") if swept else config, name, value)


def _override_refine(config: ConfigDict, name: str, value: Any) -> None:
    if name in refine.REFINE_SETTINGS:
        value = refine.check_refine_setting(name, value)
    elif name not in config_lib.run_settings():
        known = (*refine.REFINE_SETTINGS, *config_lib.run_settings())
        raise ConfigError(f"unknown field {'refine.' + name!r}: {suggest(name, known)}")
    elif value is not None:
        value = refine.check_range(name, value)
    _set(config, config.get("refine"), name, value)


def _set(config: ConfigDict, fields: Any, name: str, value: Any) -> None:
    with config.unlocked():
        if not isinstance(fields, ConfigDict):
            return  # axes or refine was replaced; `table.resolve` raises an error
        group = name.rpartition(".")[0]
        if group and group not in fields:
            fields[group] = ConfigDict(type_safe=False)
        holder, short = _locate(fields, name)
        holder[short] = value


def _locate(fields: ConfigDict, name: str) -> tuple[ConfigDict, str]:
    """The ConfigDict that holds a field, and the field's name there."""
    group, _, short = name.rpartition(".")
    return (fields.get(group, ConfigDict()) if group else fields), short


def _parse(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text  # a bare word, such as the name of an operation


def _check_effect(name: str, text: str, config: ConfigDict, sweep: SweepConfig) -> None:
    """Raise a ConfigError for an override that the sweep would silently ignore."""
    if name in config_lib.run_settings() and not any(name in run for run in sweep.runs):
        raise ConfigError(f"--config.{name}={text} has no effect: no run uses {name}")
    if name not in sweep.axes:
        return
    cause, remedy = "sweep()", "change it in the config file"
    (axes, short), (fields, _) = _locate(config.axes, name), _locate(config, name)
    if axes.get(short) is not None:
        cause, value = f"axes.{name}", fields.get(short)
        remedy = f'write --config.axes.{name}="({value!r},)", or =None to unsweep it'
    raise ConfigError(f"--config.{name}={text} has no effect, {cause} sets it: {remedy}")
