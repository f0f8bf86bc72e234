"""Gibbs sampling of a finite state at given parameters, in its plainest form: what a learner would write.

Each conditional comes from the log density of the program alone, no recursion is used: this is the referee of the exact
filter and smoother. Given the others, every second state is independent, so the odd and the even ones are drawn in turn; with
K states that takes K evaluations of the program for each half. It mixes slowly where the state is sticky, and says so by its
effective sample sizes.

Source: Geman & Geman (1984); for hidden Markov models Robert, Celeux & Diebolt (1993), Statistics & Probability Letters 16.
"""

import time
from collections.abc import Callable, Mapping, Sequence
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
from ppl_worldmodel.infer.prefixes import chosen_prefixes, with_prefixes
from ppl_worldmodel.program.missing import observe
from ppl_worldmodel.program.parameters import given
from ppl_worldmodel.program.read import read


def gibbs(
    *,
    parameters: Mapping[str, Any],
    num_warmup: int = 500,
    num_samples: int = 2000,
    num_chains: int = 4,
    prefixes: int | Sequence[int] = 0,
    progress: bool = False,
) -> Callable[..., xr.DataTree]:
    """An engine that samples a finite state at given parameters, one site at a time.

    prefixes  for how many time steps (or which, counted from 0) to sample the filtered belief as well, one posterior for
              each prefix y_1:t.
    """

    def engine(model: Callable, data: Mapping[str, Any], key: jax.Array) -> xr.DataTree:
        started = time.perf_counter()
        system = read(model, data, parameters)
        if not isinstance(system, FiniteState):
            raise NotExactlySolvable(f"gibbs cannot sample the continuous state '{system.structure.states[0]}'", "nuts")
        if len(system.structure.initials) != 1:
            raise NotExactlySolvable("gibbs needs an initial state that is sampled by a site of its own", "exact")
        num_states, steps = system.initial.shape[0], system.log_likelihood.shape[0]
        (state,), (initial,) = system.structure.states, system.structure.initials

        def split(paths: np.ndarray) -> dict[str, np.ndarray]:
            return {initial: paths[:, :, 0], state: paths[:, :, 1:]}

        @jax.jit
        def sample(keep: Array, key: Array) -> Int[Array, "chain draw time"]:
            program = given(observe(model, keep), parameters)

            def log_joint(path: Int[Array, " path"]) -> Float[Array, " path"]:
                return _log_density_of_steps(program, data, {initial: path[0], state: path[1:]}, initial, steps)

            chain = _chain(log_joint, num_states, steps + 1, num_warmup, num_samples)
            return jax.vmap(chain)(jax.random.split(key, num_chains))

        key_whole, key_prefixes = jax.random.split(key)
        draws = split(np.asarray(sample(jnp.ones(steps, bool), key_whole)))
        sampled = time.perf_counter() - started

        def up_to(last: int, key: jax.Array) -> np.ndarray:
            return belief.aligned_states(split(np.asarray(sample(jnp.arange(steps) <= last, key))), system)[:, :, last]

        wanted = chosen_prefixes(prefixes, steps)
        if progress:
            from rich.progress import track

            from ppl_worldmodel.terminal import err

            each = iter(track(wanted, description="gibbs: prefixes", console=err, transient=True))
            shown = up_to

            def up_to(last: int, key: jax.Array) -> np.ndarray:
                next(each)
                return shown(last, key)

        beliefs = belief.of_state_draws("smoothed", belief.aligned_states(draws, system), num_states)
        beliefs |= with_prefixes(up_to, wanted, steps, key_prefixes, num_states)
        return tree.build(
            model=model, data=data, key=key, started=started, engine="gibbs",
            algorithm="single-site Gibbs sampler from the program's log density", question=tree.STATES,
            family=type(system).__name__, beliefs_from=belief.FROM_STATES, beliefs=beliefs,
            posterior=draws, num_warmup=num_warmup, seconds_sampling=sampled,
        )  # fmt: skip

    return engine


def _log_density_of_steps(
    program: Callable, data: Mapping[str, Any], states: Mapping[str, Array], initial: str, steps: int
) -> Float[Array, " path"]:
    """The log density of the program, split: entry 0 the initial state's term, entry 1 + t all terms of step t."""
    substituted = handlers.substitute(handlers.seed(program, 0), data=dict(states))
    terms, _ = compute_log_probs(substituted, (), dict(data), {}, sum_log_prob=False)
    total = jnp.zeros(steps)
    for name, values in terms.items():
        if jnp.ndim(values) and values.shape[0] == steps:
            total = total + values.reshape(steps, -1).sum(axis=1)
        elif name != initial:
            raise NotExactlySolvable(
                f"gibbs cannot place the site '{name}' in time: its log density has shape {jnp.shape(values)}", "exact"
            )
    return jnp.concatenate([terms[initial].reshape(1), total])


def _chain(log_joint: Callable, num_states: int, length: int, num_warmup: int, num_samples: int) -> Callable:
    """One chain: key -> (draw, path). A sweep draws the even positions of the path, then the odd ones."""
    position = jnp.arange(length)

    def half(path: Array, parity: int, key: Array) -> Array:
        moving = position % 2 == parity

        def conditional(value: Array) -> Array:
            terms = log_joint(jnp.where(moving, value, path))
            # The state at a position enters its own step's terms (entry i) and those of the step that leaves it (i + 1).
            return terms + jnp.concatenate([terms[1:], jnp.zeros(1)])

        logits = jax.vmap(conditional, out_axes=-1)(jnp.arange(num_states))
        return jnp.where(moving, jax.random.categorical(key, logits), path)

    def sweep(path: Array, key: Array) -> tuple[Array, Array]:
        key_even, key_odd = jax.random.split(key)
        path = half(half(path, 0, key_even), 1, key_odd)
        return path, path

    def run(key: Array) -> Array:
        key_start, key_warmup, key_draws = jax.random.split(key, 3)
        start = _start(log_joint, num_states, length, key_start)
        path, _ = lax.scan(
            lambda path, key: (sweep(path, key)[0], None), start, jax.random.split(key_warmup, num_warmup)
        )
        return lax.scan(sweep, path, jax.random.split(key_draws, num_samples))[1]

    return run


def _start(log_joint: Callable, num_states: int, length: int, key: Array) -> Array:
    """A random path of positive density: the best of a few, one random state after the other where needed."""
    paths = jax.random.randint(key, (64, length), 0, num_states)
    paths = jnp.concatenate([paths, jnp.broadcast_to(jnp.arange(num_states)[:, None], (num_states, length))])
    density = jax.vmap(lambda path: log_joint(path).sum())(paths)
    # A random path where it is possible; else the most probable of those tried (a constant one, with zeros in T).
    return jnp.where(jnp.isfinite(density[0]), paths[0], paths[jnp.argmax(density)])
