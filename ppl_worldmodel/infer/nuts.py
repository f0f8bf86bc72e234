"""NUTS: on the parameters with the states integrated out, or, at given parameters, on continuous states as written."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array
from numpyro.infer import MCMC, NUTS, init_to_median, init_to_sample

from ppl_worldmodel.errors import NotExactlySolvable, WorldModelError
from ppl_worldmodel.exact.complete_data import sample_path
from ppl_worldmodel.infer import beliefs as belief
from ppl_worldmodel.infer import result_tree
from ppl_worldmodel.infer.engine_spec import Budget, Draws, EngineSpec, Lengths, without_density
from ppl_worldmodel.infer.initial_values import densest_of_prior
from ppl_worldmodel.infer.prefixes import prefix_lengths, with_prefixes
from ppl_worldmodel.infer.result_tree import Engine
from ppl_worldmodel.program.arguments import random_key
from ppl_worldmodel.program.marginalize import marginal_density
from ppl_worldmodel.program.reading import Reading
from ppl_worldmodel.program.replay import replay_draws
from ppl_worldmodel.program.unread import taken_apart

_STARTS = {"prior": init_to_sample, "median": init_to_median}
_NOTED = ("diverging", "energy", "num_steps", "potential_energy", "accept_prob", "adapt_state.step_size")


def nuts(
    *,
    num_warmup: int = 500,
    num_samples: int = 1000,
    num_chains: int = 4,
    prefixes: bool | int | Sequence[int] = 0,
    max_tree_depth: int = 10,
    init: Literal["prior", "median"] = "prior",
    progress: bool = False,
) -> Engine:
    """An engine that samples with the No-U-Turn sampler (Hoffman & Gelman 2014), chains side by side.

    Of a reading without values it samples the parameters of `marginalize(model)`; beliefs are exact ones averaged over the draws.
    At given values it samples the states of the program as written (they must be continuous): a check of the recursion, and of the
    particle filter where the program is not read exactly.

    prefixes    with given parameters, which filtered and predicted beliefs to sample as well, from one posterior for each
                prefix y_1:n, all in one run: True for every time step, a number for so many evenly spread, or the time steps
                (counted from 0)
    init        where chains of the parameters start: "prior", each at the densest of many draws from the prior (`starts`), or
                "median", near the prior's median. Chains of given parameters' states start at a draw, or near the median.
    """
    if init not in _STARTS:
        raise WorldModelError(f"nuts was given init={init!r}: choose from {', '.join(map(repr, _STARTS))}")

    def sampler(program: Callable, *, quiet: bool = False) -> MCMC:
        kernel = NUTS(program, max_tree_depth=max_tree_depth, init_strategy=_STARTS[init])
        return MCMC(
            kernel, num_warmup=num_warmup, num_samples=num_samples, num_chains=num_chains, chain_method="vectorized",
            progress_bar=progress and not quiet, jit_model_args=True,
        )  # fmt: skip

    def engine(reading: Reading, key: int | jax.Array) -> xr.DataTree:
        key = random_key(key)
        return learn(reading, key) if reading.values is None else states(reading, reading.values, key)

    def learn(reading: Reading, key: jax.Array) -> xr.DataTree:
        started = time.perf_counter()
        program = marginal_density(reading)
        mcmc = sampler(program)
        start = None
        if init == "prior":
            start = densest_of_prior(program, jax.random.fold_in(key, 1), num_chains=num_chains)
        mcmc.run(key, init_params=start, extra_fields=_NOTED)
        draws = {name: np.asarray(value) for name, value in mcmc.get_samples(group_by_chain=True).items()}
        sampled = time.perf_counter() - started
        beliefs, log_predictive = belief.of_parameter_draws(reading, draws)
        return result_tree.build(
            reading=reading, key=key, started=started, engine="nuts",
            algorithm="NUTS on the program with the states integrated out", question=result_tree.PARAMETERS,
            law="chains", beliefs_from=belief.FROM_PARAMETERS, beliefs=beliefs, posterior=draws, sample_stats=_stats(mcmc),
            log_predictive=log_predictive, num_warmup=num_warmup, seconds_sampling=sampled,
        )  # fmt: skip

    def states(reading: Reading, parameters: Mapping[str, Any], key: jax.Array) -> xr.DataTree:
        started = time.perf_counter()
        steps = _check_continuous(reading)
        key_whole, key_prefixes = jax.random.split(key)

        def program(keep: Any) -> Any:
            return reading.program(parameters, keep)()

        def path(draws: Mapping[str, Any]) -> np.ndarray:
            return np.asarray(replay_draws(reading, parameters, draws))

        def posteriors(keep: np.ndarray, keys: jax.Array) -> np.ndarray:
            """The states of every prefix, (prefix, chain, ...)."""

            @jax.jit
            @jax.vmap
            def run(keep: jax.Array, key: jax.Array) -> dict[str, jax.Array]:
                side_by_side = sampler(program, quiet=True)
                side_by_side.run(key, keep)
                return side_by_side.get_samples(group_by_chain=True)

            draws = run(keep, keys)
            paths = path({name: values.reshape(-1, *values.shape[2:]) for name, values in draws.items()})
            return paths.reshape(len(keep), num_chains, *paths.shape[1:])

        mcmc = sampler(program)
        mcmc.run(key_whole, np.ones(steps, bool), extra_fields=_NOTED)
        draws = {name: np.asarray(value) for name, value in mcmc.get_samples(group_by_chain=True).items()}
        stats = _stats(mcmc)
        sampled = time.perf_counter() - started
        paths = path(draws)
        beliefs = belief.of_state_draws("smoothed", paths, None)
        lengths = prefix_lengths(prefixes, steps)
        beliefs |= with_prefixes(
            posteriors, lengths, steps, key_prefixes, None, bytes_each=2 * paths.size * paths.itemsize
        )
        return result_tree.build(
            reading=reading, key=key, started=started, engine="nuts",
            algorithm="NUTS on the states of the program as written", question=result_tree.STATES,
            law="chains", beliefs_from=belief.FROM_STATES, beliefs=beliefs, posterior=draws, sample_stats=stats,
            num_warmup=num_warmup, seconds_sampling=sampled, num_prefixes=len(lengths),
        )  # fmt: skip

    return engine


def _check_continuous(reading: Reading) -> int:
    """The number of time steps; NotExactlySolvable, naming the site, where a state is discrete."""
    if reading.system is None:
        step, beginning = taken_apart(reading)
        for name, site in {**beginning.sites, **step.latents}.items():
            if site.fn.support.is_discrete:
                raise NotExactlySolvable(f"nuts cannot sample the discrete site '{name}'", "smc")
        return step.scan.length
    if reading.system.num_states is not None:
        raise NotExactlySolvable(f"nuts cannot sample the discrete state '{reading.structure.states[0]}'", "gibbs")
    return reading.system.steps


def _stats(mcmc: MCMC) -> dict[str, np.ndarray]:
    """What NUTS noted, under ArviZ's names."""
    names = {
        "num_steps": "n_steps",
        "potential_energy": "lp",
        "accept_prob": "acceptance_rate",
        "adapt_state.step_size": "step_size",
    }
    noted = {
        names.get(name, name): np.asarray(value) for name, value in mcmc.get_extra_fields(group_by_chain=True).items()
    }
    return noted | {"lp": -noted["lp"], "tree_depth": np.ceil(np.log2(noted["n_steps"] + 1)).astype(int)}


