"""Sequential Monte Carlo over the data: the log evidence of every prefix of a series, with particles of the parameters.

The particles start as draws from the prior and take in the series, each time as much of it as keeps half of them effective. A step
may end inside an observation, whose density then counts with a power. After each step they are resampled and moved by a random walk
that leaves p(parameters | data so far) as it is. The product of the average weights is an unbiased estimate of the evidence up to
every time step; log p(y_t | y_1:t-1), the parameters integrated out, comes with it.

It shares nothing with `bridge_sampling` but the density: no chain, no fitted proposal.

Source: Chopin (2002), Biometrika 89 (iterated batch importance sampling); Del Moral, Doucet & Jasra (2006), J. Royal Statistical
Society B 68, sections 3.2 and 3.3; on steps of equal effective size: Zhou, Johansen & Aston (2016), J. Comput. Graph. Statist. 25.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float

from ppl_worldmodel.comparisons.bridge_sampling import Estimate, nearest_image, refuse_improper
from ppl_worldmodel.infer.particles import systematic
from ppl_worldmodel.infer.smc import evidence_of
from ppl_worldmodel.labels.relabelling import Relabelling
from ppl_worldmodel.program.coordinates import Coordinates

IMPOSSIBLE = -1e200  # stands for -inf, so that a power of it is a number
MOST_STEPS = 10_000  # a step that takes in next to nothing would go on forever
ACCEPTED = 0.25  # share of the proposals that the random walk aims at


class Annealed(NamedTuple):
    """estimate        the log evidence of the whole series
    log_evidence    of the first n observations, n = 0 ... T, by each replicate: (replicate, time + 1)
    steps           how many times each replicate resampled and moved
    """

    estimate: Estimate
    log_evidence: Float[np.ndarray, "replicate time+1"]
    steps: np.ndarray


class _Cloud(NamedTuple):
    """Particles after part of the data. total: sums of the one-step terms, from zero on, for each of them."""

    z: Float[Array, "particle size"]
    prior: Float[Array, " particle"]
    total: Float[Array, "particle time+1"]
    taken: Float[Array, ""]  # how much of the series: 2.5 is two observations and the square root of the third
    evidence: Float[Array, ""]  # log evidence of that
    log_evidence: Float[Array, " time+1"]
    scale: Float[Array, ""]
    steps: Array
    key: Array


def anneal(
    space: Coordinates,
    key: Array,
    *,
    names: Relabelling | None = None,
    num_particles: int = 500,
    num_replicates: int = 8,
    num_moves: int = 15,
) -> Annealed:
    """The evidence of every prefix of the series.

    names      how states exchange names, where the program is exchangeable: particles are then moved to one mirror image, which
               keeps their distribution (all images have the same weight) and makes the random walk local
    num_moves  of the random walk, in each step
    Raises NotExactlySolvable, naming the parameter, where a prior is improper.
    """
    refuse_improper(space)

    def weigh(z: Array) -> tuple[Array, Array]:
        density = jax.vmap(space.density)(z)
        terms = jnp.maximum(jnp.nan_to_num(density.terms, nan=IMPOSSIBLE, neginf=IMPOSSIBLE), IMPOSSIBLE)
        return density.prior, jnp.concatenate([jnp.zeros((len(z), 1)), terms.cumsum(axis=1)], axis=1)

    def step(cloud: _Cloud) -> _Cloud:
        key, key_choose, key_moves = jax.random.split(cloud.key, 3)
        number, length = num_particles, cloud.total.shape[1] - 1
        start = _at(cloud.total, cloud.taken)

        def enough(taken: Array) -> Array:
            log_weight = _at(cloud.total, taken) - start
            return 2.0 * logsumexp(log_weight) - logsumexp(2.0 * log_weight) >= jnp.log(0.5 * number)

        def halve(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            middle = 0.5 * (ends[0] + ends[1])
            good = enough(middle)
            return jnp.where(good, middle, ends[0]), jnp.where(good, ends[1], middle)

        whole = jnp.asarray(float(length))
        taken = jnp.where(enough(whole), whole, lax.fori_loop(0, 50, halve, (cloud.taken, whole))[0])
        log_weight = _at(cloud.total, taken) - start
        along = cloud.evidence + logsumexp(cloud.total - start[:, None], axis=0) - jnp.log(number)
        inside = (jnp.arange(length + 1) > cloud.taken) & (jnp.arange(length + 1) <= taken)
        chosen = systematic(log_weight - logsumexp(log_weight), key_choose)
        z, prior, total = (values[chosen] for values in (cloud.z, cloud.prior, cloud.total))
        if names is not None:
            z = nearest_image(space, names, z)
            prior, total = weigh(z)
        root = _root(z)

        def move(state: tuple, key: Array) -> tuple[tuple, Array]:
            z, prior, total, scale = state
            key_noise, key_size, key_accept = jax.random.split(key, 3)
            # A third of the steps is small: parts of the posterior may be far narrower than the whole.
            size = scale * jnp.where(jax.random.uniform(key_size, (number, 1)) < 1 / 3, 0.2, 1.0)
            proposed = z + size * (jax.random.normal(key_noise, z.shape) @ root.T)
            new_prior, new_total = weigh(proposed)
            log_ratio = new_prior + _at(new_total, taken) - prior - _at(total, taken)
            accept = jnp.log(jax.random.uniform(key_accept, (number,))) < log_ratio
            kept = [
                jnp.where(accept[:, None] if new.ndim == 2 else accept, new, old)
                for new, old in ((proposed, z), (new_prior, prior), (new_total, total))
            ]
            scale = jnp.clip(scale * jnp.exp(accept.mean() - ACCEPTED), 0.01, 5.0)
            return (*kept, scale), accept.mean()

        (z, prior, total, scale), _ = lax.scan(
            move, (z, prior, total, cloud.scale), jax.random.split(key_moves, num_moves)
        )
        evidence = cloud.evidence + logsumexp(log_weight) - jnp.log(number)
        log_evidence = jnp.where(inside, along, cloud.log_evidence)
        return _Cloud(z, prior, total, taken, evidence, log_evidence, scale, cloud.steps + 1, key)

    @jax.jit
    @jax.vmap
    def run(key: Array) -> tuple[Array, Array]:
        key_start, key_steps = jax.random.split(key)
        z = jax.vmap(space.draw)(jax.random.split(key_start, num_particles))
        prior, total = weigh(z)
        length = total.shape[1] - 1
        scale = jnp.asarray(2.38 / np.sqrt(max(space.size, 1)))
        zero = jnp.zeros(())
        nothing = jnp.full(length + 1, jnp.nan).at[0].set(0.0)  # what is never reached stays unknown
        cloud = _Cloud(z, prior, total, zero, zero, nothing, scale, jnp.zeros((), int), key_steps)
        last = lax.while_loop(lambda cloud: (cloud.taken < length) & (cloud.steps < MOST_STEPS), step, cloud)
        return last.log_evidence, last.steps

    log_evidence, steps = (np.asarray(found) for found in run(jax.random.split(key, num_replicates)))
    log_evidence = np.where(log_evidence < IMPOSSIBLE / 2, -np.inf, log_evidence)
    total, error = evidence_of(log_evidence[:, -1:])
    return Annealed(Estimate(total, error, "SMC over the data"), log_evidence, steps)


def _at(total: Float[Array, "particle ends"], taken: Array) -> Float[Array, " particle"]:
    """The sum of the terms up to a point in the series, the last one with the power that it has counted with."""
    whole = jnp.minimum(jnp.floor(taken).astype(int), total.shape[1] - 2)
    return total[:, whole] + (taken - whole) * (total[:, whole + 1] - total[:, whole])


def _root(z: Float[Array, "particle size"]) -> Float[Array, "size size"]:
    """A root of the covariance of the particles."""
    centred = z - z.mean(axis=0)
    covariance = centred.T @ centred / z.shape[0]
    floor = 1e-6 * jnp.diagonal(covariance) + 1e-12
    return jnp.linalg.cholesky(covariance + jnp.diag(floor))
