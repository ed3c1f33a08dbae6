"""What an experiment writes: JSON, figures, and a record of the text on each figure."""

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grokjax.core.errors import ConfigError

if TYPE_CHECKING:  # scripts that write only JSON start faster without it
    from matplotlib.figure import Figure


def command(name: str, argv: Sequence[str]) -> str:
    """The command of an experiment, as its results record it."""
    return f"python -m experiments.{name} {shlex.join(argv)}".strip()


def plain(value: Any, digits: int | None = None) -> Any:
    """A value of JSON's types: no NumPy, and None for numbers that are not finite.

    With `digits`, floats are rounded to that number of significant digits.
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, digits) for item in value]
    if not isinstance(value, float):
        return value
    if not np.isfinite(value):
        return None
    return value if digits is None else float(f"{value:.{digits}g}")


def save_json(report: Mapping[str, Any], path: Path) -> None:
    """Write a report, one entry a line, into a folder that exists.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        path.write_text(json.dumps(plain(report), indent=1, allow_nan=False) + "\n")
    except OSError as error:
        raise ConfigError(f"{path} is not writable: {error.strerror}") from error


def make_writable(out: Path) -> None:
    """Make a folder for results before anything is trained.

    Raises:
        ConfigError: nothing can be written there.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / ".writable").touch()
        (out / ".writable").unlink()
    except OSError as error:
        raise ConfigError(
            f"{out} is not writable ({error.strerror}): name another --out"
        ) from error


def save_figures(figures: "Iterable[tuple[str, Figure]]", directory: Path) -> dict[str, Any]:
    """Save small PNGs in full colour (with a palette thin lines lose theirs).

    Returns the text on each figure, by its stem, and the beginning of its file's hash.
    """
    directory.mkdir(parents=True, exist_ok=True)
    saved = {}
    for stem, figure in figures:
        path = directory / f"{stem}.png"
        figure.savefig(path, dpi=90, pil_kwargs={"optimize": True})
        saved[stem] = {**labels(figure), "sha256": digest(path)}
    return saved


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def labels(figure: "Figure") -> dict[str, Any]:
    """The title, the legend, and of each axes its title, x label and y label."""
    legends = [*figure.legends, *(ax.get_legend() for ax in figure.axes)]
    return {
        "title": figure.get_suptitle(),
        "axes": [
            [ax.get_title() or ax.get_title(loc="left"), ax.get_xlabel(), ax.get_ylabel()]
            for ax in figure.axes
        ],
        "legend": [text.get_text() for x in legends if x for text in x.get_texts()],
    }
