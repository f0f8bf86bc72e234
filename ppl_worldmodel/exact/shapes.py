"""Short text about a record of arrays: the shape of each, and single numbers as they are."""

from typing import Any

import jax
import numpy as np


def shapes(record: Any) -> str:
    """`Beliefs: predicted (100, 2), ..., log_evidence -63.1`, for the repr of a NamedTuple."""
    fields = [f"{name} {_short(value)}" for name, value in record._asdict().items() if value is not None]
    return f"{type(record).__name__}: {', '.join(fields)}"


def _short(value: Any) -> str:
    if hasattr(value, "least"):
        return f"{value.least:.1f}"
    if not isinstance(value, jax.Array | np.ndarray):
        return str(value)
    return f"{float(value):.6g}" if value.shape == () and not isinstance(value, jax.core.Tracer) else str(value.shape)
