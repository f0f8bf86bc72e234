"""NaNs that are no missing observations: in an action or a covariate they have no meaning, and are refused."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.program.jaxprs.dependence import dependence
from ppl_worldmodel.program.statements import statements


def check_gaps(model: Callable, data: Mapping[str, Any]) -> None:
    """Raise DataError if an argument that no observed site takes its value from has a NaN."""
    holes = {
        name: np.argwhere(np.isnan(value)) for name, value in data.items() if _floats(value) and np.isnan(value).any()
    }
    if not holes:
        return
    observed = observed_arguments(model, data)
    for name, where in holes.items():
        if name not in observed:
            raise DataError(
                f"the argument '{name}' is NaN (an empty cell) at {where[0].tolist()}, but it is no "
                f"observation: only observations may be "
                f"missing ({', '.join(sorted(observed)) or 'none here'}); fill it, or leave the step out"
            )


def observed_arguments(model: Callable, data: Mapping[str, Any]) -> set[str]:
    """Names of the arguments that the values of the observed sites, before, in and after the scan, are computed from."""
    data = {name: _filled(value) if _floats(value) and np.isnan(value).any() else value for name, value in data.items()}
    names = [name for name, value in data.items() if isinstance(value, (np.ndarray, jax.Array))]
    others = {name: value for name, value in data.items() if name not in names}

    def values(*arrays: jax.Array) -> list[jax.Array]:
        arguments = others | dict(zip(names, arrays, strict=True))
        before, inside, after, _ = statements(model, arguments)
        return [jnp.asarray(site.value) for site in (*before, *inside, *after) if site.observed]

    return {names[i] for needs in dependence(values, *(jnp.asarray(data[name]) for name in names)) for i in needs}


def _floats(value: Any) -> bool:
    return isinstance(value, (np.ndarray, jax.Array)) and np.issubdtype(value.dtype, np.floating)


def _filled(value: Any) -> np.ndarray:
    """The array with something in its holes; whole numbers become integers again, as they would be without holes."""
    present = np.asarray(value)[~np.isnan(value)]
    filled = np.where(np.isnan(value), present[0] if present.size else 0.0, value)
    return filled.astype(int) if (filled == np.round(filled)).all() else filled
