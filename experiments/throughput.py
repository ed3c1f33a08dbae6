"""How fast grokjax is on this machine, and what limits it; beside it, what one would use instead.

    python -m experiments.throughput --out FILE.json [--quick]
    python -m experiments.throughput --out FILE.json --blocks 1,8,128 --precisions float32

Prints one table and writes its numbers, each as median, smallest, largest and quartiles over
repeats. Sections run one after the other, each in a process of its own: a section that fails, for
want of memory for example, is recorded and the rest goes on; the file is written after each. Calls
that are compared with each other take turns. Let nothing else run meanwhile. The PyTorch loops
(`experiments.torch_baselines`) need torch; ModelBatch is measured where it is installed.

Training is the paper's mainline run, p = 113, 30 % of the pairs. A run-step is one update of one
run; its arithmetic is counted as `grokjax.blocks.Load.step_flops` has it, whatever a program does.
"""

import argparse
import contextlib
import io
import json
import math
import multiprocessing
import os
import platform
import re
import resource
import shlex
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from grokjax import blocks, commandline, losses, model, optimizers, tasks
from grokjax import config as config_lib
from grokjax.blocks import Block
from grokjax.commandline import Parser, run_main
from grokjax.config import ConfigError, RunConfig
from grokjax.measures import mechanism, progress

MIXED_MODULI = (97, 98, 101, 103, 106, 109, 112, 113)
WARM_UP = 3
"""Of the checked steps of a PyTorch loop, those that are not timed."""
LOSS_TOLERANCE = 1e-4
"""Largest relative difference between two programs' training losses over the checked steps."""
MAINLINE = Path(__file__).parents[1] / "sweeps" / "mainline.py"
PROFILED_STEPS = 5
UNTIL_THE_END = 10_000_000
OURS = "grokjax, beside them"


class Settings(NamedTuple):
    """How much is measured."""

    accelerated: bool
    sizes: tuple[int, ...]  # runs of the blocks
    precisions: tuple[str, ...]  # of all blocks the first, of the largest block the others
    products: tuple[int, ...]  # sizes of the square matrices
    repeats: int = 7
    seconds: float = 1.0  # that a timed call lasts, about
    torch_runs: int = 8
    measured: int = 16  # networks through the measures at a time
    starts: int = 3
    waits: int = 5
    waited: int = 300  # steps of a sweep, with a checkpoint every 100
    checked: int = 20  # steps over which losses are compared

    @classmethod
    def of(cls, options: argparse.Namespace, backend: str) -> "Settings":
        accelerated = backend != "cpu"
        sizes = options.blocks or (1, 2, 4, 8, 16, 32, *((64, 128) if accelerated else ()))
        more = ("bfloat16_3x", "tensorfloat32") if accelerated else ()
        precisions = options.precisions or ("float32", *more)
        products = (4096, 8192, 16384) if accelerated else (1024, 2048, 4096)
        if not options.quick:
            return cls(accelerated, sizes, precisions, products)
        sizes = options.blocks or (1, 2)
        few = dict(repeats=2, seconds=0.05, torch_runs=2, measured=2, starts=1, checked=6)
        few |= dict(waits=1, waited=20)
        return cls(accelerated, sizes, precisions[:1], products[:2], **few)


def main(argv: list[str]) -> int:
    options = _options(argv)
    out = Path(options.out)
    results: dict[str, Any] = {
        "command": shlex.join(["python", "-m", "experiments.throughput", *argv]),
        "started": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }
    _write(out, results)
    results["machine"] = apart(machine)
    settings = Settings.of(options, results["machine"]["backend"])
    results |= {"settings": settings._asdict(), "took_seconds": {}}
    names = [name for name in SECTIONS if not options.sections or name in options.sections]
    for i, name in enumerate(names):
        say(f"[{i + 1}/{len(names)}] {name}")
        start = time.perf_counter()
        results[name] = attempt(SECTIONS[name], settings)
        results["took_seconds"][name] = round(time.perf_counter() - start, 1)
        results["summary"] = summary(results)
        _write(out, results)
    print(table(results))
    print(f"\nwritten to {out}")
    return int(any("error" in results[name] for name in names) or not agreed(results))


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m experiments.throughput",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--out", metavar="FILE", required=True, help="for the numbers, as JSON")
    parser.add_argument("--quick", action="store_true", help="few repeats: to see that it works")
    parser.add_argument("--blocks", type=_sizes, metavar="N,N", help="runs of the blocks")
    names = lambda text: tuple(text.split(","))  # noqa: E731
    parser.add_argument("--precisions", type=names, metavar="NAME,NAME", help="of the products")
    parser.add_argument("--sections", type=names, metavar="NAME,NAME", help=", ".join(SECTIONS))
    options = parser.parse_args(argv)
    for name in options.precisions or ():
        config_lib.check("precision", name)
    for name in options.sections or ():
        if name not in SECTIONS:
            raise ConfigError(f"--sections: {config_lib.suggest(name, SECTIONS)}")
    return options


