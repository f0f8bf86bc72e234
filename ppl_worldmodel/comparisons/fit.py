"""Fit of one model for a comparison: its posterior, in comparable labels, with all that the scores need."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.infer.exact import exact_engine
from ppl_worldmodel.infer.gibbs import gibbs
from ppl_worldmodel.infer.nuts import nuts
from ppl_worldmodel.infer.result_tree import Engine
from ppl_worldmodel.labels.aligned_results import LABELLING, aligned
from ppl_worldmodel.labels.factor_symmetry import factor_symmetry
from ppl_worldmodel.labels.relabelling import Relabelling, relabelling
from ppl_worldmodel.labels.state_axes import with_state_axes
from ppl_worldmodel.program.coordinates import Coordinates, coordinates
from ppl_worldmodel.program.reading import Reading


class Fit(NamedTuple):
    """result  of the engine, its draws relabelled where the program is exchangeable; draws: the same as vectors z of `space`"""

    reading: Reading
    space: Coordinates
    names: Relabelling | None
    result: xr.DataTree
    draws: Float[np.ndarray, "chain draw size"]

    @property
    def exchanged(self) -> Relabelling | None:
        """How the states exchange names, if they are free to."""
        return self.names if self.names is not None and self.names.exchangeable else None


def fit(
    reading: Reading,
    key: jax.Array,
    *,
    engine: Engine | None = None,
    size: Callable[[int], int] = lambda number: number,
    reference: Mapping[str, Any] | None = None,
) -> Fit:
    """Learn the parameters of a model.

    engine     None: gibbs where every parameter is conjugate (its chains move among the names of the states), else NUTS; a program
               without parameters is asked for its exact beliefs
    size       number of draws -> how many of them to take
    reference  values of the parameters whose names of the states are taken; None: those that the draws settle on
    """
    space = coordinates(reading)
    if not space.names:
        result = exact_engine()(reading.given({}), key)
        return Fit(reading, space, None, result, np.zeros((1, 1, 0)))
    result = engine(reading, key) if engine else _learned(reading, key, size)
    names = relabelling(reading)
    if names is not None and names.exchangeable:
        result = aligned(result, reading, names, reference)
    result = with_state_axes(result, names).copy()
    # Draws of factors keep their signs and rotations: bridge sampling wants every image of the posterior.
    if factor_symmetry(reading) is None:
        result.attrs["labelling"] = LABELLING
    posterior = result["posterior"].to_dataset()
    flatten = jax.jit(jax.vmap(jax.vmap(space.unconstrain)))
    draws = flatten({name: jnp.asarray(posterior[name].values) for name in space.names})
    return Fit(reading, space, names, result, np.asarray(draws))


def _learned(reading: Reading, key: jax.Array, size: Callable[[int], int]) -> xr.DataTree:
    try:
        return gibbs(num_warmup=size(1000), num_samples=size(4000))(reading, key)
    except NotExactlySolvable:  # a parameter without a conjugate conditional
        return nuts(num_warmup=size(500), num_samples=size(1000))(reading, key)
