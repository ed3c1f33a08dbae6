"""SIGINT and SIGTERM: what they end, and with which exit code."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

CODES = {signal.SIGINT: 130, signal.SIGTERM: 75}
"""Exit codes: the shells' for Ctrl-C; EX_TEMPFAIL for SIGTERM, on which schedulers requeue."""


class Interrupted(BaseException):
    """A signal asked the command to end; what was trained is saved, `code` is the exit code."""

    def __init__(self, seen: signal.Signals):
        super().__init__(f"stopped by {seen.name}; the same command goes on from here")
        self.code = CODES[seen]


class Signals:
    """While the context is open, a signal raises `Interrupted`, or waits for `check` where work has
    to be saved first (`noted`). A second one acts at once. Outside of the main thread, nothing."""

    def __init__(self):
        self.seen: signal.Signals | None = None
        self._noting = False
        self._old: dict[int, object] = {}

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            for number in CODES:
                self._old[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Signals are noted in `seen` and not obeyed; then one that came is."""
        self._noting = True
        try:
            yield
        finally:
            self._noting = False
        self.check()

    def check(self) -> None:
        if self.seen:
            raise Interrupted(self.seen)

    def _handle(self, number, frame) -> None:
        if _swallows(frame):
            threading.Timer(0.02, signal.raise_signal, (number,)).start()
            return
        self.seen = signal.Signals(number)
        for each, handler in self._old.items():
            signal.signal(each, handler)
        if not self._noting:
            raise Interrupted(self.seen)


def _swallows(frame) -> bool:
    """Whether what is raised here gets lost: in callbacks of the garbage collector and the like."""
    while frame is not None:
        if frame.f_code.co_name in ("_xla_gc_callback", "__del__"):
            return True
        frame = frame.f_back
    return False
