"""Results of an imaginary engine, made of independent exact draws: what a check should see when nothing is wrong."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ppl_worldmodel.exact import FiniteState, LinearGaussian, finite, gaussian
from ppl_worldmodel.infer import beliefs as belief
from ppl_worldmodel.infer.result_tree import STATES

from ..agreement import law_of

SEEN = ("log_likelihood", "observations")


def reference(system: FiniteState | LinearGaussian) -> xr.DataTree:
    """What the exact engine returns for a system."""
    return _tree("exact", system, belief.of_system(system), np.zeros((1, 1, 2)), belief.FROM_RECURSION)


def drawn(
    system: FiniteState | LinearGaussian, seed: int, *, kind: str = "smoothed", num_draws: int = 1000
) -> xr.DataTree:
    """What a perfect sampler of the smoothed paths of a system returns, its beliefs filed under `kind`."""
    verbs, states = (finite, system.initial.shape[-1]) if isinstance(system, FiniteState) else (gaussian, None)
    paths = np.asarray(verbs.sample_paths(system, jax.random.key(seed), 4 * num_draws))
    if system.structure.sequences:
        paths = np.moveaxis(paths, 0, 1)
    draws = paths.reshape(4, num_draws, *paths.shape[1:])
    return _tree("imaginary", system, belief.of_state_draws(kind, draws, states), draws, belief.FROM_STATES)


def several(system: FiniteState | LinearGaussian, count: int) -> FiniteState | LinearGaussian:
    """So many independent series of a system, with its observations in turn rolled on by a step."""
    named = {name: array for name, array in system._asdict().items() if isinstance(array, jax.Array)}
    stacked = {
        name: jnp.stack([jnp.roll(array, shift, axis=0) if name in SEEN else array for shift in range(count)])
        for name, array in named.items()
    }
    return system._replace(**stacked, structure=replace(system.structure, sequences=count))


def _tree(engine: str, system, beliefs, draws: np.ndarray, beliefs_from: str) -> xr.DataTree:
    lead = ("sequence",) if system.structure.sequences else ()
    dims = ("chain", "draw", *lead, "time", "dim")[: draws.ndim]
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset({"state": (dims, draws)}), "beliefs": xr.Dataset(beliefs)})
    tree.attrs = {
        "engine": engine, "law": law_of(engine), "question": STATES, "family": type(system).__name__,
        "beliefs_from": beliefs_from,
    }  # fmt: skip
    return tree
