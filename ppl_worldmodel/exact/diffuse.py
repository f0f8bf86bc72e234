"""Diffuse initial state of a Kalman filter: x_0 = mean + B delta, where delta has a flat density over all of R^q.

Given delta the system is an ordinary one, and its innovations are linear in delta. So the data determine delta by regression on
the innovations: its distribution is N(precision^-1 information, precision^-1). Beliefs and evidence combine it with those of the
ordinary system. Nothing is approximated by a large variance.

The flat density equals one: log p(y_1:T) is the limit of log p_kappa(y_1:T) + q/2 log(2 pi kappa) with delta ~ N(0, kappa I).
Durbin & Koopman's diffuse log likelihood (2012, section 7.2) is this minus q/2 log(2 pi). Until the data determine delta, the
next observation has no density and its term is zero. The step that determines delta has the density of all observations up to it.
Beliefs are NaN until then.

Source: de Jong (1991), Annals of Statistics 19; Durbin & Koopman (2012), chapter 5.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ppl_worldmodel.exact import kalman
from ppl_worldmodel.exact.covariance_inverse import invert
from ppl_worldmodel.exact.kalman import Belief, Corrected, Smoothed
from ppl_worldmodel.exact.system import LinearGaussian


class _Start(NamedTuple):
    """N(mean, covariance) of delta given y_1:t for t = 0 ... T, whether it is determined, and log p(y_1:t)."""

    mean: Float[Array, "time+1 directions"]
    covariance: Float[Array, "time+1 directions directions"]
    determined: Array
    log_evidence: Array


def forward(system: LinearGaussian, off: Belief | None = None) -> tuple[Belief, Corrected]:
    """Predicted beliefs and corrections for every t; `off` as in `kalman.forward`."""
    known, along = _centred(system)
    predicted, corrected = kalman.forward(known, off)
    ahead, after = jax.vmap(lambda one: kalman.forward(one, off))(along)
    start = _start(known, predicted, ahead.mean, corrected.log_predictive)
    terms = jnp.diff(jnp.where(start.determined, start.log_evidence, 0.0))
    terms = terms.at[-1].add(jnp.where(start.determined[-1], 0.0, jnp.nan))
    before, now = (
        jax.tree.map(lambda series, part=part: series[part], start) for part in (slice(None, -1), slice(1, None))
    )
    belief = Belief(*_together(corrected.mean, corrected.covariance, after.mean, now))
    return Belief(*_together(*predicted, ahead.mean, before)), Corrected(*belief, terms)


def smoothed(system: LinearGaussian, off: Belief | None = None) -> Smoothed:
    """Smoothed beliefs for every t; the gains are those of the system with delta known; `off` as in `kalman.forward`."""
    known, along = _centred(system)
    predicted, corrected = kalman.forward(known, off)
    past = kalman.backward(known, predicted, corrected)
    ahead, after = jax.vmap(lambda one: kalman.forward(one, off))(along)
    start = _start(known, predicted, ahead.mean, corrected.log_predictive)
    reach = jax.vmap(kalman.backward)(along, ahead, after).mean
    last = jax.tree.map(lambda series: jnp.broadcast_to(series[-1], (reach.shape[1], *series.shape[1:])), start)
    return Smoothed(*_together(past.mean, past.covariance, reach, last), past.gain)


def pairwise(system: LinearGaussian) -> Array:
    """cov(x_t, x_t+1 | y_1:T) for t = 1 ... T-1."""
    known, along = _centred(system)
    predicted, corrected = kalman.forward(known)
    past = kalman.backward(known, predicted, corrected)
    ahead, after = jax.vmap(kalman.forward)(along)
    start = _start(known, predicted, ahead.mean, corrected.log_predictive)
    reach = jax.vmap(kalman.backward)(along, ahead, after).mean
    across = jnp.einsum("itx,ij,jtz->txz", reach[:, :-1], start.covariance[-1], reach[:, 1:])
    return past.gain @ past.covariance[1:] + across


def starts(system: LinearGaussian, key: Array, num_draws: int) -> tuple[Array, LinearGaussian]:
    """Draws of the first state's mean given all the data, (draw, dim_x), and the system without its diffuse part."""
    if system.diffuse is None:
        return jnp.broadcast_to(system.initial_mean, (num_draws, system.initial_mean.size)), system
    known, along = _centred(system)
    predicted, corrected = kalman.forward(known)
    start = _start(known, predicted, jax.vmap(kalman.forward)(along)[0].mean, corrected.log_predictive)
    noise = jax.random.normal(key, (num_draws, start.mean.shape[-1])) @ jnp.linalg.cholesky(start.covariance[-1]).T
    return known.initial_mean + (start.mean[-1] + noise) @ system.diffuse.T, known


