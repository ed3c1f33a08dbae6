"""Measure what each way to save bytes in training is worth, by undoing it or trying it alone.

    python -m experiments.benchmarks.changes --out FILE.json
    python -m experiments.benchmarks.changes --chip h100 --runs 128 --out FILE.json
    python -m experiments.benchmarks.changes --layers 2 --only "the plain form" --out FILE.json

Without --chip two mainline runs (p = 113, 30 % of the pairs) are timed: each change in a process of
its own, all in turn, repeatedly; let nothing else run meanwhile. With --chip the chip's compiler
reports the costs (see `experiments.benchmarks.chips`).
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp

from experiments import options as command_line
from experiments.benchmarks import chips, gpu_tables, programs, timing
from experiments.written import save_json
from grokjax.networks import fast_one_layer, fast_tables, forward, matmul, variants
from grokjax.training import blocks, update

AS_IT_IS = "as it is"


class Change(NamedTuple):
    """Replacements of names in a module, and the platforms whose program they change."""

    module: Any
    platforms: str  # of "cpu", "cuda" and "tpu"
    replaced: dict[str, Any]


_Pairs, _over_examples, _train = fast_one_layer.Pairs, matmul.over_examples, update.train
_block_data = blocks.block_data


def _wide(tokens, one_hot):
    return _Pairs(tokens, one_hot.astype(jnp.float32))


@jax.checkpoint
def _activated(weights, before):
    return _over_examples(weights, variants.ACTIVATIONS["relu"](before))


def _in_tiles(block, _=None):
    return _block_data(block, 128)


def _with_inner_loop(*args):
    return _train(*args[:-1], blocks.INNER)


def changes() -> dict[str, Change]:
    fast, every, gpu = fast_one_layer, "cpu cuda tpu", "cuda"
    apart, together = fast._mix_back_apart, fast._mix_back_together
    ones, sums = matmul._with_ones, matmul._with_sums
    one_by_one, at_once, summed = matmul._back_apart, matmul._back_together, matmul._back_summed
    added = dict(_with_ones=sums, _back_apart=summed, _back_together=summed)
    again = dict(ACTIVATIONS={"relu": lambda before: before}, over_examples=_activated)
    as_a_row = dict(_with_sums=ones, _back_summed=one_by_one)
    products = dict(_by_gather=fast._by_product)
    both = dict(_mix_back_apart=lambda _, *kept: together(*kept))
    each = dict(_mix_back_together=partial(apart, fast._by_gather))
    rows = {
        AS_IT_IS: (fast, every, {}),
        "the plain form": (forward, every, dict(FASTER=())),
        "look-ups by products with one-hots": (fast, "cpu cuda", products),
        "look-ups by gathers": (fast, "tpu", dict(_by_product=fast._by_gather)),
        "one-hots of four bytes": (fast, every, dict(Pairs=_wide)),
        "mixes of both tokens back at once": (fast, "cpu", both),
        "mixes of each token back by itself": (fast, gpu, each),
        "biases added": (matmul, "cpu cuda", added),
        "biases as a row of the product": (matmul, "tpu", as_a_row),
        "MLP and unembedding back at once": (matmul, "cpu", dict(_back_apart=at_once)),
        "MLP and unembedding back one by one": (matmul, gpu, dict(_back_together=one_by_one)),
        "neurons made again in the backward pass": (fast, every, again),
        "examples in tiles of 128": (blocks, "cpu", dict(block_data=_in_tiles)),
        "examples not in tiles": (blocks, "cuda tpu", dict(TILE=1)),
        "an inner loop of 10 updates": (update, "cpu", dict(train=_with_inner_loop)),
        "tables of tokens": (forward, gpu, dict(FASTER=(gpu_tables, *forward.FASTER))),
    }
    return {name: Change(*row) for name, row in rows.items()}


def names_for(platform: str, only: Collection[str] = ()) -> list[str]:
    """The changes that make another program on a platform, after the program as it is."""
    names = [name for name, change in changes().items() if platform in change.platforms]
    return [name for name in names if not only or name in (AS_IT_IS, *only)]


def applied(name: str) -> ExitStack:
    """A context in which traced programs have the change."""
    stack, change = ExitStack(), changes()[name]
    stack.enter_context(fast_tables.left_out())  # the changes are to the form of accelerators
    for attribute, value in change.replaced.items():
        stack.enter_context(mock.patch.object(change.module, attribute, value))
    return stack


def _case(name: str, runs: int, layers: int, seconds: float) -> Callable[[], float]:
    training = programs.Training(programs.mainline(runs, num_layers=layers), change=applied(name))
    tens = lambda count: training.train(blocks.INNER * count)  # noqa: E731
    return timing.lasting(tens, seconds, blocks.INNER * runs)


def by_clock(names: Sequence[str], runs: int, layers: int, repeats: int, seconds: float) -> Any:
    """Milliseconds a run-step with every change, and its ratios to the program as it is.

    Each is in a process of its own, because JAX caches traces of functions that it replaces.
    """
    cases = {name: timing.Case(_case, (name, runs, layers, seconds), name) for name in names}
    times = timing.alternate(cases, repeats)
    for name, taken in times.items():
        yield timing.measured(name, 1e3 * taken, "ms a run-step")
        yield timing.measured(f"{name}, ratio", taken / times[AS_IT_IS], "")


def by_compiler(names: Sequence[str], chip: str, runs: int, layers: int) -> Any:
    """Bytes, kernels, memory and expected time of a run-step with every change."""
    units = {"operations": "", "bytes": "", "bytes_of_whole_arrays": "bytes", "kernels": ""}
    for name in names:
        jax.clear_caches()
        with applied(name):
            costs = chips.analysis(chip, runs, layers)["programs"]["training"]
        for cost, unit in (units | {"temporary_bytes": "bytes"}).items():
            yield timing.measured(f"{name}, {cost}", costs[cost], unit)
        yield timing.measured(f"{name}, expected time", costs["roofline"]["expected_us"], "us")


def main(argv: list[str]) -> None:
    parser = command_line.parser("benchmarks.changes", __doc__)
    parser.add_argument("--chip", choices=chips.CHIPS, help="compile for it; default: time here")
    parser.add_argument("--runs", type=int, metavar="N", help="side by side; 2, or 8 for a chip")
    parser.add_argument("--layers", type=int, default=1, metavar="N")
    known = list(changes())[1:]
    parser.add_argument("--only", action="append", metavar="CHANGE", choices=known)
    parser.add_argument("--repeats", type=int, default=11, metavar="N")
    parser.add_argument("--seconds", type=float, default=3.0, help="that a timed call lasts")
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON file to write")
    options = parser.parse_args(argv)
    platform = chips.CHIPS[options.chip].platform if options.chip else "cpu"
    names = names_for(platform, options.only or ())
    runs = options.runs or (8 if options.chip else 2)
    results = {"chip": options.chip, "runs": runs, "layers": options.layers, "measurements": []}
    if options.chip:
        rows = by_compiler(names, options.chip, runs, options.layers)
    else:
        rows = by_clock(names, runs, options.layers, options.repeats, options.seconds)
    for row in rows:
        print(row, flush=True)
        results["measurements"].append(row._asdict())
    if options.out:
        save_json(results | {"jax": jax.__version__}, options.out)


if __name__ == "__main__":
    command_line.start(main)
