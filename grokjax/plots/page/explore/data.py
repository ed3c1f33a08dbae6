"""The numbers of one run for the explore page, packed."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from grokjax.core import parts
from grokjax.core.types import Data, Program
from grokjax.measures import spectra
from grokjax.measures.paper.key_frequencies import stand_out
from grokjax.plots.page.arrays import encoded, packed, quantised
from grokjax.plots.page.explore import choose, custom, weights
from grokjax.plots.page.explore.measured import measured
from grokjax.plots.page.explore.progress import panels
from grokjax.plots.page.prose import PHASE_ENDS
from grokjax.results import view
from grokjax.results.sweep import Sweep

Values = Mapping[str, np.ndarray]

STRONGEST = 5
"""Waves of the logits of a run in which no frequency stands out."""


def of_run(
    sweep: Sweep,
    ds: xr.Dataset,
    run: int,
    wanted: list[int] | None = None,
    snapshots: int = choose.SNAPSHOTS,
) -> dict[str, Any]:
    """Everything that the page shows of a run.

    Args:
        ds: measures of all runs.
        wanted: the steps of its checkpoints; None chooses them.
        snapshots: number of checkpoints with weights.

    Raises:
        ConfigError: there is no checkpoint at a wanted step.
    """
    program, data, row = sweep.program(run), sweep.data(run), ds.sel(run=[run])
    ends = [float(view.steps_of(row, name)[0]) for name in PHASE_ENDS]
    chosen = choose.checkpoints(_steps(sweep, run), ends, wanted, snapshots=snapshots)
    params = [sweep.params(run, step) for step in chosen.steps]
    more = custom.measures_of(program, data.splits)
    values = measured(sweep, run, params, chosen.steps, more)
    made: dict[str, Any] = {
        "run": run,
        "steps": chosen.steps,
        "spacing": chosen.spacing,
        "snapshots": chosen.snapshots,
        "ends": [end if np.isfinite(end) else None for end in ends],
        "progress": panels(row, sweep.curves().sel(run=[run])),
    }
    made["missing"] = missing = {}
    for name, (of, reason) in _VIEWS.items():
        if why := reason(program, values):
            missing[name] = why
        else:
            made[name] = of(values, data, program)
    for part in parts.all_of("view"):
        if why := custom.why_not(part, program, data.splits):
            missing[f"custom-{part.name}"] = why
        else:
            made[f"custom-{part.name}"] = custom.figures(part, values, len(chosen.steps))
    without = "" if snapshots else "this page was written without weights"
    if why := without or weights.why_no_maps(program):
        missing["maps"] = why
    if why := without or weights.why_not(program):
        missing["weights"] = why
    else:
        made["weights"] = weights.packed(program, [params[i] for i in chosen.snapshots])
    return made


def _steps(sweep: Sweep, run: int) -> list[int]:
    """The steps at which a run's parameters are on disk, up to its end."""
    for i, block in enumerate(sweep.blocks):
        if run in block.indices:
            end = sweep.ends_of(i)[block.indices.index(run)]
            return [step for step in sweep.steps_of(i) if step <= end]
    raise AssertionError(f"run {run} is in no block")


# --- Views ----------------------------------------------------------------------------------------


def _circles(values: Values, data: Data, program: Program) -> dict[str, Any]:
    shares = {
        name: values[f"{name}_share"] for name in ("embedding", "logit") if _has(values, name)
    }
    keys = key_frequencies(values)
    shown = choose.frequencies(shares.get("logit", shares["embedding"]), keys)
    order = values["group_order"][0]
    made = {"frequencies": shown, "keys": keys, "order": order[np.isfinite(order)].tolist()}
    for name, share in shares.items():
        points = values[f"{name}_circles"][:, np.array(shown) - 1, :, : len(made["order"])]
        codes, low, high = quantised(points[None])
        rounds = values[f"{name}_circularity"][:, np.array(shown) - 1]
        made[name] = {
            "points": encoded(codes.astype("<u2")),
            "low": float(low[0]),
            "high": float(high[0]),
            "circularity": packed(rounds),
            "share": packed(share),
        }
    return made


def _has(values: Values, name: str) -> bool:
    return f"{name}_circles" in values


def key_frequencies(values: Values) -> list[int]:
    """Key frequencies at the last checkpoint by the rule for W_L; none if they do not stand out."""
    if "logit_share" not in values:
        return []
    share = np.nan_to_num(values["logit_share"][-1].astype(float))
    key = share > spectra.KEY_THRESHOLD**2 * share.max()
    if not stand_out(int(key.sum()), len(share), float(share[key].sum()), np.nan):
        return []
    return (1 + np.flatnonzero(key)).tolist()


