"""The numbers that a page draws, packed and thinned: curves over steps, and spectra over both."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from grokjax.results.view import (
    KINDS,
    diverged,
    entries,
    long_name,
    matrix,
    over_steps,
    split_of,
    text,
    units,
)

MAX_ENTRIES = 12  # of a further axis, such as heads or matrices
_SHARED = ("loss", "accuracy")  # recorded while training as well as measured at checkpoints
_NO_NUMBER = 65_535


def curves(ds: xr.Dataset, recorded: xr.Dataset, span: int, notes: list[str]) -> dict[str, Any]:
    """Every scalar over (run, step), those recorded while training first; at most `span` numbers.

    Returns:
        `groups`, each with its `steps`, and `variables`, each with its group and its values as
        float32 [run, step] in base64, NaN where a run has none.
    """
    groups, variables = [], []
    sources = [(recorded, "recorded while training"), (ds, "at checkpoints")]
    sources = [(source, where, _lines(source)) for source, where in sources]
    total = sum(len(lines) * x.sizes["run"] * x.sizes.get("step", 0) for x, _, lines in sources)
    both = {name for name, *_ in sources[0][2]} & {name for name, *_ in sources[1][2]}
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
        for key, label, about, values in lines:
            variables.append(
                {
                    **about,
                    "key": f"{key} {where}",
                    "label": f"{label}, {where}" if key in both else label,
                    "group": len(groups),
                    "values": packed(values[:, chosen]),
                }
            )
        groups.append({"steps": steps[chosen].tolist()})
    shown = _first_choice(variables)
    variables.sort(key=lambda x: shown.index(x["key"]) if x["key"] in shown else len(shown))
    return {"groups": groups, "variables": variables, "shown": shown}


def _lines(ds: xr.Dataset) -> list[tuple[str, str, dict[str, Any], np.ndarray]]:
    """(key, label, about, values [run, step]) for every line that a run has."""
    found = []
    for name in over_steps(ds):
        axis, values = entries(ds, name), matrix(ds, name)
        about = {
            "units": units(ds, name),
            "definition": str(ds[name].attrs.get("definition", "")),
            "log": units(ds, name) == "nats" and not (values < 0).any(),
            "share": split_of(name)[1] == KINDS[1],
        }
        label = long_name(ds, name)
        if ds[name].ndim == 2:
            found.append((name, label, about, values))
        elif axis and axis != "frequency" and ds.sizes[axis] <= MAX_ENTRIES:
            for i, entry in enumerate(ds[axis].values.tolist() if axis in ds.coords else []):
                key = f"{name} {text(entry)}"
                found.append((key, f"{label}, {axis} {text(entry)}", about, values[..., i]))
    return [line for line in found if np.isfinite(line[3]).any()]


def _first_choice(variables: Sequence[dict[str, Any]]) -> list[str]:
    """The four curves to begin with: losses and accuracies as far as there are any."""
    wanted = ("test_loss", "train_loss", "test_accuracy", "excluded_loss", "restricted_loss")
    keys = [x["key"] for x in variables]
    first = [next((key for key in keys if key.split()[0] == name), None) for name in wanted]
    return list(dict.fromkeys([*filter(None, first), *keys]))[:4]


def spectra(ds: xr.Dataset, span: int, notes: list[str]) -> dict[str, Any]:
    """What there is for each Fourier frequency over steps; at most `span` numbers.

    A norm of cosine and sine parts is that of both together. Values are uint16 [run, step,
    frequency] in base64, between the lowest and the highest of their run: see `quantised`.
    """
    names = [name for name in over_steps(ds) if "frequency" in ds[name].dims]
    tables = {name: by_frequency(ds, name) for name in names}
    tables = {name: x for name, x in tables.items() if x is not None and np.isfinite(x).any()}
    if not tables:
        return {"steps": [], "frequencies": [], "variables": [], "keys": []}
    steps = ds["step"].values
    each = sum(x.shape[0] * x.shape[2] for x in tables.values())
    chosen = thinned(len(steps), span // max(each, 1))
    if len(chosen) < len(steps):
        notes.append(f"Spectra: {len(chosen)} of {len(steps)} checkpoints are in this page.")
    variables = []
    for name, values in tables.items():
        codes, low, high = quantised(values[:, chosen])
        about = {"key": name, "label": long_name(ds, name), "units": units(ds, name)}
        about["definition"] = str(ds[name].attrs.get("definition", ""))
        ends = {"low": low.tolist(), "high": high.tolist()}
        variables.append({**about, **ends, "values": encoded(codes.astype("<u2"))})
    variables.sort(key=lambda x: not x["key"].endswith("norm"))
    keys = ds["key_frequency"].values.astype(bool) if "key_frequency" in ds else []
    frequencies = ds["frequency"].values
    return {
        "steps": steps[chosen].tolist(),
        "frequencies": frequencies.tolist(),
        "variables": variables,
        "keys": [frequencies[row].tolist() for row in keys],
    }


def by_frequency(ds: xr.Dataset, name: str) -> np.ndarray | None:
    """[run, step, frequency], cosine and sine together; None where there is another axis."""
    others = set(ds[name].dims) - {"run", "step", "frequency"}
    if others - {"part"}:
        return None
    values = ds[name].transpose("run", "step", ..., "frequency").values.astype(float)
    values[diverged(ds)] = np.nan
    return np.sqrt((values**2).sum(axis=2)) if others else values


def thinned(count: int, room: int) -> np.ndarray:
    """Places of at most `room` of `count` steps, but two: half by number, half by logarithm."""
    room = max(min(room, count), min(count, 2))
    if count <= room:
        return np.arange(count)
    by_number = np.linspace(0, count - 1, room - room // 2).round()
    by_logarithm = np.geomspace(1, count, room // 2).round() - 1
    return np.unique(np.concatenate([by_number, by_logarithm, [0, count - 1]]).astype(int))


def quantised(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes 0 to 65,534 between each run's lowest and highest value; 65,535 is no number."""
    finite = np.isfinite(values)
    around = tuple(range(1, values.ndim))
    low = np.where(finite, values, np.inf).min(axis=around)
    high = np.where(finite, values, -np.inf).max(axis=around)
    low, high = (np.where(np.isfinite(x), x, 0.0) for x in (low, high))
    shape = (-1,) + (1,) * (values.ndim - 1)
    width = np.where(high > low, high - low, 1.0).reshape(shape)
    codes = np.rint((np.where(finite, values, 0) - low.reshape(shape)) / width * (_NO_NUMBER - 1))
    return np.where(finite, codes, _NO_NUMBER), low, high


def packed(values: np.ndarray) -> str:
    return encoded(np.ascontiguousarray(values, "<f4"))


def encoded(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
