"""Gibbs sampling of a finite state at given parameters, in its plainest form: what a learner would write.

Each conditional comes from the log density of the program alone, no recursion is used: this is the referee of the exact
filter and smoother. Given the others, every second state is independent (with a memory of L steps, every L + 1st), so the odd and
the even ones are drawn in turn; with K states that takes K evaluations of the program each time. It mixes slowly where the
state is sticky, and says so by its effective sample sizes.

Source: Geman & Geman (1984); for hidden Markov models Robert, Celeux & Diebolt (1993), Statistics & Probability Letters 16.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import lax
from jaxtyping import Array, Float, Int
from numpyro import handlers
from numpyro.infer.util import compute_log_probs

from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.exact import FiniteState
from ppl_worldmodel.infer import beliefs as belief
from ppl_worldmodel.infer import tree
from ppl_worldmodel.infer.prefixes import prefix_lengths, with_prefixes
from ppl_worldmodel.program.layout import Layout, layout
from ppl_worldmodel.program.missing import observe
from ppl_worldmodel.program.parameters import given
from ppl_worldmodel.program.read import examine
from ppl_worldmodel.program.replay import replay_draws
from ppl_worldmodel.program.support import moves


def single_site(
    *,
    parameters: Mapping[str, Any],
    num_warmup: int,
    num_samples: int,
    num_chains: int,
    prefixes: bool | int | Sequence[int] = 0,
) -> Callable[..., xr.DataTree]:
    """An engine that samples a finite state at given parameters, one step at a time; see `gibbs` for the settings."""

    def engine(model: Callable, data: Mapping[str, Any], key: jax.Array) -> xr.DataTree:
        started = time.perf_counter()
        system, plan = examine(model, data, parameters)
        if not isinstance(system, FiniteState):
            raise NotExactlySolvable(f"gibbs cannot sample the continuous state '{system.structure.states[0]}'", "nuts")
        found = layout(model, data, parameters, plan)
        num_states, steps = system.initial.shape[-1], system.log_likelihood.shape[1 if found.batch else 0]
        settings = {"num_warmup": num_warmup, "num_samples": num_samples, "num_chains": num_chains}
        sample = partial(path_sampler(model, found, steps, **settings), parameters, data)

        @jax.jit
        def split(paths: Array) -> dict[str, Array]:
            return jax.vmap(jax.vmap(found.values))(paths)

        def states(paths: Array) -> np.ndarray:
            return np.asarray(replay_draws(model, data, parameters, plan, split(paths)))

        def posteriors(keep: np.ndarray, keys: Array) -> np.ndarray:
            """The states of every prefix, (prefix, chain, ...)."""
            paths = several(keep, keys)
            return states(paths.reshape(-1, *paths.shape[2:])).reshape(*paths.shape[:-1], steps)

        several = jax.jit(jax.vmap(sample))
        key_whole, key_prefixes = jax.random.split(key)
        paths = jax.jit(sample)(jnp.ones(steps, bool), key_whole).block_until_ready()
        sampled = time.perf_counter() - started
        beliefs = belief.of_state_draws("smoothed", states(paths), num_states)
        lengths = prefix_lengths(prefixes, steps)
        beliefs |= with_prefixes(
            posteriors, lengths, steps, key_prefixes, num_states, bytes_each=2 * paths.size * paths.dtype.itemsize
        )
        return tree.build(
            model=model, data=data, key=key, started=started, engine="gibbs",
            algorithm="single-site Gibbs sampler from the program's log density", question=tree.STATES,
            family=type(system).__name__, beliefs_from=belief.FROM_STATES, beliefs=beliefs,
            posterior=jax.tree.map(np.asarray, split(paths)), num_warmup=num_warmup, seconds_sampling=sampled,
            num_prefixes=len(lengths), structure=system.structure,
        )  # fmt: skip

    return engine


def path_sampler(
    model: Callable, found: Layout, steps: int, *, num_warmup: int, num_samples: int, num_chains: int
) -> Callable[[Mapping[str, Any], Mapping[str, Any], Array, Array], Int[Array, "chain draw *sequence path"]]:
    """The sampler as a function of everything that may change: (parameters, data, keep, key) -> paths; for use inside jit and vmap.

    found  the layout of the program, the same for all parameters and data of the same shapes
    keep   (time,) which observations are seen; path is 1 + time long: the start, then the outcome of every step
    """
    sizes = np.array([found.starts.size] + [found.outcomes.size] * steps)

    def sample(parameters: Mapping[str, Any], data: Mapping[str, Any], keep: Array, key: Array) -> Array:
        program = given(observe(model, keep, found.gaps), parameters)

        def log_joint(path: Int[Array, "*sequence path"]) -> Float[Array, "*sequence path"]:
            return _log_density_of_steps(program, data, found, path, steps)

        chain = _chain(log_joint, sizes, found.batch.ends, found.memory, num_warmup, num_samples)
        return jax.vmap(chain)(jax.random.split(key, num_chains))

    return sample


def _log_density_of_steps(
    program: Callable, data: Mapping[str, Any], found: Layout, path: Array, steps: int
) -> Float[Array, "*sequence path"]:
    """The log density of the program, split: entry 0 the initial state's terms, entry 1 + t all terms of step t."""
    substituted = handlers.substitute(handlers.seed(program, 0), data=found.values(path))
    terms, sites = compute_log_probs(substituted, (), dict(data), {}, sum_log_prob=False)
    first, total = jnp.zeros(found.batch.ends), jnp.zeros((*found.batch.ends, steps))
    for name, values in terms.items():
        fn, value = sites[name]["fn"], sites[name]["value"]
        if moves(fn):  # NumPyro does not ask whether the value is inside of the support
            values = jnp.where(fn.support(value), values, -jnp.inf)
        if name in found.starts.values:
            first = first + found.batch.front(values).sum(axis=-1)
        elif jnp.ndim(values) and values.shape[0] == steps:
            total = total + jax.vmap(found.batch.front, out_axes=-2)(values).sum(axis=-1)
        elif jnp.size(values):
            raise NotExactlySolvable(
                f"gibbs cannot place the site '{name}' in time: its log density has shape {jnp.shape(values)}", "exact"
            )
    return jnp.concatenate([first[..., None], total], axis=-1)


def _chain(
    log_joint: Callable, sizes: np.ndarray, ends: tuple[int, ...], memory: int, num_warmup: int, num_samples: int
) -> Callable:
    """One chain: key -> (draw, *sequence, path). A sweep draws every memory + 1st position of the path at a time.

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

    def run(key: Array) -> Array:
        key_start, key_warmup, key_draws = jax.random.split(key, 3)
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
