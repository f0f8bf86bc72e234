"""Bridge sampling: the log evidence of a model whose parameters are learned, from draws of the posterior.

log p(y) is the log ratio of the unnormalised posterior to a proposal of known integral, estimated from draws of both (Meng & Wong
1996, Statistica Sinica 6, equation 4.1). The proposal is a mixture of normals, fitted to one half of the draws; the other half
enters the estimate. Where the states may exchange names, the proposal is averaged over all their orders, so that it covers every
mirror image of the posterior, reached by the draws or not (Fruhwirth-Schnatter 2004, Econometrics Journal 7, section 3.3; its
equation 11 is the standard error, with the effective number of the dependent draws).
"""

from collections.abc import Callable
from typing import NamedTuple

import arviz_stats  # noqa: F401  (registers the accessor `.azstats`)
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.scipy.special import logsumexp
from jax.scipy.stats import multivariate_normal
from jaxtyping import Array, Float
from scipy import special
from scipy.cluster.vq import kmeans2, whiten

from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.labels.relabelling import Relabelling, all_orders, permuted
from ppl_worldmodel.program.coordinates import Coordinates

COMPONENTS = 6  # normals in the proposal, at most
BATCH = 256  # points at once


class Estimate(NamedTuple):
    """A log evidence in nats, its standard error, and the method."""

    log_evidence: float
    error: float
    method: str


class Components(NamedTuple):
    """A mixture of normals over z."""

    log_weight: Float[Array, " component"]
    mean: Float[Array, "component size"]
    covariance: Float[Array, "component size size"]


