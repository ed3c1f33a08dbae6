"""A sweep from its first step to its figures: prepare, train, measure, draw, obey signals."""

import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

from grokjax import blocks as blocks_lib
from grokjax import (
    checkpoints,
    devices,
    evaluate,
    loop,
    measuring,
    page,
    plots,
    recorded,
    report,
    results,
    workdir,
)
from grokjax.blocks import Block
from grokjax.claims import Claims, living
from grokjax.config import SweepConfig
from grokjax.errors import ConfigError, DamagedError
from grokjax.measures.steps import ACCURACY_REACHED
from grokjax.prepare import Shard, check_path, places_of, prepare
from grokjax.signals import Interrupted, Signals

__all__ = ["Interrupted", "analyze", "asks_to_join", "run_sweep", "set_up_jax"]


def set_up_jax() -> None:
    """What commands ask of JAX before its first use: to keep compiled programs.

    Unless JAX is already told where, programs are kept in the user's cache directory, by machine: a
    program for one CPU may not run on another. They are code, so the folder is the user's alone.
    """
    if jax.config.jax_compilation_cache_dir is not None:
        return
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "grokjax"
    with suppress(OSError):
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = cache.stat()
        if found.st_uid == os.getuid():
            cache.chmod(0o700)
            jax.config.update("jax_compilation_cache_dir", str(cache / platform.node()))


def run_sweep(
    sweep: SweepConfig,
    folder: str | os.PathLike,
    say: Callable = print,
    figures: str = "overview",
    join: bool = False,
    shard: Shard | None = None,
) -> None:
    """Train, measure and plot a sweep in `folder`, from where an earlier call stopped.

    `figures` is one of `plots.WHICH`. With `join`, processes that share the folder train the blocks
    that no other has taken, and the last of them measures.

    Raises:
        ConfigError: the folder cannot be used for this sweep, or another process works on it.
        Interrupted: SIGINT or SIGTERM; calling again continues.
    """
    check_path(folder)
    folder = Path(folder).absolute()
    with Signals() as signals:
        _refuse_those_at_work(folder, join)
        if not workdir.config_path(folder).exists():
            for block in blocks_lib.plan(sweep.runs, sweep.max_block):
                measuring.measures_of(block, sweep.measures)  # no news for after the training
        if _is_finished_already(sweep, folder, shard, say):
            return
        claims = Claims(folder)
        try:
            claims.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{folder} is not writable ({error.strerror}): name another --workdir"
            ) from error
        with claims:
            _work(sweep, folder, claims, signals, say, figures, join, shard)
    say(report.outcome(results.load(workdir.measures_path(folder)), folder))


def _work(sweep, folder, claims, signals, say, figures, join, shard) -> None:
    """What is left of a sweep, as far as it is this process'."""
    _take(claims, "config" if join else "sweep", folder, signals, join)
    if join:
        _take(claims, f"worker-{platform.node()}-{os.getpid()}", folder, signals, join)
    else:
        _refuse_those_at_work(folder, join, claims)
    sweep, blocks, grown = prepare(sweep, folder, shard)
    claims.release("config")
    if grown:
        say(f"{folder} grows: {grown}")
    for block in blocks:
        measuring.measures_of(block, sweep.measures)
    _train_all(sweep, folder, blocks, claims, signals, say)
    _take(claims, "measures", folder, signals, wait=True)
    if not _is_finished(sweep, folder, blocks):
        analyze(folder, say, signals.check, figures=figures)


def _refuse_those_at_work(folder: Path, join: bool, claims: Claims | None = None) -> None:
    """Only one process works on a sweep, unless others are asked to join."""
    others = claims.others() if claims else living(folder)
    if not join and (found := next(iter(others), None)):
        raise ConfigError(
            f"{folder} is in use by {found[1]}: wait for it, or give --join to train with it"
        )


def _take(claims: Claims, name: str, folder: Path, signals: Signals, wait: bool) -> None:
    """Takes a claim, waiting for those that hold it."""
    while claims.take(name) is None:
        if not wait:
            _refuse_those_at_work(folder, False, claims)
        signals.check()
        time.sleep(POLL)


POLL = 1.0
"""Seconds between two looks at what others are doing."""


