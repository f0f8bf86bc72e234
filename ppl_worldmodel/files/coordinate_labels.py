"""Coordinate labels of a model file (names of states, steps and dimensions), and units, on the results of its model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr


def labelled(result: xr.DataTree, coords: Mapping[str, Sequence | np.ndarray], units: Mapping[str, str]) -> xr.DataTree:
    """The result with the model file's labels on every dimension that they fit, and its units."""
    found = result.copy()
    for group in found.subtree:
        fit: dict[str, Any] = {
            name: np.asarray(labels) for name, labels in coords.items() if group.sizes.get(name) == len(labels)
        }
        fit |= {f"{axis}_bis": fit[axis] for axis in ("dim", "state") if axis in fit and f"{axis}_bis" in group.sizes}
        dataset = group.to_dataset(inherit=False).assign_coords(fit)
        for name in set(units) & {str(name) for name in [*dataset.data_vars, *fit]}:
            dataset[name].attrs["units"] = units[name]
        found[group.path].dataset = dataset
    return found
