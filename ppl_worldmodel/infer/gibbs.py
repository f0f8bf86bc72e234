"""Gibbs sampling, in two forms: states and parameters in blocks, and, at given parameters, the states alone.

The second shares no code with the recursions: it is their referee.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array

from ppl_worldmodel import memory
from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.infer import beliefs as belief
from ppl_worldmodel.infer import result_tree
from ppl_worldmodel.infer.blocked_gibbs import chain, conjugate_families
from ppl_worldmodel.infer.engine_spec import Budget, Draws, EngineSpec, Lengths
from ppl_worldmodel.infer.gibbs_states import gibbs_states
from ppl_worldmodel.infer.result_tree import Engine
from ppl_worldmodel.program.arguments import random_key
from ppl_worldmodel.program.reading import Reading

SWEEPS = 20  # of one vectorised chain for each draw: a sweep costs little, and may move little


def gibbs(
    *,
    num_warmup: int = 500,
    num_samples: int = 2000,
    num_chains: int = 4,
    prefixes: bool | int | Sequence[int] = 0,
) -> Engine:
    """An engine that samples by Gibbs' method, chains side by side.

    Of a reading without values it draws the states and the parameters in turn (`blocked_gibbs`); each parameter must have a full
    conditional of a conjugate family, and the engine refuses, naming the parameter, where one has not. Beliefs are exact ones
    averaged over the draws of the parameters. At given values it draws a finite state, by moves that are known to reach every
    possible path of it (`gibbs_states`).

    prefixes    with given parameters, which filtered and predicted beliefs to sample as well, from one posterior for each
                prefix y_1:n, all in one run: True for every time step, a number for so many evenly spread, or the time steps
                (counted from 0)
    """
    settings = {"num_warmup": num_warmup, "num_samples": num_samples, "num_chains": num_chains}
    states = gibbs_states(prefixes=prefixes, **settings)

    def engine(reading: Reading, key: int | jax.Array) -> xr.DataTree:
        key = random_key(key)
        if reading.values is not None:
            return states(reading, key)
        started = time.perf_counter()
        chosen = conjugate_families(reading)
        one = chain(reading, chosen, num_warmup=num_warmup, num_samples=num_samples)
        # Series are arguments of what is compiled; single values are not, for a number of states decides shapes.
        series = {name: value for name, value in reading.data.items() if np.ndim(value)}
        run = jax.jit(jax.vmap(lambda series, key: one({**reading.data, **series}, key), (None, 0)))
        draws, _ = run(series, jax.random.split(key, num_chains))
        posterior = {name: np.asarray(values) for name, values in draws.items()}
        sampled = time.perf_counter() - started
        beliefs, log_predictive = belief.of_parameter_draws(reading, posterior)
        families = ", ".join(f"{name} {family.name}" for name, family in chosen.items())
        return result_tree.build(
            reading=reading, key=key, started=started, engine="gibbs",
            algorithm=f"blocked Gibbs sampler: states, then {families}", question=result_tree.PARAMETERS,
            law="chains", beliefs_from=belief.FROM_PARAMETERS, beliefs=beliefs,
            posterior=posterior, log_predictive=log_predictive, num_warmup=num_warmup, seconds_sampling=sampled,
        )  # fmt: skip

    return engine


def gibbs_chain(reading: Reading, lengths: Lengths) -> Callable[[Mapping[str, Any], Array], Draws]:
    """One chain of the blocked sampler; the families of the parameters are measured at the data of the reading."""
    chosen = conjugate_families(reading)
    run = chain(reading, chosen, num_warmup=SWEEPS * lengths.num_warmup, num_samples=lengths.num_samples, thin=SWEEPS)

    def sample(data: Mapping[str, Any], key: Array) -> Draws:
        parameters, path = run(data, key)
        return parameters, path.states

    return sample


def _of_study(budget: Budget) -> Engine:
    if not budget.known:
        return gibbs(num_samples=budget.size(8000), num_warmup=budget.size(500))
    # With every prefix the draws are those of as many posteriors as steps: fewer of each.
    few = 0 if budget.prefixes else 5
    draws, warmup = budget.size(8000 if budget.prefixes else 10_000), budget.size(500)
    found = budget.draws_of_states("gibbs", draws, warmup, few, budget.size(memory.WORK))
    return gibbs(
        num_samples=found.draws, num_warmup=found.warmup, prefixes=True if budget.prefixes else found.prefixes
    )  # fmt: skip


def _conjugate(reading: Reading) -> bool:
    try:
        conjugate_families(reading)
    except NotExactlySolvable:
        return False
    return True


ENGINES = (
    EngineSpec(
        "gibbs", _of_study, learns=True, states=("finite",), conjugate=_conjugate, chain=gibbs_chain, order=20,
    ),
)  # fmt: skip
