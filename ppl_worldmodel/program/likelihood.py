"""Probabilities that a distribution gives to a value: as NumPyro says, except that a zero stays a zero.

NumPyro clips probabilities away from 0 before it takes logarithms; here an impossible value has log probability -inf with
gradient zero, so that zeros in T and O are exact.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.program.batch import Batch
from ppl_worldmodel.program.finite import binomial
from ppl_worldmodel.program.finite.support import ends, moves
from ppl_worldmodel.program.numpyro_internals import mask_of, sum_rightmost
from ppl_worldmodel.program.sites import Sample, bare, kind


def log_prob(fn: dist.Distribution, value: Any) -> Array:
    """log p(value) with shape fn.batch_shape; -inf outside the support of a categorical or Bernoulli distribution."""
    if isinstance(fn, dist.MaskedDistribution):
        return jnp.where(mask_of(fn), log_prob(fn.base_dist, value), 0.0)
    if isinstance(fn, dist.Independent):
        return sum_rightmost(log_prob(fn.base_dist, value), fn.reinterpreted_batch_ndims)
    if isinstance(fn, dist.ExpandedDistribution):
        base = log_prob(fn.base_dist, value)
        return jnp.broadcast_to(base, jnp.broadcast_shapes(base.shape, fn.batch_shape))
    if isinstance(fn, (dist.CategoricalProbs, dist.CategoricalLogits, dist.BernoulliProbs, dist.BernoulliLogits)):
        probability, (value,) = probabilities(fn), (jnp.asarray(value),)
        inside = (value >= 0) & (value < probability.shape[-1])
        if jnp.issubdtype(value.dtype, jnp.inexact):
            inside = inside & (value == jnp.round(value))
        index = jnp.where(inside, value, 0).astype(int)
        shape = jnp.broadcast_shapes(index.shape, probability.shape[:-1])
        probability = jnp.broadcast_to(probability, (*shape, probability.shape[-1]))
        chosen = jnp.take_along_axis(probability, jnp.broadcast_to(index, shape)[..., None], axis=-1)[..., 0]
        possible = (chosen > 0) & inside
        return jnp.where(possible, jnp.log(jnp.where(possible, chosen, 1.0)), -jnp.inf)
    if isinstance(fn, (dist.BinomialProbs, dist.BinomialLogits)):
        return binomial.log_prob(value, fn.total_count, fn.probs)
    if not moves(fn):
        return _log_prob(fn, value)
    # Many densities are not asked whether the value is inside of a support that the state moves.
    possible = jnp.asarray(fn.support(value))
    spread = possible.reshape(*possible.shape, *(1,) * fn.event_dim)
    safe = jnp.where(spread, value, fn.support.feasible_like(jnp.asarray(value)))
    return jnp.where(possible, _log_prob(fn, safe), -jnp.inf)


def _log_prob(fn: dist.Distribution, value: Any) -> Array:
    """NumPyro's own density; what it raises about its arguments is told in words."""
    try:
        return fn.log_prob(value)
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"the density of a {kind(fn)} with arguments {_arguments(fn)} cannot be computed at a value of shape "
            f"{jnp.shape(value)}: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from error


def _arguments(fn: dist.Distribution) -> str:
    """The arguments of a distribution and their shapes, or what they are if they are not numbers."""
    given = {name: vars(fn)[name] for name in fn.arg_constraints if name in vars(fn)}
    return ", ".join(
        f"{name} of shape {value.shape}"
        if isinstance(value, jax.Array | np.ndarray)
        else f"{name} = {repr(value)[:40]}"
        for name, value in given.items()
    )


def probability(fn: dist.Distribution, value: Any) -> Array:
    """p(value) of a discrete distribution over an integer interval, of the value's shape; zero outside of the interval.

    A masked value has the same density whatever it is, as in `probabilities`.
    """
    if isinstance(fn, dist.MaskedDistribution):
        low, high = ends(fn)
        return jnp.where(mask_of(fn), probability(fn.base_dist, value), 1.0 / (high - low + 1))
    if isinstance(fn, (dist.Independent, dist.ExpandedDistribution)):
        return jnp.broadcast_to(probability(fn.base_dist, value), fn.shape())
    if isinstance(fn, (dist.BinomialProbs, dist.BinomialLogits)):
        return binomial.probability(value, fn.total_count, fn.probs)
    return jnp.exp(log_prob(fn, value))


def log_density(site: Sample, batch: Batch) -> Array:
    """The log density of an observed site or a factor, (*sequence,)."""
    terms = jnp.asarray(log_prob(site.fn, site.value))
    return batch.share(terms if site.scale is None else terms * site.scale)


def probabilities(fn: dist.Distribution) -> Array:
    """p(value) of each entry for every value of its finite support, along a new last axis.

    A masked value has the same density whatever it is: NumPyro's is one each, and here they sum to one.
    """
    if isinstance(fn, dist.MaskedDistribution):
        each = probabilities(fn.base_dist)
        mask = jnp.asarray(mask_of(fn))
        mask = mask.reshape(*mask.shape, *(1,) * (fn.event_dim + 1))
        return jnp.where(mask, each, 1.0 / each.shape[-1])
    if isinstance(fn, dist.Independent):
        return probabilities(fn.base_dist)
    if isinstance(fn, dist.ExpandedDistribution):
        base = probabilities(fn.base_dist)
        return jnp.broadcast_to(base, (*fn.batch_shape, *fn.event_shape, base.shape[-1]))
    if isinstance(fn, dist.CategoricalProbs):
        return fn.probs
    if isinstance(fn, dist.CategoricalLogits):
        return jax.nn.softmax(fn.logits, axis=-1)
    if isinstance(fn, (dist.BernoulliProbs, dist.BernoulliLogits)):
        one = fn.probs
        return jnp.stack([1.0 - one, one], axis=-1)
    return jnp.moveaxis(probability(fn, fn.enumerate_support()), 0, -1)


def unmasked(fn: dist.Distribution, shape: tuple[int, ...]) -> Array:
    """Which entries of a site's value does no mask leave out?  Of the value's shape."""
    kept = jnp.ones(shape, bool)
    while isinstance(fn, (dist.MaskedDistribution, dist.Independent, dist.ExpandedDistribution)):
        if isinstance(fn, dist.MaskedDistribution):
            mask = jnp.asarray(mask_of(fn))
            kept = kept & mask.reshape(*mask.shape, *(1,) * fn.event_dim)
        fn = fn.base_dist
    return kept


def normalisation_error(fn: dist.Distribution) -> Array:
    """By how much the probabilities of a categorical distribution miss a sum of one; zero for any other distribution."""
    while isinstance(fn, (dist.MaskedDistribution, dist.Independent, dist.ExpandedDistribution)):
        fn = fn.base_dist
    if not isinstance(fn, dist.CategoricalProbs):
        return jnp.zeros(())
    return jnp.abs(fn.probs.sum(axis=-1) - 1.0).max()


def outside_support(fn: dist.Distribution, value: Any) -> Array:
    """Is any unmasked entry of an observed value outside the support of its distribution?"""
    kept = unmasked(fn, jnp.shape(value)).any(axis=tuple(range(-fn.event_dim, 0)))
    if isinstance(bare(fn), dist.MultivariateNormal):  # a component that was not seen is NaN
        value = jnp.nan_to_num(value)
    return jnp.any(~jnp.asarray(fn.support(value)) & kept)
