"""Single-site Gibbs sampling of a finite state at given parameters, in its plainest form: what a learner would write.

Each conditional comes from the log density of the program alone, no recursion is used: this is the referee of the exact
filter and smoother. Given the others, every second state is independent (with a memory of L steps, every L + 1st), so the odd and
the even ones are drawn in turn; with K states that takes K evaluations of the program each time. It mixes slowly where the
state is sticky, and says so by its effective sample sizes. Where zeros keep it from a part of the possible paths it says nothing,
so that `possible_pairs` finds the zeros for the proof of `connectivity`.

Source: Geman & Geman (1984); for hidden Markov models Robert, Celeux & Diebolt (1993), Statistics & Probability Letters 16.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int
from numpyro import handlers

from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.infer import connectivity
from ppl_worldmodel.program.finite.latent_values import Layout
from ppl_worldmodel.program.likelihood import log_prob
from ppl_worldmodel.program.reading import Reading


def path_sampler(
    reading: Reading, found: Layout, steps: int, *, num_warmup: int, num_samples: int, num_chains: int
) -> Callable[..., Int[Array, "chain draw *sequence path"]]:
    """The sampler as a function of everything that may change: (parameters, data, keep, key) -> paths; for use inside jit and vmap.

    reading, found  the program and its layout, the same for all parameters and data of the same shapes
    keep   (time,) which observations are seen; path is 1 + time long: the start, then the outcome of every step
    starts a last argument that may be left out: the paths from which the chains start, (chain, *sequence, path)
    """
    sizes = _sizes(found, steps)

    def sample(
        parameters: Mapping[str, Any], data: Mapping[str, Any], keep: Array, key: Array, starts: Array | None = None
    ) -> Array:
        program = reading.on(data).program(parameters, keep)

        def log_joint(path: Int[Array, "*sequence path"]) -> Float[Array, "*sequence path"]:
            return _log_density_of_steps(program, found, path, steps)

        chain = _chain(log_joint, sizes, found.batch.ends, found.memory, num_warmup, num_samples)
        return jax.vmap(chain)(jax.random.split(key, num_chains), starts)

    return sample


def possible_pairs(
    reading: Reading, found: Layout, steps: int, keep: np.ndarray
) -> Bool[np.ndarray, "sequence path context value"] | None:
    """Where the log density is finite: may a position have a value after those that it depends on?  As `connectivity` wants it.

    None where that cannot be listed: the memory has no end, or there are too many cases.
    Every joint value of memory + 1 positions in a row is met at each position when a path repeats it over and over.
    """
    sizes, memory = _sizes(found, steps), found.memory
    most, span = int(max(sizes)), memory + 1
    if most ** (2 * memory + 1) > connectivity.MOST:
        return None
    program = reading.program(reading.values, keep)
    words = np.indices((most,) * span).reshape(span, -1).T
    position = np.arange(steps + 1)

    def finite(word: Array) -> Array:
        path = jnp.minimum(word[position % span], sizes - 1)
        terms = _log_density_of_steps(program, found, jnp.broadcast_to(path, (*found.batch.ends, path.size)), steps)
        return jnp.isfinite(terms).reshape(-1, path.size)

    once = jax.jit(lambda words: lax.map(finite, words, batch_size=256)).lower(words)
    met = np.asarray(once.compile({"xla_backend_optimization_level": 0})(words))
    allowed = np.zeros((met.shape[1], steps + 1, *(most,) * span), bool)
    for word, values in zip(words, met, strict=True):
        for shift in range(span):
            at = position[position % span == shift]
            turned = np.roll(word, memory - shift)  # the last of them is the one that stands at these positions
            allowed[(slice(None), at, *turned)] = values[:, at] & (turned[-1] < sizes[at])
    return allowed.reshape(met.shape[1], steps + 1, most**memory, most)


def _sizes(found: Layout, steps: int) -> np.ndarray:
    """How many joint values there are at each position of a path."""
    return np.array([found.starts.size] + [found.outcomes.size] * steps)


def _log_density_of_steps(
    program: Callable[[], Any], found: Layout, path: Array, steps: int
) -> Float[Array, "*sequence path"]:
    """The log density of the program, split: entry 0 the initial state's terms, entry 1 + t all terms of step t."""
    substituted = handlers.substitute(handlers.seed(program, 0), data=found.values(path))
    sites = handlers.trace(substituted).get_trace()
    # NumPyro's densities, but that a probability of zero is one (there it is 1e-308, over which a chain could step).
    terms = {name: _scaled(site) for name, site in sites.items() if site["type"] == "sample"}
    first, total = jnp.zeros(found.batch.ends), jnp.zeros((*found.batch.ends, steps))
    for name, values in terms.items():
        if name in found.starts.values:
            first = first + found.batch.front(values).sum(axis=-1)
        elif jnp.ndim(values) and values.shape[0] == steps:
            total = total + jax.vmap(found.batch.front, out_axes=-2)(values).sum(axis=-1)
        elif jnp.size(values):
            raise NotExactlySolvable(
                f"gibbs cannot place the site '{name}' in time: its log density has shape {jnp.shape(values)}", "exact"
            )
    return jnp.concatenate([first[..., None], total], axis=-1)


