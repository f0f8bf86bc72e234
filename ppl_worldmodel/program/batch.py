"""Axes of the arrays in a step that are independent sequences, and how they are put in front."""

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array


@dataclass(frozen=True)
class Batch:
    """The axes of sequences: the leading axes, of sizes `shape`, of the state and the latent sites; false where there are none.

    dims   where they are in the batch shape of any site, counted from the right (as numpyro.plate counts); those of size
           one are left out, since other plates may use them
    """

    shape: tuple[int, ...] = ()
    dims: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.shape)

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def count(self) -> int:
        """How many sequences there are; one where there is no axis of them."""
        return math.prod(self.shape)

    @property
    def ends(self) -> tuple[int, ...]:
        """The shape of an array with one entry for each sequence: (count,), or () without sequences."""
        return (self.count,) if self.shape else ()

    def inside(self, batch_shape: tuple[int, ...]) -> bool:
        """Does a site with this batch shape have all axes of sequences?"""
        sizes = [size for size in self.shape if size > 1]
        here = [batch_shape[dim] if -dim <= len(batch_shape) else 1 for dim in self.dims]
        return here == sizes

    def share(self, terms: Array) -> Array:
        """Log densities by sequence, (*sequence,): what has no axis of sequences counts once, in equal shares."""
        if not self.shape:
            return terms.sum()
        sizes = [size for size in self.shape if size > 1]
        here = [np.shape(terms)[dim] if -dim <= np.ndim(terms) else 1 for dim in self.dims]
        return self.front(terms).sum(axis=-1) * math.prod(here) / math.prod(sizes)

    def front(self, values: Array, event_dim: int = 0) -> Array:
        """What a site says, batch axes before `event_dim` event axes, as (*sequence, entries)."""
        if not self.shape:
            return values.reshape(-1)
        least = max((-dim for dim in self.dims), default=0)
        values = values.reshape((1,) * max(0, least + event_dim - values.ndim) + np.shape(values))
        axes = [values.ndim - event_dim + dim for dim in self.dims]
        sizes = [size for size in self.shape if size > 1]
        full = list(values.shape)
        for axis, size in zip(axes, sizes, strict=True):
            full[axis] = size
        moved = jnp.moveaxis(jnp.broadcast_to(values, full), axes, range(len(axes)))
        return moved.reshape(self.count, -1)
