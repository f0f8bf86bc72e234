"""Sign switching of factors: a component of a Gaussian state and its loadings change sign with no effect on the data.

Factor models have one mirror image of the posterior for each choice of signs. Which entries of which parameters change sign with a
component is found by trial on the program itself, as names of finite states are (`relabelling`): the system that is read at the
changed parameters must be the system with that component mirrored, under the same prior. Each draw then gets the signs under which
its smoothed states are nearest to those of a reference. Rotations of several factors are not undone: they are continuous, and no
draw is nearest.
"""

from collections.abc import Mapping
from functools import singledispatch
from itertools import chain, combinations, product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from ppl_worldmodel.exact import LinearGaussian
from ppl_worldmodel.exact.families import verbs
from ppl_worldmodel.infer.beliefs import over_draws
from ppl_worldmodel.program.coordinates import Coordinates, coordinates
from ppl_worldmodel.program.reading import Reading, once

ROUNDING = 1e-9
MOST_CHOICES = 256
CLEAR = 0.3  # correlation of smoothed states with the reference: below it either sign is as near


class Signs(NamedTuple):
    """{parameter: (dim, *shape of the parameter)}: -1 where an entry changes sign with a component of the state, else 1."""

    changes: dict[str, Float[np.ndarray, "dim ..."]]


class Signed(NamedTuple):
    """sign  of each component of each draw; margin: the smallest correlation with the reference; reference: its smoothed means"""

    sign: Float[np.ndarray, "chain draw dim"]
    margin: Float[np.ndarray, "chain draw"]
    reference: Float[np.ndarray, "step dim"]


@once
def signs(reading: Reading) -> Signs | None:
    """The free signs of a program, or None where no component, or not every one, can change its sign."""
    system, space = reading.exact, coordinates(reading)
    number = system.dim_x
    if number is None or not _arrays(system) or not system.proper or system.structure.extra:
        return None
    drawn = [space.constrain(space.draw(key)) for key in jax.random.split(jax.random.key(12), 2)]
    # What is never negative cannot change its sign.
    free = [name for name in space.names if any(bool((each[name] < 0).any()) for each in drawn)]
    options = [_choices(np.shape(drawn[0][name]), number) for name in free]
    if not free or not 1 < np.prod([float(len(each)) for each in options]) <= MOST_CHOICES:
        return None
    at = jax.jit(lambda parameters: _arrays(reading.at(parameters)))
    prior = jax.jit(lambda parameters: _prior(space, parameters))
    before = [(each, at(each), prior(each)) for each in drawn]
    for chosen in sorted(product(*options), key=lambda chosen: sum(int((each < 0).sum()) for each in chosen)):
        changes = dict(zip(free, chosen, strict=True))
        if all(
            _mirrored(old, at(moved := changed(each, changes, component)), component) and _close(prior(moved), density)
            for each, old, density in before
            for component in range(number)
        ):
            return Signs(changes)
    return None


def changed(parameters: Mapping[str, Any], changes: Mapping[str, np.ndarray], component: int) -> dict[str, Array]:
    """The parameters with one component of the state mirrored."""
    return {
        name: jnp.asarray(value) * changes[name][component] if name in changes else value
        for name, value in parameters.items()
    }


def signed(
    reading: Reading,
    draws: Mapping[str, np.ndarray],
    reference: Float[np.ndarray, "step dim"] | None = None,
    *,
    pivot: tuple[int, int] = (0, 0),
    most_rounds: int = 50,
) -> Signed:
    """The signs of every draw (chain, draw, ...): those of a reference, else those on which the draws settle from `pivot` on."""
    means = smoothed_means(reading, draws)
    shape, flat = means.shape[:2], means.reshape(-1, *means.shape[2:])
    sign = np.ones((len(flat), flat.shape[-1]))
    around = means[pivot] if reference is None else reference
    for _ in range(most_rounds):
        near = _correlation(flat, around)
        fresh = np.where(near < 0, -1.0, 1.0)
        settled, sign = bool((fresh == sign).all()), fresh
        if reference is not None or settled:
            break
        around = (flat * sign[:, None, :]).mean(axis=0)
    return Signed(sign.reshape(*shape, -1), np.abs(near).min(axis=-1).reshape(shape), around)


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


