"""Write an HTML page about one or several sweeps.

Each of several sweeps gets a tab. The page contains its data and scripts and
opens from disk, without a network.
"""

import argparse

from grokjax.cli.help import add_parts_file

EXAMPLES = ("runs/quickstart", "runs/mainline runs/moduli --out both.html")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workdirs", metavar="WORKDIR", nargs="+", help="folders of sweeps")
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="default: report.html in the workdir, or in this folder for several",
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
    folder = options.workdirs[0] if len(options.workdirs) == 1 else "."
    path = page.write(options.workdirs, options.out or files.path(folder) / "report.html")
    print(f"{path} ({len(path.read_bytes()) / 1e6:.1f} MB)")