def asks_to_join() -> bool:
    """Whether this process is one of several that a scheduler has started alike."""
    return any(name in os.environ for name in JOINING) or jax.process_count() > 1


JOINING = ("SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX", "TPU_WORKER_ID")
"""Variables by which SLURM arrays, indexed Kubernetes jobs and TPU slices number their workers."""


def analyze(
    folder: str | os.PathLike,
    say: Callable = print,
    check: Callable = lambda: None,
    wanted: Sequence[evaluate.Wanted] = (),
    figures: str = "overview",
) -> None:
    """Measure every checkpoint of a workdir; write curves.nc, measures.nc, figures and page.

    Everything anew, or with `wanted` those measures beside what measures.nc holds already.
    """
    folder = Path(folder)
    opened = evaluate.Sweep(folder)
    for block in opened.blocks:  # before anything is shown
        measuring.measures_of(block, wanted)
    known = opened.saved_measures() if wanted else None
    count = len(opened.config.runs) * len(opened.steps)
    with tqdm(total=count, desc="measuring", unit="checkpoint") as bar:

        def tell(done: int) -> None:
            bar.update(done)
            check()

        measured = evaluate.evaluate(opened, wanted, tell, known)
        if known is not None:
            others = [name for name in known.data_vars if name not in measured]
            measured = measured.merge(known[others], compat="override", join="outer")
    curves = opened.curves()
    results.save(curves, workdir.curves_path(folder))
    plots.save_all(measured, folder / "figures", figures, curves=curves, check=check)
    page.write_of(measured, curves, opened.made_with, folder / "report.html")
    # Last: it marks the sweep as finished.
    results.save(measured, workdir.measures_path(folder))
    if lost := gaps(opened):
        raise DamagedError(f"what is there was measured, but {lost[0]}: sweep trains it again")


def gaps(opened: evaluate.Sweep) -> list[str]:
    """What a workdir has lost, a line for each block."""
    lines = []
    for i, block in enumerate(opened.blocks):
        directory = opened.directory(i)
        if steps := loop.gaps_of(opened.config, block, directory):
            lines.append(f"{directory} lacks the checkpoints of {_some(steps)}")
    return lines


def verify(folder: str | os.PathLike, say: Callable = print) -> None:
    """Reads all that a workdir holds and says what is damaged or lost.

    Raises:
        DamagedError: something is.
    """
    opened = evaluate.Sweep(folder)
    found, count = gaps(opened), 0
    every = [x for i in range(len(opened.blocks)) for x in [opened.directory(i)]]
    for directory in tqdm(every, desc="verifying", unit="block"):
        try:
            recorded.read(directory)
        except DamagedError as error:
            found.append(str(error))
        for wrong in checkpoints.damaged(directory):
            count += 1
            found += [wrong] if wrong else []
    if workdir.measures_path(folder).exists():
        try:
            results.load(workdir.measures_path(folder))
        except DamagedError as error:
            found.append(str(error))
    for line in found:
        say(line)
    if found:
        raise DamagedError(f"{len(found)} faults in {count} checkpoints of {folder}")
    say(f"{folder}: {count} checkpoints in {len(every)} blocks are what was written; none is lost")


def _train_all(sweep: SweepConfig, folder: Path, blocks, claims, signals, say) -> None:
    """Train every block that is not at its end, or has lost checkpoints; waits for those of others.

    What can be told of a loss is told.
    """
    directories = [workdir.block_directory(folder, i) for i in range(len(blocks))]
    unfinished = lambda: [  # noqa: E731
        i for i, block in enumerate(blocks) if not loop.is_done(sweep, block, directories[i])
    ]
    if not (todo := unfinished()):
        return
    for i in todo:
        if gaps := loop.gaps_of(sweep, blocks[i], directories[i]):
            say(f"{directories[i]} lacks the checkpoints of {_some(gaps)}: they are trained again")
    done = {i: loop.trained_steps(directories[i]) for i in todo}
    say(report.plan(sweep, blocks, done, _speed(sweep, blocks[todo[0]])))
    bar = Bar(blocks)
    with bar.bar:
        for i in set(range(len(blocks))) - set(todo):
            bar.update(
                i, [run.steps for run in blocks[i].runs], recorded.read(directories[i]).scores
            )
        while todo:
            jobs = {i: (blocks[i], directories[i]) for i in todo}
            with signals.noted():
                loop.train(
                    sweep,
                    jobs,
                    bar.update,
                    lambda: signals.seen,
                    lambda i: claims.take(f"block-{i}"),
                    lambda i: claims.release(f"block-{i}"),
                )
            if todo := unfinished():
                time.sleep(POLL)


