"""The report that follows a sweep while it trains: `sweep --live`, `report --watch`."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from grokjax.config.sweep import SweepConfig
from grokjax.core.errors import ConfigError
from grokjax.plots import page
from grokjax.plots.page import live
from grokjax.results.sweep import Sweep
from grokjax.runner import trackers
from grokjax.runner.trackers import Log
from grokjax.storage import files
from grokjax.storage.files import AnyPath
from grokjax.training.blocks import Block

SHARE = 0.02
"""Fraction of the time that the report may take."""

POLL = 1.0
"""Seconds between two looks at a workdir, and at least between two reports."""

log = logging.getLogger(__name__)


class LiveReport(Log):
    """Writes the report of a workdir again after evaluations, in at most `SHARE` of the time."""

    def __init__(self, *about: Any, path: AnyPath | None = None):
        super().__init__(*about)
        self.path = path or self.folder / "report.html"
        self.version, self.next, self.seconds = "", 0.0, 0.0

    def follow(self, number: int) -> None:
        began = time.monotonic()
        if began < self.next:
            return
        try:
            version = live.write(Sweep(self.folder), self.path, self.version)
        except (ConfigError, OSError) as error:  # training goes on without it
            log.warning("the live report is not written any more: %s", error)
            self.next = float("inf")
            return
        took = time.monotonic() - began
        self.seconds += took
        # The first report is slow: it compiles the template and writes the library of charts.
        self.next = began + (max(took / SHARE, POLL) if self.version else POLL * bool(version))
        self.version = version


class Both(Log):
    """Several followers of a sweep as one."""

    def __init__(self, followers: Sequence[Log]):
        self.followers, self.stack = followers, ExitStack()

    def __enter__(self) -> "Both":
        for follower in self.followers:
            self.stack.enter_context(follower)
        return self

    def __exit__(self, *exception: Any) -> None:
        self.stack.__exit__(*exception)

    def follow(self, number: int) -> None:
        for follower in self.followers:
            follower.follow(number)


def open_log(
    name: str, sweep: SweepConfig, blocks: Sequence[Block], folder: AnyPath, is_live: bool
) -> Log:
    """Open a tracker (see `trackers.open_log`), with a live report next to it if wanted."""
    tracker = trackers.open_log(name, sweep, blocks, folder)
    if not is_live:
        return tracker
    return Both([tracker, LiveReport(sweep, blocks, folder)])


def end(folder: AnyPath) -> None:
    """Let an open page load the last report."""
    if (folder / live.FOLDER).exists():
        live.end(folder / "report.html")


def watch(
    folder: str, out: str | None, check: Callable[[], Any], tell: Callable[[str], Any]
) -> AnyPath:
    """Write the report of a sweep that another process trains, until it is measured.

    Args:
        check: called several times a second; may raise to stop.
        tell: called with the name of the report once it is there.
    """
    sweep = Sweep(folder)
    path = files.path(out) if out else sweep.workdir / "report.html"
    report = LiveReport(sweep.config, sweep.blocks, sweep.workdir, path=path)
    told = False
    while Sweep(folder).saved_measures() is None:
        report.follow(0)
        if report.version and not told:
            told = True
            tell(str(path))
        for _ in range(5):
            check()
            time.sleep(POLL / 5)
    page.write(folder, path)
    live.end(path)
    return path
