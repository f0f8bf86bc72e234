"""State axes of T and O: their dimensions `state` and `state_bis` in the posterior, so that labels of the states fit them.

The axes that `relabelling` found on the program get names as in ArviZ: `state`, and `state_bis` where a parameter has a second axis
of states (from and to, for a T).
"""

import xarray as xr

from ppl_worldmodel.labels.relabelling import Relabelling

AXES = ("state", "state_bis")


def with_state_axes(result: xr.DataTree, names: Relabelling | None) -> xr.DataTree:
    """The result with these dimensions in its posterior; unchanged where the axes of the states are not known.

    Further axes of states keep their numbers, since a variable has each dimension once.
    """
    if names is None or "posterior" not in result.children:
        return result
    posterior = result["posterior"].to_dataset()
    if set(AXES) & set(posterior.variables):  # a variable of that name would become its labels
        return result
    renamed = {}
    for name, axes in names.axes.items():
        if name in posterior:
            own = posterior[name].dims[2:]  # behind chain and draw
            renamed[name] = posterior[name].rename({own[axis]: dim for axis, dim in zip(axes, AXES, strict=False)})
    found = result.copy()
    found["posterior"] = xr.DataTree(posterior.drop_vars(list(renamed)).assign(renamed)[list(posterior.data_vars)])
    return found
