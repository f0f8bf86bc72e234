"""Particle Gibbs with ancestor sampling: whole paths of the states at given parameters, drawn by running the program forward.

A sweep is a particle filter in which one particle is held to the present path. The others draw the latent sites from their own
distributions, step by step, and each is weighed by the density of what is observed; at every step the present path is given a
new past, drawn from all particles by how well the rest of it follows from them. The path of one particle, drawn by its weight at
the end, is the next state of the chain. Whatever the zeros of the program, each possible path can follow each other in one
sweep: a state that stays until it is reset, phases without a way back, counters.

Nothing is asked of the program but to be run: its step draws, and says the density of each of its sites. No table of
probabilities is made, and no recursion used. What the step carries on is taken as it is, so that a state that is computed (a
counter) may only be given a past that leads to the same one.

Source: Andrieu, Doucet & Holenstein (2010), J. R. Statist. Soc. B 72; Lindsten, Jordan & Schoen (2014), JMLR 15, algorithm 2.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int
from numpyro import handlers
from numpyro.distributions import BernoulliLogits, BernoulliProbs, CategoricalLogits, CategoricalProbs, Independent

from ppl_worldmodel.errors import WorldModelError
from ppl_worldmodel.infer.genealogy import carry_on_alike, chosen_by, only, take
from ppl_worldmodel.infer.particles import draw, normalised
from ppl_worldmodel.program.batch import Batch
from ppl_worldmodel.program.intercept import Beginning
from ppl_worldmodel.program.likelihood import log_density, probabilities
from ppl_worldmodel.program.reading import Reading
from ppl_worldmodel.program.sites import Sample, Scan, bare, is_delta

NUM_PARTICLES = 32

Leaves = list[Array]


class Path(NamedTuple):
    """One path of the program.

    start    values of the sites before the scan; carry: the leaves that they make up
    latents  values of the step's sites, (time, ...); after: the leaves that each step carries on, (time, ...)
    """

    start: dict[str, Array]
    carry: Leaves
    latents: dict[str, Array]
    after: Leaves


class Draws(NamedTuple):
    """values  of every latent site, (chain, draw, ...)
    dead  (chain,) -1, or the step beyond which no particle was possible in any sweep before the draws
    """

    values: dict[str, Array]
    dead: Int[Array, " chain"]


def path_sampler(
    reading: Reading,
    batch: Batch,
    *,
    num_warmup: int,
    num_samples: int,
    num_chains: int,
    num_particles: int = NUM_PARTICLES,
) -> Callable[[Mapping[str, Any], Mapping[str, Any], Array, Array], Draws]:
    """The sampler as a function of everything that may change: (parameters, data, keep, key) -> draws; for use inside jit and vmap.

    batch  which axes are independent sequences, each with particles of its own
    keep   (time,) which observations are seen
    """

    def sample(parameters: Mapping[str, Any], data: Mapping[str, Any], keep: Array, key: Array) -> Draws:
        def chains(scan: Scan, beginning: Beginning) -> Draws:
            one = _chain(_Forward(scan, beginning, batch), num_particles, num_warmup, num_samples)
            return jax.vmap(one)(jax.random.split(key, num_chains))

        return reading.on(data).visit(chains, parameters, keep=keep)

    return sample


class _Forward:
    """The program's own forward run, one particle at a time: its first state, and one step.

    values  shapes of the latent sites of a step; listed: how many entries those of categories have
    """

    def __init__(self, scan: Scan, beginning: Beginning, batch: Batch):
        self.scan, self.beginning, self.batch = scan, beginning, batch
        leaves, self.treedef = jax.tree.flatten(scan.init)
        self.like = [jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves]
        first = jax.tree.map(lambda leaf: leaf[0], scan.inputs)
        keys = jax.ShapeDtypeStruct((), jax.random.key(0).dtype)
        self.listed: dict[str, int] = {}
        self.values = jax.eval_shape(lambda key: self.draw(leaves, first, jnp.zeros(1 << 20), key), keys)

    def first(self, key: Array) -> tuple[dict[str, Array], Leaves, Array]:
        """Drawn values of the sites before the scan, the first carry, and the log density of what was seen of it, (sequence,)."""
        values: dict[str, Array] = {}
        for number, name in enumerate(self.beginning.sites):
            values[name] = draw(self.beginning.at(values)[1][name].fn, jax.random.fold_in(key, number))
        return values, *self.begin(values)

    def begin(self, values: Mapping[str, Array]) -> tuple[Leaves, Array]:
        """The first carry with these values of the sites before the scan, and the log density of what was seen of it."""
        leaves, sites = self.beginning.at(values)
        return self._as_carried(leaves), self._density([sites[name] for name in self.beginning.seen])

    def draw(self, carry: Leaves, inputs: Any, uniform: Array, key: Array | None) -> dict[str, Array]:
        """Values of the latent sites of one step, each from its own distribution.

        uniform  numbers between 0 and 1 for categories; key for all others
        """
        values: dict[str, Array] = {}

        def drawn(site: Mapping[str, Any]) -> Array:
            name, fn = site["name"], site["fn"]
            if site["scale"] is not None:
                raise WorldModelError(
                    f"gibbs draws site '{name}' from its distribution, but handlers.scale multiplies its log density: take it away"
                )
            if isinstance(bare(fn), (CategoricalProbs, CategoricalLogits, BernoulliProbs, BernoulliLogits)):
                used, shape = sum(self.listed[other] for other in values if other in self.listed), fn.shape()
                self.listed[name] = math.prod(shape)
                values[name] = _inverse(fn, uniform[used : used + self.listed[name]].reshape(shape))
            else:
                assert key is not None  # made wherever a site needs it
                values[name] = draw(fn, jax.random.fold_in(key, len(values)))
            return values[name]

        self._run(carry, inputs, drawn)
        return values

    def weigh(self, carry: Leaves, inputs: Any, values: Mapping[str, Array]) -> tuple[Leaves, Array, Array]:
        """One step with these values: the new carry, the log density of the values, and that of what is seen, (sequence,)."""
        after, sites = self._run(carry, inputs, lambda site: values[site["name"]])
        drawn = [_sample(site) for site in sites.values() if _latent(site)]
        seen = [_sample(site) for site in sites.values() if site["type"] == "sample" and site["is_observed"]]
        return self._as_carried(after), self._density(drawn), self._density(seen)

    def _run(self, carry: Leaves, inputs: Any, chosen: Callable) -> tuple[Leaves, dict[str, Any]]:
        """One step in which `chosen` gives the latent sites their values: the new carry, and all sites by name."""

        def value(site: Mapping[str, Any]) -> Array | None:
            if _latent(site):
                return chosen(site)
            # What has a point mass is computed, not drawn.
            return site["fn"].mean if site["type"] == "sample" and not site["is_observed"] else None

        with (
            handlers.block(),
            handlers.seed(rng_seed=0),
            handlers.trace() as sites,
            handlers.substitute(substitute_fn=value),
        ):
            after, _ = self.scan.step(jax.tree.unflatten(self.treedef, carry), inputs)
        return jax.tree.leaves(after), sites

    def _as_carried(self, leaves: Leaves) -> Leaves:
        return [
            jnp.broadcast_to(leaf, like.shape).astype(like.dtype) for leaf, like in zip(leaves, self.like, strict=True)
        ]

    def _density(self, sites: list[Sample]) -> Array:
        return sum((log_density(site, self.batch) for site in sites), jnp.zeros(self.batch.ends)).reshape(-1)


def _latent(site: Mapping[str, Any]) -> bool:
    return site["type"] == "sample" and not site["is_observed"] and not is_delta(site["fn"])


def _sample(site: Mapping[str, Any]) -> Sample:
    return Sample(site["name"], site["fn"], site["value"], site["is_observed"], site["scale"])


def _inverse(fn: Any, uniform: Array) -> Array:
    """A category from a uniform number, by the inverse of its distribution function; none of probability zero."""
    while isinstance(fn, Independent):
        fn = fn.base_dist
    each = probabilities(fn)
    support = bare(fn).enumerate_support(expand=False).reshape(-1)
    cumulative = jnp.cumsum(each, axis=-1)
    found = (uniform[..., None] * cumulative[..., -1:] >= cumulative).sum(axis=-1)
    last = each.shape[-1] - 1 - jnp.argmax((each > 0)[..., ::-1], axis=-1)
    return support[jnp.minimum(found, last)]


def _chain(forward: _Forward, num_particles: int, num_warmup: int, num_samples: int) -> Callable[[Array], Draws]:
    """One chain: key -> its draws. Until a sweep without a held path finds a possible one, there is none to hold."""

    def sweep(state: tuple[Path, Array, Array], key: Array) -> tuple[tuple[Path, Array, Array], dict[str, Array]]:
        path, found, furthest = state
        path, dead = _pass(forward, key, num_particles, path, found)
        state = path, found | (dead < 0), jnp.where(dead < 0, -1, jnp.maximum(furthest, dead))
        return state, path.start | path.latents

    def run(key: Array) -> Draws:
        key_start, key_sweeps = jax.random.split(key)
        start, carry, _ = forward.first(key_start)
        steps = forward.scan.length
        latents, after = jax.tree.map(
            lambda value: jnp.zeros((steps, *value.shape), value.dtype), (forward.values, forward.like)
        )
        state = Path(start, carry, latents, after), jnp.array(False), jnp.array(0)
        keys = jax.random.split(key_sweeps, num_warmup + num_samples + 1)
        (_, _, dead), values = lax.scan(sweep, state, keys)
        return Draws(jax.tree.map(lambda each: each[num_warmup + 1 :], values), dead)

    return run


def _pass(forward: _Forward, key: Array, count: int, path: Path, hold: Bool[Array, ""]) -> tuple[Path, Int[Array, ""]]:
    """One particle filter of `count` particles over the series, the last of them held to a path if `hold`.

    Returns the path of one particle, drawn by its weight at the end, and the first step at which none was possible (-1: none).
    """
    batch, steps = forward.batch, forward.scan.length
    key_first, key_steps, key_move, key_choose, key_last = jax.random.split(key, 5)

    def held(values: Any, one: Any) -> Any:
        """The particles' values, the last one's replaced."""
        return jax.tree.map(lambda each, own: each.at[-1].set(jnp.where(hold, own, each[-1])), values, one)

    begun, carry, _ = jax.vmap(forward.first)(jax.random.split(key_first, count))
    begun, carry = held(begun, path.start), held(carry, path.carry)
    weight, total = normalised(jax.vmap(forward.begin, axis_size=count)(begun)[1])

    def advance(cloud: tuple[Leaves, Array], at: Any) -> tuple[tuple[Leaves, Array], Any]:
        carry, log_weight = cloud
        inputs, key, uniform, choice, latents_held, after_held = at
        after, drawn, seen = jax.vmap(forward.weigh, (0, None, None))(carry, inputs, latents_held)
        follows = carry_on_alike(after, after_held, batch).at[-1].set(True)
        past = log_weight + jnp.where(follows, drawn + seen, -jnp.inf)
        origin = held(chosen_by(log_weight, choice), chosen_by(past, choice[-1:])[0])
        parents = take(carry, origin, batch)
        latents = jax.vmap(forward.draw, (0, None, 0, 0))(parents, inputs, uniform, key)
        latents = held(latents, latents_held)
        after, _, seen = jax.vmap(forward.weigh, (0, None, 0))(parents, inputs, latents)
        log_weight, total = normalised(seen)
        return (held(after, after_held), log_weight), (origin, latents, held(after, after_held), total)

    over = (
        forward.scan.inputs,
        # Keys cost more than numbers: they are made for sites that are no categories only.
        jax.random.split(key_steps, (steps, count)) if len(forward.listed) < len(forward.values) else None,
        jax.random.uniform(key_move, (steps, count, sum(forward.listed.values()))),
        jax.random.uniform(key_choose, (steps, count, batch.count)),
        path.latents,
        path.after,
    )
    (_, weight), (origin, latents, after, totals) = lax.scan(advance, (carry, weight), over, length=steps)

    def back(index: Array, at: Any) -> tuple[Array, Any]:
        origin, latents, after = at
        one = (only(latents, index, batch), only(after, index, batch))
        return jnp.take_along_axis(origin, index[None], axis=0)[0], one

    last = chosen_by(weight, jax.random.uniform(key_last, (1, batch.count)))[0]
    index, (latents, after) = lax.scan(back, last, (origin, latents, after), length=steps, reverse=True)
    alive = jnp.isfinite(totals.at[0].add(total)).all(axis=-1)
    found = Path(only(begun, index, batch), only(carry, index, batch), latents, after)
    return found, jnp.where(alive.all(), -1, jnp.argmin(alive))
