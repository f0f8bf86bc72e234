"""Relabelling against label switching: the states of draws, chains and engines matched to a reference, with margins.

A draw of the parameters gives the probability of each state at each time step (its occupancies). Its states get the names under
which these are nearest to those of a reference, in Kullback-Leibler divergence, by optimal assignment. The reference is the truth
or another engine's beliefs; without one it is the average of the relabelled draws themselves, from a pivot draw on, until no name
changes (Stephens 2000, J. Royal Statistical Society B 62, algorithm 2).

A draw is clear if every exchange of two names costs more than CLEAR nats. If many are not, two states are the same for these data,
or the images of the posterior overlap: averages then depend on how ties were broken, and are not estimates.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from ppl_worldmodel.exact import FiniteState, finite
from ppl_worldmodel.infer.beliefs import over_draws
from ppl_worldmodel.program.reading import Reading

CLEAR = 3.0  # nats: the other naming is twenty times less likely
FLOOR = 0.01  # share of the uniform distribution in a reference, so that one surprising step cannot outvote all others
MOST_STEPS = 1000  # time steps that are used at most, evenly spread


class Alignment(NamedTuple):
    """order     the state k after relabelling is the state order[..., k] of the draw
    margin    cost of the next best exchange of two names, in nats; rival: of which two states (after relabelling)
    reference  the occupancies that the draws were aligned to
    """

    order: Int[np.ndarray, "chain draw state"]
    margin: Float[np.ndarray, "chain draw"]
    rival: Int[np.ndarray, "chain draw 2"]
    reference: Float[np.ndarray, "step state"]

    @property
    def unclear(self) -> float:
        """The share of draws whose names are not clear."""
        return float((~(self.margin >= CLEAR)).mean())

    @property
    def labellings(self) -> list[int]:
        """How many different orders each chain was in."""
        return [len(np.unique(chain, axis=0)) for chain in self.order]

    @property
    def switches(self) -> list[int]:
        """How often each chain changed its order from one draw to the next."""
        return [int((chain[1:] != chain[:-1]).any(axis=1).sum()) for chain in self.order]


def occupancies(reading: Reading, draws: Mapping[str, Any], *, lead: int = 2) -> Float[np.ndarray, "*lead step state"]:
    """p(s_t | y_1:T, parameters) of every draw, at MOST_STEPS time steps at most (of all series one after the other).

    lead  how many leading axes the draws have: 2 for (chain, draw, ...), 0 for a single value of the parameters
    """
    first = np.shape(next(iter(draws.values())))[:lead]
    flat = {name: jnp.asarray(value).reshape(-1, *np.shape(value)[lead:]) for name, value in draws.items()}

    def of(system: FiniteState) -> jax.Array:
        smoothed = finite.smooth(system).smoothed.reshape(-1, system.initial.shape[-1])
        return smoothed[:: -(-smoothed.shape[0] // MOST_STEPS)]

    found = over_draws(reading, flat, of)
    return found.reshape(*first, *found.shape[1:])


def align(
    occupied: Float[np.ndarray, "chain draw step state"],
    reference: Float[np.ndarray, "step state"] | None = None,
    *,
    pivot: tuple[int, int] = (0, 0),
    most_rounds: int = 50,
) -> Alignment:
    """The names of the states of every draw, from their occupancies.

    reference  occupancies whose names are taken; None: the average of the relabelled draws, which are relabelled until nothing
               changes, from the draw `pivot` on (choose one of high density)
    """
    shape, states = occupied.shape[:2], occupied.shape[-1]
    flat = occupied.reshape(-1, *occupied.shape[2:])
    if reference is not None:
        return _told(flat, _ordered(flat, reference), reference, shape)
    mean, before = occupied[pivot], np.zeros((len(flat), states), int)
    for _ in range(most_rounds):
        order = _ordered(flat, mean)
        if (order == before).all():
            break
        before, mean = order, np.take_along_axis(flat, order[:, None, :], axis=2).mean(axis=0)
    return _told(flat, before, mean, shape)


def relabelled(values: np.ndarray, order: Int[np.ndarray, "chain draw state"], axes: tuple[int, ...]) -> np.ndarray:
    """Draws (chain, draw, ...) of a parameter with the states of each draw in its order; axes are those after (chain, draw)."""
    moved = values
    for axis in axes:
        shape = [1] * moved.ndim
        shape[:2], shape[2 + axis] = order.shape[:2], order.shape[-1]
        moved = np.take_along_axis(moved, order.reshape(shape), axis=2 + axis)
    return moved


def _costs(flat: np.ndarray, reference: np.ndarray) -> Float[np.ndarray, "draw state state"]:
    """The divergence of each state of each draw from each state of the reference, up to terms that do not depend on the names."""
    floored = (1.0 - FLOOR) * reference + FLOOR / reference.shape[-1]
    return -np.einsum("nti,tj->nij", flat, np.log(floored))


def _ordered(flat: np.ndarray, reference: np.ndarray) -> Int[np.ndarray, "draw state"]:
    """For every draw, the state that gets each name."""
    return np.array([linear_sum_assignment(cost.T)[1] for cost in _costs(flat, reference)])


def _told(flat: np.ndarray, order: np.ndarray, reference: np.ndarray, shape: tuple[int, ...]) -> Alignment:
    """The alignment, with the cost of the cheapest exchange of two names."""
    cost = np.take_along_axis(_costs(flat, reference), order[:, :, None], axis=1)  # rows in the order of the names
    pairs = list(combinations(range(order.shape[-1]), 2))
    extra = np.stack([cost[:, i, j] + cost[:, j, i] - cost[:, i, i] - cost[:, j, j] for i, j in pairs])
    worst = extra.argmin(axis=0)
    return Alignment(
        order.reshape(*shape, -1),
        extra.min(axis=0).reshape(shape),
        np.array(pairs)[worst].reshape(*shape, 2),
        reference,
    )
