"""All built-in measures of a kind of network, computed by programs that the session shares."""

from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

import jax
import numpy as np
import pytest

from grokjax.config.runs import RunConfig
from grokjax.core import parts
from grokjax.core.parts import Part
from grokjax.core.types import Program
from grokjax.measures.compute import measure_networks
from grokjax.measures.select import applies
from grokjax.networks import by_name
from grokjax.results.measuring import is_available
from grokjax.tasks.data import data_of
from grokjax.training import blocks
from tests.measured import weights
from tests.sequence_runs import RUNS

SMALL = {"train_fraction": 0.6, "steps": 10, "d_model": 8, "num_heads": 2, "d_mlp": 12}
KINDS = {
    "transformer": RunConfig(modulus=8, **SMALL),  # k = p/2 has no sine
    "mlp": RunConfig(network="mlp", modulus=7, train_fraction=0.6, steps=10, d_mlp=12),
    "two layers": RunConfig(modulus=7, num_layers=2, **SMALL),
    "attention only": RunConfig(
        network="attention_only", modulus=7, train_fraction=0.6, steps=10, d_model=8, num_heads=2
    ),
    "group": RunConfig(task="group", **{"group.degree": 3}, **SMALL),
    **RUNS,
}


class Values(NamedTuple):
    """Measures of a stack of networks: random weights, larger ones, and zeros."""

    measures: tuple[Part, ...]
    program: Program
    together: dict[str, np.ndarray]  # vmapped
    alone: dict[str, np.ndarray]  # one network at a time, in the arrays of a larger modulus


@cache
def measures_of_kind(kind: str) -> tuple[Part, ...]:
    block = blocks.block_of([KINDS[kind]], [0])
    task, splits = block.program.task.name, data_of(KINDS[kind]).splits
    every = {part.name: parts.get("measure", part.name, task) for part in parts.all_of("measure")}
    chosen = [part for part in every.values() if applies(part, block.program, splits)]
    return tuple(part for part in chosen if part.builtin and is_available(part, block))


@pytest.fixture(scope="session")
def values_of():
    """(kind) -> the `Values` of a kind of network."""

    @cache
    def values(kind: str) -> Values:
        run, measures = KINDS[kind], measures_of_kind(kind)
        pair = blocks.block_of([run, run.replace(modulus=run["modulus"] + 3)], [0, 1])
        own, large = blocks.program_of(run), pair.program
        params = [weights(run), weights(run, scale=2.0, seed=1)]
        params.append(jax.tree.map(np.zeros_like, params[0]))
        initial = weights(run, seed=2)
        padded = tuple(part for part in measures if part.padded)
        rest = tuple(part for part in measures if not part.padded)
        row = jax.tree.map(lambda x: x[:1], blocks.block_data(pair)._asdict())
        row, data = blocks.BlockData(**row), blocks.own_data([run])
        grow = lambda x: by_name.pad(x, large)  # noqa: E731
        with compiled_quickly():
            alone = [
                _computed(large, padded, row, [grow(x)], grow(initial))
                | _computed(own, rest, data, [x], initial)
                for x in params
            ]
            together = _computed(own, measures, data, params, initial)
        return Values(measures, own, together, jax.tree.map(lambda *x: np.concatenate(x), *alone))

    return values


@contextmanager
def compiled_quickly():
    """Programs with all measures, compiled without XLA's optimisations in half the time."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


def _computed(program, measures, data, params, initial):
    """Measures of a stack of networks that share their data, in float32 or float64."""
    repeat = lambda x: np.repeat(np.asarray(x), len(params), 0)  # noqa: E731
    networks = {
        "params": jax.tree.map(lambda *x: np.stack(x), *params),
        "step": np.full(len(params), 3, np.int32),
        "initial": jax.tree.map(lambda x: repeat(np.asarray(x)[None]), initial),
        **jax.tree.map(repeat, data._asdict()),
    }
    values = {}
    for wide in (False, True):
        kind = tuple(part for part in measures if ("float64" in part.needs) == wide)
        values |= measure_networks(program, kind, networks) if kind else {}
    return values
