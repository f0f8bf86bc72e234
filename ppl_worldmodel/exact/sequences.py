"""Several independent series: a function of one series is mapped (`jax.vmap`) along a leading axis of every array."""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, cast

import jax


def each_sequence[Verb: Callable](verb: Verb) -> Verb:
    """The function `verb`, for systems of one series and of several; results of several have a leading axis `sequence`.

    A random key among the arguments is split, one for each series.
    """

    @wraps(verb)
    def apply(system: Any, *arguments: Any, **settings: Any) -> Any:
        count = system.structure.sequences
        if not count:
            return verb(system, *arguments, **settings)
        one = replace(system.structure, sequences=0)
        split = [jax.random.split(argument, count) if _is_key(argument) else argument for argument in arguments]
        axes = [0 if _is_key(argument) else None for argument in arguments]
        return jax.vmap(
            lambda system, *arguments: verb(system._replace(structure=one), *arguments, **settings), in_axes=(0, *axes)
        )(system, *split)

    return cast(Verb, apply)


def _is_key(argument: Any) -> bool:
    """A typed key, or one in NumPyro's older form of two whole numbers."""
    return isinstance(argument, jax.Array) and (
        jax.dtypes.issubdtype(argument.dtype, jax.dtypes.prng_key) or argument.dtype == jax.numpy.uint32
    )
