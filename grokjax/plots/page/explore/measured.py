"""The family "views" of one run at some checkpoints."""

from collections.abc import Sequence

import jax
import numpy as np

from grokjax.core.types import Params
from grokjax.measures.compute import measure_networks
from grokjax.measures.select import select
from grokjax.results.sweep import Sweep
from grokjax.training import devices
from grokjax.training.blocks import own_data


def measured(
    sweep: Sweep,
    run: int,
    params: Sequence[Params],
    steps: Sequence[int],
    more: Sequence[str] = (),
) -> dict[str, np.ndarray]:
    """Arrays [step ...] by name, of parameters at these steps; `more` are further measures."""
    program = sweep.program(run)
    measures = select(("views", *more), program, sweep.data(run).splits)
    one = own_data([sweep.sel(run=run).config.runs[0]])._asdict()
    together = devices.at_once()

    def call(start: int, device: jax.Device) -> dict[str, np.ndarray]:
        chunk = params[start : start + together]
        repeat = lambda x: np.repeat(np.asarray(x), len(chunk), 0)  # noqa: E731
        networks = {"params": jax.tree.map(lambda *x: np.stack(x), *chunk)}
        networks["step"] = np.asarray(steps[start : start + together], np.int32)
        return measure_networks(program, measures, networks | jax.tree.map(repeat, one))

    pieces = list(devices.each(call, range(0, len(steps), together)))
    return jax.tree.map(lambda *x: np.concatenate(x), *pieces)
