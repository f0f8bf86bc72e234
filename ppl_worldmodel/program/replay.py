"""Replay: the states that values of the latent sites mean, by the program's own step run forward on them."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from ppl_worldmodel.program.batch import Batch
from ppl_worldmodel.program.finite.state_table import Table
from ppl_worldmodel.program.gaussian.moments import stacked
from ppl_worldmodel.program.intercept import Beginning
from ppl_worldmodel.program.reading import Reading, system_of_step
from ppl_worldmodel.program.sites import Scan
from ppl_worldmodel.program.step import Step, take_apart

SIDE_BY_SIDE = 5_000_000  # entries of draws that are replayed at a time


def replay(reading: Reading, parameters: Mapping[str, Any], values: Mapping[str, Array]) -> Array:
    """The states that emit the observations, given one value of every latent site (of the step, (time, ...), and before it).

    A finite state as its index, (*sequence, time); a Gaussian one as its vector, (*sequence, time, dim). Of a program that is not
    read exactly, what the carry holds after each step, (time, dim).
    """

    def path(scan: Scan, beginning: Beginning) -> Array:
        step = take_apart(scan, beginning)
        system, batch, table = system_of_step(reading, step, beginning)
        leaves, _ = beginning.at({name: values[name] for name in beginning.sites if name in values})
        old = system is not None and system.structure.order == "emission first"
        return _path(step, leaves, {name: values[name] for name in step.latents}, batch, table, old)

    return reading.visit(path, parameters)


def _path(
    step: Step, leaves: list[Array], values: dict[str, Array], batch: Batch, table: Table | None, old: bool
) -> Array:
    def describe(state: dict[int, Array]) -> Array:
        vector = stacked(list(state.values()), step.before, batch)
        if table is None:
            return vector
        listed = jnp.concatenate(
            [jnp.asarray(value, jnp.float_).reshape(table.states.size, -1) for value in table.states.values.values()],
            axis=1,
        )
        return (vector[..., None, :] == listed).all(axis=-1).argmax(axis=-1)

    def move(state: dict[int, Array], at: Any) -> tuple[dict[int, Array], Array]:
        latents, inputs = at
        after, _ = step.run(state, latents, inputs)
        new = {i: jnp.broadcast_to(after[i], state[i].shape).astype(state[i].dtype) for i in state}
        return new, describe(state if old else new)

    start = {
        i: jnp.broadcast_to(leaves[i], jnp.shape(before)).astype(before.dtype) for i, before in step.before.items()
    }
    path = lax.scan(move, start, (values, step.series), length=step.scan.length)[1]
    return jnp.moveaxis(path, 0, 1) if batch else path


def replay_draws(reading: Reading, parameters: Mapping[str, Any], draws: Mapping[str, Any]) -> Array:
    """`replay` of draws with the axes (chain, draw, ...): (chain, draw, *sequence, time, *dim)."""
    chains, length = jnp.shape(next(iter(draws.values())))[:2]
    flat = {name: jnp.asarray(value).reshape(chains * length, *jnp.shape(value)[2:]) for name, value in draws.items()}
    entries = max(int(np.prod(jnp.shape(value)[2:])) for value in draws.values())
    size = max(1, min(500, SIDE_BY_SIDE // max(entries, 1)))

    def one(values: Mapping[str, Array]) -> Array:
        return replay(reading, parameters, values)

    run = jax.jit(lambda flat: lax.map(one, flat, batch_size=size))
    paths = run(flat)
    return paths.reshape(chains, length, *paths.shape[1:])
