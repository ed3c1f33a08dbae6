"""From sweeps to the text of a page and its file."""

import errno
import json
import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import xarray as xr
from plotly.offline import get_plotlyjs

from grokjax.core.errors import ConfigError
from grokjax.plots.page import arrays, prose, tables
from grokjax.results.several import open_sweep
from grokjax.results.sweep import Sweep
from grokjax.results.view import axes_of, meaningful, with_runs
from grokjax.storage import files
from grokjax.storage.files import AnyPath

_SCRIPTS = ("shared.js", "curves.js", "spectra.js", "outcomes.js", "page.js")
_HERE = Path(__file__).parent
_SPANS = (("curves", 900_000), ("spectra", 900_000))
"""Numbers of a page, at 5.3 and 2.7 bytes each: with plotly's 4.8 MB below 15 MB."""

Sweeps = Sweep | str | os.PathLike
"""A sweep that was opened, or its workdir."""


def write(sweeps: Sweeps | Sequence[Sweeps], path: str | os.PathLike) -> AnyPath:
    """Writes the page of one sweep, or of several with a tab for each, as one HTML file.

    A reader sees the old file or the new one, nothing between.

    Raises:
        ConfigError: there is no sweep, or nothing of it to show, or the file cannot be written.
    """
    several = [sweeps] if isinstance(sweeps, Sweep | str | os.PathLike) else list(sweeps)
    opened = [x if isinstance(x, Sweep) else open_sweep(x) for x in several]
    if not opened:
        raise ConfigError("there is no sweep to report on: name at least one workdir")
    return _save(render([_datasets(sweep) for sweep in opened]), files.path(path))


def write_of(
    measures: xr.Dataset, curves: xr.Dataset, made_with: Mapping[str, Any], path: str | os.PathLike
) -> AnyPath:
    """`write` for a sweep whose datasets are at hand, and not yet on disk."""
    return _save(render([(measures, curves, dict(made_with))]), files.path(path))


def _save(text: str, path: AnyPath) -> AnyPath:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, text)
    except OSError as error:
        if error.errno == errno.ENOSPC:  # no fault of the name
            raise
        reason = error.strerror or error
        raise ConfigError(f"{path} cannot be written ({reason}): name another file") from error
    return path


def render(sweeps: Sequence[tuple[xr.Dataset, xr.Dataset, dict[str, Any]]]) -> str:
    """The page of sweeps: measures and curves of each, and what it was made with."""
    spans = {name: span // len(sweeps) for name, span in _SPANS}
    shown = [
        _section(i, meaningful(with_runs(ds)), curves, dict(made_with), spans)
        for i, (ds, curves, made_with) in enumerate(sweeps)
    ]
    scripts = "\n".join((_HERE / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    return _template().render(
        title=", ".join(section["name"] for section in shown),
        sweeps=shown,
        style=(_HERE / "style.css").read_text(encoding="utf-8"),
        plotly=get_plotlyjs(),
        script=scripts,
    )


def _datasets(sweep: Sweep) -> tuple[xr.Dataset, xr.Dataset, dict[str, Any]]:
    try:
        return sweep.measures(), sweep.curves(), sweep.made_with
    except ValueError as error:  # nothing was saved yet
        raise ConfigError(f"{error}: report on it after its first save") from error


def _section(
    number: int,
    ds: xr.Dataset,
    curves: xr.Dataset,
    made_with: dict[str, Any],
    spans: dict[str, int],
) -> dict[str, Any]:
    """What the template shows of one sweep, and the data that its scripts draw."""
    notes: dict[str, list[str]] = {"curves": [], "spectra": []}
    data = {
        "axes": [{"name": name, "label": prose.words(name)} for name in axes_of(ds)],
        "runs": prose.runs_data(ds),
        "known": "steps_to_grok" in ds,
        "curves": arrays.curves(ds, curves, spans["curves"], notes["curves"]),
        "spectra": arrays.spectra(ds, spans["spectra"], notes["spectra"]),
    }
    return {
        "number": number,
        "name": ds.attrs.get("name") or f"sweep {number + 1}",
        "facts": prose.facts(ds),
        "settings": prose.settings(ds),
        "outcome": prose.outcome(ds),
        "runs": tables.runs_table(ds, curves),
        "groups": tables.groups_table(ds),
        "warnings": prose.warnings(ds, made_with),
        "notes": notes,
        "made_with": prose.made_with(made_with),
        # "<" so that no text of a measure's can end the element.
        "json": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
        "spectra": bool(data["spectra"]["variables"]),
        "filters": [axis for axis in data["axes"] if axis["name"] != "steps"],
    }


@cache
def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(_HERE)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True)
    environment.lstrip_blocks = True
    return environment.get_template("page.html")