def _centred(system: LinearGaussian) -> tuple[LinearGaussian, LinearGaussian]:
    """The system with delta known, at a value that fits the data; and, for each direction, the system of delta's effect alone.

    Any value would do. At one that fits, no digits are lost to large innovations.
    """
    assert system.diffuse is not None
    along = jax.vmap(
        lambda column: system._replace(
            initial_mean=column,
            b=0.0 * system.b,
            d=0.0 * system.d,
            observations=0.0 * system.observations,
            diffuse=None,
        )
    )(system.diffuse.T)
    known = system._replace(diffuse=None)
    predicted, corrected = kalman.forward(known)
    start = _start(known, predicted, jax.vmap(kalman.forward)(along)[0].mean, corrected.log_predictive)
    fit = lax.stop_gradient(jnp.where(start.determined[-1], start.mean[-1], 0.0))
    return known._replace(initial_mean=system.initial_mean + system.diffuse @ fit), along


def _start(known: LinearGaussian, predicted: Belief, reach: Array, log_predictive: Array) -> _Start:
    """Beliefs about delta given y_1:t; `reach`: the effect of each direction on the predicted mean, (directions, time, dim_x)."""
    _, (*_, C, d, R) = kalman.onward(known)

    def one(belief: Belief, reach: Array, y: Array, C: Array, d: Array, R: Array) -> tuple[Array, Array]:
        innovation, S, C, _ = kalman.surprise(belief, y, C, d, R)
        slope = C @ reach.T
        weighted = slope.T @ invert(S)[0]
        return weighted @ slope, weighted @ innovation

    found = jax.vmap(one)(predicted, jnp.swapaxes(reach, 0, 1), known.observations, C, d, R)
    precision, information = (jnp.concatenate([jnp.zeros((1, *each.shape[1:])), each.cumsum(axis=0)]) for each in found)
    scale = jnp.sqrt(jnp.diagonal(precision, axis1=-2, axis2=-1))
    seen = scale > 0
    units = jnp.where(seen, scale, 1.0)[..., :, None] * jnp.where(seen, scale, 1.0)[..., None, :]
    smallest = jnp.linalg.eigvalsh(lax.stop_gradient(precision / units)).min(axis=-1)
    determined = seen.all(axis=-1) & (smallest > 1e-10)
    safe = jnp.where(determined[:, None, None], precision / units, jnp.eye(precision.shape[-1]))
    inverse, log_determinant = jax.vmap(invert)(safe)
    covariance = inverse / units
    mean = jnp.einsum("tij,tj->ti", covariance, information)
    fits = (
        0.5 * (mean * information).sum(axis=-1)
        - 0.5 * log_determinant
        - jnp.log(jnp.where(seen, scale, 1.0)).sum(axis=-1)
    )
    constant = 0.5 * precision.shape[-1] * jnp.log(2 * jnp.pi)
    total = jnp.concatenate([jnp.zeros(1), log_predictive.cumsum()]) + fits + constant
    return _Start(mean, covariance, determined, total)


def _together(mean: Array, covariance: Array, reach: Array, start: _Start) -> tuple[Array, Array]:
    """Beliefs about x, from those given delta and the beliefs about delta; NaN where delta is not determined."""
    whole = mean + jnp.einsum("itx,ti->tx", reach, start.mean)
    spread = covariance + jnp.einsum("itx,tij,jtz->txz", reach, start.covariance, reach)
    gap = ~start.determined
    return jnp.where(gap[:, None], jnp.nan, whole), jnp.where(gap[:, None, None], jnp.nan, spread)
