"""The driver of a sweep whose blocks an engine trains and measures."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import ConfigError, UserError
from grokjax.results.jobs import Job, measure_block
from grokjax.results.sweep import Sweep
from grokjax.runner import jobs, live
from grokjax.runner.analysis import write_results
from grokjax.runner.plan import Plan, Shard, planned
from grokjax.runner.progress import Progress
from grokjax.runner.signals import Signals
from grokjax.storage import checkpoints, locks, metrics_log
from grokjax.storage.files import AnyPath

TRIES = 3
"""Attempts at a block without progress until the sweep ends."""

POLL = 0.5
"""Seconds between two looks at what the engine has done."""


class FailedError(UserError):
    """A job that failed `TRIES` times."""


class Driver:
    """Has an engine plan a sweep, train its blocks and measure them.

    It may be stopped and started again: all progress is in the workdir.

    Args:
        executor: has `submit(function, *args)`, which returns a future.
        job: what the engine's processes need.
    """

    def __init__(self, executor: Any, job: Job, signals: Signals):
        self.executor, self.job, self.signals = executor, job, signals

    def run(
        self,
        sweep: SweepConfig,
        folder: AnyPath,
        shard: Shard | None,
        output: Callable[[str], Any],
        figures: str,
        log: str,
        is_live: bool = False,
    ) -> None:
        """Run a sweep from its first step to its figures.

        Raises:
            FailedError: a job failed too often.
            Interrupted: on a signal.
        """
        # Devices and cores are part of a sweep's identity: they are those where the work is done.
        self.each(
            [0], lambda i: self.executor.submit(jobs.plan_sweep, self.job, sweep.to_dict(), shard)
        )
        plan = planned(sweep, folder, shard)
        unfinished, every = list(plan.unfinished()), range(len(plan.blocks))
        runs = f"{len(plan.sweep.runs)} runs in {len(every)} blocks"
        output(f"{runs}, of which the engine trains {len(unfinished)}, to {plan.folder}")
        progress = Progress()
        self._train(plan, unfinished, progress, log, is_live)
        with progress.stage("measuring", "blocks") as show:
            measured = self.each(
                every,
                lambda i: self.executor.submit(measure_block, self.job, i),
                watch=lambda running: show(len(every) - len(running), len(every)),
            )
        with locks.locked(plan.folder, "results", self.signals.check):
            of_blocks = [measured[i] for i in every]
            opened = Sweep(plan.folder)
            write_results(opened, self.signals.check, (), figures, progress, False, of_blocks)

    def _train(
        self,
        plan: Plan,
        unfinished: Sequence[int],
        progress: Progress,
        log: str,
        is_live: bool,
    ) -> None:
        with (
            live.open_log(log, plan.sweep, plan.blocks, plan.folder, is_live) as tracker,
            progress.training(plan.blocks) as bar,
        ):

            def show(number: int) -> None:
                block, directory = plan.jobs[number]
                recorded = metrics_log.read(directory)
                if recorded and recorded.steps:
                    last, ended = recorded.steps[-1], recorded.ended
                    runs = enumerate(block.runs)
                    steps = [run.steps if i in ended else min(last, run.steps) for i, run in runs]
                    bar.update(number, steps, recorded.scores)
                    tracker.follow(number)

            for number in plan.jobs:
                show(number)
            self.each(
                unfinished,
                lambda i: self.executor.submit(jobs.train_block, self.job, i),
                lambda i: max(checkpoints.state_steps(plan.jobs[i][1]), default=-1),
                lambda running: [show(number) for number in running],
            )
            for number in unfinished:
                show(number)

    def each(
        self,
        numbers: Iterable[int],
        submit: Callable[[int], Any],
        reached: Callable[[int], int] = lambda number: 0,
        watch: Callable[[Sequence[int]], Any] = lambda running: None,
    ) -> dict[int, Any]:
        """Submit a job for every number; returns the results.

        A job that fails is submitted again; one that fails `TRIES` times without progress ends all.

        Args:
            submit: returns the future of a number.
            reached: the progress of a number.
            watch: called now and then with the numbers that run.
        """
        running, results, tries = {number: submit(number) for number in numbers}, {}, Counter()
        best = {number: reached(number) for number in running}
        try:
            while running:
                self.signals.check()
                for number in [number for number, future in running.items() if future.done()]:
                    try:
                        results[number] = running.pop(number).result()
                    except Exception as error:
                        if isinstance(error, ConfigError):
                            raise ConfigError(_reason(error)) from error
                        tries[number] = 1 + tries[number] * (reached(number) <= best[number])
                        best[number] = max(best[number], reached(number))
                        if tries[number] >= TRIES:
                            raise FailedError(self._failure(number, error)) from error
                        running[number] = submit(number)
                watch(list(running))
                if running:
                    time.sleep(POLL)
        finally:
            for future in running.values():
                future.cancel()
        return results

    def _failure(self, number: int, error: Exception) -> str:
        where = f"{self.job.workdir}: block {number}"
        return f"{where} failed {TRIES} times without progress, at last with: {_reason(error)}"


def _reason(error: Exception) -> str:
    """One line about a worker's error, which may end with that of a traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub(r"^[\w.]+(Error|Exception): ", "", (lines or [type(error).__name__])[-1])
