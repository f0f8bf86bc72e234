"""Families of exactly solvable systems: for each, the module of its verbs (filter, smooth, evidence, sample_paths, ...).

A system says how many values its state has (`num_states`; None: a vector) and whether its first state has a density (`proper`).
Everything else that differs between families is a verb. A new family registers its own: `@verbs.register`.
"""

from functools import singledispatch
from typing import Any

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.exact import finite, gaussian
from ppl_worldmodel.exact.system import FiniteState, LinearGaussian


@singledispatch
def verbs(system: Any) -> Any:
    """The verbs of a system's family, by name: what `exact.finite` is for a FiniteState, `exact.gaussian` for a LinearGaussian."""
    raise DataError(
        f"expected a system such as a FiniteState or a LinearGaussian, given was a {type(system).__name__}: "
        "read(model, data).system is one"
    )


@verbs.register
def _finite(system: FiniteState) -> Any:
    return finite


@verbs.register
def _gaussian(system: LinearGaussian) -> Any:
    return gaussian
