"""What the numbers come to: ratios between the sections, and whether all programs agree."""

from collections.abc import Mapping
from typing import Any

from experiments.throughput.against_torch import OURS
from grokjax.config import sweep as config_lib


def summary(results: Mapping[str, Any]) -> dict[str, Any]:
    """Ratios between the medians of what was measured so far; None where something is missing."""
    first, largest = results["settings"]["precisions"][0], str(max(results["settings"]["sizes"]))
    get = lambda *path: find(results, *path)  # noqa: E731
    training, torch = results.get("training", {}), results.get("torch", {})
    block = lambda n, what="ms_per_run_step": get(  # noqa: E731
        "training", "blocks", first, n, what, "median"
    )
    ours, evaluation = block(largest), get("training", "evaluation", "median")
    peak = best_product(results, first)
    speeds = training.get("blocks", {}).get(first, {})
    times = [x for x in map(block, speeds) if x is not None]
    loops = {name: get("torch", name, "ms_per_run_step", "median") for name in torch}
    beside = loops.pop(OURS, None) or ours
    plain, with_test = loops.get("plain"), loops.get("plain, test loss each epoch")
    alone = get("training", "plain_form", "median")
    every = config_lib.SWEEP_SETTINGS["eval_every"].default
    return {
        "peak_gflops": peak,
        "fraction_of_peak": {n: ratio(block(n, "gflops"), peak) for n in speeds},
        "mixed_fraction_of_peak": ratio(get("training", "mixed", "gflops", "median"), peak),
        "slowest_block_over_fastest": ratio(max(times), min(times)) if times else None,
        "evaluation_in_training_steps": ratio(evaluation, ours),
        "model_steps_per_second": ratio(1e3, ours),
        "times_plain_pytorch": ratio(plain, beside),
        "times_plain_pytorch_with_test_loss": {
            "evaluating_at_every_step": ratio(with_test, plus(beside, evaluation)),
            f"evaluating_every_{every}_steps": ratio(
                with_test, plus(beside, evaluation, 1 / every)
            ),
        },
        "times_others": {name: ratio(x, beside) for name, x in loops.items() if x is not None},
        "times_one_process_a_core": ratio(
            ratio(1e3, beside), get("processes", "model_steps_per_second")
        ),
        "gains": {
            "plain form in JAX over plain PyTorch": ratio(plain, alone),
            "less arithmetic: tables over the plain form, one run": ratio(alone, block("1")),
            f"batching: a block of {largest} over a block of 1": ratio(block("1"), ours),
        },
    }


def best_product(results: Mapping[str, Any], precision: str) -> float | None:
    """The fastest product of float32 matrices that was seen, in GFLOP/s."""
    peak = results.get("peak", {})
    seen = [peak.get("jax", {}).get(precision, {})]
    seen += [peak.get("torch", {}).get("float32", {})] if precision == "float32" else []
    found = [x["max"] for sizes in seen for x in sizes.values() if "max" in x]
    if precision == results["settings"]["precisions"][0]:
        found += [x for x in [find(results, "training", "product", "max")] if x is not None]
    return max(found, default=None)


def agreed(results: Mapping[str, Any]) -> bool:
    """Whether all PyTorch loops that ran had grokjax's losses."""
    loops = list(results.get("torch", {}).values())
    loops += results.get("processes", {}).get("processes", [])
    return all(loop.get("same_losses", True) for loop in loops if isinstance(loop, dict))


def ratio(x: float | None, y: float | None) -> float | None:
    return None if x is None or not y else float(f"{x / y:.4g}")


def plus(x: float | None, y: float | None, factor: float = 1.0) -> float | None:
    return None if x is None or y is None else x + factor * y


def find(results: Any, *path: str) -> Any:
    for part in path:
        results = results.get(part) if isinstance(results, Mapping) else None
    return results
