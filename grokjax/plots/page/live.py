"""The report of a sweep while it trains: small, and loaded again by the browser when it changes.

report.html             the curves so far
live/plotly.min.js      the library of charts, until the last report contains it
live/version.js         the version of the report; the open page compares it with its own
"""

import xarray as xr

from grokjax.plots.page import document
from grokjax.plots.page.write import write_of
from grokjax.results.evaluate import recorded
from grokjax.results.sweep import Sweep
from grokjax.storage.files import AnyPath

FOLDER = "live"


def write(sweep: Sweep, path: AnyPath, before: str = "") -> str:
    """Write the report of what was recorded, if it is newer than the version `before`.

    Returns:
        Its version: the number of evaluations of all runs; "" if nothing was recorded.
    """
    curves = sweep.curves()
    version = version_of(curves)
    if version in ("", before):
        return version
    document.save_library(path.parent / FOLDER / document.LIBRARY)
    shown = recorded(curves)
    empty = curves.drop_vars(list(curves.data_vars))
    library = f"{FOLDER}/{document.LIBRARY}"
    write_of(shown, empty, sweep.made_with, path, library=library, live=version)
    announce(path, version)
    return version


def version_of(curves: xr.Dataset) -> str:
    """The number of recorded values; "" without any."""
    return str(sum(int(x.notnull().sum()) for x in curves.data_vars.values()) or "")


def announce(path: AnyPath, version: str) -> None:
    """Let pages that are open load the report again."""
    document.save(f'grokjaxVersion("{version}");\n', path.parent / FOLDER / "version.js")


def end(path: AnyPath) -> None:
    """Let pages that are open load the last report, which contains everything."""
    announce(path, "last")
    (path.parent / FOLDER / document.LIBRARY).unlink(missing_ok=True)
