"""Datasets as NetCDF files."""

import io
from typing import Any

import h5py
import xarray as xr

from grokjax.core.errors import DAMAGE, DamagedError
from grokjax.storage import files
from grokjax.storage.files import AnyPath
from grokjax.storage.transfer import TransferError


def save(ds: xr.Dataset, path: AnyPath) -> None:
    """Write a dataset. Readers see the old file or the new one, nothing between.

    The arrays carry checksums. The content is made in memory, so that a full disk raises an
    OSError and does not fail within HDF5.
    """
    encoding = {}
    for name, x in ds.variables.items():
        if x.dtype.kind in "biufc" and x.ndim and x.size:
            encoding[name] = {"fletcher32": True}
            encoding[name] |= {"zlib": True, "complevel": 1} if x.ndim > 1 else {}
    content = bytes(ds.to_netcdf(None, engine="h5netcdf", encoding=encoding))
    files.path(path).write(content)


def attributes(path: AnyPath) -> dict[str, Any]:
    """The attributes of a dataset, without its arrays; none if it is missing or damaged."""
    try:
        path = files.path(path)
        source = io.BytesIO(path.read_bytes()) if path.bucket else str(path)
        with h5py.File(source, "r", locking=False) as file:
            return dict(file.attrs)
    except (OSError, *DAMAGE):
        return {}


def load(path: AnyPath) -> xr.Dataset:
    """Read a dataset into memory; the file is closed.

    Raises:
        DamagedError: the file is not what was written.
    """
    try:
        return xr.load_dataset(io.BytesIO(files.path(path).read_bytes()), engine="h5netcdf")
    except (FileNotFoundError, PermissionError, TransferError):
        raise
    except (OSError, RuntimeError, *DAMAGE) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DamagedError(
            f"{path} is damaged ({reason}): delete it and run analyze to compute it again"
        ) from error
