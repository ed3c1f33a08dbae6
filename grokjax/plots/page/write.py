"""Write the page of one or several sweeps as an HTML file."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from grokjax.core.errors import ConfigError
from grokjax.plots.page import arrays, document, panels, prose, refined, tables
from grokjax.results.sweep import Sweep, open_sweep
from grokjax.results.view import axes_of, column, meaningful, numeric, with_runs, words
from grokjax.storage import files
from grokjax.storage.files import AnyPath

_SCRIPTS = (
    *("shared.js", "colours.js", "curves.js", "one_run.js", "spectra.js", "outcomes.js"),
    *("refined.js", "chosen.js", "address.js", "page.js"),
)
EXPLORE = "explore.html"
_SPANS = (("curves", 900_000), ("spectra", 900_000))
"""Numbers in a page, of 5.3 and 2.7 bytes each: below 15 MB with plotly's 4.8 MB."""

Sweeps = Sweep | str | os.PathLike
"""An opened sweep, or its workdir."""


def write(
    sweeps: Sweeps | Sequence[Sweeps], path: str | os.PathLike, overlay: bool = False
) -> AnyPath:
    """Write the page of one sweep, or of several with a tab for each, as one HTML file.

    Replaces an existing file atomically.

    Args:
        overlay: show the runs of several workdirs in the same charts, without tabs.

    Raises:
        ConfigError: there is no sweep, a sweep has no saved results, or the file cannot be written.
    """
    several = list(sweeps) if isinstance(sweeps, list | tuple) else [sweeps]
    if not several:
        raise ConfigError("no sweep is named: give at least one workdir")
    opened = [open_sweep(several)] if overlay else several
    opened = [x if isinstance(x, Sweep) else open_sweep(x) for x in opened]
    target = files.path(path)
    return document.save(render([_datasets(sweep, target.parent) for sweep in opened]), target)


def linked(ds: xr.Dataset, explore: AnyPath, address: str, source: AnyPath | str) -> xr.Dataset:
    """A dataset whose page links to an explore page and shows how to load parameters.

    Args:
        explore: the explore page, which need not exist.
        address: its address, as seen from the report.
        source: what `grokjax.open_sweep` takes; relative to the current folder if it lies below.
    """
    source = _shown(source)
    if not explore.exists():
        return ds.assign_attrs(source=source)
    runs = re.search(r'name="runs" content="([\d ]*)"', explore.read_text()[:2000])
    shown = runs[1] if runs else ""
    return ds.assign_attrs(source=source, explore=address, explore_runs=shown)


def write_of(
    measures: xr.Dataset,
    curves: xr.Dataset,
    made_with: Mapping[str, Any],
    path: str | os.PathLike,
    **more: str,
) -> AnyPath:
    """Write the page of a sweep from its datasets, which need not be on disk; see `render`."""
    text = render([(measures, curves, dict(made_with))], **more)
    return document.save(text, files.path(path))


def render(
    sweeps: Sequence[tuple[xr.Dataset, xr.Dataset, dict[str, Any]]],
    library: str = "",
    live: str = "",
) -> str:
    """The HTML of a page from (measures, curves, made_with) of each sweep.

    Args:
        library: see `document.filled`.
        live: what distinguishes this page from its next version, for which it looks; see `live`.
    """
    spans = {name: span // len(sweeps) for name, span in _SPANS}
    shown = [
        _section(i, meaningful(with_runs(ds)), curves, dict(made_with), spans)
        for i, (ds, curves, made_with) in enumerate(sweeps)
    ]
    return document.filled(
        "page.html",
        "style.css",
        (*_SCRIPTS, "live.js") if live else _SCRIPTS,
        library,
        live=live,
        title=", ".join(section["name"] for section in shown),
        sweeps=shown,
    )


def _datasets(sweep: Sweep, folder: AnyPath) -> tuple[xr.Dataset, xr.Dataset, dict[str, Any]]:
    """What the page of a sweep shows, with the address of its explore page from a folder."""
    try:
        measures, curves = sweep.measures(), sweep.curves()
    except ValueError as error:  # nothing was saved yet
        raise ConfigError(f"{error}: report on it after its first save") from error
    if "sweep" in measures.coords:  # several workdirs
        axes = {"axes": f"sweep,{measures.attrs.get('axes', '')}"}
        sources = document.as_json([_shown(opened.path) for opened in sweep._opened])
        measures = measures.assign_attrs(axes, sources=sources)
        return measures, curves.assign_attrs(axes), sweep.made_with
    if folder.bucket == sweep.workdir.bucket:
        address = os.path.relpath(sweep.workdir / EXPLORE, folder.absolute())
        measures = linked(measures, sweep.workdir / EXPLORE, address, sweep.workdir)
    return measures, curves, sweep.made_with


def _shown(path: AnyPath | str) -> str:
    return str(path).removeprefix(os.getcwd() + os.sep)


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
        "axes": [
            {"name": name, "label": words(name), "numeric": numeric(column(ds, name))}
            for name in axes_of(ds)
        ],
        "runs": prose.runs_data(ds),
        "checkpoints": ds["step"].values.tolist() if "step" in ds.coords else [],
        **{name: ds.attrs.get(name, "") for name in ("source", "sources", "explore")},
        "explored": [int(run) for run in ds.attrs.get("explore_runs", "").split()],
        "known": "steps_to_grok" in ds,
        "diagram": refined.diagram(ds),
        "curves": arrays.curves(ds, curves, spans["curves"], notes["curves"]),
        "spectra": arrays.spectra(ds, spans["spectra"], notes["spectra"]),
    }
    data["panels"] = panels.of_curves(ds, curves, data["curves"]["variables"])
    return {
        "number": number,
        "name": ds.attrs.get("name") or f"sweep {number + 1}",
        "facts": prose.facts(ds),
        "settings": prose.settings(ds),
        "outcome": prose.outcome(ds),
        "runs": tables.runs_table(ds, curves),
        "explore": data["explore"],
        "explored": data["explored"],
        "groups": tables.groups_table(ds),
        "warnings": prose.warnings(ds, made_with),
        "notes": notes,
        "made_with": prose.made_with(made_with),
        "json": document.as_json(data),
        "diagram": data["diagram"],
        "spectra": bool(data["spectra"]["variables"]),
        "panels": bool(data["panels"]),
        "filters": [axis for axis in data["axes"] if axis["name"] != "steps"],
    }
