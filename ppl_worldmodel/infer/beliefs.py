"""Beliefs with their Monte Carlo errors: from an exact system, from draws of states, or averaged over draws of parameters."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import arviz_stats  # noqa: F401  (registers the accessor `.azstats`)
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ppl_worldmodel import memory
from ppl_worldmodel.exact.families import verbs
from ppl_worldmodel.exact.system import System
from ppl_worldmodel.program.reading import Reading

FROM_STATES = "draws of the states"
FROM_PARAMETERS = "exact beliefs averaged over draws of the parameters"
FROM_RECURSION = "exact recursion"

BELIEFS_PER_DRAW = 3 * 8 * 3  # bytes for each number of a belief: three kinds, and copies of them

KINDS = ("predicted", "filtered", "smoothed")
PIECE = 16_000_000  # bytes of a piece of the draws that is looked at at a time; its ranks and copies take some ten times that


def asked(kind: str, beliefs: xr.Dataset) -> np.ndarray:
    """Of which time steps an engine was asked for this kind of belief, (..., time): those of its `<kind>_asked`, else all.

    A belief that was asked for and is not finite is a fault of the engine, and not a step that was left out.
    """
    if f"{kind}_asked" in beliefs:
        return np.broadcast_to(np.asarray(beliefs[f"{kind}_asked"].values, bool), beliefs[kind].shape[:-1])
    return np.ones(beliefs[kind].shape[:-1], bool)


def determined(beliefs: dict[str, xr.DataArray]) -> dict[str, xr.DataArray]:
    """`<kind>_asked` of a system whose first state has a flat density: its beliefs are NaN until the data determine it, from then
    on they are not.
    """
    found = {}
    for kind in KINDS:
        open_ = np.isnan(beliefs[kind].values).all(axis=-1)
        until = np.logical_and.accumulate(open_, axis=-1)
        found[f"{kind}_asked"] = xr.DataArray(~until, dims=beliefs[kind].dims[:-1])
    return found


def of_system(system: System) -> dict[str, xr.DataArray]:
    """The exact beliefs of a system, by name: probabilities of a state with so many values, else means and covariances.

    Means and covariances have the attribute `digits`, the decimal digits that can be relied on.
    """
    lead, past = _lead(system), verbs(system).smooth(system)._asdict()
    if system.num_states is not None:
        return {kind: xr.DataArray(np.asarray(past[kind]), dims=(*lead, "time", "state")) for kind in KINDS}
    size = system.dim_x
    found = {kind: xr.DataArray(np.asarray(past[kind])[..., :size], dims=(*lead, "time", "dim")) for kind in KINDS} | {
        f"{kind}_covariance": xr.DataArray(
            np.asarray(past[f"{kind}_covariance"])[..., :size, :size], dims=(*lead, "time", "dim", "dim_bis")
        )
        for kind in KINDS
    }
    found = found if system.proper else found | determined(found)
    digits = {"digits": round(past["digits"].least, 1)}
    return {name: array.assign_attrs(digits) for name, array in found.items()}


def of_state_draws(kind: str, draws: np.ndarray, num_states: int | None) -> dict[str, xr.DataArray]:
    """Beliefs from draws of states: integers (chain, draw, *sequence, time) of `num_states` values, or vectors (..., time, dim).

    A piece of the series at a time, for the probabilities of states take many times the memory of the draws.
    """
    time = draws.ndim - 1 if num_states is not None else draws.ndim - 2
    each = 8 * (num_states or 1) * (draws.size // max(draws.shape[time], 1))
    steps = max(1, PIECE // max(each, 1))
    pieces = [
        _of_piece(kind, np.take(draws, range(at, min(at + steps, draws.shape[time])), axis=time), num_states)
        for at in range(0, draws.shape[time], steps)
    ]
    if len(pieces) == 1:
        return pieces[0]
    return {
        name: xr.concat([piece[name] for piece in pieces], dim="time").transpose(*pieces[0][name].dims)
        for name in pieces[0]
    }


def _of_piece(kind: str, draws: np.ndarray, num_states: int | None) -> dict[str, xr.DataArray]:
    if num_states is not None:
        lead = ("sequence",) if draws.ndim == 4 else ()
        dims = ("chain", "draw", *lead, "time", "state")
        indicator = xr.DataArray(draws[..., None] == np.arange(num_states), dims=dims)
        return _shares(kind, indicator.astype(float))
    lead = ("sequence",) if draws.ndim == 5 else ()
    vectors = xr.DataArray(draws, dims=("chain", "draw", *lead, "time", "dim"))
    centred = vectors - vectors.mean(("chain", "draw"))
    square = _estimated(f"{kind}_variance", centred**2)
    covariance = (centred * centred.rename(dim="dim_bis")).mean(("chain", "draw"))
    return _estimated(kind, vectors) | {
        f"{kind}_covariance": covariance,
        f"{kind}_variance_mcse": square[f"{kind}_variance_mcse"],
        f"{kind}_variance_ess": square[f"{kind}_variance_ess"],
    }


def of_parameter_draws(
    reading: Reading, draws: Mapping[str, np.ndarray], *, most: int = 4000
) -> tuple[dict[str, xr.DataArray], np.ndarray]:
    """Exact beliefs averaged over draws (chain, draw, ...) of the parameters; log predictive (chain, draw, ..., time).

    The beliefs use at most `most` draws, evenly spaced, and no more than fit into the memory that a run may take. They check
    the parameters, not the recursion.
    """
    flat = {name: jnp.asarray(value).reshape(-1, *np.shape(value)[2:]) for name, value in draws.items()}
    chains, length = np.shape(next(iter(draws.values())))[:2]
    family = reading.at({name: values[0] for name, values in flat.items()})
    told = _settled(reading, family, "evidence")
    log_predictive = over_draws(told, flat, lambda system: verbs(system).evidence(system))
    size = family.dim_x
    each = family.entries * (1 + size if size else family.num_states or 1)
    most = min(most, max(memory.FEWEST, memory.limit() // (BELIEFS_PER_DRAW * each)))
    step = max(1, int(np.ceil(chains * length / most)))
    thinned = {name: jnp.asarray(value)[:, ::step] for name, value in draws.items()}
    kept = next(iter(thinned.values())).shape[1]
    thinned = {name: value.reshape(-1, *value.shape[2:]) for name, value in thinned.items()}
    past = over_draws(
        _settled(reading, family, "smooth"), thinned, lambda system: verbs(system).smooth(system)._asdict()
    )
    beliefs: dict[str, xr.DataArray] = {}
    lead, axis = _lead(family), "dim" if size else "state"
    for kind in KINDS:
        values = past[kind][..., :size].reshape(chains, kept, *past[kind].shape[1:-1], -1)
        each_draw = xr.DataArray(values, dims=("chain", "draw", *lead, "time", axis))
        beliefs |= _estimated(kind, each_draw)
        if size:
            own = past[f"{kind}_covariance"][..., :size, :size]
            centred = each_draw - each_draw.mean(("chain", "draw"))
            between = (centred * centred.rename(dim="dim_bis")).mean(("chain", "draw"))
            within = xr.DataArray(own.mean(axis=0), dims=(*lead, "time", "dim", "dim_bis"))
            beliefs[f"{kind}_covariance"] = between + within
            variances = xr.DataArray(np.diagonal(own, axis1=-2, axis2=-1).reshape(each_draw.shape), dims=each_draw.dims)
            spread = _estimated(f"{kind}_variance", variances + centred**2)
            beliefs[f"{kind}_variance_mcse"] = spread[f"{kind}_variance_mcse"]
    if not family.proper:
        beliefs |= determined(beliefs)
    return beliefs, np.asarray(log_predictive).reshape(chains, length, *np.shape(log_predictive)[1:])


def _settled(reading: Reading, system: System, question: str) -> Reading:
    """The reading with the form of a belief that keeps the digits of a system, for use in traces at like parameters."""
    form = verbs(system).settled(system, question).structure.form
    return replace(reading, plan=reading.plan._replace(form=form))


def _lead(system: System) -> tuple[str, ...]:
    return ("sequence",) if system.structure.sequences else ()


def over_draws(reading: Reading, flat: Mapping[str, jax.Array], of: Callable) -> Any:
    """`of(system)` for every draw, in one compiled loop over batches of draws.

    flat  draws of the parameters with one leading axis, (draw, ...); so has every array of the result (NumPy)
    """

    def one(parameters: Mapping[str, jax.Array]) -> Any:
        return of(reading.at(parameters))

    draws = dict(flat)
    leaves, tree = jax.tree.flatten(jax.eval_shape(one, {name: values[0] for name, values in draws.items()}))
    # JAX cannot batch a loop whose results have no entries, such as the other eigenvalues of a single state.
    some = jax.jit(
        lambda draws: jax.lax.map(lambda each: [a for a in jax.tree.leaves(one(each)) if a.size], draws, batch_size=100)
    )
    found, number = iter(some(draws)), len(next(iter(draws.values())))
    return jax.tree.unflatten(
        tree, [np.asarray(next(found)) if leaf.size else np.zeros((number, *leaf.shape)) for leaf in leaves]
    )


def share_error(share: Any, ess: Any) -> Any:
    """The standard error of a share of so many effective draws, with two draws of either kind added.

    Without them a share of 0 or 1 would have no error at all, although it is known to about 1 / ess only.
    Source: Agresti & Coull (1998), The American Statistician 52.
    """
    steadier = (share * ess + 2.0) / (ess + 4.0)
    return np.sqrt(steadier * (1.0 - steadier) / ess)


def borrowed(ess: np.ndarray, least: float) -> np.ndarray:
    """Effective draws (..., time, state), of states without any variation (NaN) the fewest of the others at the same time step,
    else at any step, else `least`: how well a sampler moves where nothing was seen to move is not known.
    """
    filled = np.where(np.isnan(ess), np.inf, ess)
    each, every = filled.min(axis=-1, keepdims=True), filled.min(initial=np.inf)
    other = np.where(np.isfinite(each), each, every if np.isfinite(every) else least)
    return np.where(np.isnan(ess), other, ess)


def _shares(name: str, indicator: xr.DataArray) -> dict[str, xr.DataArray]:
    """The share of the draws (chain, draw, ..., state) in each state, with its standard error and effective draws."""
    share = indicator.mean(("chain", "draw"))
    own = indicator.azstats.ess(method="mean").where(indicator.std(("chain", "draw")) > 0)
    ess = own.copy(data=borrowed(own.values, float(indicator.sizes["chain"])))
    return {name: share, f"{name}_ess": ess, f"{name}_mcse": share_error(share, ess)}


def _estimated(name: str, draws: xr.DataArray) -> dict[str, xr.DataArray]:
    """Mean over (chain, draw) with MCSE and effective sample size; a quantity that never varied has both undefined (NaN)."""
    mean = draws.mean(("chain", "draw"))
    # Not by the standard deviation: that of equal numbers is rounding, and not always zero.
    varies = draws.max(("chain", "draw")) > draws.min(("chain", "draw"))
    ess = draws.azstats.ess(method="mean").where(varies)
    spread = draws.std(("chain", "draw"), ddof=1)
    return {name: mean, f"{name}_ess": ess, f"{name}_mcse": (spread / np.sqrt(ess)).where(varies)}
