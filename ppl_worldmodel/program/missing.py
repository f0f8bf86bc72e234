"""How is a missing observation left out?  A NaN in the data becomes a masked entry of its site, whatever program it is in."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Bool
from numpyro.primitives import Messenger

from ppl_worldmodel.program.sites import placeholder


class _LeaveOut(Messenger):
    """Mask NaN entries of observed sites, and the whole site where `keep` is False."""

    def __init__(self, keep: Any = True):
        super().__init__()
        self.keep = keep

    def process_message(self, msg):
        if msg["type"] != "sample" or not msg["is_observed"] or msg.get("_control_flow_done", False):
            return
        if isinstance(msg["fn"], dist.Unit):
            return
        msg["fn"], msg["value"] = leave_out(msg["fn"], msg["value"], self.keep)


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
        return base.mask(fn._mask), filled
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


def _as_before(new: Any, old: Any) -> Any:
    """A leaf of the new carry, in the type that the old one has: a carry of int32, written for float32, runs in float64, too."""
    return new if jnp.result_type(new) == jnp.result_type(old) else jnp.asarray(new, jnp.result_type(old))


class _InsideScan(Messenger):
    """Put the mask inside the step of the scan, where the observed sites are, with one entry of `keep` for each step."""

    def __init__(self, fn: Callable, keep: Bool[Array | np.ndarray, " time"] | None):
        super().__init__(fn)
        self.keep = keep

    def process_message(self, msg):
        if msg["type"] != "control_flow":
            return
        step, init, inputs, length, reverse = msg["args"]
        if self.keep is None:

            def masked(carry, inputs):
                with _LeaveOut():
                    after, output = step(carry, inputs)
                return jax.tree.map(_as_before, after, carry), output

            msg["args"] = (masked, init, inputs, length, reverse)
        else:

            def masked_with_keep(carry, inputs_and_keep):
                inputs, keep = inputs_and_keep
                with _LeaveOut(keep):
                    after, output = step(carry, inputs)
                return jax.tree.map(_as_before, after, carry), output

            msg["args"] = (masked_with_keep, init, (inputs, jnp.asarray(self.keep)), length, reverse)


def has_gaps(arguments: Mapping[str, Any]) -> bool:
    """Is there a NaN in the data, or data traced by JAX, in which there may be one?"""
    leaves = [leaf for leaf in jax.tree.leaves(dict(arguments)) if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)]
    return any(isinstance(leaf, jax.core.Tracer) or bool(np.isnan(np.asarray(leaf)).any()) for leaf in leaves)


def observe(model: Callable, keep: Bool[Array | np.ndarray, " time"] | None = None) -> Callable:
    """The same program with the NaNs of its observed sites left out, and the observations of the steps with keep False too."""

    def observed(*args, **kwargs):
        with _InsideScan(model, keep):
            return model(*args, **kwargs)

    return observed
