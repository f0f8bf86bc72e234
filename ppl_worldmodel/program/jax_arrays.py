"""JAX arrays in the place of NumPy's, for a program that indexes its data by a traced time (`y[t]` with t in the carry)."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.errors import TracerArrayConversionError

from ppl_worldmodel.program.statements import statements


def as_program_takes(model: Callable, data: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as they are, or, if the program cannot be traced with NumPy arrays, as JAX arrays.

    NumPy arrays stay where they can: JAX traces operations on its own arrays, so that `int(y.max()) + 1` would fail with them.
    """
    given = dict(data)
    if not _needs_jax(model, given):
        return given
    return {
        name: jnp.asarray(value) if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" else value
        for name, value in given.items()
    }


def _needs_jax(model: Callable, data: Mapping[str, Any]) -> bool:
    """Does tracing the program meet a NumPy array where only a JAX array would do?"""

    try:
        jax.eval_shape(lambda: [site.value for part in statements(model, data)[:3] for site in part])
    except TracerArrayConversionError:
        return True
    except Exception:  # it is another fault, and reading the program says what it is
        return False
    return False
