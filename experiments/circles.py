"""Write docs/circles.svg: circles that form while a run groks, as an animation.

    python -m experiments.circles --workdir runs/quickstart [--run 3] [--out docs/circles.svg]

The tokens' embeddings in the planes of the key frequencies at up to 40 checkpoints, above the
losses. Between checkpoints points move in straight lines.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

import grokjax
from experiments.options import parser as command_parser
from experiments.options import start
from grokjax.core.errors import ConfigError
from grokjax.plots.page.explore import choose
from grokjax.plots.page.explore.data import key_frequencies
from grokjax.plots.page.explore.measured import measured
from grokjax.results import view
from grokjax.results.sweep import Sweep
from grokjax.runner.run import set_up_jax

SIZE, GAP, CHART, SECONDS, MOST = 170, 14, 90, 9.0, 5
"""Pixels of a plane, between planes and of the chart; duration; planes."""

WHEEL = ((0, 114, 178), (30, 27, 60), (213, 94, 0), (240, 200, 110))
"""The colours of the explore page by k x mod p, a cycle."""

LOSSES = {"train_loss": "#56606c", "test_loss": "#0072b2"}
END_NAMES = ("memorization_end", "circuit_formation_end", "cleanup_end")


def main(argv: list[str]) -> int:
    parser = command_parser("circles", __doc__)
    parser.add_argument("--workdir", default="runs/quickstart")
    parser.add_argument("--run", type=int, help="default: the first run to grok")
    parser.add_argument("--out", default="docs/circles.svg")
    options = parser.parse_args(argv)
    set_up_jax()
    sweep = grokjax.open_sweep(options.workdir)
    ds = sweep.measures()
    run = choose.telling_runs(ds)[0] if options.run is None else options.run
    text = animation(sweep, ds.sel(run=[run]), run)
    Path(options.out).write_text(text)
    print(f"{options.out} ({len(text) / 1e6:.2f} MB), run {run}")
    return 0


def animation(sweep: Sweep, ds: xr.Dataset, run: int) -> str:
    """The SVG of one run; `ds` holds its measures."""
    ends = [float(view.steps_of(ds, name)[0]) for name in END_NAMES]
    block = next(i for i, block in enumerate(sweep.blocks) if run in block.indices)
    steps = choose.checkpoints(sweep.steps_of(block), ends).steps
    values = measured(sweep, run, [sweep.params(run, step) for step in steps], steps)
    keys = key_frequencies(values)[:MOST]
    if not keys:
        raise ConfigError(f"no frequency of run {run} stands out: choose a run that groks")
    points = values["embedding_circles"][:, np.array(keys) - 1]  # [t k 2 p]
    scale = (SIZE / 2 - 8) / np.abs(points).max()
    width = len(keys) * (SIZE + GAP) - GAP
    body = []
    for i, k in enumerate(keys):
        left = i * (SIZE + GAP)
        body += _plane(points[:, i] * scale, k, left, int(ds["modulus"].item()))
    body += _chart(ds, steps, width, SIZE + 34)
    height = SIZE + 34 + CHART + 22
    style = 'font-family="system-ui, sans-serif" font-size="13" fill="#60656c"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {style}>'
    back = f'<rect width="{width}" height="{height}" fill="#fff"/>'
    return "\n".join([head, back, *body, "</svg>\n"])


def _plane(points: np.ndarray, k: int, left: float, p: int) -> list[str]:
    """The tokens of one frequency, points [t 2 p] in pixels around the centre."""
    x, y = left + SIZE / 2 + points[:, 0], SIZE / 2 - points[:, 1]
    lines = [f'<text x="{left + SIZE / 2}" y="{SIZE + 16}" text-anchor="middle">k = {k}</text>']
    for token in range(points.shape[-1]):
        moves = _animated("cx", x[:, token]) + _animated("cy", y[:, token])
        colour = _wheel(k * token % p / p)
        lines.append(f'<circle r="3.2" fill="{colour}">{moves}</circle>')
    return lines


def _animated(name: str, values: Sequence[float]) -> str:
    """One loop over the checkpoints, which rests at the last one."""
    held = [*values, *[values[-1]] * max(len(values) // 5, 1)]
    text = ";".join(f"{value:.1f}" for value in held)
    return (
        f'<animate attributeName="{name}" dur="{SECONDS:g}s" repeatCount="indefinite" '
        f'values="{text}"/>'
    )


def _wheel(turn: float) -> str:
    i = math.floor(turn * len(WHEEL))
    a, b, t = WHEEL[i], WHEEL[(i + 1) % len(WHEEL)], turn * len(WHEEL) - i
    return "#" + "".join(f"{round(u + t * (v - u)):02x}" for u, v in zip(a, b, strict=True))


def _chart(ds: xr.Dataset, steps: Sequence[int], width: float, top: float) -> list[str]:
    """The losses at the checkpoints on a logarithmic scale, and a cursor."""
    places = np.linspace(4, width - 4, len(steps))
    logs = {name: np.log10(ds[name].sel(step=list(steps)).values[0]) for name in LOSSES}
    low, high = min(x.min() for x in logs.values()), max(x.max() for x in logs.values())
    lines = [f'<rect y="{top}" width="{width}" height="{CHART}" fill="#f3f5f8"/>']
    for name, values in logs.items():
        y = top + CHART - 4 - (CHART - 8) * (values - low) / (high - low)
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(places, y, strict=True))
        lines.append(
            f'<polyline points="{path}" fill="none" stroke="{LOSSES[name]}" stroke-width="2"/>'
        )
    cursor = _animated("x", places - 1)
    lines.append(f'<rect y="{top}" width="2" height="{CHART}" fill="#1c2024">{cursor}</rect>')
    base = top + CHART + 16
    about = f"train (grey) and test loss (blue), steps {steps[0]:,} to {steps[-1]:,}"
    return [*lines, f'<text x="2" y="{base}">{about}</text>']


if __name__ == "__main__":
    start(main)