def bridge(
    space: Coordinates,
    draws: Float[np.ndarray, "chain draw size"],
    key: Array,
    *,
    names: Relabelling | None = None,
    num_proposed: int = 4000,
) -> Estimate:
    """The log evidence from posterior draws of z (see `coordinates`), chain by chain.

    names  how states exchange names, where the program is exchangeable; None for any other
    Raises NotExactlySolvable, naming the parameter, where a prior is improper: there is no evidence then.
    """
    refuse_improper(space)
    fit, used = np.split(np.asarray(draws), [draws.shape[1] // 2], axis=1)
    used = used[:, :: max(1, used.shape[0] * used.shape[1] // num_proposed)]
    key_fit, key_draw = jax.random.split(key)
    components = proposal(space, fit.reshape(-1, space.size), key_fit, names)
    proposed = drawn_from(components, key_draw, num_proposed)
    ratios = jax.jit(lambda points: log_ratios(space, components, points, names))
    posterior, other = np.asarray(ratios(used.reshape(-1, space.size))), np.asarray(ratios(proposed))
    return bridged(posterior.reshape(used.shape[:2]), other)


def log_ratios(
    space: Coordinates, components: Components, points: Float[Array, "draw size"], names: Relabelling | None
) -> Float[Array, " draw"]:
    """Log ratio of the unnormalised posterior to the proposal, both as densities of the parameters; it can be traced by JAX."""
    images = _images(space, names)

    def ratio(z: Array) -> Array:
        density, here = space.density(z), images(z)
        log_q = jax.vmap(lambda z: _log_mixture(components, z) - space.log_slope(z))(here)
        return density.prior + density.terms.sum() - space.log_slope(z) - logsumexp(log_q) + jnp.log(here.shape[0])

    return jax.lax.map(ratio, points, batch_size=BATCH)


def refuse_improper(space: Coordinates) -> None:
    """Raise NotExactlySolvable where a prior is improper."""
    if space.improper:
        raise NotExactlySolvable(
            f"the prior of '{space.improper[0]}' is improper, so that the program has no evidence: give it a proper prior, or "
            "compare by leave-future-out scores"
        )


def bridged(posterior: Float[np.ndarray, "chain draw"], proposal: Float[np.ndarray, " proposed"]) -> Estimate:
    """The estimate from log(p / q) at draws of p and of q."""
    centre = float(np.median(posterior))
    p, q = posterior - centre, np.where(np.isnan(proposal), -np.inf, proposal) - centre
    effective, total = float(p.size), float(len(q))
    log_r = 0.0
    for _ in range(3):  # the weights of the two samples depend on the effective number of the first
        share = effective / (effective + total)
        for _ in range(1000):
            upper = q - np.logaddexp(np.log(share) + q, np.log1p(-share) + log_r)
            lower = -np.logaddexp(np.log(share) + p, np.log1p(-share) + log_r)
            change = special.logsumexp(upper) - np.log(total) - special.logsumexp(lower) + np.log(p.size) - log_r
            log_r += float(change)
            if abs(change) < 1e-10:
                break
        second = np.exp(lower - lower.max())
        ess = float(xr.DataArray(second, dims=("chain", "draw")).azstats.ess(method="mean"))
        effective = float(np.clip(ess, 1.0, p.size))
    first = np.exp(upper - upper.max())
    relative = first.var() / first.mean() ** 2 / total + second.var() / second.mean() ** 2 / effective
    return Estimate(centre + log_r, float(np.sqrt(relative)), "bridge sampling")


def _images(space: Coordinates, names: Relabelling | None) -> Callable[[Array], Array]:
    """z -> its mirror images (order, size), itself among them."""
    if names is None:
        return lambda z: z[None]
    orders, axes = jnp.asarray(all_orders(names.num_states)), names.axes

    def images(z: Array) -> Array:
        parameters = space.constrain(z)
        return jax.vmap(lambda order: space.unconstrain(permuted(parameters, axes, order)))(orders)

    return images


def proposal(
    space: Coordinates, draws: Float[np.ndarray, "draw size"], key: Array, names: Relabelling | None
) -> Components:
    """Normals fitted to clusters of the draws, each draw moved to its mirror image that is nearest to the first one."""
    moved = np.asarray(jax.jit(lambda points: _nearest(_images(space, names), points))(jnp.asarray(draws)))
    size = moved.shape[1]
    number = int(np.clip(len(moved) // (20 * size), 1, COMPONENTS))
    seed = int(jax.random.randint(key, (), 0, 2**31 - 1))
    label = kmeans2(whiten(moved), number, minit="++", rng=seed)[1] if number > 1 else np.zeros(len(moved), int)
    parts = [part for part in (moved[label == k] for k in range(number)) if len(part) > 2 * size] or [moved]
    pooled = _covariance(moved)
    # A cluster ends where the next one begins; a tenth of the whole covariance gives it tails.
    covariance = [_covariance(part) + 0.1 * pooled for part in parts]
    weight = np.array([len(part) for part in parts], float)
    return Components(
        jnp.log(weight / weight.sum()), jnp.stack([part.mean(axis=0) for part in parts]), jnp.stack(covariance)
    )


def nearest_image(
    space: Coordinates, names: Relabelling, points: Float[Array, "draw size"]
) -> Float[Array, "draw size"]:
    """Every point replaced by its mirror image that is nearest to the first point; all images have the same density."""
    return _nearest(_images(space, names), points)


def _nearest(images: Callable[[Array], Array], points: Array) -> Array:
    pivot, spread = points[0], points.std(axis=0) + 1e-300

    def nearest(z: Array) -> Array:
        every = images(z)
        return every[jnp.argmin((((every - pivot) / spread) ** 2).sum(axis=-1))]

    return jax.lax.map(nearest, points, batch_size=BATCH)


def _covariance(points: Float[np.ndarray, "draw size"]) -> Float[np.ndarray, "size size"]:
    size = points.shape[1]
    return np.cov(points.T).reshape(size, size) + 1e-10 * np.eye(size)


def _log_mixture(components: Components, z: Array) -> Array:
    densities = jax.vmap(lambda mean, covariance: multivariate_normal.logpdf(z, mean, covariance))
    return logsumexp(components.log_weight + densities(components.mean, components.covariance))


def drawn_from(components: Components, key: Array, number: int) -> Float[Array, "draw size"]:
    key_which, key_noise = jax.random.split(key)
    which = jax.random.categorical(key_which, components.log_weight, shape=(number,))
    root = jnp.linalg.cholesky(components.covariance)
    noise = jax.random.normal(key_noise, (number, components.mean.shape[1]))
    return components.mean[which] + jnp.einsum("nij,nj->ni", root[which], noise)
