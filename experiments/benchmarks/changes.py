"""Measure what each way to save bytes in training is worth, by undoing it or trying it alone.

    python -m experiments.benchmarks.changes --out FILE.json
    python -m experiments.benchmarks.changes --chip h100 --runs 128 --out FILE.json
    python -m experiments.benchmarks.changes --layers 2 --only "the plain form" --out FILE.json

Without --chip two mainline runs (p = 113, 30 % of the pairs) are timed: each change in a process of
its own, all in turn, repeatedly; let nothing else run meanwhile. With --chip the chip's compiler
reports the costs (see `experiments.benchmarks.chips`). The last line is JSON.
"""

import json
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from experiments import options as command_line
from experiments.benchmarks import chips, programs, timing
from experiments.written import save_json
from grokjax.networks import fast_one_layer, fast_tables, forward, matmul, variants
from grokjax.training import blocks, update

AS_IT_IS = "as it is"


class Change(NamedTuple):
    """Replacements of names in a module, and the platforms whose program they change."""

    module: Any
    platforms: str  # of "cpu", "cuda" and "tpu"
    replaced: dict[str, Any]


def changes() -> dict[str, Change]:
    fast, every = fast_one_layer, "cpu cuda tpu"
    apart, together = fast._mix_back_apart, fast._mix_back_together
    return {
        AS_IT_IS: Change(fast, every, {}),
        "the plain form": Change(forward, every, dict(FASTER=())),
        "look-ups by products with one-hots": Change(
            fast, "cpu cuda", dict(_by_gather=fast._by_product)
        ),
        "look-ups by gathers": Change(fast, "tpu", dict(_by_product=fast._by_gather)),
        "one-hots of four bytes": Change(fast, every, dict(Pairs=_wide)),
        "mixes of both tokens back at once": Change(
            fast, "cpu", dict(_mix_back_apart=lambda _, *kept: together(*kept))
        ),
        "mixes of each token back by itself": Change(
            fast, "cuda", dict(_mix_back_together=partial(apart, fast._by_gather))
        ),
        "biases added": Change(
            matmul,
            "cpu cuda",
            dict(
                _with_ones=matmul._with_sums,
                _back_apart=matmul._back_summed,
                _back_together=matmul._back_summed,
            ),
        ),
        "biases as a row of the product": Change(
            matmul, "tpu", dict(_with_sums=matmul._with_ones, _back_summed=matmul._back_apart)
        ),
        "MLP and unembedding back at once": Change(
            matmul, "cpu", dict(_back_apart=matmul._back_together)
        ),
        "MLP and unembedding back one by one": Change(
            matmul, "cuda", dict(_back_together=matmul._back_apart)
        ),
        "neurons made again in the backward pass": Change(
            fast, every, dict(ACTIVATIONS={"relu": lambda before: before}, over_examples=_activated)
        ),
        "examples in tiles of 128": Change(blocks, "cpu", dict(block_data=_in_tiles)),
        "examples not in tiles": Change(blocks, "cuda tpu", dict(TILE=1)),
        "an inner loop of 10 updates": Change(update, "cpu", dict(train=_with_inner_loop)),
    }


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


# --- Timed ----------------------------------------------------------------------------------------

_timed: list[Callable[[], float]] = []
"""In the process of a change: its timed call."""


def _prepare(name: str, runs: int, layers: int, seconds: float) -> list[float]:
    """Compile in this process; returns the losses after ten updates."""
    with applied(name):
        training = programs.Training(programs.mainline(runs, num_layers=layers))
        training.train(10)
    losses = training.scores()["train_loss"]
    tens = lambda count: training.train(blocks.INNER * count)  # noqa: E731
    _timed.append(timing.lasting(tens, seconds, blocks.INNER * runs))
    return losses.tolist()


def _once() -> float:
    return _timed[0]()


def by_clock(
    names: Sequence[str], runs: int, layers: int, repeats: int, seconds: float
) -> dict[str, Any]:
    """Milliseconds a run-step with every change, and its ratios to the program as it is."""
    losses = {}
    with ExitStack() as stack:

        def case(name: str) -> Callable[[], float]:
            pool = stack.enter_context(ProcessPoolExecutor(1, timing.SPAWN))
            losses[name] = pool.submit(_prepare, name, runs, layers, seconds).result()
            return lambda: pool.submit(_once).result()

        times = timing.take_turns({name: partial(case, name) for name in names}, repeats)
    return {
        name: {
            "ms_per_run_step": timing.in_ms(times[name]),
            "ratio": timing.spread(np.array(times[name]) / times[AS_IT_IS]),
            "train_loss_after_10": losses[name],
        }
        for name in names
    }


# --- Compiled for a chip --------------------------------------------------------------------------


def by_compiler(names: Sequence[str], chip: str, runs: int, layers: int) -> dict[str, Any]:
    """Bytes, kernels, memory and expected time of a run-step with every change."""
    counted = ("operations", "bytes", "bytes_of_whole_arrays", "kernels", "temporary_bytes")
    rows = {}
    for name in names:
        timing.say(f"  {name}")
        jax.clear_caches()
        with applied(name):
            costs = chips.analysis(chip, runs, layers)["programs"]["training"]
        rows[name] = {x: costs[x] for x in counted} | {"us": costs["roofline"]["expected_us"]}
    return rows


def line(row: dict[str, Any]) -> str:
    """One change as text."""
    if "ratio" in row:
        ms, ratio = row["ms_per_run_step"], row["ratio"]
        quartiles = f"{ratio['lower_quartile']:.3f} to {ratio['upper_quartile']:.3f}"
        return f"{ms['median']:.1f} ms, ratio {ratio['median']:.3f} ({quartiles})"
    whole, moved = row["bytes_of_whole_arrays"] / 1e6, row["bytes"] / 1e6
    return f"{whole:.1f} MB ({moved:.1f} moved), {row['kernels']:.0f} kernels, {row['us']:.1f} us"


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
    if options.chip:
        rows = by_compiler(names, options.chip, runs, options.layers)
    else:
        rows = by_clock(names, runs, options.layers, options.repeats, options.seconds)
    results = {"chip": options.chip, "runs": runs, "layers": options.layers}
    results |= {"jax": jax.__version__, "changes": rows}
    print(*(f"{name:<42} {line(row)}" for name, row in rows.items()), sep="\n")
    if options.out:
        save_json(results, options.out)
    print(json.dumps(results))


if __name__ == "__main__":
    command_line.start(main)
