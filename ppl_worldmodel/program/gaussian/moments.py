"""Moments of a step of Gaussian sites, at one state and one value of its latent sites: means, covariances, the new state.

A state x is the stacked leaves of the carry, w the stacked latent sites of the step. Where there are several sequences, every
array has them as its first axis, and one x or w without that axis is given to all of them.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.linalg import block_diag
from jaxtyping import Array

from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.program.batch import Batch
from ppl_worldmodel.program.likelihood import log_density, unmasked
from ppl_worldmodel.program.sites import Sample, bare, kind
from ppl_worldmodel.program.step import Step


class Moments(NamedTuple):
    """Means and covariances of the latent sites w and the observed sites y; the observed y, NaN where missing; log factors."""

    w_mean: Array
    w_covariance: Array
    y_mean: Array
    y_covariance: Array
    y: Array
    log_factor: Array


def moments_of(step: Step, batch: Batch) -> Callable[[Any, Any, Any], tuple[list[Any], Moments]]:
    """(leaves of the state, latent values, inputs) -> the new leaves as they are, and the moments."""

    def moments(state: dict[int, Array], latents: dict[str, Array], inputs: Any) -> tuple[list[Any], Moments]:
        after, sites = step.run(state, latents, inputs)
        w_mean, w_covariance, _ = joined([gaussian(sites[name], batch) for name in step.latents], batch)
        seen, log_factor = observed([sites[name] for name in (*step.observed, *step.factors)], batch)
        new = [jnp.asarray(after[i], jnp.float_) for i in step.names]
        return new, Moments(w_mean, w_covariance, *seen, log_factor)

    return moments


def observed(sites: list[Sample], batch: Batch) -> tuple[tuple[Array, Array, Array], Array]:
    """The Gaussian sites that each sequence has, joined, and the log density of all else, (*sequence,)."""
    own = [site for site in sites if is_seen_in_each(site, batch)]
    rest = [log_density(site, batch) for site in sites if not any(site is other for other in own)]
    return joined([gaussian(site, batch) for site in own], batch), sum(rest, jnp.zeros(batch.ends))


def is_seen_in_each(site: Sample, batch: Batch) -> bool:
    """Is this an observation that each sequence has, and not a factor or a density that they share?"""
    return not isinstance(bare(site.fn), dist.Unit) and batch.inside(site.fn.batch_shape)


def gaussian(site: Sample, batch: Batch) -> tuple[Array, Array, Array]:
    """Mean, covariance and value (NaN where masked) of a Gaussian site, as flat vectors; refused if it is not Gaussian."""
    fn, shape = bare(site.fn), site.fn.shape()
    if site.scale is not None:
        raise NotExactlySolvable(
            f"site '{site.name}' has a scaled density (handlers.scale): a Gaussian step cannot have one{at(site)}"
        )
    flat = partial(_flat, batch=batch, shape=shape, event_dim=site.fn.event_dim)
    flat_mean = (
        fn.mean if not isinstance(fn, (dist.ImproperUniform, dist.TransformedDistribution)) else jnp.zeros(shape)
    )
    mean = flat(flat_mean)
    size = mean.shape[-1]
    if isinstance(fn, dist.Normal):
        covariance = jnp.where(jnp.eye(size) > 0, flat(fn.variance)[..., None], 0.0)
    elif isinstance(fn, dist.TransformedDistribution):
        moved, variance = _affine(site, fn)
        mean, covariance = flat(moved), jnp.where(jnp.eye(size) > 0, flat(variance)[..., None], 0.0)
    elif isinstance(fn, (dist.Delta, dist.ImproperUniform)):
        covariance = jnp.zeros((*mean.shape, size))
    elif isinstance(fn, (dist.MultivariateNormal, dist.LowRankMultivariateNormal)):
        inner = shape[-1]
        whole = jnp.broadcast_to(fn.covariance_matrix, (*shape, inner))
        matrix = batch.front(whole, site.fn.event_dim + 1).reshape(*batch.ends, size // inner, inner, inner)
        rows = jnp.eye(size // inner)[:, None, :, None]
        covariance = (rows * matrix[..., :, :, None, :]).reshape(*mean.shape, size)
    else:
        raise NotExactlySolvable(
            f"site '{site.name}' is {kind(site.fn)}: beside a continuous state only Gaussian sites are read exactly{at(site)}"
        )
    value = jnp.where(unmasked(site.fn, shape), site.value, jnp.nan)
    return mean, covariance, flat(value)


def at(site: Sample) -> str:
    """Where the site stands, to be put behind a message."""
    return f", {site.line}" if site.line else ""


def _affine(site: Sample, fn: dist.TransformedDistribution) -> tuple[Array, Array]:
    """Mean and variance of an affinely transformed normal distribution."""
    base = bare(fn.base_dist)
    affine = all(isinstance(transform, dist.transforms.AffineTransform) for transform in fn.transforms)
    if not affine or not isinstance(base, dist.Normal):
        raise NotExactlySolvable(
            f"site '{site.name}' is a {kind(base)} transformed by {', '.join(type(t).__name__ for t in fn.transforms)}: beside a "
            f"continuous state only Gaussian sites are read exactly{at(site)}"
        )
    mean, variance = fn.base_dist.mean, fn.base_dist.variance
    for transform in fn.transforms:
        mean, variance = transform(mean), variance * transform.scale**2
    return mean, variance


def _flat(values: Any, batch: Batch, shape: tuple[int, ...], event_dim: int) -> Array:
    """The values of a site as one vector (for each sequence)."""
    return batch.front(jnp.broadcast_to(values, shape), event_dim)


def joined(sites: list[tuple[Array, Array, Array]], batch: Batch) -> tuple[Array, Array, Array]:
    """Stacked means, covariances and values of Gaussian sites."""
    none = jnp.zeros((*batch.ends, 0))
    means, values = (jnp.concatenate([none, *(site[i] for site in sites)], axis=-1) for i in (0, 2))
    return means, _blocks([covariance for _, covariance, _ in sites], batch.ends), values


def _blocks(matrices: list[Array], ends: tuple[int, ...]) -> Array:
    """One block-diagonal matrix (for each sequence)."""
    if not matrices:
        return jnp.zeros((*ends, 0, 0))
    if len(matrices) == 1:
        return matrices[0]
    return jax.vmap(block_diag)(*matrices) if ends else block_diag(*matrices)


def sizes(like: Mapping[Any, Any], batch: Batch) -> dict[Any, int]:
    """How many coordinates each leaf or site has in one sequence."""
    return {name: math.prod(np.shape(value)) // batch.count for name, value in like.items()}


def split(vector: Array, like: Mapping[Any, Any], batch: Batch) -> dict[Any, Array]:
    """The stacked vector (one for all sequences, or one for each) as {leaf or site: value}."""
    parts, at = {}, 0
    for name, size in sizes(like, batch).items():
        part = vector[..., at : at + size]
        shape = np.shape(like[name])
        part = part.reshape((1,) * batch.rank + shape[batch.rank :]) if vector.ndim == 1 else part.reshape(shape)
        parts[name] = jnp.broadcast_to(part, shape)
        at += size
    return parts


def stacked(values: list[Any], like: Mapping[Any, Any], batch: Batch) -> Array:
    """The leaves as one vector (for each sequence)."""
    return jnp.concatenate(
        [
            jnp.broadcast_to(value, np.shape(shape)).reshape(*batch.ends, -1)
            for value, shape in zip(values, like.values(), strict=True)
        ],
        axis=-1,
    )
