"""The parameters of a block that are evaluated and saved, where an optimiser keeps others."""

from collections.abc import Callable
from functools import cache

import jax

from grokjax.core.types import Params, Program
from grokjax.training import update
from grokjax.training.devices import over_runs
from grokjax.training.update import State


def evaluated(state: State, program: Program) -> Params:
    """The parameters of all runs that are evaluated and saved, see `update.evaluated`."""
    if program.optimizer.options.get("evaluation_params") is None:
        return state.params
    return _evaluated(program)(state)


@cache
def _evaluated(program: Program) -> Callable[[State], Params]:
    return jax.jit(over_runs(lambda state: update.evaluated(state, program)))
