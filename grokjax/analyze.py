"""Measure a sweep's checkpoints: python -m grokjax.analyze WORKDIR

Without --measures everything is measured anew. With it, what is missing of these measures is added
to measures.nc. Parts of one's own come with --config FILE, as for the sweep.
"""

import argparse
import sys

from grokjax.commandline import Parser, run_file, run_main


def main(argv: list[str]) -> int:
    parser = Parser(
        prog="python -m grokjax.analyze",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("workdir", help="of a running or finished sweep")
    parser.add_argument("--config", metavar="FILE", help="a file that defines parts of one's own")
    names = lambda text: tuple(text.split(","))  # noqa: E731
    parser.add_argument("--measures", metavar="NAME,...", type=names, default=())
    options = parser.parse_args(argv)
    if options.config:
        run_file(options.config)
    from grokjax import report, results, runner, workdir

    runner.set_up_jax()
    runner.analyze(options.workdir, wanted=options.measures)
    measured = results.load(workdir.measures_path(options.workdir))
    print(report.outcome(measured, options.workdir))
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
