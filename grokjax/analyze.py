"""Measure a sweep's checkpoints: python -m grokjax.analyze WORKDIR

Without --measures everything is measured anew. With it, what is missing of
these measures is added to measures.nc. Parts of one's own come with --config.
"""

from grokjax.runner.early import end_at_once
from grokjax.runner.signals import Signals

if __name__ == "__main__":
    end_at_once()  # while jax is imported

from grokjax.cli.arguments import find_file, leave, run_file, run_main  # noqa: E402
from grokjax.cli.help import CommandParser, add_figures  # noqa: E402

_ABOUT = (__doc__ or "").split("\n\n", 1)[1]


def main(argv: list[str]) -> int:
    parser = CommandParser(
        "analyze", _ABOUT, ["runs/quickstart", "runs/mainline --measures mechanism"]
    )
    parser.add_argument("workdir", metavar="WORKDIR", help="of a running or finished sweep")
    parser.add_argument("--config", metavar="FILE", help="a file that defines parts of one's own")
    names = lambda text: tuple(text.split(","))  # noqa: E731
    parser.add_argument(
        "--measures",
        metavar="NAME,...",
        type=names,
        default=(),
        help="measures, or families of them, to add; default: all that the sweep asks for, anew",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="only read all that is there, and say what is damaged or lost",
    )
    add_figures(parser)
    with Signals() as signals:
        options = parser.parse_args(argv)
        if options.config:
            run_file(find_file(options.config))
        from grokjax.results import dataset, workdir
        from grokjax.runner import console, verify
        from grokjax.runner import run as runner

        runner.set_up_jax()
        if options.verify:
            verify.verify(options.workdir)
            return 0
        runner.analyze(
            options.workdir, check=signals.check, wanted=options.measures, figures=options.figures
        )
    measured = dataset.load(workdir.measures_path(options.workdir))
    print(console.outcome(measured, options.workdir))
    return 0


if __name__ == "__main__":
    leave(run_main(main))
