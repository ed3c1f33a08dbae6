"""How fast runs are trained, by the number of runs and the precision, and how fast evaluated."""

from collections.abc import Callable, Sequence
from typing import Any

from experiments.throughput import machine, programs, timing
from experiments.throughput.timing import Settings
from grokjax.config.sweep import RunConfig


def training_section(settings: Settings) -> dict[str, Any]:
    """Milliseconds per run-step of all blocks, of the plain form, and of an evaluation."""
    times = timing.apart(_time_training, settings)
    flops = programs.step_flops(programs.mainline(1))
    mixed = programs.mixed()
    padded_flops = programs.step_flops(mixed)
    result: dict[str, Any] = {
        "flops_per_run_step": flops,
        "counted": programs.COUNTED,
        "blocks": {},
    }
    for name, seconds in times.items():
        kind, *rest = name.split(", ")
        if kind.startswith("block"):
            size, precision = kind.removeprefix("block of "), rest[0]
            result["blocks"].setdefault(precision, {})[size] = _speed(seconds, flops)
    result["mixed"] = _speed(times["mixed moduli"], padded_flops) | {
        "moduli": programs.MIXED_MODULI,
        "flops_per_padded_run_step": padded_flops,
        "padding_waste": programs.padding_waste(mixed),
    }
    result["plain_form"] = timing.in_ms(times["plain form"])
    result["evaluation"] = timing.in_ms(times["evaluation"])
    result["product"] = timing.in_rates(times["product"], 2e-9 * settings.products[-1] ** 3)
    return result


def _speed(seconds: Any, flops: float) -> dict[str, Any]:
    """Of one block: milliseconds per run-step, GFLOP/s as counted, run-steps per second."""
    if isinstance(seconds, dict):
        return seconds
    return timing.rates(seconds) | {"gflops": timing.in_rates(seconds, 1e-9 * flops)}


def _time_training(settings: Settings) -> dict[str, Any]:
    first, *others = settings.precisions
    largest = max(settings.sizes)
    plans = [(n, first) for n in settings.sizes] + [(largest, x) for x in others]
    mainline, seconds = programs.mainline, settings.seconds
    cases = {
        f"block of {n}, {precision}": lambda n=n, x=precision: training_case(
            mainline(n), x, seconds
        )
        for n, precision in plans
    }
    cases["mixed moduli"] = lambda: training_case(programs.mixed(), first, seconds)
    cases["plain form"] = lambda: _plain_form_case(first, seconds)
    cases["evaluation"] = lambda: _evaluation_case(mainline(largest), first, seconds)
    size = settings.products[-1]
    cases["product"] = lambda: machine.product_case(machine.jax_product(size, first), settings)
    return timing.take_turns(cases, settings.repeats)


def training_case(runs: Sequence[RunConfig], precision: str, seconds: float) -> Callable[[], float]:
    # Longer for many runs: in a sweep each trains for seconds before its place takes the next.
    seconds *= max(1, len(runs) / 4)
    return timing.lasting(programs.Training(runs, precision).train, seconds, len(runs))


def _plain_form_case(precision: str, seconds: float) -> Callable[[], float]:
    (run,) = programs.mainline(1)
    return timing.lasting(programs.plain_form(run, precision), seconds)


def _evaluation_case(
    runs: Sequence[RunConfig], precision: str, seconds: float
) -> Callable[[], float]:
    """Losses and accuracies over both splits, one network at a time."""
    training = programs.Training(runs, precision)
    score = lambda count: [training.scores() for _ in range(count)]  # noqa: E731
    return timing.lasting(score, seconds, len(runs))
