"""SIGINT and SIGTERM: when they take effect, and the exit codes they cause."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

CODES = {signal.SIGINT: 130, signal.SIGTERM: 75}
"""Exit codes: the shells' for Ctrl-C; EX_TEMPFAIL for SIGTERM, on which schedulers requeue."""


class Interrupted(BaseException):
    """A signal stopped the command; progress is saved, and `code` is the exit code."""

    def __init__(self, number: signal.Signals):
        super().__init__(f"stopped by {number.name}; the same command continues from here")
        self.code = CODES[number]


def exit_on_signals() -> None:
    """Let signals end the process at once, for commands that still import.

    An exception raised during an import would surface as an import error.
    """
    for number, code in CODES.items():
        signal.signal(number, lambda *_, code=code: os._exit(code))


class Signals:
    """A context in which a signal raises `Interrupted`.

    Within `noted`, where work must be saved first, a signal is only stored in `seen`. A second
    signal acts as outside the context. In other threads than the main one the context does nothing.
    """

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
        self._restore()

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Store signals in `seen`; raise at the end if one came."""
        self._noting = True
        try:
            yield
        finally:
            self._noting = False
        self.check()

    def check(self) -> None:
        if self.seen:
            raise Interrupted(self.seen)

    def _restore(self) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _handle(self, number, frame) -> None:
        if _swallows(frame):
            threading.Timer(0.02, signal.raise_signal, (number,)).start()
            return
        self.seen = signal.Signals(number)
        self._restore()
        if not self._noting:
            raise Interrupted(self.seen)


def _swallows(frame) -> bool:
    """Whether an exception raised here would be swallowed (e.g. in a GC callback)."""
    while frame is not None:
        if frame.f_code.co_name in ("_xla_gc_callback", "__del__"):
            return True
        frame = frame.f_back
    return False