def _some(steps: Sequence[int]) -> str:
    """Steps, the first of them by number."""
    shown = ", ".join(map(str, steps[:5]))
    more = f" and {len(steps) - 5} more" if len(steps) > 5 else ""
    return f"step{'s' * (len(steps) > 1)} {shown}{more}"


class Bar:
    """The bar of the whole sweep, in updates summed over runs, and how far the runs are."""

    def __init__(self, blocks: Sequence[Block]):
        self.blocks, num_runs = blocks, sum(len(block.runs) for block in blocks)
        total = sum(run.steps for block in blocks for run in block.runs)
        self.bar = tqdm(total=total, unit="step", unit_scale=True, desc="training")
        self.done = [0] * len(blocks)
        self.reached = {"memorized": np.zeros(num_runs, bool), "grokked": np.zeros(num_runs, bool)}

    def update(self, number: int, steps: Sequence[int], scores: dict[str, np.ndarray]) -> None:
        """The updates that each run of a block has done, and the block's scores so far."""
        self.bar.update(sum(steps) - self.done[number])
        self.done[number] = sum(steps)
        texts = []
        for word, split in (("memorized", "train"), ("grokked", "test")):
            if f"{split}_accuracy" not in scores:
                continue
            reached = (scores[f"{split}_accuracy"] >= ACCURACY_REACHED).any(1)
            self.reached[word][list(self.blocks[number].indices)] = reached
            texts.append(f"{word} {self.reached[word].sum()}/{len(self.reached[word])}")
        self.bar.set_postfix_str(", ".join(texts), refresh=False)


def _speed(sweep: SweepConfig, block: Block) -> tuple[float, float]:
    """Seconds for one unit of a block's work, and for one row of an evaluation, at all places.

    Times the first updates of a lane on a state that is thrown away.
    """
    everywhere = devices.places(sweep.cores_per_run)
    lane = blocks_lib.lanes(block, sweep.precision)[0]
    trainer = blocks_lib.trainer(lane, sweep.precision)
    seconds = {}
    with devices.at(everywhere[0]):
        data, state = blocks_lib.block_data(lane), blocks_lib.initial_states(lane)
        data = jax.device_put(data, everywhere[0])
        for count in (1, 2):  # the first call compiles
            clock = time.monotonic()
            state = jax.block_until_ready(trainer.train(state, data, np.int32(2 * count - 1)))
            seconds["train"] = (time.monotonic() - clock) / count
            clock = time.monotonic()
            jax.block_until_ready(trainer.scores(state.params, data))
            seconds["score"] = time.monotonic() - clock
    runs = len(lane.runs) * min(len(everywhere), len(sweep.runs))
    return seconds["train"] / (runs * lane.load.of_update), seconds["score"] / runs


def _is_finished_already(sweep: SweepConfig, folder: Path, shard: Shard | None, say) -> bool:
    """Whether nothing is left to do, which is told; writes nothing."""
    if not workdir.config_path(folder).exists():
        return False
    opened = evaluate.Sweep(folder)
    if not sweep.cores_per_run:
        sweep = sweep.replace(cores_per_run=opened.config.cores_per_run)
    same = shard is None and places_of(opened.config, sweep) == list(range(len(sweep.runs)))
    longer = not same or any(
        run.steps > old.steps for run, old in zip(sweep.runs, opened.config.runs, strict=True)
    )
    if longer or not _is_finished(opened.config, folder, opened.blocks):
        return False
    say(f"{folder} is finished. Delete it, or name another --workdir, to run the sweep again.")
    say(report.outcome(opened.measures(), folder))
    return True


def _is_finished(sweep: SweepConfig, folder: Path, blocks: Sequence[Block]) -> bool:
    directories = (workdir.block_directory(folder, i) for i in range(len(blocks)))
    trained = all(loop.is_done(sweep, *x) for x in zip(blocks, directories, strict=True))
    return trained and evaluate.Sweep(folder).saved_measures() is not None
