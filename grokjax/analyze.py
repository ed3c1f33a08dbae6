"""Measure a sweep's checkpoints anew: python -m grokjax.analyze WORKDIR"""

import sys

from grokjax.commandline import Parser, run_main


def main(argv: list[str]) -> int:
    parser = Parser(prog="python -m grokjax.analyze", description=__doc__)
    parser.add_argument("workdir", help="of a running or finished sweep")
    workdir = parser.parse_args(argv).workdir
    from grokjax import results, runner

    runner.set_up_jax()
    runner.analyze(workdir)
    print(runner.outcome(results.load(results.measures_path(workdir)), workdir))
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
