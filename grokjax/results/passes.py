"""Passes: which measures and runs of a block are computed by one compiled program.

On a CPU every run is measured alone, at its own sizes. On an accelerator many runs are measured at
once: measures that handle padding for the block as it is, others for runs of equal sizes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

from grokjax.config.runs import RunConfig
from grokjax.core import parts
from grokjax.core.parts import Part
from grokjax.core.types import Params, Program
from grokjax.measures.compute import compile_networks, measure_networks
from grokjax.measures.select import labels
from grokjax.networks import by_name
from grokjax.tasks.data import sizes_of
from grokjax.training import devices
from grokjax.training.blocks import Block, block_data, block_part, own_data, program_of

EVERY = {"every": 1, "tenth": 10}
"""By the cost of a measure: it is computed at one of this many checkpoints. Others are computed on
demand, at every checkpoint."""


@dataclass
class Pass:
    """Measures that are computed together, for runs whose arrays have the same shapes.

    Attributes:
        rows: the runs, by their rows in the block's arrays.
        fixed: what does not change over steps: hyper, data, batch, initial, given; run axis first.
        every: measure one of this many checkpoints.
    """

    measures: tuple[Part, ...]
    rows: tuple[int, ...]
    program: Program
    fixed: dict[str, Any]
    every: int = 1
    _put: dict[jax.Device, Any] = field(default_factory=dict)

    def __call__(self, params: Params, step: Any, device: jax.Device) -> dict[str, np.ndarray]:
        """The measures of these runs, run axis first.

        Args:
            params: of all runs of the block.
            step: of all runs, or one for each run of the block.
        """
        networks = self._networks(params, step, device)
        return measure_networks(self.program, self.measures, networks)

    def compile(
        self, params: Params, step: Any, device: jax.Device
    ) -> tuple[dict[str, np.ndarray], int]:
        """Zeros in place of the result, and the bytes of memory that a call takes."""
        networks = self._networks(params, step, device)
        return compile_networks(self.program, self.measures, networks)

    def _networks(self, params: Params, step: Any, device: jax.Device) -> dict[str, Any]:
        count = jax.tree.leaves(params)[0].shape[0]
        steps = np.broadcast_to(np.int32(step), (count,))[list(self.rows)]
        own = by_name.unpad(_of_rows(params, self.rows), self.program)
        if device not in self._put:
            self._put[device] = jax.device_put(self.fixed, device)
        return {"params": own, "step": steps, **self._put[device]}


def passes(
    block: Block,
    measures: Sequence[Part],
    initial: Params | None = None,
    given: Mapping[str, np.ndarray] | None = None,
) -> list[Pass]:
    """The passes that compute these measures for all runs of a block.

    Args:
        initial: initial parameters of the block, for measures that need them.
        given: values of the runs' last checkpoints, by name, run axis first, padded.
    """
    kinds: dict[tuple, list[Part]] = {}
    for part in measures:
        padded = bool(part.padded) and not devices.on_cpu()
        every = EVERY.get(part.options.get("cost", "every"), 1)
        kind = padded, "float64" in part.needs, "host" in part.needs, every
        kinds.setdefault(kind, []).append(part)
    return [
        Pass(tuple(together), rows, *_fixed(block, rows, padded, initial, given or {}), every)
        for (padded, *_, every), together in kinds.items()
        for rows in _groups(block, padded)
    ]


def at_every_checkpoint(measures: Sequence[Part]) -> tuple[Part, ...]:
    """The same measures, computed at each checkpoint, whatever their cost and `at`.

    No value of the last checkpoint is given: each checkpoint has, say, its own key frequencies.
    """
    return tuple(
        replace(part, options={**part.options, "cost": "every", "at": "every"}) for part in measures
    )


def _fixed(
    block: Block,
    rows: tuple[int, ...],
    padded: bool,
    initial: Params | None,
    given: Mapping[str, np.ndarray],
) -> tuple[Program, dict[str, Any]]:
    """The program of some runs, and their arrays that do not change over steps."""
    runs = block_part(block, rows).runs
    program = block.program if padded else own_program(block, runs[0])
    fixed = (_of_rows(block_data(block), rows) if padded else own_data(runs))._asdict()
    if initial is not None:
        initial = by_name.unpad(_of_rows(initial, rows), program)
    return program, {**fixed, "initial": initial, "given": _cut(given, rows, program)}


def _groups(block: Block, padded: bool) -> Iterator[tuple[int, ...]]:
    """The rows of runs that are measured together."""
    at_once = devices.at_once()
    for rows in [range(len(block.runs))] if padded else equal_sizes(block):
        for i in range(0, len(rows), at_once):
            yield tuple(rows[i : i + at_once])


def equal_sizes(block: Block) -> list[list[int]]:
    """The rows of runs that share their sizes, so that no array needs padding."""
    groups: dict[Any, list[int]] = {}
    for j, run in enumerate(block.runs):
        groups.setdefault(sizes_of(run), []).append(j)
    return list(groups.values())


def own_program(block: Block, run: RunConfig) -> Program:
    """The block's program at a run's own sizes."""
    return replace(program_of(run), on=block.program.on)


def _of_rows(tree: Any, rows: Sequence[int]) -> Any:
    count = jax.tree.leaves(tree)[0].shape[0]
    if tuple(rows) == tuple(range(count)):
        return tree
    return jax.tree.map(lambda x: x[list(rows)], tree)


def _cut(
    given: Mapping[str, np.ndarray], rows: Sequence[int], program: Program
) -> dict[str, np.ndarray]:
    """Values of some runs, without padding."""
    own = {}
    for name, values in given.items():
        dims = parts.get("measure", name, program.task.name).dims
        sizes = sizes_of_dims(dims, values.shape[1:], program)
        own[name] = _of_rows(values, rows)[(slice(None), *(slice(0, n) for n in sizes))]
    return own


def sizes_of_dims(dims: Sequence[str], shape: Sequence[int], program: Program) -> list[int]:
    """The number of entries along each dim that a program has, at most those of `shape`."""
    names = by_name.shapes(program)
    return [len(labels(dim, n, program, names)) for dim, n in zip(dims, shape, strict=True)]
