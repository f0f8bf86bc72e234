"""Marginal belief about one part of a state of several parts: its probabilities, summed over the other parts."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Array, Float, Num

from ppl_worldmodel.exact.system import Structure


def marginal(
    probabilities: Float[Array | np.ndarray, "*lead state"], structure: Structure, name: str
) -> tuple[Num[np.ndarray, " value"], Float[Array | np.ndarray, "*lead value"]]:
    """p(part) = sum over the states with that value of the part: its values in order, and their probabilities (..., value).

    name  one of `parts(structure)`; NaN (a belief that was not asked for) stays NaN
    Raises ValueError if the structure lists no states, has no part of that name, or has another number of states.
    """
    if not structure.labels:
        raise ValueError("the structure lists no states: give that of a finite system that was read off a program")
    names = parts(structure)
    if name not in names:
        raise ValueError(f"the state has no part '{name}': its parts are {', '.join(map(repr, names))}")
    if probabilities.shape[-1] != len(structure.labels):
        raise ValueError(
            f"the last axis of the probabilities has {probabilities.shape[-1]} entries, expected one for each of the "
            f"{len(structure.labels)} states"
        )
    values, belongs = np.unique([label[names.index(name)] for label in structure.labels], return_inverse=True)
    return values, probabilities @ (belongs[:, None] == np.arange(values.size)).astype(probabilities.dtype)


def parts(structure: Structure) -> tuple[str, ...]:
    """The names of the parts of a finite state, one for each entry of its labels."""
    return entries(structure.factors, len(structure.labels[0]) if structure.labels else 0)


def entries(factors: Sequence[str], count: int) -> tuple[str, ...]:
    """A name for each of `count` entries of a state: the names of its factors if all are numbers, `x[0], x[1]` of one vector.

    If there are several factors and some are vectors, it is not known where one ends: the entries are only numbered.
    """
    if len(factors) == count:
        return tuple(factors)
    if len(factors) == 1:
        return tuple(f"{factors[0]}[{i}]" for i in range(count))
    return tuple(f"entry {i}" for i in range(count))
