"""Write an HTML page about one or several sweeps.

Each of several sweeps gets a tab, or all share the same charts. The page
contains its data and scripts and opens from disk, without a network.
"""

import argparse

from grokjax.cli.help import add_parts_file

EXAMPLES = (
    "runs/quickstart",
    "runs/mainline runs/moduli --out both.html",
    "runs/mainline --watch",
    "runs/adamw runs/sgd --overlay --out both.html",
)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s WORKDIR [WORKDIR ...] [options]"
    parser.add_argument("workdirs", metavar="WORKDIR", nargs="+", help="folders of sweeps")
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="default: report.html in the workdir, or in this folder for several",
    )
    parser.add_argument(
        "--overlay",
        action="store_true",
        help="show the runs of several sweeps in the same charts, instead of a tab for each",
    )
    parser.add_argument(
        "--watch",
        action="store_true",
        help="write the report of a sweep again while another process trains it",
    )
    add_parts_file(parser)


def run(options: argparse.Namespace) -> None:
    from grokjax.cli import config_file
    from grokjax.plots import page
    from grokjax.runner import run as runner
    from grokjax.storage import files

    if options.config:
        config_file.run_file(options.config)
    runner.set_up_jax()
    if options.watch:
        print(f"{_watched(options)}: the sweep is measured")
        return
    folder = options.workdirs[0] if len(options.workdirs) == 1 else "."
    out = options.out or files.path(folder) / "report.html"
    path = page.write(options.workdirs, out, options.overlay)
    print(f"{path} ({len(path.read_bytes()) / 1e6:.1f} MB)")


def _watched(options: argparse.Namespace) -> str:
    from grokjax.core.errors import ConfigError
    from grokjax.runner import live
    from grokjax.runner.signals import Signals

    if len(options.workdirs) > 1:
        raise ConfigError("--watch follows one sweep: name one workdir")
    with Signals() as signals:
        return str(live.watch(options.workdirs[0], options.out, signals.check, print))
