"""Write the page of one or several sweeps as an HTML file."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from grokjax.core.errors import ConfigError
from grokjax.plots.page import arrays, document, prose, tables
from grokjax.results.sweep import Sweep, open_sweep
from grokjax.results.view import axes_of, meaningful, with_runs, words
from grokjax.storage import files
from grokjax.storage.files import AnyPath

_SCRIPTS = ("shared.js", "curves.js", "spectra.js", "outcomes.js", "page.js")
EXPLORE = "explore.html"
_SPANS = (("curves", 900_000), ("spectra", 900_000))
"""Numbers in a page, of 5.3 and 2.7 bytes each: below 15 MB with plotly's 4.8 MB."""

Sweeps = Sweep | str | os.PathLike
"""An opened sweep, or its workdir."""


def write(sweeps: Sweeps | Sequence[Sweeps], path: str | os.PathLike) -> AnyPath:
    """Write the page of one sweep, or of several with a tab for each, as one HTML file.

    Replaces an existing file atomically.

    Raises:
        ConfigError: there is no sweep, a sweep has no saved results, or the file cannot be written.
    """
    several = [sweeps] if isinstance(sweeps, Sweep | str | os.PathLike) else list(sweeps)
    opened = [x if isinstance(x, Sweep) else open_sweep(x) for x in several]
    if not opened:
        raise ConfigError("there is no sweep to report on: name at least one workdir")
    target = files.path(path)
    return document.save(render([_datasets(sweep, target.parent) for sweep in opened]), target)


def write_of(
    measures: xr.Dataset, curves: xr.Dataset, made_with: Mapping[str, Any], path: str | os.PathLike
) -> AnyPath:
    """Write the page of a sweep from its datasets, which need not be on disk."""
    return document.save(render([(measures, curves, dict(made_with))]), files.path(path))


def render(sweeps: Sequence[tuple[xr.Dataset, xr.Dataset, dict[str, Any]]]) -> str:
    """The HTML of a page from (measures, curves, made_with) of each sweep."""
    spans = {name: span // len(sweeps) for name, span in _SPANS}
    shown = [
        _section(i, meaningful(with_runs(ds)), curves, dict(made_with), spans)
        for i, (ds, curves, made_with) in enumerate(sweeps)
    ]
    return document.filled(
        "page.html",
        "style.css",
        _SCRIPTS,
        title=", ".join(section["name"] for section in shown),
        sweeps=shown,
    )


def _datasets(sweep: Sweep, folder: AnyPath) -> tuple[xr.Dataset, xr.Dataset, dict[str, Any]]:
    """What the page of a sweep shows, and the address of its explore page from a folder."""
    try:
        measures = sweep.measures()
        there = folder.bucket == sweep.workdir.bucket and (sweep.workdir / EXPLORE).exists()
        link = os.path.relpath(sweep.workdir / EXPLORE, folder.absolute()) if there else ""
        return measures.assign_attrs(explore=link), sweep.curves(), sweep.made_with
    except ValueError as error:  # nothing was saved yet
        raise ConfigError(f"{error}: report on it after its first save") from error


def _section(
    number: int,
    ds: xr.Dataset,
    curves: xr.Dataset,
    made_with: dict[str, Any],
    spans: dict[str, int],
) -> dict[str, Any]:
    """The variables of the template for one sweep, with the data for its scripts."""
    notes: dict[str, list[str]] = {"curves": [], "spectra": []}
    data = {
        "axes": [{"name": name, "label": words(name)} for name in axes_of(ds)],
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
        "explore": ds.attrs.get("explore", ""),
        "groups": tables.groups_table(ds),
        "warnings": prose.warnings(ds, made_with),
        "notes": notes,
        "made_with": prose.made_with(made_with),
        "json": document.as_json(data),
        "spectra": bool(data["spectra"]["variables"]),
        "filters": [axis for axis in data["axes"] if axis["name"] != "steps"],
    }
