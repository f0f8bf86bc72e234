"""How far from linear-Gaussian is a step?  Measured at random states, never assumed."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ppl_worldmodel.program.batch import Batch
from ppl_worldmodel.program.intercept import Beginning
from ppl_worldmodel.program.moments import moments_of, sizes, split, stacked
from ppl_worldmodel.program.step import Step


def bends(step: Step, beginning: Beginning, batch: Batch, key: Array) -> dict[str, Array]:
    """{what is wrong: by how much, relative to its size}: at rounding error for a linear-Gaussian step; `read` refuses above 1e-9.

    A value half-way between two states must be half-way between theirs (means), or the same (covariances).
    """
    latents = {name: site.value for name, site in step.latents.items()}
    moments, inputs = moments_of(step, batch), step.first()
    width = sum(sizes(step.before, batch).values())
    drawn, seen, carried = (
        _names(tuple(latents)),
        _names(step.observed),
        ", ".join(f"'{n}'" for n in step.names.values()),
    )

    def at(x: Array, w: Array) -> tuple[dict[str, Array], dict[str, Array]]:
        after, found = moments(split(x, step.before, batch), split(w, latents, batch), inputs)
        means = {
            f"the mean of {drawn} is not affine in the state": found.w_mean,
            f"the mean of {seen} is not affine in the state": found.y_mean,
            f"the new state ({carried}) is not an affine function of the old one and of {drawn}": stacked(
                after, step.before, batch
            ),
        }
        fixed = {
            f"the covariance of {drawn} depends on the state": found.w_covariance,
            f"the covariance of {seen} depends on the state": found.y_covariance,
            f"the log factor of {_names(step.factors)} depends on the state": found.log_factor,
        }
        return means, fixed

    def along(key: Array) -> dict[str, Array]:
        x, w = jnp.split(10.0 * jax.random.normal(key, (width + sum(sizes(latents, batch).values()),)), [width])
        return _bent(*(at(scale * x, scale * w) for scale in (0.0, 0.5, 1.0)))

    found = jax.tree.map(lambda values: values.max(), jax.vmap(along)(jax.random.split(key, 3)))
    return found | _first(step, beginning, batch, key)


def _bent(start: tuple, middle: tuple, end: tuple) -> dict[str, Array]:
    found = {}
    for what, low in start[0].items():
        high = end[0][what]
        bend = jnp.abs(middle[0][what] - 0.5 * (low + high)) / (1.0 + jnp.abs(low) + jnp.abs(high))
        found[what] = bend.max(initial=0.0)
    for what, low in start[1].items():
        found[what] = (jnp.abs(end[1][what] - low) / (1.0 + jnp.abs(low))).max(initial=0.0)
    return found


def _first(step: Step, beginning: Beginning, batch: Batch, key: Array) -> dict[str, Array]:
    """The same of the first state, where it is computed from its sites."""
    sites = {name: site.value for name, site in beginning.sites.items()}
    if not sites or all(i in beginning.direct for i in beginning.leaves):
        return {}
    what = f"the first state is not an affine function of {_names(tuple(sites))}"

    def at(vector: Array) -> tuple[dict[str, Array], dict[str, Array]]:
        leaves, _ = beginning.at(split(vector, sites, batch))
        return {what: stacked([leaves[i] for i in step.names], step.before, batch)}, {}

    vector = 10.0 * jax.random.normal(key, (sum(sizes(sites, batch).values()),))
    return _bent(*(at(scale * vector) for scale in (0.0, 0.5, 1.0)))


def _names(names: tuple[str, ...]) -> str:
    return "site " + ", ".join(f"'{name}'" for name in names)
