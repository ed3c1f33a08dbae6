"""One page with all of a sweep, or of several: python -m grokjax.page WORKDIR [WORKDIR ...]"""

import sys

from grokjax.cli.arguments import find_file, run_file, run_main
from grokjax.cli.help import CommandParser


def main(argv: list[str]) -> int:
    parser = CommandParser(
        "report",
        "Write one page with all of a sweep, or of several with a tab for each.\n\n"
        "The page holds its data and scripts: it opens from disk, without a network.",
        ["runs/quickstart", "runs/mainline runs/moduli --out both.html"],
    )
    parser.add_argument("workdirs", metavar="WORKDIR", nargs="+", help="of a sweep")
    parser.add_argument(
        "--out", metavar="FILE", help="default: report.html in the workdir, or here for several"
    )
    parser.add_argument("--config", metavar="FILE", help="a file that defines parts of one's own")
    options = parser.parse_args(argv)
    if options.config:
        run_file(find_file(options.config))
    from grokjax.plots import page  # after the arguments: jax takes seconds to import
    from grokjax.runner import run as runner  # after the arguments: jax takes seconds to import
    from grokjax.storage import files  # after the arguments: jax takes seconds to import

    runner.set_up_jax()
    folder = options.workdirs[0] if len(options.workdirs) == 1 else "."
    path = page.write(options.workdirs, options.out or files.path(folder) / "report.html")
    print(f"{path} ({files.size(path) / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
