"""Write a folder that publishes a sweep on any static web server.

It has datasets, report, explore page, some checkpoints, and an index with
checksums. grokjax.open_sweep("https://HOST/PATH") reads it.
"""

import argparse

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
        help="checkpoints of each block, or all; default: 40, about equally many in each phase",
    )
    add_parts_file(parser)


def _number(text: str) -> int | None:
    if text == "all":
        return None
    if text.isdigit() and int(text) > 1:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number: write 2 or more, or all")


def run(options: argparse.Namespace) -> None:
    from grokjax.cli import config_file
    from grokjax.runner import publish
    from grokjax.runner import run as runner

    if options.config:
        config_file.run_file(options.config)
    runner.set_up_jax()
    made = publish.publish(options.workdir, options.to, options.checkpoints)
    print(
        f"{made.folder}: {made.bytes / 1e6:.1f} MB in {made.files} files, with "
        f"{made.checkpoints} of {made.of} checkpoints"
    )
