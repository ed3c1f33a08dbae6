"""The numbers for people: one table of all sections."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from experiments.throughput.summary import best_product, find, ratio


def table(results: Mapping[str, Any]) -> str:
    """All sections for people: medians, with quartiles and the smallest in brackets."""
    here, count = results["machine"], results.get("training", {}).get("flops_per_run_step")
    lines = [
        f"{here['cpu']}, {here['cores']} cores, {here['memory_gib']} GiB; {here['devices']} x "
        f"{here['device']}; " + ", ".join(f"{k} {v}" for k, v in here["versions"].items() if v),
        f"precision {', '.join(results['settings']['precisions'])}; medians [quartiles; smallest]",
    ]
    if count:
        lines.append(f"a run-step is {count:.4g} operations: {results['training']['counted']}")
    for name, show in SHOWN.items():
        found = results.get(name)
        if not found:
            continue
        rows = show(results)
        lines += ["", next(rows)]
        problem = found.get("error") or found.get("skipped")
        lines += [f"  {problem}"] if problem else [f"  {row}".rstrip() for row in rows]
    return "\n".join(lines)


def _row(name: str, value: Any, unit: str, *notes: str) -> str:
    if isinstance(value, Mapping) and "error" in value:
        return f"{name:<46} {value['error']}"
    if isinstance(value, Mapping):
        low, high, least = (_number(value[x]) for x in ("lower_quartile", "upper_quartile", "min"))
        spread_of = f"[{low} to {high}; {least}]"
        text = f"{_number(value['median']):>8} {unit:<10} {spread_of:<28}"
    else:
        text = f"{_number(value):>8} {unit}"
    return f"{name:<46} {text} {'  '.join(notes)}"


def _number(x: float | None) -> str:
    return "-" if x is None else f"{x:.0f}" if abs(x) >= 1000 else f"{x:.3g}"


def _percent(x: float | None) -> str:
    return "-" if x is None else f"{100 * x:.1f} %"


def _show_peak(results: Mapping[str, Any]) -> Iterator[str]:
    yield "Product of two square matrices"
    for library, precisions in results["peak"].items():
        if "error" in precisions:
            yield _row(library, precisions, "")
            continue
        if library == "memory":
            yield _row("memory, read and written", precisions, "GB/s")
            continue
        for precision, sizes in precisions.items():
            for size, speed in sizes.items():
                yield _row(f"{library}, {precision}, {size}", speed, "GFLOP/s")


def _show_training(results: Mapping[str, Any]) -> Iterator[str]:
    training, made = results["training"], results["summary"]
    yield "One update of one run, by the size of its block"
    for precision, sizes in training.get("blocks", {}).items():
        peak = best_product(results, precision)
        for size, speed in sizes.items():
            yield _speed_row(f"block of {size}, {precision}", speed, peak)
    if "mixed" not in training:
        return
    moduli = training["mixed"]["moduli"]
    name = f"{len(moduli)} moduli {moduli[0]} to {moduli[-1]}, one block"
    yield _speed_row(name, training["mixed"], made["peak_gflops"])
    yield _row(
        "  of its arithmetic (counted above), padding",
        100 * training["mixed"]["padding_waste"],
        "%",
    )
    yield _row("plain form, one run (model.py)", training["plain_form"], "ms")
    in_steps = f"{_number(made['evaluation_in_training_steps'])} training steps"
    yield _row("evaluation: both losses and accuracies", training["evaluation"], "ms", in_steps)
    yield _row("slowest block over fastest", made["slowest_block_over_fastest"], "")


def _speed_row(name: str, speed: Mapping[str, Any], peak: float | None) -> str:
    if "error" in speed:
        return _row(name, speed, "")
    gflops, steps = (speed[x]["median"] for x in ("gflops", "model_steps_per_second"))
    notes = f"{_number(gflops)} GFLOP/s", f"{_percent(ratio(gflops, peak))} of the peak"
    return _row(name, speed["ms_per_run_step"], "ms", *notes, f"{_number(steps)} model-steps/s")


def _show_measures(results: Mapping[str, Any]) -> Iterator[str]:
    yield "Analysis"
    for name, what in (("checkpoints", "all measures"), ("mechanism", "the mechanism")):
        yield _row(
            f"checkpoints through {what}", results["measures"].get(f"{name}_per_second"), "a second"
        )


def _show_waiting(results: Mapping[str, Any]) -> Iterator[str]:
    yield "One update of one run in a sweep, by what the host does beside it"
    waiting = results["waiting"]
    alone = find(waiting, "training alone", "median")
    for name, time_of in waiting.items():
        over = ratio(find(time_of, "median"), alone)
        yield _row(name, time_of, "ms", *([f"{over} x training alone"] if over else []))


def _show_start(results: Mapping[str, Any]) -> Iterator[str]:
    yield "From the start of a process to the end of the first step of the mainline sweep"
    for name in ("cold", "cached"):
        parts = results["start"].get(name, {})
        notes = [
            f"{part.replace('_', ' ')} {_number(x['median'])}"
            for part, x in parts.items()
            if part != "seconds"
        ]
        yield _row(f"programs {name}", parts.get("seconds"), "s", *notes)


def _show_memory(results: Mapping[str, Any]) -> Iterator[str]:
    yield "Peak memory"
    for name, memory in results["memory"].items():
        if isinstance(memory, Mapping) and "process_mib" in memory:
            notes = [
                f"{what} {memory[key]} MiB"
                for key, what in (("device_mib", "device"), ("planned_mib", "planned"))
                if key in memory
            ]
            yield _row(name, memory["process_mib"], "MiB", *notes)
        elif isinstance(memory, Mapping):
            yield _row(name, memory, "")


def _show_limits(results: Mapping[str, Any]) -> Iterator[str]:
    limits = results["limits"]
    yield f"Training a block of {limits.get('runs', '?')}: shares of the summed time of operations"
    for kind, x in limits.get("share_of_summed_op_time", {}).items():
        yield _row(kind, 100 * x, "%")
    yield _row("XLA counts, a run-step", limits["operations_per_run_step"] / 1e9, "GFLOP")
    yield _row("  and in memory or cache", limits["bytes_per_run_step"] / 1e6, "MB")
    for key in ("cores_busy", "busy", "in_no_operation"):
        yield _row(f"{key.replace('_', ' ')}, of the time passed", 100 * limits[key], "%")
    yield _row("operations at once while busy", limits.get("at_once"), "")


def _show_torch(results: Mapping[str, Any]) -> Iterator[str]:
    yield "Instead of it: PyTorch, one update of one run"
    times = results["summary"]["times_others"]
    for name, loop in results["torch"].items():
        if isinstance(loop, Mapping):
            notes = _torch_notes(loop, times.get(name))
            yield _row(name, loop.get("ms_per_run_step", loop), "ms", *notes)


def _torch_notes(loop: Mapping[str, Any], times: float | None) -> Iterator[str]:
    if "same_losses" in loop:
        if times is not None:
            yield f"ours {_number(times)} x"
        yield f"{_number(loop['model_steps_per_second']['median'])} model-steps/s"
        error = f"{loop['largest_relative_error_of_losses']:.1e}"
        yield f"losses {'agree' if loop['same_losses'] else 'DIFFER'} ({error})"


def _show_processes(results: Mapping[str, Any]) -> Iterator[str]:
    found = results["processes"]
    yield "Plain PyTorch, one process a run, side by side; single-threaded, one a core, on a CPU"
    yield _row("all of them", found.get("model_steps_per_second"), "model-steps/s")
    for loop in found.get("processes", []):
        yield _row("one of them", loop["ms_per_run_step"], "ms", *_torch_notes(loop, None))


def _show_summary(results: Mapping[str, Any]) -> Iterator[str]:
    made = results["summary"]
    yield "In all"
    yield _row("model-steps per second, largest block", made["model_steps_per_second"], "")
    yield from _if_known("times plain PyTorch, training only", made["times_plain_pytorch"])
    for name, x in made["times_plain_pytorch_with_test_loss"].items():
        yield from _if_known(f"its test loss each epoch, ours {name.replace('_', ' ')}", x)
    yield from _if_known("times one process a core", made["times_one_process_a_core"])
    for name, x in made["gains"].items():
        yield from _if_known(name, x)


def _if_known(name: str, times: float | None) -> list[str]:
    return [] if times is None else [_row(name, times, "x")]


SHOWN: dict[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "peak": _show_peak,
    "training": _show_training,
    "measures": _show_measures,
    "waiting": _show_waiting,
    "start": _show_start,
    "memory": _show_memory,
    "limits": _show_limits,
    "torch": _show_torch,
    "processes": _show_processes,
    "summary": _show_summary,
}
