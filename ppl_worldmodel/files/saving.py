"""Saved results: compressed NetCDF, written whole or not at all."""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.files.writing import write_whole


def save(tree: xr.DataTree, path: Path) -> Path:
    """Write a result as compressed NetCDF, atomically."""
    small = tree.copy()
    encoding: dict[str, dict[str, Any]] = {}
    for group in small.subtree:
        data = group.to_dataset(inherit=False)
        whole = {
            name: _smallest(values)
            for name, values in data.data_vars.items()
            if np.issubdtype(values.dtype, np.integer)
        }
        if data.variables:
            small[group.path].dataset = data.assign(whole)
        numeric = [
            str(name) for name, values in data.data_vars.items() if values.dtype.kind in "fiub" and values.size > 100
        ]
        encoding[group.path] = {name: {"zlib": True, "complevel": 4} for name in numeric}
    write_whole(path, lambda temporary: small.to_netcdf(temporary, engine="h5netcdf", encoding=encoding))
    return path


def _smallest(values: xr.DataArray) -> xr.DataArray:
    """Whole numbers in the smallest type that holds them."""
    if values.size == 0:
        return values
    for kind in (np.int8, np.int16, np.int32):
        if values.min() >= np.iinfo(kind).min and values.max() <= np.iinfo(kind).max:
            return values.astype(kind)
    return values


def load(path: str | Path) -> xr.DataTree:
    """A saved tree, in memory. Raises DataError where the file is none."""
    try:
        return xr.open_datatree(path, engine="h5netcdf").load()
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise DataError(f"'{path}' is not a saved result (NetCDF): {error}") from error
