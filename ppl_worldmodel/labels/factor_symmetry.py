"""Sign switching, label switching and rotation of factors: the orthogonal changes of a Gaussian state that leave the data alone.

A factor model has the same likelihood and prior at G x for some orthogonal matrices G: changes of sign, exchanges of factors, or
all rotations. Which axes of which parameters move with x is found by trial on the program itself, as names of finite states are
(`relabelling`): the system that is read at the moved parameters must be the system with its state moved, under the same prior.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import singledispatch
from itertools import product
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ppl_worldmodel.exact import LinearGaussian
from ppl_worldmodel.program.coordinates import Coordinates, coordinates
from ppl_worldmodel.program.reading import Reading, once

ROUNDING = 1e-9
MOST_CHOICES = 256

Group = Literal["signs", "permutations", "signed permutations", "rotations"]
Axis = Literal[
    "fixed", "moved", "permuted", "whole"
]  # not at all; by G; by |G|, a permutation without signs; see WHOLE
WHOLE: tuple[Axis, ...] = ("whole",)  # with a state of dimension one: all of the parameter changes its sign
Orthogonal = Float[np.ndarray, "dim dim"]


class FactorSymmetry(NamedTuple):
    """The orthogonal matrices G under which a program is the same, and how its parameters move with the state.

    axes  {parameter: how each of its axes moves}
    """

    group: Group
    axes: dict[str, tuple[Axis, ...]]


@once
def factor_symmetry(reading: Reading) -> FactorSymmetry | None:
    """The symmetry of a program in all components of its Gaussian state, or None where there is none."""
    system, space = reading.exact, coordinates(reading)
    number = system.dim_x
    if number is None or not _arrays(system) or not system.proper or system.structure.extra:
        return None
    drawn = [space.constrain(space.draw(key)) for key in jax.random.split(jax.random.key(12), 2)]
    shapes = {name: np.shape(drawn[0][name]) for name in space.names}
    # What is never negative cannot change its sign.
    free = [name for name in space.names if any(bool((each[name] < 0).any()) for each in drawn)]
    fixed: Axis = "fixed"
    still: dict[str, tuple[Axis, ...]] = {name: (fixed,) * len(shape) for name, shape in shapes.items()}
    if not any(number in shapes[name] for name in space.names) and not (number == 1 and free):
        return None

    def at(parameters: Mapping[str, Any]) -> tuple[Array, ...]:
        return _arrays(reading.at(parameters))

    prior = jax.jit(lambda parameters: _prior(space, parameters))
    before = [(each, at(each), prior(each)) for each in drawn]

    def same(axes: Mapping[str, tuple[Axis, ...]], trials: Sequence[Orthogonal]) -> bool:
        """Is the program the same when the parameters move so, with each of these matrices?"""
        for G in trials:
            for each, old, density in before:
                new = {name: jnp.asarray(moved(np.asarray(each[name]), axes[name], G)) for name in each}
                if not (_close(_moved_system(old, G), at(new)) and _close((prior(new),), (density,))):
                    return False
        return True

    flips = [np.diag(1.0 - 2.0 * row) for row in np.eye(number)]
    signed = next((axes for axes in _choices(still, shapes, number, free, "moved") if same(axes, flips)), None)
    if number == 1:
        return None if signed is None else FactorSymmetry("signs", signed)
    # A cycle and an exchange of two generate all permutations.
    exchanges = [np.eye(number)[np.roll(np.arange(number), 1)], np.eye(number)[np.r_[1, 0, 2:number]]]
    options = _choices(signed or still, shapes, number, space.names, "permuted")
    permuted = next((axes for axes in options if same(axes, exchanges)), None)
    if signed is None:
        return None if permuted is None else FactorSymmetry("permutations", permuted)
    if permuted is None:
        return FactorSymmetry("signs", signed)
    if permuted == signed and same(signed, _rotations(number)):
        return FactorSymmetry("rotations", signed)
    return FactorSymmetry("signed permutations", permuted)


def moved(value: np.ndarray, axes: tuple[Axis, ...], G: Float[np.ndarray, "*draws dim dim"]) -> np.ndarray:
    """A parameter when the state moves to G x; its draws, (*draws, *shape), when G has leading axes."""
    lead = G.ndim - 2
    if axes == WHOLE:
        return value * G.reshape(*G.shape[:-2], *(1,) * (value.ndim - lead))
    for axis, how in enumerate(axes):
        if how != "fixed":
            by = np.swapaxes(np.abs(G) if how == "permuted" else G, -1, -2)
            last = np.moveaxis(value, lead + axis, -1)
            flat = last.reshape(*G.shape[:-2], -1, G.shape[-1])
            value = np.moveaxis((flat @ by).reshape(last.shape), -1, lead + axis)
    return value


def _choices(
    begun: Mapping[str, tuple[Axis, ...]],
    shapes: Mapping[str, tuple[int, ...]],
    number: int,
    names: Sequence[str],
    how: Axis,
) -> Iterator[dict[str, tuple[Axis, ...]]]:
    """The ways in which these parameters may move along axes that are as long as the state and were fixed, fewest first."""
    options: list[list[tuple[Axis, ...]]] = []
    for name in names:
        each: list[tuple[Axis, ...]] = [
            ("fixed", how) if size == number and was == "fixed" else (was,)
            for size, was in zip(shapes[name], begun[name], strict=True)
        ]
        options.append([*product(*each), *([WHOLE] if number == 1 else [])])
    if np.prod([float(len(each)) for each in options]) > MOST_CHOICES:
        return
    count = sorted(product(*options), key=lambda chosen: sum(axis != "fixed" for axes in chosen for axis in axes))
    for chosen in count:
        yield {**begun, **dict(zip(names, chosen, strict=True))}


def _rotations(number: int) -> list[Orthogonal]:
    """Two arbitrary rotations, which no symmetry but that of all rotations has."""
    random = np.random.default_rng(13)
    return [np.linalg.qr(random.standard_normal((number, number)))[0] for _ in range(2)]


@singledispatch
def _arrays(system: Any) -> tuple[Array, ...]:
    """The arrays that move with the state; empty for a family without such symmetries."""
    return ()


@_arrays.register
def _(system: LinearGaussian) -> tuple[Array, ...]:
    return system.initial_mean, system.initial_covariance, system.A, system.b, system.Q, system.C, system.d, system.R


def _moved_system(arrays: tuple[Array, ...], G: Orthogonal) -> tuple[Array, ...]:
    mean, covariance, A, b, Q, C, d, R = arrays
    return mean @ G.T, G @ covariance @ G.T, G @ A @ G.T, b @ G.T, G @ Q @ G.T, C @ G.T, d, R


def _close(here: tuple[Array, ...], there: tuple[Array, ...]) -> bool:
    return all(
        bool(((a == b) | (np.abs(a - b) <= ROUNDING * (1.0 + np.abs(b)))).all())
        for a, b in zip(map(np.asarray, here), map(np.asarray, there), strict=True)
    )


def _prior(space: Coordinates, parameters: Mapping[str, Array]) -> Array:
    z = space.unconstrain(parameters)
    return space.density(z).prior - space.log_slope(z)
