"""Factors of draws aligned with a reference: signs by correlation, orders by assignment, rotations by orthogonal Procrustes.

Each draw of the parameters has smoothed states, (step, dim). It gets the matrix G of the program's symmetry under which these are
nearest to those of a reference: the truth, another engine's, or the average of the aligned draws themselves, from a pivot draw on
until nothing changes. Draws are thereby compared by what does not depend on the choice of the factors.

Source: Assmann, Boysen-Hogrefe & Pape (2016), J. Econometrics 192 (rotations undone after sampling, by Procrustes).
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from ppl_worldmodel.exact.families import verbs
from ppl_worldmodel.infer.beliefs import over_draws
from ppl_worldmodel.labels.factor_symmetry import Group
from ppl_worldmodel.program.reading import Reading

CLEAR = 0.3  # below it another sign, order or direction is about as near
SETTLED = 1e-8
ROUNDING = 1e-12


class FactorAlignment(NamedTuple):
    """rotation   G of each draw
    margin     how clear it is: the smallest correlation of a factor with that of the reference; where factors are exchanged, at
               most (e - d) / (e + d), d their squared distance from the reference and e after the best exchange of two, at unit
               length
    reference  the smoothed means that the draws were aligned with
    """

    rotation: Float[np.ndarray, "chain draw dim dim"]
    margin: Float[np.ndarray, "chain draw"]
    reference: Float[np.ndarray, "step dim"]


def align_factors(
    means: Float[np.ndarray, "chain draw step dim"],
    group: Group,
    reference: Float[np.ndarray, "step dim"] | None = None,
    *,
    pivot: tuple[int, int] = (0, 0),
    most_rounds: int = 50,
) -> FactorAlignment:
    """The matrix of every draw, from its smoothed means."""
    shape, flat = means.shape[:2], means.reshape(-1, *means.shape[2:])
    around = means[pivot] if reference is None else reference
    rotation = np.broadcast_to(np.eye(flat.shape[-1]), (len(flat), *(flat.shape[-1],) * 2))
    for _ in range(most_rounds):
        fresh = _nearest(flat, around, group)
        settled, rotation = np.abs(fresh - rotation).max() <= SETTLED, fresh
        if reference is not None or settled:
            break
        around = _turned(flat, rotation).mean(axis=0)
    margin = _margin(_correlation(_turned(flat, rotation), around), group)
    return FactorAlignment(rotation.reshape(*shape, *rotation.shape[1:]), margin.reshape(shape), around)


def smoothed_means(reading: Reading, draws: Mapping[str, Any], *, lead: int = 2) -> Float[np.ndarray, "*lead step dim"]:
    """E[x_t | y_1:T, parameters] of every draw, of all series one after the other; lead: how many leading axes the draws have."""
    first = np.shape(next(iter(draws.values())))[:lead]
    flat = {name: jnp.asarray(value).reshape(-1, *np.shape(value)[lead:]) for name, value in draws.items()}
    found = over_draws(
        reading,
        flat,
        lambda system: verbs(system).smooth(system).smoothed.reshape(-1, system.initial_mean.shape[-1]),
    )
    return found.reshape(*first, *found.shape[1:])


def described(told: FactorAlignment, group: Group) -> xr.Dataset:
    """The group `alignment` of a result, without R-hat before and after.

    `labellings` (different matrices in each chain) and `switches` (changes from one draw to the next) only where there are finitely
    many matrices.
    """
    counts = {}
    if group != "rotations":
        chains = told.rotation.reshape(*told.rotation.shape[:2], -1)
        counts = {
            "labellings": [len(np.unique(chain, axis=0)) for chain in chains],
            "switches": [int((chain[1:] != chain[:-1]).any(axis=1).sum()) for chain in chains],
        }
    return xr.Dataset(
        {
            "rotation": (("chain", "draw", "dim", "dim_bis"), told.rotation),
            "margin": (("chain", "draw"), told.margin),
            "reference": (("step", "dim"), told.reference),
        },
        attrs={"symmetry": group, "unclear": float((~(told.margin >= CLEAR)).mean()), **counts},
    )


def _nearest(flat: Float[np.ndarray, "draw step dim"], around: np.ndarray, group: Group) -> np.ndarray:
    """The G of the group for which G x is nearest to the reference, for every draw."""
    if group == "rotations":
        # Of X'Y = U S V' the orthogonal R = U V' is the one that minimises |X R - Y| (Schönemann 1966); G is its transpose.
        u, _, vt = np.linalg.svd(np.einsum("nti,tj->nij", flat, around))
        return np.swapaxes(u @ vt, -1, -2)
    alike = _correlation(flat, around)
    if group == "signs":
        return np.where(np.diagonal(alike, axis1=1, axis2=2) < 0, -1.0, 1.0)[:, :, None] * np.eye(flat.shape[-1])
    score = alike if group == "permutations" else np.abs(alike)
    found = np.zeros_like(alike)
    for G, each, own in zip(found, score, alike, strict=True):
        component, name = linear_sum_assignment(each, maximize=True)
        G[name, component] = 1.0 if group == "permutations" else np.where(own[component, name] < 0, -1.0, 1.0)
    return found


def _turned(flat: Float[np.ndarray, "draw step dim"], rotation: np.ndarray) -> np.ndarray:
    return flat @ np.swapaxes(rotation, -1, -2)


def _correlation(flat: Float[np.ndarray, "draw step dim"], around: np.ndarray) -> Float[np.ndarray, "draw dim dim"]:
    """Correlations, about zero, of each component of each draw (rows) with each of the reference."""
    product = np.einsum("nti,tj->nij", flat, around)
    size = np.sqrt((flat**2).sum(axis=1)[:, :, None] * (around**2).sum(axis=0))
    return product / np.where(size > 0, size, 1.0)


def _margin(alike: Float[np.ndarray, "draw dim dim"], group: Group) -> Float[np.ndarray, " draw"]:
    own = np.diagonal(alike, axis1=1, axis2=2)
    least = own.min(axis=1)
    if group in ("permutations", "signed permutations"):
        crossed = alike if group == "permutations" else np.abs(alike)
        for i, j in combinations(range(own.shape[1]), 2):
            distance = 1.0 - (own[:, i] + own[:, j]) / 2.0
            exchanged = 1.0 - (crossed[:, i, j] + crossed[:, j, i]) / 2.0
            least = np.minimum(least, (exchanged - distance) / np.maximum(exchanged + distance, ROUNDING))
    return least
