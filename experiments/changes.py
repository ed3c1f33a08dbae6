"""What each way to spare bytes in training is worth: taken back, or tried, by itself.

    python -m experiments.changes --out FILE.json
    python -m experiments.changes --chip h100 --runs 128 --out FILE.json
    python -m experiments.changes --layers 2 --only "the plain form" --out FILE.json

By the clock of this machine, two mainline runs (p = 113, 30 % of the pairs) at a time: every change
in a process of its own, all in turn, again and again; let nothing else run meanwhile. Or by the
compiler of a chip, which need not be here (see `experiments.chips`). Prints a table: the program as
it is, and for each change what it would be. The last line is a JSON of that.
"""

import json
import multiprocessing
import sys
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

from experiments import options
from experiments.chips import __main__ as chips
from experiments.chips import targets
from experiments.throughput import programs, timing
from experiments.written import save_json
from grokjax.cli.arguments import run_main
from grokjax.networks import fast_one_layer, forward, matmul, variants
from grokjax.training import blocks
from grokjax.training import update as training

AS_IT_IS = "as it is"


class Change(NamedTuple):
    """What is put in place of names of grokjax, and on which platforms it differs from them."""

    platforms: tuple[str, ...]  # "cpu", "cuda", "tpu"
    replaced: tuple[tuple[Any, str, Any], ...] = ()


def _changes() -> dict[str, Change]:
    apart, together = fast_one_layer._mix_back_apart, fast_one_layer._mix_back_together
    return {
        AS_IT_IS: Change(("cpu", "cuda", "tpu")),
        "the plain form": _of(forward, "cpu cuda tpu", FASTER=()),
        "look-ups by products with one-hots": _of(
            fast_one_layer, "cpu cuda", _by_gather=fast_one_layer._by_product
        ),
        "look-ups by gathers": _of(fast_one_layer, "tpu", _by_product=fast_one_layer._by_gather),
        "one-hots of four bytes": _of(fast_one_layer, "cpu cuda tpu", Pairs=_wide),
        "mixes of both tokens back at once": _of(
            fast_one_layer, "cpu", _mix_back_apart=lambda _, *kept: together(*kept)
        ),
        "mixes of each token back by itself": _of(
            fast_one_layer, "cuda", _mix_back_together=partial(apart, fast_one_layer._by_gather)
        ),
        "biases added": _of(
            matmul,
            "cpu cuda",
            _with_ones=matmul._with_sums,
            _back_apart=matmul._back_summed,
            _back_together=matmul._back_summed,
        ),
        "biases as a row of the product": _of(
            matmul,
            "tpu",
            _with_sums=matmul._with_ones,
            _back_summed=matmul._back_apart,
        ),
        "MLP and unembedding back at once": _of(matmul, "cpu", _back_apart=matmul._back_together),
        "MLP and unembedding back one by one": _of(
            matmul, "cuda", _back_together=matmul._back_apart
        ),
        "neurons made again in the backward pass": _of(
            fast_one_layer,
            "cpu cuda tpu",
            ACTIVATIONS={"relu": lambda before: before},
            over_examples=_of_activated,
        ),
        "examples in tiles of 128": _of(blocks, "cpu", block_data=_in_tiles),
        "examples not in tiles": _of(blocks, "cuda tpu", TILE=1),
        "an inner loop of 10 updates": _of(training, "cpu", train=_with_inner_loop),
    }


def _of(module: Any, platforms: str, **replaced: Any) -> Change:
    return Change(tuple(platforms.split()), tuple((module, *pair) for pair in replaced.items()))


_Pairs, _over_examples, _train = fast_one_layer.Pairs, matmul.over_examples, training.train
_block_data = blocks.block_data


def _wide(tokens, one_hot):
    return _Pairs(tokens, one_hot.astype(jnp.float32))


@jax.checkpoint
def _of_activated(weights, before):
    return _over_examples(weights, variants.ACTIVATIONS["relu"](before))


def _in_tiles(block, _=None):
    return _block_data(block, 128)


def _with_inner_loop(*args):
    return _train(*args[:-1], blocks.INNER)


def on(platform: str, only: Collection[str] = ()) -> list[str]:
    """The changes (of these) that make another program on a platform, that as it is first."""
    names = [name for name, change in _changes().items() if platform in change.platforms]
    return [name for name in names if not only or name in (AS_IT_IS, *only)]


