"""Write a folder that publishes a sweep on any static web server.

It has datasets, report, explore page, some checkpoints, and an index with
checksums. grokjax.open_sweep("https://HOST/PATH") reads it.
"""

import argparse

from grokjax.cli.explore import add_weights, numbers
from grokjax.cli.help import add_parts_file

EXAMPLES = ("runs/quickstart --to public/qs", "runs/mainline --to public/m --checkpoints all")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workdir", metavar="WORKDIR", help="the folder of a finished sweep")
    parser.add_argument("--to", metavar="FOLDER", required=True, help="the folder to write")
    parser.add_argument(
        "--checkpoints",
        metavar="N",
        type=_number,
        default=40,
        help="checkpoints of each block, all, or 0; default: 40, about equally many in each phase",
    )
    parser.add_argument(
        "--runs", metavar="N,...", type=numbers, help="runs of explore.html; default: three"
    )
    add_weights(parser)
    parser.add_argument(
        "--library",
        metavar="ADDRESS",
        default="",
        help="let the pages load the library of charts, 4.8 MB, from here instead of having it "
        "inside: ../plotly.min.js, which is written if it is missing, or https://...",
    )
    add_parts_file(parser)


def _number(text: str) -> int | None:
    if text == "all":
        return None
    if text.isdigit() and int(text) != 1:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number: write 2 or more, all, or 0")


def run(options: argparse.Namespace) -> None:
    from grokjax.cli import config_file
    from grokjax.runner import publish
    from grokjax.runner import run as runner

    if options.config:
        config_file.run_file(options.config)
    runner.set_up_jax()
    made = publish.publish(
        options.workdir,
        options.to,
        options.checkpoints,
        options.runs,
        options.weights,
        options.library,
    )
    print(
        f"{made.folder}: {made.bytes / 1e6:.1f} MB in {made.files} files, with "
        f"{made.checkpoints} of {made.of} checkpoints"
    )
