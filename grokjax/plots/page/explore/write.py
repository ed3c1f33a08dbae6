"""Write the explore page of a sweep as an HTML file."""

import os
from collections.abc import Sequence
from typing import Any

from grokjax.core.errors import ConfigError
from grokjax.plots.page import document, prose
from grokjax.plots.page.explore import choose, custom, data
from grokjax.plots.page.write import EXPLORE
from grokjax.results.sweep import Sweep, open_sweep
from grokjax.results.view import meaningful, with_runs
from grokjax.storage import files
from grokjax.storage.files import AnyPath

_SCRIPTS = (
    *("draw.js", "run.js", "network.js", "deep.js", "timeline.js", "circles.js", "neurons.js"),
    *(
        "attention.js",
        "answers.js",
        "logits.js",
        "positions.js",
        "progress.js",
        "custom.js",
        "app.js",
    ),
)


def write(
    sweep: Sweep | str | os.PathLike,
    path: str | os.PathLike | None = None,
    runs: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
    weights: int = choose.SNAPSHOTS,
    library: str = "",
) -> AnyPath:
    """Write the explore page of some runs of a sweep, by default explore.html in its workdir.

    Args:
        runs: numbers of runs; None chooses at most three: the first and the last run to grok, and
            one that did not grok or, if all did, the median one.
        steps: steps of checkpoints; None chooses at most 40 for each run, equally many in each
            phase.
        weights: number of checkpoints of each run whose weights are in the page.
        library: see `document.filled`.

    Raises:
        ConfigError: there is no such run or checkpoint, or the file cannot be written.
    """
    opened = sweep if isinstance(sweep, Sweep) else open_sweep(sweep)
    target = files.path(opened.workdir / EXPLORE if path is None else path)
    return document.save(render(opened, runs, steps, weights, library), target)


def render(
    sweep: Sweep,
    runs: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
    weights: int = choose.SNAPSHOTS,
    library: str = "",
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
        document.as_json({**data.of_run(sweep, ds, run, wanted, weights), **_outline(about[run])})
        for run in chosen
    ]
    index = [{**_outline(about[run]), "run": run} for run in chosen]
    return document.filled(
        "explore/explore.html",
        "explore/explore.css",
        ["shared.js", *(f"explore/{name}" for name in _SCRIPTS)],
        library,
        title=ds.attrs.get("name") or "sweep",
        rule="" if runs is not None or len(known) <= len(chosen) else choose.RULE,
        count=len(known),
        numbers=" ".join(map(str, chosen)),
        index=document.as_json(index),
        custom=custom.index(),
        runs=texts,
    )


def _outline(run: dict[str, Any]) -> dict[str, Any]:
    return {name: run[name] for name in ("name", "outcome", "step")}