def nuts_chain(reading: Reading, lengths: Lengths) -> Callable[[Mapping[str, Any], Array], Draws]:
    """One chain on the program with the states integrated out, and the states drawn given each draw of the parameters."""

    def sample(data: Mapping[str, Any], key: Array) -> Draws:
        here, (key_chain, key_paths) = reading.on(data), jax.random.split(key)
        mcmc = MCMC(
            NUTS(marginal_density(here), init_strategy=init_to_sample),
            num_warmup=lengths.num_warmup,
            num_samples=lengths.num_samples,
            progress_bar=False,
        )
        mcmc.run(key_chain)
        draws = mcmc.get_samples()

        def states(parameters: dict[str, Array], key: Array) -> Array:
            return sample_path(here.at(parameters), key).states

        return draws, jax.vmap(states)(draws, jax.random.split(key_paths, lengths.num_samples))

    return sample


def _of_study(budget: Budget) -> Engine:
    warmup, draws = budget.size(500), budget.size(1000)
    if not budget.known:
        return nuts(num_warmup=warmup, num_samples=draws, progress=budget.progress)
    found = budget.draws_of_states("nuts", draws, warmup, 0 if budget.prefixes else 3)
    return nuts(
        num_warmup=warmup, num_samples=found.draws, prefixes=True if budget.prefixes else 3, progress=budget.progress
    )  # fmt: skip


ENGINES = (
    EngineSpec(
        "nuts", _of_study, learns=True, states=("continuous",), unread=True, refuses=without_density, chain=nuts_chain, order=10,
    ),
)  # fmt: skip