def with_signs(
    draws: Mapping[str, np.ndarray], found: Signs, sign: Float[np.ndarray, "chain draw dim"]
) -> dict[str, np.ndarray]:
    """Draws (chain, draw, ...) of the parameters with these signs of the components of each draw."""
    moved = {}
    for name, values in draws.items():
        each = np.asarray(values, float)
        for component, change in enumerate(found.changes.get(name, ())):
            flips = (sign[..., component] < 0).reshape(*sign.shape[:2], *(1,) * (each.ndim - 2))
            each = np.where(flips, each * change, each)
        moved[name] = each if name in found.changes else np.asarray(values)
    return moved


def described(told: Signed) -> xr.Dataset:
    """The group `alignment` of a result (see `aligned`), without R-hat before and after."""
    patterns = [len(np.unique(chain, axis=0)) for chain in told.sign]
    switches = [int((chain[1:] != chain[:-1]).any(axis=1).sum()) for chain in told.sign]
    return xr.Dataset(
        {
            "sign": (("chain", "draw", "dim"), told.sign),
            "margin": (("chain", "draw"), told.margin),
            "reference": (("step", "dim"), told.reference),
        },
        attrs={"labellings": patterns, "switches": switches, "unclear": float((~(told.margin >= CLEAR)).mean())},
    )


def _choices(shape: tuple[int, ...], number: int) -> list[np.ndarray]:
    """The ways in which a parameter may change with each component, (dim, *shape): not at all, or along some of its axes of that
    length; with a single component also as a whole.
    """
    flips = 1.0 - 2.0 * np.eye(number)
    fit = [axis for axis, size in enumerate(shape) if size == number]
    found = [np.ones((number, *shape))]
    for axes in chain.from_iterable(combinations(fit, count) for count in range(1, len(fit) + 1)):
        change = np.ones((number, *shape))
        for axis in axes:
            change = change * flips.reshape(number, *(number if at == axis else 1 for at in range(len(shape))))
        found.append(change)
    if number == 1:
        found.append(-np.ones((1, *shape)))
    return found


@singledispatch
def _arrays(system: Any) -> tuple[Array, ...]:
    """The arrays that change with a component's sign; empty for a family without such signs."""
    return ()


@_arrays.register
def _(system: LinearGaussian) -> tuple[Array, ...]:
    return system.initial_mean, system.initial_covariance, system.A, system.b, system.Q, system.C, system.d, system.R


def _mirrored(old: tuple[Array, ...], new: tuple[Array, ...], component: int) -> bool:
    s = jnp.ones(old[0].shape[-1]).at[component].set(-1.0)
    mean, covariance, A, b, Q, C, d, R = old
    both = s[:, None] * s
    expected = (mean * s, covariance * both, A * both, b * s, Q * both, C * s, d, R)
    return all(_close(here, there) for here, there in zip(expected, new, strict=True))


def _close(here: Array, there: Array) -> bool:
    return bool(jnp.all((here == there) | (jnp.abs(here - there) <= ROUNDING * (1.0 + jnp.abs(there)))))


def _prior(space: Coordinates, parameters: Mapping[str, Array]) -> Array:
    z = space.unconstrain(parameters)
    return space.density(z).prior - space.log_slope(z)


def _correlation(flat: Float[np.ndarray, "draw step dim"], around: Float[np.ndarray, "step dim"]) -> np.ndarray:
    """The correlation, about zero, of each component of each draw with that of the reference, (draw, dim)."""
    product_ = np.einsum("nti,ti->ni", flat, around)
    size = np.sqrt((flat**2).sum(axis=1) * (around**2).sum(axis=0))
    return product_ / np.where(size > 0, size, 1.0)