def _neurons(values: Values, data: Data, program: Program) -> dict[str, Any]:
    phases = values["wave_phase"]
    logit = values.get("wave_logit_phase", np.full(phases.shape[:2], np.nan))
    share = np.nan_to_num(values["wave_share"])
    return {
        "count": share.shape[1],
        "frequency": encoded(values["wave_frequency"].astype("<u2")),
        "share": encoded(np.rint(255 * np.clip(share, 0, 1)).astype("u1")),
        "phases": encoded(_angles(np.concatenate([phases, logit[..., None]], -1))),
    }


def _angles(x: np.ndarray) -> np.ndarray:
    """Angles as codes 0 to 255 of a turn; 0 for NaN."""
    return np.rint(np.nan_to_num(x) / (2 * np.pi) * 256).astype(int).astype("u1")


def _attention(values: Values, data: Data, program: Program) -> dict[str, Any]:
    if "attention_scores" in values:
        scores = values["attention_scores"]
        return {"heads": scores.shape[1], "scores": packed(scores)}
    maps = values["attention_map"]
    kept = np.linspace(0, len(maps) - 1, min(len(maps), choose.SNAPSHOTS)).round().astype(int)
    codes = np.rint(255 * np.clip(np.nan_to_num(maps[kept]), 0, 1)).astype("u1")
    return {"heads": maps.shape[1], "kept": kept.tolist(), "maps": encoded(codes)}


def _answers(values: Values, data: Data, program: Program) -> dict[str, Any]:
    """Margins as codes -127 to 127 of the largest of their checkpoint; 0 for NaN."""
    margin = np.nan_to_num(values["answer_margin"].astype(float), posinf=0, neginf=0)
    scale = np.abs(margin).max(axis=(1, 2))
    ratio = margin / np.where(scale > 0, scale, 1)[:, None, None]
    codes = np.sign(ratio) * np.ceil(np.abs(ratio) * 127)  # a small margin keeps its sign
    train, test = (np.asarray(data.splits[name])[..., 0] for name in ("train", "test"))
    return {
        "p": margin.shape[1],
        "margin": encoded(codes.astype("i1")),
        "scale": scale.tolist(),
        "labels": encoded(np.asarray(data.targets)[..., 0].astype("<u2")),
        "split": encoded((train + 2 * test).astype("u1")),
        "waves": waves(values),
        "standing": bool(key_frequencies(values)),
    }


def waves(values: Values) -> list[int]:
    """Frequencies whose waves are shown in the logits: the key ones, or the strongest."""
    if keys := key_frequencies(values):
        return keys
    for name in ("logit_share", "embedding_share"):
        if name in values:
            return sorted((1 + np.argsort(-np.nan_to_num(values[name][-1]))[:STRONGEST]).tolist())
    return []


_BY_POSITION = ("loss_by_position", "attention_by_position")


def _positions(values: Values, data: Data, program: Program) -> dict[str, Any]:
    made = {name: values[name] for name in _BY_POSITION if name in values}
    return {
        name: {"shape": x.shape[1:], "values": packed(np.nan_to_num(x, nan=-1))}
        for name, x in made.items()
    }


# --- Reasons why a view does not apply ------------------------------------------------------------


def _needs(name: str, reason: str) -> Callable[[Program, Values], str]:
    def why(program: Program, values: Values) -> str:
        if program.task.name != "modular":
            return f"task {program.task.name!r} has no pairs (a, b) modulo p"
        return "" if name in values else reason

    return why


def _is_modular(program: Program, values: Values) -> str:
    modular = program.task.name == "modular"
    return "pairs have one scored position" if modular else _no_positions(values)


def _no_positions(values: Values) -> str:
    if "loss_by_position" not in values:
        return "the task has no test split"
    alone = values["loss_by_position"].shape[-1] == 1 and "attention_by_position" not in values
    return "inputs have one scored position" if alone else ""


_VIEWS: dict[str, tuple[Callable, Callable]] = {
    "circles": (_circles, _needs("embedding_circles", "this network has no token vectors")),
    "neurons": (_neurons, _needs("wave_frequency", "this network has no neurons")),
    "attention": (_attention, _needs("attention_map", "this network has no attention")),
    "answers": (_answers, _needs("answer_margin", "this task has no pairs")),
    "positions": (_positions, _is_modular),
}
