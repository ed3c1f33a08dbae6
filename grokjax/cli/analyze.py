"""Recompute the measures and figures of a sweep, or add measures.

With --measures, only measures that measures.nc lacks are computed and added.
"""

import argparse

from grokjax.cli.help import add_figures, add_parts_file
from grokjax.runner.signals import Signals

EXAMPLES = ("runs/quickstart", "runs/mainline --measures mechanism")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "workdir", metavar="WORKDIR", help="the folder of a running or finished sweep"
    )
    add_parts_file(parser)
    parser.add_argument(
        "--measures",
        metavar="NAME,...",
        type=lambda text: tuple(text.split(",")),
        default=(),
        help="measures or families to add; default: recompute all of the sweep",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="only check the workdir for missing or corrupt files",
    )
    add_figures(parser)


def run(options: argparse.Namespace) -> None:
    from grokjax.cli import config_file
    from grokjax.results import workdir
    from grokjax.runner import console, verify
    from grokjax.runner import run as runner
    from grokjax.storage import datasets, published

    with Signals() as signals:
        if options.config:
            config_file.run_file(options.config)
        runner.set_up_jax()
        if published.is_published(options.workdir):
            print(_of_published(options.workdir, options.measures, options.verify))
            return
        if options.verify:
            verify.verify(options.workdir)
            return
        runner.analyze(
            options.workdir, check=signals.check, wanted=options.measures, figures=options.figures
        )
    measured = datasets.load(workdir.measures_path(options.workdir))
    print(console.outcome(measured, options.workdir))


def _of_published(address: str, wanted: tuple[str, ...], verify: bool) -> str:
    """The outcome of a published sweep, to which nothing can be added, or of its check."""
    from grokjax.core.errors import ConfigError
    from grokjax.results.sweep import open_sweep
    from grokjax.runner import console
    from grokjax.storage import published

    if verify:
        return f"{address}: all {published.verify(address)} files are as published"
    if wanted:
        call = f"grokjax.open_sweep({address!r}).measures({', '.join(map(repr, wanted))})"
        raise ConfigError(f"{address} is read only: compute measures from Python with {call}")
    return console.outcome(open_sweep(address).measures(), address)
