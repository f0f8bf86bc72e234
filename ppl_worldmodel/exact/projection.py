"""Conditioning of a factored Gaussian vector on some of its entries, one by one: each is a projection, and nothing is inverted.

With g the row of `root` that belongs to the entry, and u = g / |g|, its whitened innovation is e = v / |g|. The part of each row
along u is taken out of `root`, and e times that part is added to the mean. While the row's `reach` is not zero, the entry
determines one direction of delta in the same way.

Source: Bierman (1977), Factorization Methods for Discrete Sequential Estimation, chapter 5; Koopman & Durbin (2000), Journal of
Time Series Analysis 21 (diffuse start).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from ppl_worldmodel.exact import double_double as dd
from ppl_worldmodel.exact.double_double import Pair


class Factored(NamedTuple):
    """x = mean + reach delta + root noise; mean (dim_x,), reach (dim_x, directions), root (dim_x, dim_noise).

    unseen  how many directions of delta are not determined yet
    """

    mean: Pair
    reach: Pair
    root: Pair
    unseen: Array


def condition(rows: Factored, target: Pair, present: Array, sizes: tuple[Array, Array]) -> tuple[Factored, Array]:
    """Condition on the first rows being `target`, one by one. The mean may have several columns; the density is the first's.

    sizes  of the rows of root and reach before anything cancelled: a row below `rank()` times its size counts as zero
    """
    log_two_pi = jnp.log(2 * jnp.pi)

    def one_row(i: Array, carry: tuple[Factored, Array]) -> tuple[Factored, Array]:
        (mean, reach, root, unseen), log_density = carry
        innovation = dd.subtract(target[i], mean[i])
        random, norm, along, aside = _projection(root, i, sizes[0][i], present[i])
        gain = dd.multiply(aside, norm.inverse[None])
        projected = dd.subtract(root, dd.outer(aside, along))
        log_term = -0.5 * (dd.multiply(innovation[0], norm.inverse).high ** 2 + log_two_pi) - jnp.log(norm.size)
        log_term = jnp.where(random, log_term, jnp.where(present[i], jnp.nan, 0.0))
        if reach.shape[1]:
            free, flat, within, shift = _projection(reach, i, sizes[1][i], present[i] & (unseen > 0))
            freeing = dd.multiply(shift, flat.inverse[None])
            gain = dd.select(free, freeing, gain)
            projected = dd.select(free, dd.subtract(root, dd.outer(freeing, root[i])), projected)
            narrowed = cleaned(dd.subtract(reach, dd.outer(shift, within)), norms(reach))
            unseen = unseen - free
            # Once delta is determined, the rest of its reach is rounding error.
            reach = dd.select(free, dd.select(unseen > 0, narrowed, dd.pair(jnp.zeros(reach.shape))), reach)
            log_term = jnp.where(free, -jnp.log(flat.size), log_term)
            random = random | free
        root = dd.select(random, cleaned(projected, norms(root)), root)
        mean = dd.select(random, dd.add(mean, dd.outer(gain, innovation)), mean)
        return Factored(mean, reach, root, unseen), log_density + log_term

    return lax.fori_loop(0, target.shape[0], one_row, (rows, jnp.zeros(())))


class _Norm(NamedTuple):
    """The length of a row and its inverse; one where the row is zero."""

    size: Array
    inverse: Pair


def _projection(rows: Pair, i: Array, reference: Array, wanted: Array) -> tuple[Array, _Norm, Pair, Pair]:
    """Whether row i is more than rounding error; its length; its direction; and the component of each row along it."""
    row, one = rows[i], dd.pair(jnp.ones(()))
    found = wanted & (norms(row) > rank() * reference)
    square = dd.select(found, dd.total(dd.multiply(row, row)), one)
    size = dd.square_root(square)
    inverse = dd.divide(one, size)
    along = dd.multiply(row, inverse[None])
    return found, _Norm(size.high, inverse), along, dd.dot(rows, along[None])


def compressed(root: Pair) -> Pair:
    """The lower triangular matrix with the same L L' (Gram-Schmidt on rows)."""
    size, sizes = root.shape[0], norms(root)

    def one_row(i: Array, carry: tuple[Pair, Pair]) -> tuple[Pair, Pair]:
        rest, found = carry
        random, _, along, aside = _projection(rest, i, sizes[i], jnp.ones((), bool))
        aside = dd.select(random & (jnp.arange(size) >= i), aside, dd.pair(jnp.zeros(size)))
        found = jax.tree.map(lambda all, column: all.at[:, i].set(column), found, aside)
        return dd.subtract(rest, dd.outer(aside, along)), found

    return lax.fori_loop(0, size, one_row, (root, dd.pair(jnp.zeros((size, size)))))[1]


def rank() -> float:
    """The relative size below which the rest of a row after a projection counts as zero: 4e-28 in float64."""
    return float(jnp.finfo(jnp.float_).eps) ** 1.75


def norms(rows: Pair) -> Array:
    """Lengths of rows, as floats; they decide what is rounding error and have no derivative."""
    return lax.stop_gradient(jnp.sqrt((rows.high**2).sum(axis=-1)))


def cleaned(rows: Pair, sizes: Array) -> Pair:
    """The rows, set to zero where they are only rounding error beside `sizes`."""
    return dd.select((norms(rows) > rank() * sizes)[:, None], rows, dd.pair(jnp.zeros(rows.shape)))


def reference(matrix: Pair, rows: Pair, noise: Pair | None = None) -> Array:
    """How large the rows of matrix @ rows + noise would be if nothing cancelled."""
    sizes = lax.stop_gradient(jnp.abs(matrix.high)) @ norms(rows)
    return sizes if noise is None else sizes + norms(noise)
