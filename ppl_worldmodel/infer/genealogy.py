"""Genealogy of particles: which are chosen by their weights, what they hand on, and which could be the past of a given path."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ppl_worldmodel.infer.particles import normalised
from ppl_worldmodel.program.batch import Batch


def chosen_by(
    log_weight: Float[Array, "particle sequence"], uniform: Float[Array, "count sequence"]
) -> Int[Array, "count sequence"]:
    """Indices of particles, drawn independently by their weights; none of weight zero comes."""
    weight = jnp.exp(normalised(log_weight)[0])
    cumulative = jnp.cumsum(weight, axis=0)
    found = (uniform[:, None] * cumulative[-1] >= cumulative[None]).sum(axis=1)
    last = log_weight.shape[0] - 1 - jnp.argmax((weight > 0)[::-1], axis=0)
    return jnp.minimum(found, last)


def _by_sequence(leaf: Array, batch: Batch) -> bool:
    """Has this leaf, (particle, ...), entries of its own for every sequence?  What has none is the same for all particles."""
    return not batch or leaf.shape[1 : 1 + batch.rank] == batch.shape


def take(values: Any, index: Int[Array, "count sequence"], batch: Batch) -> Any:
    """The values of these particles, (count, ...)."""

    def of(leaf: Array) -> Array:
        if not _by_sequence(leaf, batch):
            return leaf[: len(index)]
        parts = leaf.reshape(leaf.shape[0], batch.count, -1)
        return jnp.take_along_axis(parts, index[..., None], axis=0).reshape(len(index), *leaf.shape[1:])

    return jax.tree.map(of, values)


def only(values: Any, index: Int[Array, " sequence"], batch: Batch) -> Any:
    return jax.tree.map(lambda leaf: leaf[0], take(values, index[None], batch))


def carry_on_alike(after: list[Array], held: list[Array], batch: Batch) -> Bool[Array, "particle sequence"]:
    """Which particles carry on just what the held path does?"""
    count = len(after[0]) if after else 1
    found = jnp.ones((count, batch.count), bool)
    for leaf, one in zip(after, held, strict=True):
        if _by_sequence(leaf, batch):
            equal = (leaf == one) | ((leaf != leaf) & (one != one))
            found = found & equal.reshape(count, batch.count, -1).all(axis=-1)
    return found
