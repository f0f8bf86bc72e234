"""Distributions with entries left out of their density: those that are missing (NaN), masked; and values completed by a draw."""

from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array

from ppl_worldmodel.program.numpyro_internals import mask_of
from ppl_worldmodel.program.sites import bare, placeholder


class SeenInPart(dist.MultivariateNormal):
    """A multivariate normal whose value may have NaN components, which are integrated out."""

    def __init__(self, loc: Any, covariance_matrix: Any):
        super().__init__(jnp.asarray(loc), jnp.asarray(covariance_matrix))

    def log_prob(self, value: Array) -> Array:
        seen = ~jnp.isnan(value)
        # A component that was not seen gets a variance and a value of its own, with log density zero.
        both = seen[..., :, None] & seen[..., None, :]
        covariance = jnp.where(both, self.covariance_matrix, jnp.eye(value.shape[-1]) / (2 * jnp.pi))
        gap = jnp.where(seen, jnp.where(seen, value, 0.0) - self.loc, 0.0)
        return dist.MultivariateNormal(0.0, covariance).log_prob(gap)


def leave_out(fn: dist.Distribution, value: Any, keep: Any = True) -> tuple[dist.Distribution, Array]:
    """The distribution masked where `value` is NaN or not to be kept, and the value with something harmless there.

    Independent components are left out one by one, and so are those of a multivariate normal, whose value keeps its NaN; of
    another vector with dependent components all or none must be missing (else its log probability is NaN, which `read` reports).
    """
    value = jnp.asarray(value)
    if keep is True and not jnp.issubdtype(value.dtype, jnp.inexact):
        return fn, value
    if isinstance(fn, dist.MaskedDistribution):
        base, filled = leave_out(fn.base_dist, value, keep)
        return base.mask(mask_of(fn)), filled
    if isinstance(fn, dist.ExpandedDistribution):
        base, filled = leave_out(fn.base_dist, value, keep)
        return base.expand(fn.batch_shape), filled
    if isinstance(fn, dist.Independent) and fn.base_dist.event_dim == 0:
        base, filled = leave_out(fn.base_dist, value, keep)
        return dist.Independent(base, fn.reinterpreted_batch_ndims), filled
    if isinstance(fn, (dist.MultivariateNormal, dist.LowRankMultivariateNormal)):
        fn = SeenInPart(fn.loc, fn.covariance_matrix)
    missing = jnp.isnan(value) if jnp.issubdtype(value.dtype, jnp.inexact) else jnp.zeros(value.shape, bool)
    event_axes = tuple(range(-fn.event_dim, 0))
    left_out = missing.all(axis=event_axes) | ~jnp.asarray(keep)
    spread = jnp.reshape(left_out, (*left_out.shape, *(1,) * fn.event_dim))
    filled = jnp.where(spread, placeholder(fn), value)
    if fn.support.is_discrete:  # what is no whole number is impossible, not another number
        filled = jnp.where(filled == jnp.round(filled), filled, -1).astype(int)
    return fn.mask(~left_out), filled


def completed(fn: dist.Distribution, value: Any, drawn: Array) -> Array:
    """The value with its missing entries from a draw of the distribution, given what was seen.

    Independent entries are those of the draw. Of a multivariate normal: y + S K (y - draw) at the entries that were seen, of which
    the law is that of the missing entries given the others (Matheron's rule; Wilson et al. 2020, ICML).
    """
    value = jnp.asarray(value)
    seen = ~jnp.isnan(value)
    if fn.support.is_discrete:
        return jnp.where(seen, jnp.where(seen, value, 0).astype(drawn.dtype), drawn)
    normal = bare(fn)
    if isinstance(normal, (dist.MultivariateNormal, dist.LowRankMultivariateNormal)):
        covariance = normal.covariance_matrix
        both = seen[..., :, None] & seen[..., None, :]
        gap = jnp.where(seen, jnp.where(seen, value, 0.0) - drawn, 0.0)
        weight = jnp.linalg.solve(jnp.where(both, covariance, jnp.eye(gap.shape[-1])), gap[..., None])
        drawn = drawn + (covariance @ weight)[..., 0]
    return jnp.where(seen, jnp.where(seen, value, 0.0), drawn)


def without_masks(fn: dist.Distribution) -> dist.Distribution:
    """The distribution without the masks on it."""
    if isinstance(fn, dist.MaskedDistribution):
        return without_masks(fn.base_dist)
    if isinstance(fn, dist.Independent):
        return dist.Independent(without_masks(fn.base_dist), fn.reinterpreted_batch_ndims)
    if isinstance(fn, dist.ExpandedDistribution):
        return without_masks(fn.base_dist).expand(fn.batch_shape)
    return fn
