"""The evaluation of a program's network: a fast form if one applies, else the plain one.

A fast form is a module with `serves(program)`, `prepare`, `logits`, `trace` and maybe `over_rows`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from grokjax.core.types import Array, Data, Params, Program
from grokjax.networks import by_name, fast_deep, fast_one_layer, fast_tables

FASTER = (fast_tables, fast_one_layer, fast_deep)
"""Modules with the same functions in less arithmetic; the first that applies is used."""


class Form(NamedTuple):
    """Pure functions of parameters; logits are features first.

    prepare(tokens [b s]) -> input of `logits`, computed once if the batch stays the same
    logits(params, prepared, scored, drop=None) -> [c b*q] at the last `scored` positions
    over_rows(params, data, function, *by_row) -> function(logits [c *n q], *by_row) for all rows of
        the data, or for a part at a time. The results end with the axes of the rows. The axis q of
        logits and of `by_row` is dropped if it is 1.
    trace(params, data) -> Trace of all rows, at the last position
    """

    prepare: Callable
    logits: Callable
    over_rows: Callable
    trace: Callable


def form(program: Program) -> Form:
    """The functions that evaluate the network of a program."""
    for faster in FASTER:
        if faster.serves(program):
            return _at_the_last_position(faster, program)
    return Form(
        lambda tokens: tokens,
        partial(by_name.logits, program=program),
        partial(_over_all_rows, partial(by_name.scored_logits, program=program)),
        partial(by_name.trace, program=program),
    )


def squeezed(x: Array) -> Array:
    """Drop the last axis if only one position is scored."""
    return x[..., 0] if x.shape[-1] == 1 else x


def _over_all_rows(
    scored: Callable, params: Params, data: Data, function: Callable, *by_row: Array
) -> Any:
    return function(squeezed(scored(params, data)), *map(squeezed, by_row))


def _at_the_last_position(faster, program: Program) -> Form:
    trace = partial(faster.trace, program=program)

    def logits(params: Params, prepared, scored: int, drop=None):
        dropped = {} if drop is None else {"drop": drop}
        return faster.logits(params, prepared, program, **dropped)

    def of_trace(params: Params, data: Data):
        return trace(params, data).logits[..., None]

    def in_parts(params: Params, data: Data, function: Callable, *by_row: Array):
        by_row = (x[..., 0] for x in by_row)
        return faster.over_rows(params, data, function, *by_row, program=program)

    over_rows = in_parts if hasattr(faster, "over_rows") else partial(_over_all_rows, of_trace)
    return Form(partial(faster.prepare, program=program), logits, over_rows, trace)
