"""The evaluation of a program's network: a fast form if one applies, else the plain one.

A fast form is a module with `serves(program)` and the functions of `Form`.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from grokjax.core.types import Data, Params, Program
from grokjax.networks import by_name, fast_deep, fast_one_layer, fast_tables

FASTER = (fast_tables, fast_one_layer, fast_deep)
"""Modules with the same functions in less arithmetic; the first that applies is used."""


class Form(NamedTuple):
    """Pure functions of parameters; logits are features first.

    prepare(tokens [b s]) -> input of `logits`, computed once if the batch stays the same
    logits(params, prepared, scored, drop=None) -> [c b*q] at the last `scored` positions
    scored(params, data) -> logits [c *n q] of all rows of the data
    trace(params, data) -> Trace of all rows, at the last position
    """

    prepare: Callable
    logits: Callable
    scored: Callable
    trace: Callable


def form(program: Program) -> Form:
    """The functions that evaluate the network of a program."""
    for faster in FASTER:
        if faster.serves(program):
            return _at_the_last_position(faster, program)
    return Form(
        lambda tokens: tokens,
        partial(by_name.logits, program=program),
        partial(by_name.scored_logits, program=program),
        partial(by_name.trace, program=program),
    )


def _at_the_last_position(faster, program: Program) -> Form:
    trace = partial(faster.trace, program=program)

    def logits(params: Params, prepared, scored: int, drop=None):
        dropped = {} if drop is None else {"drop": drop}
        return faster.logits(params, prepared, program, **dropped)

    def scored(params: Params, data: Data):
        return trace(params, data).logits[..., None]

    return Form(partial(faster.prepare, program=program), logits, scored, trace)
