"""What do draws say about the state?  Beliefs with their Monte Carlo errors, from draws of states or of parameters."""

from collections.abc import Callable, Mapping
from typing import Any

import arviz_stats  # noqa: F401  (registers the accessor `.azstats`)
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ppl_worldmodel.exact import FiniteState, finite, gaussian
from ppl_worldmodel.exact.system import LinearGaussian, Structure
from ppl_worldmodel.program.read import System, read

FROM_STATES = "draws of the states"
FROM_PARAMETERS = "exact beliefs averaged over draws of the parameters"
FROM_RECURSION = "exact recursion"

KINDS = ("predicted", "filtered", "smoothed")


def of_system(system: System) -> dict[str, xr.DataArray]:
    """The exact beliefs of a system, by name."""
    if isinstance(system, FiniteState):
        past = finite.smooth(system)._asdict()
        return {kind: xr.DataArray(np.asarray(past[kind]), dims=("time", "state")) for kind in KINDS}
    past = gaussian.smooth(system)._asdict()
    return {kind: xr.DataArray(np.asarray(past[kind]), dims=("time", "dim")) for kind in KINDS} | {
        f"{kind}_covariance": xr.DataArray(np.asarray(past[f"{kind}_covariance"]), dims=("time", "dim", "dim_bis"))
        for kind in KINDS
    }


def of_state_draws(kind: str, draws: np.ndarray, num_states: int | None) -> dict[str, xr.DataArray]:
    """Beliefs from draws of states: integers (chain, draw, time) of `num_states` values, or vectors (chain, draw, time, dim)."""
    if num_states is not None:
        indicator = xr.DataArray(draws[..., None] == np.arange(num_states), dims=("chain", "draw", "time", "state"))
        return _estimated(kind, indicator.astype(float))
    vectors = xr.DataArray(draws, dims=("chain", "draw", "time", "dim"))
    centred = vectors - vectors.mean(("chain", "draw"))
    square = _estimated(f"{kind}_variance", centred**2)
    covariance = (centred * centred.rename(dim="dim_bis")).mean(("chain", "draw"))
    return _estimated(kind, vectors) | {
        f"{kind}_covariance": covariance,
        f"{kind}_variance_mcse": square[f"{kind}_variance_mcse"],
        f"{kind}_variance_ess": square[f"{kind}_variance_ess"],
    }


def of_parameter_draws(
    model: Callable, data: Mapping[str, Any], draws: Mapping[str, np.ndarray], *, most: int = 4000
) -> tuple[dict[str, xr.DataArray], np.ndarray]:
    """Exact beliefs averaged over draws (chain, draw, ...) of the parameters, and log predictive (chain, draw, time) of every draw.

    The beliefs use at most `most` draws, evenly spaced. They check the parameters, not the recursion.
    """
    first = {name: np.asarray(value)[0, 0] for name, value in draws.items()}
    family = read(model, data, first)
    flat = {name: jnp.asarray(value).reshape(-1, *np.shape(value)[2:]) for name, value in draws.items()}
    chains, length = np.shape(next(iter(draws.values())))[:2]
    log_predictive = _map(model, data, flat, lambda system: _verbs(system).evidence(system))
    step = max(1, int(np.ceil(chains * length / most)))
    thinned = {name: jnp.asarray(value)[:, ::step] for name, value in draws.items()}
    kept = next(iter(thinned.values())).shape[1]
    thinned = {name: value.reshape(-1, *value.shape[2:]) for name, value in thinned.items()}
    past = _map(model, data, thinned, lambda system: _verbs(system).smooth(system)._asdict())
    beliefs: dict[str, xr.DataArray] = {}
    for kind in KINDS:
        axis = "state" if isinstance(family, FiniteState) else "dim"
        each = xr.DataArray(
            past[kind].reshape(chains, kept, *past[kind].shape[1:]), dims=("chain", "draw", "time", axis)
        )
        beliefs |= _estimated(kind, each)
        if axis == "dim":
            within = past[f"{kind}_covariance"].mean(axis=0)
            centred = each - each.mean(("chain", "draw"))
            between = (centred * centred.rename(dim="dim_bis")).mean(("chain", "draw"))
            beliefs[f"{kind}_covariance"] = between + xr.DataArray(within, dims=("time", "dim", "dim_bis"))
            variances = xr.DataArray(
                np.diagonal(past[f"{kind}_covariance"], axis1=-2, axis2=-1).reshape(each.shape), dims=each.dims
            )
            spread = _estimated(f"{kind}_variance", variances + centred**2)
            beliefs[f"{kind}_variance_mcse"] = spread[f"{kind}_variance_mcse"]
    return beliefs, np.asarray(log_predictive).reshape(chains, length, -1)


def aligned_states(draws: Mapping[str, np.ndarray], system: System) -> np.ndarray:
    """Draws of the states that emit observation t, (chain, draw, time) or (chain, draw, time, dim), from draws of the sites."""
    structure: Structure = system.structure
    finite_states = isinstance(system, FiniteState)
    series = _stack([np.asarray(draws[name]) for name in structure.states], 3, finite_states)
    if structure.order != "emission first":
        return series
    if structure.initials:
        start = _stack([np.asarray(draws[name]) for name in structure.initials], 2, finite_states)
    else:
        known = system.initial.argmax() if isinstance(system, FiniteState) else system.initial_mean
        start = np.broadcast_to(np.asarray(known), (*series.shape[:2], *np.shape(known)))
    return np.concatenate([start[:, :, None], series[:, :, :-1]], axis=2)


def _stack(parts: list[np.ndarray], leading: int, finite_states: bool) -> np.ndarray:
    if finite_states:
        (only,) = parts
        return only
    return np.concatenate([part.reshape(*part.shape[:leading], -1) for part in parts], axis=-1)


def _verbs(system: FiniteState | LinearGaussian) -> Any:
    return finite if isinstance(system, FiniteState) else gaussian


def _map(model: Callable, data: Mapping[str, Any], flat: Mapping[str, jax.Array], of: Callable) -> Any:
    """`of(system)` for every draw, in one compiled loop over batches of draws."""
    from ppl_worldmodel.program.read import system_at

    run = jax.jit(
        lambda draws: jax.lax.map(lambda parameters: of(system_at(model, data, parameters)), draws, batch_size=100)
    )
    return jax.tree.map(np.asarray, run(dict(flat)))


def _estimated(name: str, draws: xr.DataArray) -> dict[str, xr.DataArray]:
    """Mean over (chain, draw) with MCSE and effective sample size; a quantity that never varied has both undefined (NaN)."""
    mean = draws.mean(("chain", "draw"))
    varies = draws.std(("chain", "draw")) > 0
    ess = draws.azstats.ess(method="mean").where(varies)
    spread = draws.std(("chain", "draw"), ddof=1)
    return {name: mean, f"{name}_ess": ess, f"{name}_mcse": (spread / np.sqrt(ess)).where(varies)}
