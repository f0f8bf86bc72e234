"""Which axes of a step are independent sequences?  Those of a plate in the step, if what happens in one leaves the others alone."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ppl_worldmodel.program.batch import Batch
from ppl_worldmodel.program.finite import seen
from ppl_worldmodel.program.intercept import Beginning
from ppl_worldmodel.program.likelihood import log_density, probabilities, probability
from ppl_worldmodel.program.moments import gaussian, moments_of, sizes, split, stacked
from ppl_worldmodel.program.sites import Sample
from ppl_worldmodel.program.step import Step
from ppl_worldmodel.program.table import Table, spread

DRAWS = 8


def sequences(step: Step, beginning: Beginning) -> Batch:
    """The axes that all latent sites and all parts of the state share and that stand for independent sequences.

    For discrete sites every batch axis; for Gaussian ones only the axes of a numpyro.plate, since a vector is often written
    as a batch. Empty where there are none; `coupling` says whether they are independent in fact.
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


def coupling(step: Step, beginning: Beginning, batch: Batch, table: Table | None) -> Array:
    """How much do the sequences depend on each other's states?  Zero where each has the same answer alone and among others.

    The start and one step with a random state in each sequence, against those with the state of one of (up to eight) sequences
    in all; for several random states, since those of two sequences may be the same.
    """
    make = _gaussian if table is None else partial(_finite, table=table)
    return jax.vmap(lambda key: _coupling(make(step, beginning, batch, key=key), batch))(
        jax.random.split(jax.random.key(2), DRAWS)
    ).max()


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


def _finite(step: Step, beginning: Beginning, batch: Batch, *, table: Table, key: Array) -> Callable:
    """which sequence's random state each sequence gets -> log p(seen), new leaves and outcomes of every sequence."""
    count, latents = batch.count, {name: site.value for name, site in step.latents.items()}
    states = jax.random.randint(key, (count,), 0, table.states.size)
    outcomes = jax.random.randint(jax.random.fold_in(key, 1), (count,), 0, table.outcomes.size)

    def answer(whose: Array) -> list[Array]:
        state = {
            i: jnp.asarray(value)[states[whose]].reshape(np.shape(step.before[i]))
            for i, value in table.states.values.items()
        }
        drawn = {
            n: jnp.asarray(v)[outcomes[whose]].reshape(np.shape(latents[n])) for n, v in table.outcomes.values.items()
        }
        after, sites = step.run(state, spread(drawn, latents), step.first())
        leaves = [jnp.broadcast_to(after[i], np.shape(step.before[i])).reshape(count, -1) for i in step.names]
        chances = [_chance(sites[name], table).reshape(count, -1) for name in latents]
        return [seen(sites, step, batch), *(jnp.asarray(leaf, jnp.float_) for leaf in leaves), *chances, *first(whose)]

    def first(whose: Array) -> list[Array]:
        """The same of the start, where it is more than one site that is the state."""
        if table.starts is None:
            return []
        listed = table.starts[0].values
        which = jax.random.randint(jax.random.fold_in(key, 2), (count,), 0, table.starts[0].size)[whose]
        drawn = {name: jnp.asarray(values)[which] for name, values in listed.items()}
        like = {name: site.value for name, site in beginning.sites.items()}
        leaves, sites = beginning.at({name: value.reshape(np.shape(like[name])) for name, value in drawn.items()})
        carried = [jnp.broadcast_to(leaves[i], np.shape(step.before[i])).reshape(count, -1) for i in step.names]
        chances = [_chance(sites[name], table).reshape(count, -1) for name in listed]
        return [*(jnp.asarray(leaf, jnp.float_) for leaf in carried), *chances, *_seen_first(sites, beginning, batch)]

    return answer


def _chance(site: Sample, table: Table) -> Array:
    """The probabilities of a site; only that of its value where the support depends on the state."""
    return probability(site.fn, site.value) if site.name in table.bounded else probabilities(site.fn)


def _seen_first(sites: dict[str, Sample], beginning: Beginning, batch: Batch) -> list[Array]:
    return [log_density(sites[name], batch) for name in beginning.seen]


def _gaussian(step: Step, beginning: Beginning, batch: Batch, *, key: Array) -> Callable:
    """The same for Gaussian sites."""
    count, latents = batch.count, {name: site.value for name, site in step.latents.items()}
    moments = moments_of(step, batch)
    width = sum(sizes(step.before, batch).values())
    drawn = jax.random.normal(key, (count, width + sum(sizes(latents, batch).values())))
    x, w = drawn[:, :width], drawn[:, width:]

    def answer(whose: Array) -> list[Array]:
        after, found = moments(split(x[whose], step.before, batch), split(w[whose], latents, batch), step.first())
        leaves = [
            jnp.broadcast_to(leaf, np.shape(step.before[i])).reshape(count, -1)
            for i, leaf in zip(step.names, after, strict=True)
        ]
        return [*found._replace(y=found.y_mean), *leaves, *first(whose)]

    sites = {name: site.value for name, site in beginning.sites.items()}
    z = jax.random.normal(jax.random.fold_in(key, 1), (count, sum(sizes(sites, batch).values())))

    def first(whose: Array) -> list[Array]:
        leaves, found = beginning.at(split(z[whose], sites, batch))
        carried = stacked([leaves[i] for i in step.names], step.before, batch)
        return [carried, *(gaussian(found[name], batch)[0] for name in sites), *_seen_first(found, beginning, batch)]

    return answer
