"""Write an HTML page that shows a run's mechanism over training.

Circles, neurons, attention, answers and logits of a few runs, with a slider
over checkpoints. The page opens from disk, without a network.
"""

import argparse

from grokjax.cli.help import add_parts_file

EXAMPLES = ("runs/quickstart", "runs/mainline --runs 0,4 --steps 0,1400,9400")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workdir", metavar="WORKDIR", help="the folder of a sweep")
    parser.add_argument(
        "--runs",
        metavar="N,...",
        type=numbers,
        help="run numbers; default: the first and the last run to grok, and one that "
        "did not grok or, if all did, the median one",
    )
    parser.add_argument(
        "--steps",
        metavar="N,...",
        type=numbers,
        help="steps of checkpoints; default: at most 40 of each run, equally many in each phase",
    )
    add_weights(parser)
    parser.add_argument("--out", metavar="FILE", help="default: explore.html in the workdir")
    add_parts_file(parser)


def add_weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights",
        metavar="N",
        type=int,
        default=6,
        help="checkpoints of each run whose weights are in the page, at 0.6 MB each for p = 113; "
        "default: 6",
    )


def numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        message = f"{text!r} is no list of whole numbers: write them as 0,1,2"
        raise argparse.ArgumentTypeError(message) from None


def run(options: argparse.Namespace) -> None:
    from grokjax.cli import config_file
    from grokjax.plots import page
    from grokjax.plots.page import explore
    from grokjax.runner import run as runner

    if options.config:
        config_file.run_file(options.config)
    runner.set_up_jax()
    path = explore.write(options.workdir, options.out, options.runs, options.steps, options.weights)
    report = path.with_name("report.html")
    if options.out is None and report.exists():
        page.write(options.workdir, report)  # now its runs link to the page
    print(f"{path} ({len(path.read_bytes()) / 1e6:.1f} MB)")
