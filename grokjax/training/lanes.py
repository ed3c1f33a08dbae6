"""Lanes: the parts of a block that are trained separately, and the memory that one takes."""

import jax
import numpy as np

from grokjax.training.blocks import Block, block_data, block_of, state_shapes, trainer
from grokjax.training.devices import device_memory, on_cpu, places


def lanes(block: Block, precision: str = "float32", memory: float | None = None) -> list[Block]:
    """Split a block into lanes, which are trained separately; `indices` index the block.

    On a CPU every run is a lane, at its own sizes. On accelerators runs are split evenly over the
    devices, into as many rounds as `memory` (bytes of one device) requires.
    """
    count = len(block.runs)
    if on_cpu():
        return [block_of(block.runs, [i]) for i in range(count)]
    devices = min(len(places()), count)
    memory = device_memory() if memory is None else memory
    rounds = 1
    while True:
        parts = np.array_split(np.arange(count), min(devices * rounds, count))
        found = [block_of(block.runs, part.tolist()) for part in parts]
        if len(found) == count or bytes_needed(found[0], rounds, precision) <= memory:
            return found
        rounds *= 2


def bytes_needed(lane: Block, rounds: int = 1, precision: str = "float32") -> int:
    """Bytes to train and score a lane while `rounds - 1` others are kept.

    From its compiled programs, which later calls on the same device use.
    """
    data, state = block_data(lane), state_shapes(lane)
    train, scores = trainer(lane, precision)
    lowered = train.lower(state, data, np.int32(1)), scores.lower(state.params, data)
    temporary = (x.compile().memory_analysis().temp_size_in_bytes for x in lowered)
    kept = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves((state, state, data)))
    return rounds * kept + max(temporary)
