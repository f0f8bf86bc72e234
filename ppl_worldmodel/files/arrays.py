"""Arrays of any number of axes from a file: NumPy's .npz, {name: array}, and NetCDF, whose variables have named dimensions."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.files.assemble import Data
from ppl_worldmodel.files.columns import NO_VALUES, match
from ppl_worldmodel.files.load import Loaded
from ppl_worldmodel.files.times import CERTAIN, check_order, gaps, label


class Arrays(NamedTuple):
    """The arrays of a file, and the labels of their axes: {name: {axis: labels}}; axis 0 is the time."""

    arrays: dict[str, np.ndarray]
    labels: dict[str, dict[int, np.ndarray]]


def read_arrays(
    loaded: Loaded, path: str, columns: Sequence[str] = (), *, given: Mapping[str, Any] = NO_VALUES
) -> Data:
    """The program's data from an .npz or a NetCDF file, each array as it is stored, with the time as its first axis.

    columns  which array is which argument, as for `match`; arrays that are named like arguments need none
    given    arguments that have a value already
    Labels of the time are those of NetCDF's first dimension, or an array of an .npz that is called time, date or year. NaN is a
    missing value. Raises DataError for an array that does not hold finite or missing numbers.
    """
    file = _npz(path) if path.endswith(".npz") else _netcdf(path)
    matched = match(loaded, list(file.arrays), path, columns, given)
    values: dict[str, np.ndarray] = {}
    coords: dict[str, np.ndarray] = {}
    for argument, names in matched.arguments.items():
        each = [_numbers(file.arrays[name], name, path) for name in map(str, np.ravel(names))]
        if len({array.shape for array in each}) > 1:
            raise DataError(
                f"the arrays of the argument '{argument}' in '{path}' have the shapes {[array.shape for array in each]}: "
                "give arrays of one shape"
            )
        values[argument] = np.stack(each, axis=-1).reshape(*each[0].shape, *names.shape) if names.ndim else each[0]
        axes = file.labels.get(str(np.ravel(names)[0]), {})
        coords = {{0: "time", 1: "sequence"}[axis]: labels for axis, labels in axes.items() if axis < 2} | coords
    steps = next((len(array) for array in values.values() if array.ndim), 0)
    used = [str(name) for names in matched.arguments.values() for name in np.ravel(names)]
    called = "time"
    for name in [matched.time] if matched.time else CERTAIN if matched.time is None else ():
        if name in file.arrays and name not in used and file.arrays[name].shape == (steps,):
            coords["time"], called = file.arrays[name], name
            break
    if matched.time == "":
        coords.pop("time", None)
    return Data(
        values,
        matched.arguments,
        coords,
        np.empty(0, int),
        _said(values, matched.arguments, file, coords, called, path),
        path,
    )


def _npz(path: str) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as file:
            return Arrays({name: file[name] for name in file.files}, {})
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(
            f"cannot read '{path}' as an .npz file of arrays: {_first_line(error)}; write one with numpy.savez(path, y=array)"
        ) from error


def _netcdf(path: str) -> Arrays:
    if not Path(path).is_file():
        raise DataError(f"cannot read '{path}': there is no such file")
    try:
        with xr.open_dataset(path) as opened:
            dataset = opened.load()
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"cannot read '{path}' as NetCDF: {_first_line(error)}") from error
    arrays, labels = {}, {}
    for name in map(str, dataset.data_vars):
        variable = dataset[name]
        if "time" in variable.dims:
            variable = variable.transpose("time", ...)
        arrays[name] = variable.values
        labels[name] = {axis: variable[dim].values for axis, dim in enumerate(variable.dims) if dim in variable.coords}
    if not arrays:
        raise DataError(f"'{path}' has no variables in its root group: expected one for each argument of the program")
    return Arrays(arrays, labels)


def _numbers(array: np.ndarray, name: str, path: str) -> np.ndarray:
    """The array, if it holds numbers that are finite or missing."""
    if array.dtype.kind not in "biuf":
        raise DataError(f"the array '{name}' of '{path}' has the type {array.dtype}: expected numbers")
    if array.size == 0:
        raise DataError(f"the array '{name}' of '{path}' is empty, {array.shape}: expected one entry a time step")
    if array.dtype.kind == "f":
        if np.isinf(array).any():
            place = np.argwhere(np.isinf(array))[0].tolist()
            raise DataError(
                f"the array '{name}' of '{path}' is {array[tuple(place)]} at {place}: expected a finite number (NaN if missing)"
            )
        if np.isnan(array).all():
            raise DataError(f"the array '{name}' of '{path}' has no value, only NaN: expected numbers")
    return array


def _said(
    values: Mapping[str, np.ndarray],
    columns: Mapping[str, np.ndarray],
    file: Arrays,
    coords: Mapping[str, np.ndarray],
    called: str,
    path: str,
) -> tuple[str, ...]:
    """Sentences on which array is which argument; the labels of the time are checked on the way."""
    pairs = [f"{name} = {', '.join(np.ravel(names))} {values[name].shape}" for name, names in columns.items()]
    told = []
    if "time" in coords:
        times = coords["time"]
        if (
            times.dtype.kind not in "iufM"
            or (times.dtype.kind == "f" and not np.isfinite(times).all())
            or (times.dtype.kind == "M" and np.isnat(times).any())
        ):
            raise DataError(
                f"the times '{called}' of '{path}' are {times.dtype}: expected numbers or dates, none missing"
            )
        check_order(called, times, range(len(times)), path, counted="entry")
        pairs.append(f"time = {called}, {label(times[0], times)} to {label(times[-1], times)}")
        if gap := gaps(called, times):
            told.append(gap)
    used = {str(name) for names in columns.values() for name in np.ravel(names)} | {called}
    spare = [name for name in file.arrays if name not in used]
    return (f"arrays: {'; '.join(pairs)}" + (f"; not used: {', '.join(spare)}" if spare else ""), *told)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
