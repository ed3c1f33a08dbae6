"""The commands: grokjax COMMAND, or python -m grokjax COMMAND."""

import os
import sys
from typing import NoReturn

from grokjax.cli.arguments import main, run_main
from grokjax.runner.signals import CODES, exit_on_signals


def run(*command: str) -> NoReturn:
    """Run the command that the arguments of the process name, and end the process."""
    exit_on_signals()
    code = run_main(main, [*command, *sys.argv[1:]])
    sys.stdout.flush()
    sys.stderr.flush()
    if code in CODES.values():
        os._exit(code)  # without waiting for programs that still compile in threads
    sys.exit(code)


if __name__ == "__main__":
    run()
