"""Relabelling of a program's states: the axes of its parameters that an exchange of state names permutes, found by trial.

A relabelling moves entries of some parameters along some of their axes (both of T, the first of O, the one of a vector of rates).
They are found on the program itself, not guessed from shapes: of all choices of axes as long as there are states, the one for which
the system read at the moved parameters is the system with its states moved. If no choice does so, the states have fixed names
(structural zeros, emissions without parameters, states of several parts), and there is nothing to relabel.
"""

from collections.abc import Mapping
from itertools import chain, combinations, permutations, product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ppl_worldmodel.compiled import quickly, run_once
from ppl_worldmodel.program.coordinates import Coordinates, coordinates
from ppl_worldmodel.program.reading import Reading, once

ROUNDING = 1e-9
MOST_CHOICES = 4096


class Relabelling(NamedTuple):
    """How names are exchanged.

    axes          {parameter: the axes that are indexed by the state}
    exchangeable  is the whole program, its prior and its first state too, the same after it? Then the posterior has one mirror
                  image for each order of the states, and draws say something about T and O only once they are relabelled.
    """

    num_states: int
    axes: dict[str, tuple[int, ...]]
    exchangeable: bool


@once
def relabelling(reading: Reading) -> Relabelling | None:
    """The relabelling of a program, or None where its states have fixed names."""
    system, space = reading.exact, coordinates(reading)
    number = system.num_states
    if number is None:
        return None
    drawn = [
        jax.tree.map(np.asarray, some)
        for some in run_once(
            lambda keys: [space.constrain(space.draw(key)) for key in keys], jax.random.split(jax.random.key(11), 2)
        )
    ]
    options = [_choices(drawn[0][name], number) for name in space.names]
    if number == 1 or not 1 < np.prod([len(each) for each in options]) <= MOST_CHOICES:
        return None

    def at(parameters: Mapping[str, Any]) -> tuple[np.ndarray, ...]:
        return jax.tree.map(np.asarray, _arrays(reading.at(parameters)))

    # A cycle and an exchange of two generate all permutations.
    moves = [np.roll(np.arange(number), 1), np.r_[1, 0, 2:number]]
    before = [at(parameters) for parameters in drawn]
    for axes in sorted(product(*options), key=lambda axes: sum(map(len, axes))):
        chosen = dict(zip(space.names, axes, strict=True))
        fits = [
            _moved(old, at(permuted(parameters, chosen, move)), move, system.structure.order == "both states")
            for parameters, old in zip(drawn, before, strict=True)
            for move in moves
        ]
        if all(same for same, _ in fits):
            named_by_start = not all(start for _, start in fits)
            return Relabelling(number, chosen, not named_by_start and _same_prior(space, drawn, chosen, moves))
    return None


def _arrays(system: Any) -> tuple[Array, ...]:
    """What an exchange of names moves: the first state, the transition, and how likely what was seen is."""
    return system.initial, system.transition, system.log_likelihood


def permuted(
    parameters: Mapping[str, Any], axes: Mapping[str, tuple[int, ...]], order: Int[Any, " state"]
) -> dict[str, Any]:
    """The parameters with the states in another order: the new state k is the old state order[k]."""
    found = {}
    for name, value in parameters.items():
        moved = value
        for axis in axes.get(name, ()):
            # Numbers stay NumPy's: outside of a trace JAX would compile each operation.
            plain = isinstance(moved, np.ndarray) and isinstance(order, np.ndarray)
            moved = (np if plain else jnp).take(moved, order, axis=axis)
        found[name] = moved
    return found


def all_orders(number: int) -> Int[np.ndarray, "order state"]:
    """Every order of the states; there are number! of them."""
    return np.array(list(permutations(range(number))))


def _choices(value: np.ndarray, number: int) -> list[tuple[int, ...]]:
    """All sets of axes with as many entries as there are states."""
    fit = [axis for axis, size in enumerate(np.shape(value)) if size == number]
    return list(chain.from_iterable(combinations(fit, count) for count in range(len(fit) + 1)))


def _moved(
    old: tuple[np.ndarray, ...], new: tuple[np.ndarray, ...], order: np.ndarray, pair: bool
) -> tuple[bool, bool]:
    """Whether the new system is the old one with its states in this order, and whether its first state is, too."""
    initial, transition, seen = old
    seen = seen[..., order]
    seen = seen[..., order, :] if pair else seen
    same = _equal(new[1], transition[..., order][..., order, :]) and _equal(new[2], seen)
    return same, _equal(new[0], initial[..., order])


def _equal(here: np.ndarray, there: np.ndarray) -> bool:
    with np.errstate(invalid="ignore"):  # -inf less -inf
        return bool(((here == there) | (np.abs(here - there) <= ROUNDING * (1.0 + np.abs(there)))).all())


def _same_prior(
    space: Coordinates, drawn: list[dict[str, np.ndarray]], axes: Mapping[str, tuple[int, ...]], moves: list[np.ndarray]
) -> bool:
    def density(parameters: Mapping[str, Array]) -> Array:
        z = space.unconstrain(parameters)
        return space.density(z).prior - space.log_slope(z)

    prior = quickly(density, drawn[0])
    return all(
        _equal(np.asarray(prior(permuted(parameters, axes, move))), np.asarray(prior(parameters)))
        for parameters in drawn
        for move in moves
    )
