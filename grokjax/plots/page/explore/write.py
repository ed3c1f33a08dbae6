"""Write the explore page of a sweep as an HTML file."""

import json
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from plotly.offline import get_plotlyjs

from grokjax.core.errors import ConfigError
from grokjax.plots.page import prose
from grokjax.plots.page.explore import choose, data
from grokjax.plots.page.write import EXPLORE, save
from grokjax.results.sweep import Sweep, open_sweep
from grokjax.results.view import meaningful, with_runs
from grokjax.storage import files
from grokjax.storage.files import AnyPath

_HERE = Path(__file__).parent
_SHARED = _HERE.parent / "shared.js"
_SCRIPTS = (
    *("draw.js", "run.js", "network.js", "timeline.js", "circles.js", "neurons.js"),
    *("attention.js", "answers.js", "logits.js", "positions.js", "progress.js", "app.js"),
)


def write(
    sweep: Sweep | str | os.PathLike,
    path: str | os.PathLike | None = None,
    runs: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
) -> AnyPath:
    """Write the explore page of some runs of a sweep, by default explore.html in its workdir.

    Args:
        runs: numbers of runs; None chooses at most three: the first and the last run to grok, and
            one that did not grok or, if all did, the median one.
        steps: steps of checkpoints; None chooses at most 40 for each run, equally many in each
            phase.

    Raises:
        ConfigError: there is no such run or checkpoint, or the file cannot be written.
    """
    opened = sweep if isinstance(sweep, Sweep) else open_sweep(sweep)
    target = files.path(opened.workdir / EXPLORE if path is None else path)
    return save(render(opened, runs, steps), target)


def render(
    sweep: Sweep, runs: Sequence[int] | None = None, steps: Sequence[int] | None = None
) -> str:
    """The HTML of an explore page; arguments as for `write`."""
    try:
        ds = meaningful(with_runs(sweep.measures()))
    except ValueError as error:  # nothing was saved yet
        raise ConfigError(f"{error}: explore it after its first save") from error
    if sweep.config.keep == "measures":
        raise ConfigError(
            f"{sweep.workdir} keeps measures only: train it with keep='params' to explore it"
        )
    known = ds["run"].values.tolist()
    chosen = choose.telling_runs(ds) if runs is None else choose.checked_runs(runs, known)
    wanted = None if steps is None else [int(step) for step in steps]
    about = {one["run"]: one for one in prose.runs_data(ds)}
    texts = [
        _escaped({**data.of_run(sweep, ds, run, wanted), **_outline(about[run])}) for run in chosen
    ]
    index = [{**_outline(about[run]), "run": run} for run in chosen]
    return _template().render(
        title=ds.attrs.get("name") or "sweep",
        rule="" if runs is not None or len(known) <= len(chosen) else choose.RULE,
        count=len(known),
        index=_escaped(index),
        runs=texts,
        style=_text(_HERE / "explore.css"),
        plotly=get_plotlyjs(),
        script="\n".join([_text(_SHARED), *(_text(_HERE / name) for name in _SCRIPTS)]),
    )


def _outline(run: dict[str, Any]) -> dict[str, Any]:
    return {name: run[name] for name in ("name", "outcome", "step")}


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _escaped(value: Any) -> str:
    """JSON in which no text can end a script element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


@cache
def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(_HERE)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True)
    environment.lstrip_blocks = True
    return environment.get_template("explore.html")