def _sizes(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 1,8,128")
    return tuple(sorted({int(x) for x in text.split(",")}))


def _write(out: Path, results: Mapping[str, Any]) -> None:
    try:
        out.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n")
    except OSError as error:
        raise ConfigError(f"--out {out} is not writable: {error.strerror}") from error


# --- Processes, repeats and failures ------------------------------------------------------------


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def apart(function: Callable, *args: Any, **environment: str) -> Any:
    """`function(*args)` in a fresh process with more environment variables."""
    with _environment(environment):
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, spawn, blocks.use_all_cores) as pool:
            try:
                return pool.submit(function, *args).result()
            except BrokenProcessPool as error:
                raise MemoryError("the process died, most likely for want of memory") from error


@contextlib.contextmanager
def _environment(more: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def attempt(function: Callable, *args: Any) -> Any:
    """What the function returns, or its error in one line."""
    try:
        return function(*args)
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        say(f"  failed: {text}")
        return {"error": text}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and spread, to five digits."""
    names = ("min", "lower_quartile", "median", "upper_quartile", "max")
    quantiles = np.percentile(values, (0, 25, 50, 75, 100))
    numbers = {name: float(f"{x:.5g}") for name, x in zip(names, quantiles, strict=True)}
    return numbers | {"repeats": len(values)}


def in_ms(seconds: Any) -> Any:
    """Times as a spread in milliseconds; a failure stays one."""
    return seconds if isinstance(seconds, dict) else spread([1e3 * x for x in seconds])


def in_rates(seconds: Any, work: float = 1.0) -> Any:
    """Work per second as a spread; a failure stays one."""
    return seconds if isinstance(seconds, dict) else spread([work / x for x in seconds])


def _rates(seconds: Sequence[float]) -> dict[str, Any]:
    return {"ms_per_run_step": in_ms(seconds), "model_steps_per_second": in_rates(seconds)}


def take_turns(cases: Mapping[str, Callable], repeats: int) -> dict[str, Any]:
    """The times of cases that are measured in turn, so that they see the same machine.

    Each case is prepared by calling it; that gives the function that does one timed call and
    returns seconds. Result: a list of seconds for each, or {"error": ...}.
    """
    ready, times = {}, {}
    for name, prepare in cases.items():
        say(f"  {name}: preparing")
        ready[name] = attempt(prepare)
        times[name] = ready[name] if isinstance(ready[name], dict) else []
    for _ in range(repeats):
        for name, once in ready.items():
            if isinstance(times[name], list):
                seconds = attempt(once)
                times[name] = seconds if isinstance(seconds, dict) else [*times[name], seconds]
    return times


def clocked(call: Callable, *args: Any) -> float:
    """Seconds that a call takes, up to the end of what it left to the device."""
    start = time.perf_counter()
    jax.block_until_ready(call(*args))
    return time.perf_counter() - start


def lasting(call: Callable[[int], Any], seconds: float, work: float = 1.0) -> Callable[[], float]:
    """Warms up `call(count)` and chooses a count; the result times it, for one unit of work."""
    call(1)
    count = max(1, round(seconds / clocked(call, 1)))
    return lambda: clocked(call, count) / (count * work)


# --- The machine and its peak -------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """Hardware and versions; `cores` are those that this process may use."""
    device = jax.devices()[0]
    return {
        "cpu": _cpu_model(),
        "cores": blocks.num_cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "backend": jax.default_backend(),
        "device": device.device_kind,
        "devices": jax.device_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in ("grokjax", "jax", "jaxlib", "torch")},
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def _cpu_model() -> str:
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def peak_section(settings: Settings) -> dict[str, Any]:
    """GFLOP/s of a product of two square float32 matrices, and GB/s to read and write memory."""
    result = {"jax": apart(_jax_products, settings)}
    result["memory"] = attempt(apart, _memory_speed, settings)
    if _version("torch"):
        result["torch"] = attempt(apart, _torch_products, settings)
    return result


def _jax_products(settings: Settings) -> dict[str, Any]:
    return {
        precision: _products(settings, lambda size, p=precision: jax_product(size, p))
        for precision in settings.precisions
    }


def _torch_products(settings: Settings) -> dict[str, Any]:
    from experiments import torch_baselines

    return {"float32": _products(settings, torch_baselines.product)}


def _memory_speed(settings: Settings) -> dict[str, Any]:
    """GB/s of reading and writing an array that no cache holds, in place."""
    x = jnp.zeros(2**27 if settings.accelerated else 2**26)
    size = x.nbytes
    increase = jax.jit(lambda x: x + 1, donate_argnums=0)

    def move(count: int) -> jax.Array:
        nonlocal x
        for _ in range(count):
            x = increase(x)
        return x

    once = lasting(move, settings.seconds / 4)
    return in_rates([once() for _ in range(settings.repeats)], 2e-9 * size)


def _products(settings: Settings, product: Callable) -> dict[str, Any]:
    names = {f"product of {n}": n for n in settings.products}
    cases = {x: lambda n=n: product_case(product(n), settings) for x, n in names.items()}
    times = take_turns(cases, settings.repeats)
    return {str(n): in_rates(times[x], 2e-9 * n**3) for x, n in names.items()}


def product_case(multiply: Callable, settings: Settings) -> Callable[[], float]:
    return lasting(lambda count: [multiply() for _ in range(count)][-1], settings.seconds / 4)


def jax_product(size: int, precision: str) -> Callable[[], jax.Array]:
    """A call that multiplies two float32 matrices on the device."""
    x = jnp.ones((size, size))

    @jax.jit
    def multiply(x):
        with blocks.matmul_precision(precision):
            return x @ x

    return lambda: multiply(x)


# --- Training -----------------------------------------------------------------------------------


def mainline(count: int, **fields: Any) -> tuple[RunConfig, ...]:
    """The paper's run for so many seeds, without an end."""
    fields = {"steps": UNTIL_THE_END} | fields
    return tuple(RunConfig(seed=seed, **fields) for seed in range(count))


def mixed() -> tuple[RunConfig, ...]:
    return tuple(mainline(1, modulus=p)[0] for p in MIXED_MODULI)


def block_of(runs: Sequence[RunConfig]) -> Block:
    return blocks.block_of(runs, range(len(runs)))


def training_section(settings: Settings) -> dict[str, Any]:
    """Milliseconds per run-step of all blocks, of the plain form, and of an evaluation."""
    times = apart(_time_training, settings)
    load, mixed_load = block_of(mainline(1)).load, block_of(mixed()).load
    result: dict[str, Any] = {
        "flops_per_run_step": load.step_flops,
        "counted": "matrix products over the examples, forward and backward: "
        "6 (d_model d_mlp + d_mlp v + d_model v) operations an example, v = p + 1",
        "blocks": {},
    }
    for name, seconds in times.items():
        kind, *rest = name.split(", ")
        if kind.startswith("block"):
            size, precision = kind.removeprefix("block of "), rest[0]
            result["blocks"].setdefault(precision, {})[size] = _speed(seconds, load)
    result["mixed"] = _speed(times["mixed moduli"], mixed_load) | {
        "moduli": MIXED_MODULI,
        "flops_per_padded_run_step": mixed_load.step_flops,
        "padding_waste": mixed_load.waste,
    }
    result["plain_form"] = in_ms(times["plain form"])
    result["evaluation"] = in_ms(times["evaluation"])
    result["product"] = in_rates(times["product"], 2e-9 * settings.products[-1] ** 3)
    return result


def _speed(seconds: Any, load: blocks.Load) -> dict[str, Any]:
    """Of one block: milliseconds per run-step, GFLOP/s as counted, run-steps per second."""
    if isinstance(seconds, dict):
        return seconds
    return _rates(seconds) | {"gflops": in_rates(seconds, 1e-9 * load.step_flops)}


def _time_training(settings: Settings) -> dict[str, Any]:
    first, *others = settings.precisions
    largest = max(settings.sizes)
    plans = [(n, first) for n in settings.sizes] + [(largest, x) for x in others]
    cases = {
        f"block of {n}, {precision}": lambda n=n, x=precision: _training_case(
            mainline(n), x, settings.seconds
        )
        for n, precision in plans
    }
    cases["mixed moduli"] = lambda: _training_case(mixed(), first, settings.seconds)
    cases["plain form"] = lambda: _plain_form_case(mainline(1), first, settings.seconds)
    cases["evaluation"] = lambda: _evaluation_case(mainline(largest), first, settings.seconds)
    size = settings.products[-1]
    cases["product"] = lambda: product_case(jax_product(size, first), settings)
    return take_turns(cases, settings.repeats)


def _training_case(runs: Sequence[RunConfig], precision: str, seconds: float):
    block = block_of(runs)
    trainer, data = blocks.trainer(block, precision), blocks.block_data(block)
    state = blocks.initial_states(block)

    def train(steps: int):
        nonlocal state
        state = trainer.train(state, data, steps)  # donates the old one
        return state

    return lasting(train, seconds, len(runs))


def _evaluation_case(runs: Sequence[RunConfig], precision: str, seconds: float):
    """Losses and accuracies over both splits, one network at a time."""
    block = block_of(runs)
    trainer, data = blocks.trainer(block, precision), blocks.block_data(block)
    params = blocks.initial_states(block).params
    score = lambda count: [trainer.scores(params, data) for _ in range(count)]  # noqa: E731
    return lasting(score, seconds, len(runs))


def _plain_form_case(runs: Sequence[RunConfig], precision: str, seconds: float):
    """One run through `model.py` at all three positions, as XLA compiles it."""
    block = block_of(runs)
    only = lambda tree: jax.tree.map(lambda x: jnp.asarray(x)[0], tree)  # noqa: E731
    hyper, examples, _ = map(only, blocks.block_data(block))
    params = only(blocks.initial_states(block).params)
    optimizer = optimizers.adamw(hyper, block.program.betas)

    def loss(params):
        logits = model.forward(params, examples.inputs, block.program.arch)["logits"][:, -1]
        classes = logits.shape[-1]
        return losses.cross_entropy(logits.T, examples.labels, classes) @ examples.weights

    def update(_, carry):
        params, opt_state = carry
        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    @jax.jit
    def train(carry, steps):
        with blocks.matmul_precision(precision):
            return jax.lax.fori_loop(0, steps, update, carry)

    carry = params, optimizer.init(params)
    return lasting(lambda steps: train(carry, steps), seconds)


# --- Measures, start and memory -----------------------------------------------------------------


def measures_section(settings: Settings) -> dict[str, Any]:
    """Networks per second through all progress measures, and through all mechanism functions."""
    return apart(_time_measures, settings)


def _time_measures(settings: Settings) -> dict[str, Any]:
    block = block_of(mainline(settings.measured))
    arch, p = block.program.arch, block.size
    data = blocks.block_data(block)
    params = jax.device_get(blocks.initial_states(block).params)  # evaluation reads from disk
    key = np.tile(np.isin(np.arange(p // 2), (13, 34, 40, 41)), (settings.measured, 1))

    def case(function: Callable) -> Callable[[], float]:
        measure = blocks.mapped(lambda run: function(run[0], run[1], arch, run[2]))
        call = lambda: jax.device_get(measure((params, data.task, key)))  # noqa: E731
        repeat = lambda count: [call() for _ in range(count)]  # noqa: E731
        return lasting(repeat, settings.seconds, settings.measured)

    cases = {"checkpoints": progress.progress, "mechanism": mechanism.mechanism}
    times = take_turns({name: lambda f=f: case(f) for name, f in cases.items()}, settings.repeats)
    rates = {f"{name}_per_second": in_rates(seconds) for name, seconds in times.items()}
    return {**rates, "networks_at_a_time": settings.measured}


def waiting_section(settings: Settings) -> dict[str, Any]:
    """What a sweep's host loop costs, beside the same training in one call."""
    return {name: in_ms(seconds) for name, seconds in apart(_time_waiting, settings).items()}


def _time_waiting(settings: Settings) -> dict[str, Any]:
    from grokjax import runner

    count = max(settings.sizes) if settings.accelerated else blocks.num_cores()
    runs, precision = mainline(count, steps=settings.waited), settings.precisions[0]
    prepared = runner.Prepared.make(block_of(runs), precision)
    block, trainer, data = prepared
    never = dict(eval_every=settings.waited, checkpoint_every=settings.waited)
    every = max(1, settings.waited // 3)

    def alone() -> Any:
        return trainer.train(blocks.initial_states(block), data, settings.waited)

    def sweep(tell: Callable, **fields: int) -> None:
        config = config_lib.SweepConfig(runs, precision=precision, **(never | fields))
        with tempfile.TemporaryDirectory() as folder:
            runner.train_block(config, Path(folder), prepared, tell, lambda: False)

    def with_a_line() -> None:
        with contextlib.redirect_stderr(io.StringIO()):
            progress = runner.Progress(settings.waited * count, count)
            with progress.bar:
                sweep(progress.update, eval_every=every, checkpoint_every=every)

    silent = lambda *_: None  # noqa: E731
    calls = {
        "training alone": alone,
        f"losses every {every} steps": lambda: sweep(silent, eval_every=every),
        "and as many checkpoints": lambda: sweep(silent, eval_every=every, checkpoint_every=every),
        "and a progress line": with_a_line,
    }
    steps = settings.waited * count

    with_a_line()  # compiles all that the others use
    case = lambda call: lambda: clocked(call) / steps  # noqa: E731
    return take_turns({name: lambda x=x: case(x) for name, x in calls.items()}, settings.waits)


def start_section(settings: Settings) -> dict[str, Any]:
    """Seconds from the start of a process to the end of the first step of the mainline sweep."""
    starts: dict[str, list] = {"cold": [], "cached": []}
    for i in range(settings.starts):
        say(f"  start {i + 1} of {settings.starts}, without and with cached programs")
        with tempfile.TemporaryDirectory() as cache:
            for times in starts.values():
                where = {"JAX_COMPILATION_CACHE_DIR": cache}
                times.append(apart(_first_step, time.time(), settings.precisions[0], **where))
    return {
        name: {part: spread([x[part] for x in times]) for part in times[0]}
        for name, times in starts.items()
    }


def _first_step(began: float, precision: str) -> dict[str, float]:
    from grokjax import runner  # with all that the command imports

    imported = time.time()
    runner.set_up_jax()
    sweep = commandline.read_sweep(["--config", str(MAINLINE)]).sweep
    block = blocks.plan(sweep.runs, memory=blocks.device_memory(), width=blocks.at_a_time())[0]
    data, state = blocks.block_data(block), blocks.initial_states(block)
    jax.block_until_ready(state)
    prepared = time.time()
    jax.block_until_ready(blocks.trainer(block, precision).train(state, data, 1))
    return {
        "seconds": time.time() - began,
        "to_imports": imported - began,
        "to_initial_states": prepared - began,
    }


def memory_section(settings: Settings) -> dict[str, Any]:
    """Peak memory of a process that trains and scores a block; of its device where it has one."""
    sizes = sorted({min(settings.sizes), max(settings.sizes)})
    result = {"nothing": attempt(apart, peak_memory)}
    for n in sizes:
        name = f"block of {n}"
        result[name] = attempt(apart, _memory_of_block, n, settings.precisions[0])
        planned = block_of(mainline(n)).load.memory(0 if settings.accelerated else 1)
        result[name]["planned_mib"] = round(planned / 2**20)
    if _version("torch"):
        given = apart(reference, 1, 1)
        result["PyTorch, plain, one run"] = attempt(apart, _memory_of_torch, given)
    return result


def _memory_of_block(count: int, precision: str) -> dict[str, int]:
    block = block_of(mainline(count))
    trainer, data = blocks.trainer(block, precision), blocks.block_data(block)
    state = trainer.train(blocks.initial_states(block), data, 2)
    jax.block_until_ready(trainer.scores(state.params, data))
    return peak_memory()


def _memory_of_torch(given: "Reference") -> dict[str, int]:
    from experiments import torch_baselines as torch_loops

    loop = torch_loops.plain(given.params[0], torch_loops.Data(*given.data()))
    for _ in range(2):
        loop.step()
    return peak_memory()


def peak_memory() -> dict[str, int]:
    """Of this process so far, in MiB."""
    unit = 2**20 if platform.system() == "Darwin" else 2**10
    result = {"process_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)}
    stats = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        result["device_mib"] = round(stats["peak_bytes_in_use"] / 2**20)
    return result


# --- What limits it -----------------------------------------------------------------------------


class Op(NamedTuple):
    """An operation of a compiled program that runs as one."""

    kind: str
    source: str  # its opcode and the operation in the program it came from


PRODUCTS, ELEMENTWISE = "matrix products", "element-wise, of loss and gradient"
OPTIMISER, MOVES, OTHER = "optimiser and bookkeeping", "moving data", "unknown"
MOVING = set(
    "bitcast broadcast concatenate constant copy copy-start copy-done dynamic-slice iota pad "
    "dynamic-update-slice get-tuple-element parameter reshape slice transpose tuple".split()
)
CONTROL = {"while", "call", "conditional"}
_HEADER = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (?:\(.*?\)|\S+) ([\w\-]+)\(")


def limits_section(settings: Settings) -> dict[str, Any]:
    """Where the time of training goes, by operation of the compiled program."""
    largest = max(settings.sizes)
    size = largest if settings.accelerated else min(8, largest)
    return apart(_profile, size, settings.precisions[0])


def _profile(size: int, precision: str) -> dict[str, Any]:
    block = block_of(mainline(size))
    data, state = blocks.block_data(block), blocks.initial_states(block)
    steps = jnp.int32(PROFILED_STEPS)
    train = blocks.trainer(block, precision).train.lower(state, data, steps).compile()
    ops = operations(train.as_text())
    state = train(state, data, steps)
    jax.block_until_ready(state)

    def once() -> Any:
        nonlocal state
        state = train(state, data, steps)
        return state

    start, cpu = time.perf_counter(), time.process_time()
    alone = float(np.median([clocked(once) for _ in range(5)]))
    cores_busy = (time.process_time() - cpu) / (time.perf_counter() - start) / blocks.num_cores()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            watched = clocked(once)
        (path,) = Path(folder).rglob("*.xplane.pb")
        events = op_events(jax.profiler.ProfileData.from_file(str(path)))
    events = [event for event in events if ops.get(event[0], Op("", "")).kind != "control"]
    return {
        "runs": size,
        "steps": PROFILED_STEPS,
        "cores_busy": cores_busy,
        "ms_per_run_step": 1e3 * alone / (size * PROFILED_STEPS),
        "ms_per_run_step_while_profiled": 1e3 * watched / (size * PROFILED_STEPS),
        **_counted(train, 1 if blocks.default_width() else size / jax.local_device_count()),
        **shares(events, ops, watched),
    }


def _counted(compiled: Any, runs: float) -> dict[str, float]:
    """What XLA counts in one update of one run: a loop's body once, each array at each use."""
    found = compiled.cost_analysis()
    return {
        "operations_per_run_step": found["flops"] / runs,
        "bytes_per_run_step": found["bytes accessed"] / runs,
    }


def operations(hlo: str) -> dict[str, Op]:
    """The operations of a compiled program by name, from its text."""
    bodies: dict[str, list[tuple[str, str, str]]] = {}
    for line in hlo.splitlines():
        if header := _HEADER.match(line):
            body = bodies.setdefault(header[1], [])
        elif found := _INSTRUCTION.match(line):
            body.append((found[1], found[2], line))

    def inside(line: str) -> list[tuple[str, str]]:
        """Opcodes and lines of what a fusion computes."""
        called = re.search(r"calls=%?([\w.\-]+)", line)
        inner = bodies.get(called[1], []) if called else []
        return [pair for _, opcode, x in inner for pair in ((opcode, x), *inside(x))]

    return {
        name: Op(_kind(opcode, line, inside(line)), f"{opcode} {_source(line)}".strip())
        for body in bodies.values()
        for name, opcode, line in body
    }


def _kind(opcode: str, line: str, inside: Sequence[tuple[str, str]]) -> str:
    parts = [(opcode, line), *inside]
    if opcode in CONTROL:
        return "control"
    if any(x in ("dot", "convolution") or re.search("gemm|matmul", y) for x, y in parts):
        return PRODUCTS
    if all(x in MOVING or x == "fusion" for x, _ in parts):
        return MOVES
    source = _source(line) or " ".join(_source(y) for _, y in inside)
    if not source:
        return OTHER
    return ELEMENTWISE if "jvp" in source else OPTIMISER


def _source(line: str) -> str:
    found = re.search(r'op_name="([^"]*)"', line)
    return found[1] if found else ""


def op_events(profile: Any) -> list[tuple[str, float, float]]:
    """(operation, start, end) in ns of every operation that the devices ran."""
    on_device = [plane for plane in profile.planes if plane.name.startswith("/device:")]
    events = []
    for plane in on_device or profile.planes:
        lines = list(plane.lines)
        lines = [line for line in lines if line.name == "XLA Ops"] or lines
        for line in lines:
            for event in line.events:
                name = dict(event.stats).get("hlo_op")
                if name is None and line.name == "XLA Ops":  # TPU: the instruction's text
                    name = event.name.split(" ")[0].lstrip("%")
                if name is not None:
                    events.append((name, event.start_ns, event.start_ns + event.duration_ns))
    return events


def shares(
    events: Sequence[tuple[str, float, float]], ops: Mapping[str, Op], wall: float
) -> dict[str, Any]:
    """Shares of the time of all operations, by kind and by operation.

    Operations may overlap, so their times add up to more than the time that passed: `busy` is the
    share of it during which any ran, and `at_once` how many ran then. In the rest an accelerator
    waits for its host; a CPU multiplies, for XLA does not report the products of Eigen as a whole.
    """
    time_of: Counter[str] = Counter()
    for name, start, end in events:
        time_of[name] += end - start
    total = sum(time_of.values())
    if not total:
        raise ValueError("the profile shows no operations of the program")
    kinds: Counter[str] = Counter()
    for name, spent in time_of.items():
        kinds[ops[name].kind if name in ops else OTHER] += spent
    busy = covered(events)
    return {
        "share_of_summed_op_time": {kind: x / total for kind, x in kinds.most_common()},
        "busy": busy / (1e9 * wall),
        "in_no_operation": max(0.0, 1 - busy / (1e9 * wall)),
        "at_once": total / busy,
        "largest": [
            {"op": name, "share": x / total, "kind": ops[name].kind, "source": ops[name].source}
            for name, x in time_of.most_common(12)
            if name in ops
        ],
    }


def covered(events: Sequence[tuple[str, float, float]]) -> float:
    """Length of the union of the events' intervals."""
    length, reached = 0.0, -math.inf
    for _, start, end in sorted(events, key=lambda event: event[1]):
        length += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return length


# --- What one would use instead -----------------------------------------------------------------


class Reference(NamedTuple):
    """Runs as grokjax trains them: where they start, on what, and their losses [step, run]."""

    params: list[Any]
    inputs: np.ndarray
    labels: np.ndarray
    test_inputs: np.ndarray
    test_labels: np.ndarray
    losses: np.ndarray

    def only(self, run: int) -> "Reference":
        """The same of one run alone."""
        data = (x[run : run + 1] for x in self[1:5])
        return Reference([self.params[run]], *data, self.losses[:, run : run + 1])

    def data(self):
        """What the first run trains on."""
        return tuple(x[0] for x in self[1:5])


def reference(count: int, steps: int, **fields: Any) -> Reference:
    """The first `count` seeds; losses are those of the parameters before each of the steps."""
    block = block_of(mainline(count, **fields))
    trainer, data = blocks.trainer(block), blocks.block_data(block)
    state = blocks.initial_states(block)
    params = jax.device_get(state.params)
    recorded = []
    for _ in range(steps):
        recorded.append(np.asarray(trainer.scores(state.params, data).train_loss))
        state = trainer.train(state, data, 1)
    run_tasks = [blocks.task_of(run) for run in block.runs]
    test_sets = [tasks.examples(task._replace(train=~task.train)) for task in run_tasks]
    return Reference(
        [jax.tree.map(lambda x, i=i: x[i], params) for i in range(count)],
        *(np.asarray(x) for x in data.examples[:2]),
        np.stack([x.inputs for x in test_sets]),
        np.stack([x.labels for x in test_sets]),
        np.stack(recorded),
    )


def torch_section(settings: Settings) -> dict[str, Any]:
    """Every PyTorch loop, checked against grokjax's losses, timed in turn.

    grokjax is timed anew before and after, apart from PyTorch's threads: machines change within
    the minutes that lie between the sections.
    """
    if not _version("torch"):
        return {"skipped": "torch is not installed"}
    say(f"  losses of {settings.torch_runs} runs over {settings.checked} steps")
    given = apart(reference, settings.torch_runs, settings.checked)
    before = apart(_time_ours, settings)
    found = apart(time_torch, given)
    ours = {"runs": settings.torch_runs} | _rates([*before, *apart(_time_ours, settings)])
    return {OURS: ours} | found | {"tolerance": LOSS_TOLERANCE, "checked": settings.checked}


def _time_ours(settings: Settings) -> list[float]:
    block = mainline(settings.torch_runs)
    once = _training_case(block, settings.precisions[0], settings.seconds)
    return [once() for _ in range(settings.repeats)]


def time_torch(given: Reference) -> dict[str, Any]:
    """The loops of `torch_cases`, a step at a time in turn: times, and largest error of losses."""
    loops = {}
    for name, make in torch_cases(given).items():
        loops[name] = attempt(make)
    taken = {name: loop for name, loop in loops.items() if not isinstance(loop, dict)}
    records: dict[str, list] = {name: [] for name in taken}
    for i in range(len(given.losses)):
        say(f"  step {i + 1} of {len(given.losses)} of {len(taken)} PyTorch loops")
        for name, loop in list(taken.items()):
            start = time.perf_counter()
            found = attempt(loop.step)
            records[name].append((time.perf_counter() - start, found))
            if isinstance(found, dict):
                loops[name] = found
                del taken[name]
    return {"threads": _torch_threads()} | {
        name: _torch_result(loops[name].runs, records[name], given.losses)
        if name in taken
        else loops[name]
        for name in loops
    }


def torch_cases(given: Reference) -> dict[str, Callable]:
    """What makes each loop, by its name in the table."""
    from experiments import torch_baselines as torch_loops

    params, count = given.params, len(given.params)
    one = torch_loops.Data(*given.data())
    stacked = torch_loops.Data(given.inputs, given.labels)
    plain, vmapped, last = torch_loops.plain, torch_loops.vmapped, torch_loops.LastPosition
    return {
        "plain": lambda: plain(params[0], one),
        "plain, test loss each epoch": lambda: plain(params[0], one, test="graph"),
        "plain, test loss each epoch, no_grad": lambda: plain(params[0], one, test="no_grad"),
        "last position only": lambda: plain(params[0], one, last),
        f"torch.func vmap, {count} runs": lambda: vmapped(params, stacked),
        f"torch.func vmap, {count} runs, last position only": lambda: vmapped(
            params, stacked, last
        ),
        f"ModelBatch, {count} runs": lambda: torch_loops.model_batch(params, stacked),
    }


def _torch_threads() -> int:
    import torch

    return torch.get_num_threads()


def _torch_result(runs: int, records: Sequence[tuple], expected: np.ndarray) -> dict[str, Any]:
    seconds, found = zip(*records, strict=True)
    times = [x / runs for x in seconds[min(WARM_UP, len(seconds) - 1) :]]
    error = np.max(np.abs(np.stack(found) / expected[:, :runs] - 1))
    return {
        "runs": runs,
        **_rates(times),
        "largest_relative_error_of_losses": float(f"{error:.3g}"),
        "same_losses": bool(error < LOSS_TOLERANCE),
    }


def processes_section(settings: Settings) -> dict[str, Any]:
    """Plain PyTorch loops side by side: one single-threaded process a core, or eight on a GPU."""
    if not _version("torch"):
        return {"skipped": "torch is not installed"}
    count = 8 if settings.accelerated else blocks.num_cores()
    given = apart(reference, count, settings.checked)
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(count)
    with ProcessPoolExecutor(count, spawn, _keep_barrier, (barrier,)) as pool:
        parts = [given.only(i) for i in range(count)]
        results = list(pool.map(_one_process, parts))
    together = sum(result["model_steps_per_second"]["median"] for result in results)
    return {"processes": results, "count": count, "model_steps_per_second": together}


def _keep_barrier(barrier: Any) -> None:
    global _barrier
    _barrier = barrier


def _one_process(given: Reference) -> dict[str, Any]:
    import torch

    from experiments import torch_baselines as torch_loops

    torch.set_num_threads(1)
    loop = torch_loops.plain(given.params[0], torch_loops.Data(*given.data()))
    records = []
    _barrier.wait(timeout=300)
    for _ in range(len(given.losses)):
        start = time.perf_counter()
        found = loop.step()
        records.append((time.perf_counter() - start, found))
    return _torch_result(1, records, given.losses)


# --- What it comes to ---------------------------------------------------------------------------


def summary(results: Mapping[str, Any]) -> dict[str, Any]:
    """Ratios between the medians of what was measured so far; None where something is missing."""
    first, largest = results["settings"]["precisions"][0], str(max(results["settings"]["sizes"]))
    get = lambda *path: _find(results, *path)  # noqa: E731
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
    every = config_lib.SETTINGS["eval_every"].default
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
        found += [x for x in [_find(results, "training", "product", "max")] if x is not None]
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


def _find(results: Any, *path: str) -> Any:
    for part in path:
        results = results.get(part) if isinstance(results, Mapping) else None
    return results


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
    alone = _find(waiting, "training alone", "median")
    for name, time_of in waiting.items():
        over = ratio(_find(time_of, "median"), alone)
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


SECTIONS: dict[str, Callable[[Settings], dict[str, Any]]] = {
    "peak": peak_section,
    "training": training_section,
    "measures": measures_section,
    "waiting": waiting_section,
    "start": start_section,
    "memory": memory_section,
    "limits": limits_section,
    "torch": torch_section,
    "processes": processes_section,
}
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


if __name__ == "__main__":
    sys.exit(run_main(main))
