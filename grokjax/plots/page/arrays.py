"""The numbers that a page draws, thinned and packed: curves, and spectra over steps."""

import base64
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from grokjax.results import view
from grokjax.results.dataset import marked_frequencies

MAX_ENTRIES = 12
"""Entries of a further axis, such as heads or matrices, that have curves."""

_NO_NUMBER = 65_535


def curves(ds: xr.Dataset, recorded: xr.Dataset, span: int, notes: list[str]) -> dict[str, Any]:
    """Every scalar over (run, step), those recorded while training first; at most `span` numbers.

    Adds to `notes` if steps are left out.

    Returns:
        `groups` with their `steps`; `variables` with their group and their values as float32 [run,
        step] in base64, NaN for missing ones; `shown`, the keys of the first four curves to show.
    """
    groups, variables = [], []
    sources = [
        (recorded, "recorded while training", _lines(recorded)),
        (ds, "at checkpoints", _lines(ds)),
    ]
    total = sum(line.values.size for *_, lines in sources for line in lines)
    both = {line.key for line in sources[0][2]} & {line.key for line in sources[1][2]}
    for source, where, lines in sources:
        if not lines:
            continue
        steps = source["step"].values
        chosen = thinned(len(steps), int(len(steps) * span / max(total, 1)))
        if len(chosen) < len(steps):
            notes.append(
                f"Curves {where}: {len(chosen)} of {len(steps)} steps are in this page, "
                "denser at the start; all are in the workdir."
            )
        for line in lines:
            variables.append(
                {
                    **_about(source, line.name),
                    "log": view.units(source, line.name) == "nats" and not (line.values < 0).any(),
                    "share": view.split_of(line.name)[1] == view.KINDS[1],
                    "key": f"{line.key} {where}",
                    "label": f"{line.label}, {where}" if line.key in both else line.label,
                    "group": len(groups),
                    "values": packed(line.values[:, chosen]),
                }
            )
        groups.append({"steps": steps[chosen].tolist()})
    shown = _first_choice([x["key"] for x in variables])
    variables.sort(key=lambda x: shown.index(x["key"]) if x["key"] in shown else len(shown))
    return {"groups": groups, "variables": variables, "shown": shown}


class _Line(NamedTuple):
    key: str
    label: str
    name: str
    values: np.ndarray  # [run, step]


def _lines(ds: xr.Dataset) -> list[_Line]:
    """The curves of a run: one for each variable over steps, or for each entry of a short axis."""
    lines = []
    for name in view.over_steps(ds):
        axis, values, label = (
            view.entries(ds, name),
            view.matrix(ds, name),
            view.long_name(ds, name),
        )
        if ds[name].ndim == 2:
            lines.append(_Line(name, label, name, values))
        elif axis in ds.coords and axis != "frequency" and ds.sizes[axis] <= MAX_ENTRIES:
            for i, entry in enumerate(map(view.text, ds[axis].values.tolist())):
                key, of_entry = f"{name} {entry}", f"{label}, {axis} {entry}"
                lines.append(_Line(key, of_entry, name, values[..., i]))
    return [line for line in lines if np.isfinite(line.values).any()]


def _about(ds: xr.Dataset, name: str) -> dict[str, str]:
    return {"units": view.units(ds, name), "definition": str(ds[name].attrs.get("definition", ""))}


def _first_choice(keys: Sequence[str]) -> list[str]:
    """The curves to begin with: losses and accuracies, as far as there are any, filled up to four.

    Restricted loss is one of them where it was measured.
    """
    names = {key: key.split()[0] for key in keys}
    wanted = ("test_loss", "train_loss", "test_accuracy", "restricted_loss")
    first = [next((key for key in keys if names[key] == name), None) for name in wanted]
    return list(dict.fromkeys([*filter(None, first), *keys]))[:4]


def spectra(ds: xr.Dataset, span: int, notes: list[str]) -> dict[str, Any]:
    """Every variable over frequencies and steps; at most `span` numbers.

    The norms of cosine and sine are combined. Values are uint16 [run, step, frequency] in base64,
    between the lowest and the highest of their run, see `quantised`. Adds to `notes` if steps are
    left out. `keys` are each run's key frequencies, none where none stands out.
    """
    names = [name for name in view.over_steps(ds) if "frequency" in ds[name].dims]
    tables = {name: by_frequency(ds, name) for name in names}
    tables = {name: x for name, x in tables.items() if x is not None and np.isfinite(x).any()}
    if not tables:
        return {"steps": [], "frequencies": [], "variables": [], "keys": []}
    steps = ds["step"].values
    per_step = sum(x.shape[0] * x.shape[2] for x in tables.values())
    chosen = thinned(len(steps), span // max(per_step, 1))
    if len(chosen) < len(steps):
        notes.append(f"Spectra: {len(chosen)} of {len(steps)} checkpoints are in this page.")
    variables = []
    for name, values in sorted(tables.items(), key=lambda item: not view.show(item[0]).panel):
        codes, low, high = quantised(values[:, chosen])
        ends = {"low": low.tolist(), "high": high.tolist(), "values": encoded(codes.astype("<u2"))}
        variables.append(
            {"key": name, "label": view.long_name(ds, name), **_about(ds, name), **ends}
        )
    runs = range(ds.sizes["run"] if "key_frequency" in ds else 0)
    return {
        "steps": steps[chosen].tolist(),
        "frequencies": ds["frequency"].values.tolist(),
        "variables": variables,
        "keys": [marked_frequencies(ds.isel(run=i)) for i in runs],
    }


def by_frequency(ds: xr.Dataset, name: str) -> np.ndarray | None:
    """A variable [run, step, frequency], cosine and sine combined; None if it has another axis."""
    others = set(ds[name].dims) - {"run", "step", "frequency"}
    if others - {"part"}:
        return None
    values = ds[name].transpose("run", "step", ..., "frequency").values.astype(float)
    values[view.diverged(ds)] = np.nan
    return np.sqrt((values**2).sum(axis=2)) if others else values


def thinned(count: int, room: int) -> np.ndarray:
    """Indices of about `room` of `count` steps: half evenly spaced, half by logarithm."""
    room = max(min(room, count), min(count, 2))
    if count <= room:
        return np.arange(count)
    even = np.linspace(0, count - 1, room - room // 2).round()
    logarithmic = np.geomspace(1, count, room // 2).round() - 1
    return np.unique(np.concatenate([even, logarithmic, [0, count - 1]]).astype(int))


def quantised(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes 0 to 65,534 from each run's lowest to its highest value; 65,535 for missing values.

    Returns:
        Codes [run, ...], lowest values [run], highest values [run].
    """
    finite, rest = np.isfinite(values), tuple(range(1, values.ndim))
    low = np.where(finite, values, np.inf).min(axis=rest, keepdims=True)
    high = np.where(finite, values, -np.inf).max(axis=rest, keepdims=True)
    low, high = (np.where(np.isfinite(x), x, 0.0) for x in (low, high))
    width = np.where(high > low, high - low, 1.0)
    codes = np.rint((np.where(finite, values, 0) - low) / width * (_NO_NUMBER - 1))
    return np.where(finite, codes, _NO_NUMBER), low.ravel(), high.ravel()


def packed(values: np.ndarray) -> str:
    return encoded(np.ascontiguousarray(values, "<f4"))


def encoded(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
