"""Gibbs sampling of a finite state at given parameters, by the plainest moves that are known to reach every possible path.

One site at a time (`single_site`) where that is proven to connect the possible paths (`connectivity`), of the whole data and of
every prefix that is asked for; else whole paths (`particle_gibbs`), which reach every path whatever the zeros are. Both ask the
program alone, and neither uses a recursion.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Int

from ppl_worldmodel.errors import DataError, NotExactlySolvable
from ppl_worldmodel.infer import beliefs as belief
from ppl_worldmodel.infer import connectivity, particle_gibbs, result_tree, single_site
from ppl_worldmodel.infer.prefixes import prefix_lengths, with_prefixes
from ppl_worldmodel.infer.result_tree import Engine
from ppl_worldmodel.program.arguments import random_key
from ppl_worldmodel.program.finite.latent_values import Layout, layout
from ppl_worldmodel.program.reading import Reading
from ppl_worldmodel.program.replay import replay_draws

ONE_AT_A_TIME = "single-site Gibbs sampler from the program's log density"
WHOLE_PATHS = (
    f"particle Gibbs sampler with ancestor sampling, {particle_gibbs.NUM_PARTICLES} particles that run the program"
)
WHY_WHOLE_PATHS = "whole paths are drawn, for single-site moves may not connect the possible ones"

Sampler = Callable[[Mapping[str, Any], Mapping[str, Any], jax.Array, jax.Array], particle_gibbs.Draws]


def gibbs_states(
    *, num_warmup: int, num_samples: int, num_chains: int, prefixes: bool | int | Sequence[int] = 0
) -> Engine:
    """An engine that samples a finite state at the parameters that the reading was given; see `gibbs` for the settings.

    The tree's attribute `algorithm` says which moves were used, `moves` why, where they are not the plainest.
    Raises DataError where no possible path is found, naming the time step.
    """

    def engine(reading: Reading, key: int | jax.Array) -> xr.DataTree:
        started, key = time.perf_counter(), random_key(key)
        system, parameters = reading.exact, reading.values
        num_states = system.num_states
        if num_states is None:
            raise NotExactlySolvable(f"gibbs cannot sample the continuous state '{system.structure.states[0]}'", "nuts")
        assert parameters is not None  # `gibbs` asks for them
        found = layout(reading)
        steps = system.steps
        lengths = prefix_lengths(prefixes, steps)
        keep = np.arange(steps) < np.array([steps, *lengths])[:, None]
        starts = _starts(reading, found, keep, num_chains, key)
        lengths_of_chains = {"num_warmup": num_warmup, "num_samples": num_samples, "num_chains": num_chains}
        sample = _sampler(reading, found, steps, starts, **lengths_of_chains)

        def run(keep: Any, key: jax.Array) -> particle_gibbs.Draws:
            return sample(parameters, reading.data, keep, key)

        def states(values: Mapping[str, Any]) -> np.ndarray:
            return np.asarray(replay_draws(reading, parameters, values))

        def once(function: Callable, *call: Any) -> dict[str, jax.Array]:
            # Compiled with less effort: it takes half the time, and runs as fast.
            compiled = jax.jit(function).lower(*call).compile({"xla_backend_optimization_level": 1})
            values, dead = jax.block_until_ready(compiled(*call))
            _check_alive(dead)
            return values

        def posteriors(keep: np.ndarray, keys: jax.Array) -> np.ndarray:
            """The states of every prefix, (prefix, chain, ...)."""
            values = once(jax.vmap(run), keep, keys)
            paths = states({name: each.reshape(-1, *each.shape[2:]) for name, each in values.items()})
            return paths.reshape(len(keep), num_chains, *paths.shape[1:])

        key_whole, key_prefixes = jax.random.split(key)
        values = once(run, jnp.ones(steps, bool), key_whole)
        sampled = time.perf_counter() - started
        beliefs = belief.of_state_draws("smoothed", states(values), num_states)
        size = sum(each.size * each.dtype.itemsize for each in values.values())
        beliefs |= with_prefixes(posteriors, lengths, steps, key_prefixes, num_states, bytes_each=2 * size)
        result = result_tree.build(
            reading=reading, key=key, started=started, engine="gibbs",
            algorithm=WHOLE_PATHS if starts is None else ONE_AT_A_TIME, question=result_tree.STATES,
            law="chains", beliefs_from=belief.FROM_STATES, beliefs=beliefs, posterior=jax.tree.map(np.asarray, values),
            num_warmup=num_warmup, seconds_sampling=sampled, num_prefixes=len(lengths),
        )  # fmt: skip
        if starts is None:
            result.attrs["moves"] = WHY_WHOLE_PATHS
        return result

    return engine


def single_site_connects(reading: Reading, found: Layout, keep: np.ndarray) -> list[connectivity.Allowed] | None:
    """The zeros of each sequence, with all observations that are kept, where single-site moves are proven to connect its paths.

    keep   (prefix, time) which observations are seen, the most first: the proof is for each of these
    Returns None where it is not proven.
    """
    steps = keep.shape[-1]
    try:
        seen, unseen = (
            single_site.possible_pairs(reading, found, steps, some)
            for some in (np.ones(steps, bool), np.zeros(steps, bool))
        )
    except NotExactlySolvable:
        return None  # a site that single-site moves cannot place in time
    if seen is None or unseen is None:
        return None
    # Of the observations some have no zeros of their own: then each prefix has the same.
    for some in keep[:1] if np.array_equal(seen, unseen) else keep:
        at = np.append(True, some)[:, None, None]
        if not all(connectivity.connected(np.where(at, one, other)) for one, other in zip(seen, unseen, strict=True)):
            return None
    return list(seen)


def _starts(
    reading: Reading, found: Layout, keep: np.ndarray, num_chains: int, key: jax.Array
) -> Int[np.ndarray, "chain *sequence path"] | None:
    """A possible path for each chain of the single-site sampler to start from; None where its moves may not connect the paths."""
    allowed = single_site_connects(reading, found, keep)
    if allowed is None:
        return None
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    paths = np.array([[connectivity.a_path(one, random) for one in allowed] for _ in range(num_chains)])
    return paths if found.batch else paths[:, 0]


def _sampler(reading: Reading, found: Layout, steps: int, starts: np.ndarray | None, **lengths: int) -> Sampler:
    """The sampler of the moves: one site at a time from these starts, or whole paths without them."""
    if starts is None:
        sample = particle_gibbs.path_sampler(reading, found.batch, **lengths)
        names = [*found.starts.values, *found.outcomes.values]

        def whole(*call: Any) -> particle_gibbs.Draws:
            values, dead = sample(*call)
            return particle_gibbs.Draws({name: values[name] for name in names}, dead)

        return whole
    one = single_site.path_sampler(reading, found, steps, **lengths)

    def split(*call: Any) -> particle_gibbs.Draws:
        paths = one(*call, jnp.asarray(starts))
        return particle_gibbs.Draws(jax.vmap(jax.vmap(found.values))(paths), jnp.full(len(starts), -1))

    return split


def _check_alive(dead: Any) -> None:
    """Raise DataError if no possible path was found, naming the first time step that all particles failed at."""
    failed = np.asarray(dead)[np.asarray(dead) >= 0]
    if failed.size:
        raise DataError(
            f"the observation at time step {failed.min()} (counted from 0) was impossible in every run of the particle "
            "filters that look for a first path: check the data and the zeros of the program, or give more num_warmup if such a "
            "path is possible but rare"
        )
