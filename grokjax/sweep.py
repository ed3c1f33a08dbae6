"""Train and measure a sweep: python -m grokjax.sweep --config sweeps/weight_decay.py"""

import sys

from grokjax.commandline import read_sweep, run_main
from grokjax.usage import add_figures


def main(argv: list[str]) -> int:
    line = read_sweep(argv, add_figures)
    from grokjax import runner  # after the arguments: jax takes seconds to import

    runner.set_up_jax()
    try:
        runner.run_sweep(line.sweep, line.workdir, figures=line.options.figures)
    except runner.Interrupted as stop:
        print(stop, file=sys.stderr)
        return 130
    except OSError as error:  # a full disk, say
        print(f"error: {error}; the same command goes on from the last save", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
