"""Column names on results: on the axes of observed and constant data, and as the title of a variable from one column."""

from collections.abc import Mapping

import numpy as np
import xarray as xr


def with_columns(
    result: xr.DataTree, values: Mapping[str, np.ndarray], columns: Mapping[str, np.ndarray]
) -> xr.DataTree:
    """The result with the names of columns on its groups `observed_data` and `constant_data`.

    values   {argument: its values, (time, ...)}, by which its variable is recognised (an observed site has a name of its own)
    columns  {argument: names of its columns, in the shape of one time step (of one series)}

    A variable from one column gets the attribute `column`, and `long_name` if the column is called otherwise. One from several
    columns gets the attribute `columns`, and their names as the coordinate of its axis, if that has none yet.
    """
    found = result.copy()
    for group in ("observed_data", "constant_data"):
        if group not in found.children:
            continue
        dataset = found.children[group].to_dataset(inherit=False)
        for variable in list(dataset.data_vars):
            for argument, names in columns.items():
                if variable == argument or _same(dataset[variable].values, values[argument]):
                    dataset = _named(dataset, str(variable), names)
                    break
        found.children[group].dataset = dataset
    return found


def _named(dataset: xr.Dataset, variable: str, names: np.ndarray) -> xr.Dataset:
    if names.ndim == 0:
        title = {} if str(names) == variable or "long_name" in dataset[variable].attrs else {"long_name": str(names)}
        dataset[variable].attrs |= {"column": str(names), **title}
        return dataset
    dataset[variable].attrs["columns"] = ", ".join(map(str, np.ravel(names)))
    dims = dataset[variable].dims[-names.ndim :]
    if names.ndim == 1 and dims[0] not in ("time", "sequence") and dims[0] not in dataset.coords:
        return dataset.assign_coords({dims[0]: names.astype(str)})
    return dataset


def _same(here: np.ndarray, there: np.ndarray) -> bool:
    """Are these the same series, apart from values that the result has masked?"""
    if here.shape != there.shape or here.dtype.kind not in "iuf":
        return False
    known = ~np.isnan(here.astype(float))
    return np.array_equal(here[known], there[known]) and bool(known.any())
