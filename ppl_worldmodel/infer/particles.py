"""Bootstrap particle filter on a program's own step, and summaries of its particles.

A particle is the state as the step hands it on. Every step draws the latent sites from their own distributions and multiplies
the weight by the density of what is observed. Where the observation looks at the old state alone, the particles are weighed
and resampled before they move. Resampling is systematic, of a series whose effective sample size has fallen below half of the
particles; a resampled series starts again from equal weights, and the evidence stays unbiased.

Resampling is ten lines here: on CPUs cuthbertlib's leaves compiled code for a callback, and blackjax's is for one series.

Source: Gordon, Salmond & Smith (1993), IEE Proc. F 140; Kitagawa (1996), J. Comput. Graph. Statist. 5; Douc, Cappe & Moulines
(2005), ISPA; Del Moral (2004), Feynman-Kac Formulae, Proposition 7.4.1; resampling on demand: Del Moral, Doucet & Jasra (2012),
Bernoulli 18.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, Int
from numpyro.distributions import Distribution, ExpandedDistribution, ImproperUniform, Independent, MaskedDistribution

from ppl_worldmodel.errors import WorldModelError
from ppl_worldmodel.program.batch import Batch
from ppl_worldmodel.program.finite.state_table import Table
from ppl_worldmodel.program.gaussian.moments import stacked
from ppl_worldmodel.program.intercept import Beginning
from ppl_worldmodel.program.likelihood import log_density, unmasked
from ppl_worldmodel.program.sites import Sample, bare
from ppl_worldmodel.program.step import Step, Values

Summary = dict[str, Any]


class Pass(NamedTuple):
    """One run over the series. A finite state's summary is `probability` (time, sequence, state), any other's `mean`, `fourth`
    (time, sequence, dim) and `covariance` (time, sequence, dim, dim); `fourth` are the central fourth moments.

    log_predictive  log of the estimates of p(y_t | y_1:t-1); -inf where all weights are zero
    ess             the effective sample size of the weights given y_1:t, before any resampling
    drawn           one draw of the state (its stacked leaves) from the filtered particles
    """

    predicted: Summary
    filtered: Summary
    drawn: Float[Array, "time sequence dim"]
    log_predictive: Float[Array, "time sequence"]
    ess: Float[Array, "time sequence"]


class Cloud(NamedTuple):
    """Particles: leaves of the state (particle, ...), and log weights that sum to one, (particle, sequence)."""

    state: Values
    log_weight: Array


def bootstrap(
    step: Step, beginning: Beginning, batch: Batch, table: Table | None, old: bool, num_particles: int
) -> Callable[[Array], Pass]:
    """The particle filter of a step, as a function of a random key.

    batch  which axes are independent sequences: each is weighed and resampled on its own
    table  the listed states of a finite program, whose beliefs are probabilities of these
    old    are the beliefs about the state that is carried into a step (emission first), or the one that comes out of it?
    Raises WorldModelError for a first state that cannot be drawn, or a latent site whose density is scaled.
    """
    before_moving = not step.seen_from[1]
    for site in (*beginning.sites.values(), *step.latents.values()):
        _check_drawn(site)

    def first(key: Array) -> tuple[Values, Array]:
        values: dict[str, Any] = {}
        for name, own in zip(beginning.sites, _keys(key, len(beginning.sites)), strict=True):
            values[name] = draw(beginning.at(values)[1][name].fn, own)
        leaves, sites = beginning.at(values)
        return _like(step, leaves), _seen([sites[name] for name in beginning.seen], batch)

    def weigh(state: Values, inputs: Any) -> Array:
        sites = step.run(state, {}, inputs)[1]
        return _seen([sites[name] for name in (*step.observed, *step.factors)], batch)

    def move(state: Values, inputs: Any, key: Array) -> tuple[Values, Array]:
        values: dict[str, Array] = {}
        for name, own in zip(step.latents, _keys(key, len(step.latents)), strict=True):
            values[name] = draw(step.run(state, values, inputs)[1][name].fn, own)
        after, sites = step.run(state, values, inputs)
        return _like(step, after), _seen([sites[name] for name in (*step.observed, *step.factors)], batch)

    def moved(state: Values, inputs: Any, key: Array) -> tuple[Values, Array]:
        return jax.vmap(move, (0, None, 0))(state, inputs, jax.random.split(key, num_particles))

    def vectors(state: Values) -> Array:
        found = jax.vmap(lambda one: stacked(list(one.values()), step.before, batch))(state)
        return found.reshape(num_particles, batch.count, -1).astype(jnp.float_)

    def advance(cloud: Cloud, at: Any) -> tuple[Cloud, Pass]:
        inputs, key = at
        key_move, key_choose, key_ahead, key_draw = jax.random.split(key, 4)
        state, prior = cloud
        if before_moving:
            posterior, total = normalised(prior + jax.vmap(weigh, (0, None))(state, inputs))
            kept, weight = resampled(Cloud(state, posterior), key_choose)
            after = Cloud(moved(kept, inputs, key_move)[0], weight)
            ahead = state if old else moved(state, inputs, key_ahead)[0]
            behind = Cloud(state, posterior) if old else after
        else:
            new, log_seen = moved(state, inputs, key_move)
            posterior, total = normalised(prior + log_seen)
            after = resampled(Cloud(new, posterior), key_choose)
            ahead = state if old else new
            behind = Cloud(ahead, posterior)
        found, log_weight = vectors(behind.state), behind.log_weight
        chosen = jax.vmap(one_of, (1, 0))(log_weight, jax.random.split(key_draw, batch.count))
        return after, Pass(
            predicted=summarised(vectors(ahead), jnp.exp(prior), table),
            filtered=summarised(found, jnp.exp(log_weight), table),
            drawn=jnp.take_along_axis(found, chosen[None, :, None], axis=0)[0],
            log_predictive=total,
            ess=effective(posterior),
        )

    def run(key: Array) -> Pass:
        key_first, key_steps = jax.random.split(key)
        state, log_seen = jax.vmap(first)(jax.random.split(key_first, num_particles))
        log_weight, total = normalised(log_seen - jnp.log(num_particles))
        steps = (step.series, jax.random.split(key_steps, step.scan.length))
        found = lax.scan(advance, Cloud(state, log_weight), steps, length=step.scan.length)[1]
        # What was seen of the first state before the scan belongs to the first step's log predictive, as `read` has it.
        return found._replace(log_predictive=found.log_predictive.at[0].add(total))

    return run


def draw(fn: Distribution, key: Array) -> Array:
    """A value of a latent site. A masked discrete one is any of its values with equal weight, as `read` has it."""
    value = fn.sample(key)
    if _is_masked(fn) and fn.support.is_discrete and fn.has_enumerate_support:
        values = bare(fn).enumerate_support(expand=False).reshape(-1)
        others = jax.random.choice(jax.random.fold_in(key, 1), values, jnp.shape(value))
        return jnp.where(unmasked(fn, jnp.shape(value)), value, others)
    return value


def normalised(log_weight: Float[Array, "particle sequence"]) -> tuple[Array, Array]:
    """Log weights that sum to one, and the log of the sum that they had; equal ones where all weights are zero."""
    total = logsumexp(log_weight, axis=0)
    possible = total > -jnp.inf
    equal = -jnp.log(log_weight.shape[0])
    return jnp.where(possible, log_weight - jnp.where(possible, total, 0.0), equal), total


def effective(log_weight: Float[Array, "particle sequence"]) -> Float[Array, " sequence"]:
    """The effective sample size of normalised weights, 1 / sum w^2."""
    return jnp.exp(-logsumexp(2.0 * log_weight, axis=0))


def resampled(cloud: Cloud, key: Array) -> Cloud:
    """Particles chosen by their weights, with equal ones, in every sequence where fewer than half of them are effective."""
    count, sequences = cloud.log_weight.shape
    chosen = jax.vmap(systematic, (1, 0), 1)(cloud.log_weight, jax.random.split(key, sequences))
    poor = effective(cloud.log_weight) < 0.5 * count
    origin = jnp.where(poor, chosen, jnp.arange(count)[:, None])

    def take(leaf: Array) -> Array:
        parts = leaf.reshape(count, sequences, -1)
        return jnp.take_along_axis(parts, origin[..., None], axis=0).reshape(leaf.shape)

    return Cloud(jax.tree.map(take, cloud.state), jnp.where(poor, -jnp.log(count), cloud.log_weight))


def systematic(log_weight: Float[Array, " particle"], key: Array) -> Int[Array, " particle"]:
    """Indices drawn so that each comes floor or ceil of N w times, from a single uniform number; none of weight zero comes."""
    count = log_weight.size
    return _at(log_weight, (jnp.arange(count) + jax.random.uniform(key)) / count)


def one_of(log_weight: Float[Array, " particle"], key: Array) -> Int[Array, ""]:
    """The index of one particle, drawn by its weight."""
    return _at(log_weight, jax.random.uniform(key))


def _at(log_weight: Array, points: Array) -> Array:
    """Which particles lie at these points of the cumulative weight, between 0 and 1?"""
    cumulative = jnp.cumsum(jnp.exp(log_weight))
    found = jnp.searchsorted(cumulative / cumulative[-1], points, side="right")
    return jnp.minimum(found, log_weight.size - 1)


def summarised(
    vectors: Float[Array, "particle sequence dim"], weight: Float[Array, "particle sequence"], table: Table | None
) -> Summary:
    """The weighted shares of the listed states, or the weighted moments."""
    if table is not None:
        values = [
            jnp.asarray(value, jnp.float_).reshape(table.states.size, -1) for value in table.states.values.values()
        ]
        listed = jnp.concatenate(values, axis=1)
        index = (vectors[..., None, :] == listed).all(axis=-1).argmax(axis=-1)
        sequence = jnp.arange(weight.shape[1])
        return {"probability": jnp.zeros((weight.shape[1], table.states.size)).at[sequence, index].add(weight)}
    mean = jnp.einsum("ns,nsi->si", weight, vectors)
    centred = vectors - mean
    covariance = jnp.einsum("ns,nsi,nsj->sij", weight, centred, centred)
    return {"mean": mean, "covariance": covariance, "fourth": jnp.einsum("ns,nsi->si", weight, centred**4)}


def _check_drawn(site: Sample) -> None:
    if isinstance(bare(site.fn), ImproperUniform):
        raise WorldModelError(
            f"smc cannot draw site '{site.name}', which has a flat density (ImproperUniform): give it a proper distribution"
        )
    if site.scale is not None:
        raise WorldModelError(
            f"smc draws site '{site.name}' from its distribution, but handlers.scale multiplies its log density: take it away"
        )


def _is_masked(fn: Distribution) -> bool:
    while isinstance(fn, (Independent, ExpandedDistribution)):
        fn = fn.base_dist
    return isinstance(fn, MaskedDistribution)


def _keys(key: Array, count: int) -> list[Array]:
    return list(jax.random.split(key, count)) if count > 1 else [key] * count


def _like(step: Step, leaves: Any) -> Values:
    """The state's leaves in the shapes and types that the step is given them in."""
    return {i: jnp.broadcast_to(leaves[i], jnp.shape(before)).astype(before.dtype) for i, before in step.before.items()}


def _seen(sites: list[Sample], batch: Batch) -> Array:
    """The log density of what is observed, (sequence,)."""
    return sum((log_density(site, batch) for site in sites), jnp.zeros(batch.ends)).reshape(-1)
