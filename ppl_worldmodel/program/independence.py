"""Independent sequences: the axes of a plate in the step, if what happens in one leaves the others alone."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ppl_worldmodel.program.batch import Batch
from ppl_worldmodel.program.finite.state_table import Listed, Table, spread
from ppl_worldmodel.program.finite.transition import seen
from ppl_worldmodel.program.gaussian.moments import gaussian, moments_of, sizes, split
from ppl_worldmodel.program.intercept import Beginning
from ppl_worldmodel.program.jaxprs.element_dependence import element_labels
from ppl_worldmodel.program.jaxprs.element_rules import NOTHING
from ppl_worldmodel.program.likelihood import log_density, probabilities, probability
from ppl_worldmodel.program.sites import Sample
from ppl_worldmodel.program.step import Step

DRAWS = 8


def sequences(step: Step, beginning: Beginning) -> Batch:
    """The axes that all latent sites and all parts of the state share and that stand for independent sequences.

    For discrete sites every batch axis; for Gaussian ones only the axes of a numpyro.plate, since a vector is often written
    as a batch. Empty where there are none; `independent` and `coupling` say whether they are so in fact.
    """
    found = set()
    for site in step.latents.values():
        shape = tuple(site.fn.batch_shape)
        if not site.fn.support.is_discrete:
            axes = sorted(len(shape) + dim for dim, _ in site.plates)
            inner = len(shape) - len(axes)
            shape = shape[: len(axes)] if axes == list(range(len(axes))) else ()
        else:
            inner = 0
        dims = tuple(axis - len(shape) - inner for axis, size in enumerate(shape) if size > 1)
        found.add((shape, dims))
    if len(found) != 1:
        return Batch()
    batch = Batch(*found.pop())
    parts = [*step.before.values(), *(site.value for site in beginning.sites.values())]
    fits = all(np.shape(part)[: batch.rank] == batch.shape for part in parts)
    return batch if fits else Batch()


def independent(step: Step, beginning: Beginning, batch: Batch, table: Table | None) -> bool:
    """Is it proven that no sequence depends on another's state?  Followed element by element through the jaxpr.

    It holds for all inputs of all steps and all parameters. Where it is not proven, `coupling` tries numbers.
    """
    answer = _answers(step, beginning, batch, table)
    state, latents = dict(step.before), {name: site.value for name, site in step.latents.items()}
    start = {name: site.value for name, site in beginning.sites.items()}
    if table is None:
        state, latents, start = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float_), (state, latents, start))

    def number(leaf: Any) -> np.ndarray:
        own = np.arange(batch.count).reshape(*batch.shape, *(1,) * (np.ndim(leaf) - batch.rank))
        return np.broadcast_to(own, np.shape(leaf))

    labels = [jax.tree.map(number, part) for part in (state, latents, start)]
    found = jax.tree.leaves(element_labels(answer, [*labels, None], state, latents, start, step.first()))
    return all(
        ((leaf == NOTHING) | (leaf == np.arange(batch.count).reshape(-1, *(1,) * (leaf.ndim - 1)))).all()
        for leaf in found
    )


def coupling(step: Step, beginning: Beginning, batch: Batch, table: Table | None) -> Array:
    """How much do the sequences depend on each other's states?  Zero where each has the same answer alone and among others.

    The start and every step with a random state in each sequence, against those with the state of one of (up to eight) sequences
    in all; for several random states, since those of two sequences may be the same.
    """
    make = _gaussian if table is None else partial(_finite, table=table)

    def at(inputs: Any) -> Array:
        return jax.vmap(lambda key: _coupling(make(step, beginning, batch, key=key, inputs=inputs), batch))(
            jax.random.split(jax.random.key(2), DRAWS)
        ).max()

    if not jax.tree.leaves(step.series):
        return at(step.series)
    return jax.lax.map(at, step.series).max()


def _coupling(answer: Callable, batch: Batch) -> Array:
    count = batch.count
    chosen = jnp.arange(min(count, 8)) * max(count // 8, 1)
    among = answer(jnp.arange(count))
    alone = jax.vmap(lambda n: jax.tree.map(lambda leaf: leaf[n], answer(jnp.full(count, n))))(chosen)

    def far(found: Array, expected: Array) -> Array:
        found = found[chosen]
        both = jnp.isneginf(found) & jnp.isneginf(expected)
        gap = jnp.where(both | (jnp.isnan(found) & jnp.isnan(expected)), 0.0, jnp.abs(found - expected))
        return (gap / (1.0 + jnp.where(both, 0.0, jnp.abs(expected)))).max(initial=0.0)

    return jnp.stack(jax.tree.leaves(jax.tree.map(far, among, alone))).max()


def _answers(step: Step, beginning: Beginning, batch: Batch, table: Table | None) -> Callable:
    """(state, latent values, values of the first state's sites, inputs) -> what is seen and what follows, of every sequence."""
    count = batch.count
    linear = None if table is not None else moments_of(step, batch)

    def carried(after: Any) -> list[Array]:
        leaves = (jnp.broadcast_to(after[i], np.shape(step.before[i])).reshape(count, -1) for i in step.names)
        return [jnp.asarray(leaf, jnp.float_) for leaf in leaves]

    def answer(state: dict, latents: dict, start: dict, inputs: Any) -> list[Array]:
        if linear is not None:
            new, found = linear(state, latents, inputs)
            leaves, sites = beginning.at(start) if start else (jax.tree.leaves(step.scan.init), {})
            means = [gaussian(sites[name], batch)[0] for name in start]
            seen_first = [log_density(sites[name], batch) for name in beginning.seen]
            moved = carried(dict(zip(step.names, new, strict=True)))
            return [*found._replace(y=found.y_mean), *moved, *carried(leaves), *means, *seen_first]
        assert table is not None
        after, sites = step.run(state, latents, inputs)
        chances = [_chance(sites[name], table).reshape(count, -1) for name in latents]
        told = [seen(sites, step, batch), *carried(after), *chances]
        if table.starts is None:
            return told
        # The start, where it is more than one site that is the state.
        leaves, sites = beginning.at(start)
        chances = [_chance(sites[name], table).reshape(count, -1) for name in table.starts[0].values]
        return [*told, *carried(leaves), *chances, *(log_density(sites[name], batch) for name in beginning.seen)]

    return answer


def _chance(site: Sample, table: Table) -> Array:
    """The probabilities of a site; only that of its value where the support depends on the state."""
    return probability(site.fn, site.value) if site.name in table.bounded else probabilities(site.fn)


def _finite(step: Step, beginning: Beginning, batch: Batch, *, table: Table, key: Array, inputs: Any) -> Callable:
    """which sequence's random state each sequence gets -> the answers of every sequence."""
    count, answer = batch.count, _answers(step, beginning, batch, table)
    keys = jax.random.split(key, 3)
    starts = table.starts[0] if table.starts is not None else Listed({}, 1)
    listed = (table.states, table.outcomes, starts)
    like: tuple[Any, ...] = (
        step.before,
        {name: site.value for name, site in step.latents.items()},
        {name: site.value for name, site in beginning.sites.items()},
    )
    drawn = [jax.random.randint(k, (count,), 0, cases.size) for k, cases in zip(keys, listed, strict=True)]

    def of(whose: Array) -> list[Array]:
        state, latents, start = (
            {
                name: jnp.asarray(value)[which[whose]].reshape(np.shape(alike[name]))
                for name, value in cases.values.items()
            }
            for cases, which, alike in zip(listed, drawn, like, strict=True)
        )
        return answer(state, spread(latents, like[1]), start, inputs)

    return of


def _gaussian(step: Step, beginning: Beginning, batch: Batch, *, key: Array, inputs: Any) -> Callable:
    """The same for Gaussian sites."""
    answer = _answers(step, beginning, batch, None)
    like: tuple[Any, ...] = (
        step.before,
        {name: site.value for name, site in step.latents.items()},
        {name: site.value for name, site in beginning.sites.items()},
    )
    drawn = [
        jax.random.normal(k, (batch.count, sum(sizes(alike, batch).values())))
        for k, alike in zip(jax.random.split(key, 3), like, strict=True)
    ]

    def of(whose: Array) -> list[Array]:
        state, latents, start = (split(values[whose], alike, batch) for values, alike in zip(drawn, like, strict=True))
        return answer(state, latents, start, inputs)

    return of
