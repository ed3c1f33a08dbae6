"""What a command does before anything else is imported, of which jax takes seconds."""

import os
import signal

from grokjax.runner.signals import CODES


def end_at_once() -> None:
    """From here on signals end the process, as they do before and after `Signals`: for a command
    that still imports, where what a handler raises comes out as a failed import."""
    for number, code in CODES.items():
        signal.signal(number, lambda *_, code=code: os._exit(code))