def _scaled(site: Mapping[str, Any]) -> Array:
    density = jnp.asarray(log_prob(site["fn"], site["value"]))
    return density if site["scale"] is None else site["scale"] * density


def _chain(
    log_joint: Callable, sizes: np.ndarray, ends: tuple[int, ...], memory: int, num_warmup: int, num_samples: int
) -> Callable:
    """One chain: (key, start) -> (draw, *sequence, path). A sweep draws every memory + 1st position of the path at a time.

    sizes  how many joint values there are at each position of the path
    """
    length, most = sizes.size, int(max(sizes))
    position = jnp.arange(length)

    def part(path: Array, turn_and_key: tuple[Array, Array]) -> tuple[Array, None]:
        turn, key = turn_and_key
        moving = position % (memory + 1) == turn

        def conditional(value: Array) -> Array:
            terms = log_joint(jnp.where(moving, jnp.minimum(value, sizes - 1), path))
            # What is drawn at a position enters its own step's terms and those of the `memory` steps after it.
            if memory > 8:
                own = terms.sum(axis=-1, keepdims=True)
            else:
                ahead = [jnp.pad(terms[..., lag:], (*[(0, 0)] * len(ends), (0, lag))) for lag in range(memory + 1)]
                own = jnp.stack(ahead).sum(axis=0)
            return jnp.where(value < sizes, own, -jnp.inf)

        logits = jax.vmap(conditional, out_axes=-1)(jnp.arange(most))
        return jnp.where(moving, jax.random.categorical(key, logits), path), None

    def sweep(path: Array, key: Array) -> tuple[Array, Array]:
        turns = min(memory + 1, length)
        path, _ = lax.scan(part, path, (jnp.arange(turns), jax.random.split(key, turns)))
        return path, path

    def run(key: Array, start: Array | None) -> Array:
        key_start, key_warmup, key_draws = jax.random.split(key, 3)
        if start is None:
            start = _start(log_joint, sizes, ends, key_start)
        path, _ = lax.scan(
            lambda path, key: (sweep(path, key)[0], None), start, jax.random.split(key_warmup, num_warmup)
        )
        return lax.scan(sweep, path, jax.random.split(key_draws, num_samples))[1]

    return run


def _start(log_joint: Callable, sizes: np.ndarray, ends: tuple[int, ...], key: Array) -> Array:
    """A random path of positive density: the first of a few where it is possible, else the most probable of those tried."""
    most = int(max(sizes))
    paths = jax.random.randint(key, (64, *ends, sizes.size), 0, sizes)
    constant = jnp.minimum(jnp.arange(most)[:, None], sizes - 1).reshape(most, *(1,) * len(ends), sizes.size)
    paths = jnp.concatenate([paths, jnp.broadcast_to(constant, (most, *ends, sizes.size))])
    density = jax.vmap(lambda path: log_joint(path).sum(axis=-1))(paths)
    best = jnp.where(jnp.isfinite(density[0]), 0, jnp.argmax(density, axis=0))
    return jnp.take_along_axis(paths, best[None, ..., None], axis=0)[0]
