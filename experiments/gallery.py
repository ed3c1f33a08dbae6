"""Build the gallery of the documentation: published sweeps, each with a report and an explore page.

    python -m experiments.gallery --workdirs runs                # docs/gallery
    python -m experiments.gallery --workdirs runs --all --to build/gallery

A sweep whose workdir is missing keeps what docs/gallery has. Parameters are left out: the
repository stays small, and measures.nc is read as it is, whatever changes in the code. `--all`
publishes every workdir with its checkpoints. All pages share one library of charts.
"""

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from grokjax.cli import config_file
from grokjax.core.errors import ConfigError
from grokjax.plots.page import document
from grokjax.results.sweep import open_sweep
from grokjax.runner import run as runner
from grokjax.runner.publish import publish
from grokjax.storage import files

ROOT = Path(__file__).parents[1]
GALLERY = ROOT / "docs" / "gallery"
NUMBERS = "numbers.json"
LIBRARY = f"../{document.LIBRARY}"


class Entry(NamedTuple):
    """A sweep of the gallery."""

    name: str
    run: int  # of its explore page
    weights: int = 3  # checkpoints in the explore page with weights
    parts: str = ""  # the config file with its custom parts


ENTRIES = (
    Entry("quickstart", run=1),
    Entry("mainline", run=1),
    Entry("weight_decay", run=2),
    Entry("skip_trigram", run=1),
    Entry("parity", run=0, parts="parity"),
)
FOUND = ("steps_to_grok", "steps_to_memorize", "test_loss", "train_loss", "test_accuracy")


def build(workdirs: Path, target: Path) -> None:
    """Publish the entries whose workdirs are there, and write what the tests compare."""
    target.mkdir(parents=True, exist_ok=True)
    document.save_library(files.path(target / document.LIBRARY))
    path = target / NUMBERS
    numbers: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for entry in ENTRIES:
        folder = workdirs / entry.name
        if entry.parts:
            config_file.run_file(str(ROOT / "sweeps" / f"{entry.parts}.py"))
        if (folder / "measures.nc").exists():
            made = publish(folder, target / entry.name, 0, [entry.run], entry.weights, LIBRARY)
            numbers[entry.name] = five_numbers(open_sweep(folder).measures(), entry.run)
            print(f"{entry.name}: {made.bytes / 1e6:.1f} MB")
        else:
            print(f"{entry.name}: no measured workdir {folder}; what is there stays")
    path.write_text(json.dumps(numbers, indent=1, sort_keys=True) + "\n")


def build_all(workdirs: Path, target: Path) -> None:
    """Publish every measured workdir, with parameters, in a folder of its name."""
    for path in sorted(workdirs.glob("*/measures.nc")):
        made = publish(path.parent, target / path.parent.name, library=LIBRARY)
        print(f"{path.parent.name}: {made.bytes / 1e6:.1f} MB")


def five_numbers(ds: xr.Dataset, run: int) -> dict[str, float | None]:
    """The last finite values of one run, by name; None for a number that does not exist."""
    row, numbers = ds.sel(run=run), {}
    for name in FOUND:
        values = np.atleast_1d(row[name].values) if name in row else np.zeros(0)
        values = values[np.isfinite(values)]
        numbers[name] = float(values[-1]) if len(values) else None
    return numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workdirs", type=Path, default=Path("runs"))
    parser.add_argument("--to", type=Path, default=GALLERY)
    parser.add_argument("--all", action="store_true", help="publish every workdir")
    options = parser.parse_args()
    if options.all and options.to == GALLERY:
        raise ConfigError("--all is too large for docs/gallery: name another folder with --to")
    runner.set_up_jax()
    (build_all if options.all else build)(options.workdirs, options.to)


if __name__ == "__main__":
    main()