def made(name: str) -> ExitStack:
    """A context in which what is traced has the change."""
    stack = ExitStack()
    for module, attribute, value in _changes()[name].replaced:
        stack.enter_context(mock.patch.object(module, attribute, value))
    return stack


# --- By the clock ---------------------------------------------------------------------------------

_timed: list[Callable[[], float]] = []


def _prepare(name: str, runs: int, layers: int, seconds: float) -> list[float]:
    """Compiles in this process; the losses after ten updates."""
    with made(name):
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
    """Milliseconds a run-step with every change, and the median of its ratios to none, in turns."""
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        pools = {name: stack.enter_context(ProcessPoolExecutor(1, spawn)) for name in names}
        losses = {}
        for name, pool in pools.items():
            timing.say(f"  {name}: preparing")
            losses[name] = pool.submit(_prepare, name, runs, layers, seconds).result()
        cases = {name: lambda pool=pool: _of_process(pool) for name, pool in pools.items()}
        times = timing.take_turns(cases, repeats)
    usual = np.array(times[AS_IT_IS])
    return {
        name: {
            "ms_per_run_step": timing.in_ms(times[name]),
            "ratio": timing.spread(np.array(times[name]) / usual),
            "train_loss_after_10": losses[name],
        }
        for name in names
    }


def _of_process(pool: ProcessPoolExecutor) -> Callable[[], float]:
    return lambda: pool.submit(_once).result()


# --- By a compiler --------------------------------------------------------------------------------

_COUNTED = ("operations", "bytes", "bytes_of_whole_arrays", "kernels", "temporary_bytes")


def by_compiler(names: Sequence[str], chip: str, runs: int, layers: int) -> dict[str, Any]:
    """Bytes, kernels, memory and the roofline's time of a run-step with every change."""
    found = {}
    for name in names:
        timing.say(f"  {name}")
        jax.clear_caches()
        with made(name):
            training = chips.measured(chip, runs, layers, programs=("training",))
        of = training["programs"]["training"]
        found[name] = {x: of[x] for x in _COUNTED} | {"us": of["roofline"]["expected_us"]}
    return found


# --- The command ----------------------------------------------------------------------------------


def table(found: dict[str, Any]) -> str:
    return "\n".join(f"{name:<42} {_row(row)}" for name, row in found.items())


def _row(row: dict[str, Any]) -> str:
    if "ratio" in row:
        ms, ratio = row["ms_per_run_step"], row["ratio"]
        spread = f"{ratio['lower_quartile']:.3f} to {ratio['upper_quartile']:.3f}"
        return f"{ms['median']:.1f} ms, {ratio['median']:.3f} of it ({spread})"
    whole, moved = row["bytes_of_whole_arrays"] / 1e6, row["bytes"] / 1e6
    return f"{whole:.1f} MB ({moved:.1f} counted), {row['kernels']:.0f} kernels, {row['us']:.1f} us"


def main(argv: list[str]) -> None:
    parser = options.parser("changes", __doc__)
    parser.add_argument("--chip", choices=targets.CHIPS, help="by its compiler, not by the clock")
    parser.add_argument("--runs", type=int, metavar="N", help="side by side; 2, of a chip 8")
    parser.add_argument("--layers", type=int, default=1, metavar="N")
    parser.add_argument(
        "--only",
        action="append",
        metavar="CHANGE",
        choices=list(_changes())[1:],
        help="again for more",
    )
    parser.add_argument("--repeats", type=int, default=11, metavar="N")
    parser.add_argument("--seconds", type=float, default=3.0, help="that a timed call lasts")
    parser.add_argument("--out", type=Path, metavar="FILE", help="for the JSON, indented")
    given = parser.parse_args(argv)
    runs = given.runs or (8 if given.chip else 2)
    names = on(targets.CHIPS[given.chip].platform if given.chip else "cpu", given.only or ())
    if given.chip:
        found = by_compiler(names, given.chip, runs, given.layers)
    else:
        found = by_clock(names, runs, given.layers, given.repeats, given.seconds)
    results = {"chip": given.chip, "runs": runs, "layers": given.layers, "jax": jax.__version__}
    results["changes"] = found
    print(table(found))
    if given.out:
        save_json(results, given.out)
    print(json.dumps(results))


if __name__ == "__main__":
    sys.exit(run_main(main))
