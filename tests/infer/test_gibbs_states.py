"""Gibbs sampling of states at given parameters: programs whose zeros cut the paths apart, against all of their paths listed."""

import json
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from numpyro.contrib.control_flow import scan

from ppl_worldmodel import gibbs, read
from ppl_worldmodel.checks import convergence
from ppl_worldmodel.errors import DataError, WorldModelError
from ppl_worldmodel.infer.gibbs_states import ONE_AT_A_TIME, WHOLE_PATHS, single_site_connects
from ppl_worldmodel.program.finite.latent_values import layout

from ..references.enumeration import ProgramBeliefs, enumerate_program

KEY = jax.random.key(2)
HEAR = jnp.array([[0.85, 0.15], [0.15, 0.85]])


def tiger(observations, actions):
    """The state stays until a door is opened: of the two paths in between none is one move from the other."""

    def step(state, at):
        observation, action = at
        state = numpyro.sample("state", dist.Categorical(jnp.stack([jnp.eye(2), jnp.full((2, 2), 0.5)])[action][state]))
        numpyro.sample("observation", dist.Categorical(HEAR[state]), obs=observation)
        return state, state

    return scan(step, numpyro.sample("start", dist.Categorical(jnp.array([0.5, 0.5]))), (observations, actions))[1]


def left_to_right(observations):
    """Phases in their order, observed before the step."""
    T = jnp.array([[0.8, 0.2, 0.0], [0.0, 0.7, 0.3], [0.0, 0.0, 1.0]])

    def step(state, observation):
        numpyro.sample("observation", dist.Normal(1.0 * state, 0.8), obs=observation)
        return numpyro.sample("state", dist.Categorical(T[state])), state

    return scan(step, numpyro.sample("start", dist.Categorical(jnp.array([0.9, 0.1, 0.0]))), observations)[1]


def semi_markov(observations):
    """How long a regime lasts is drawn when it begins, and counted down; then the other one begins."""
    lengths = jnp.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]])

    def step(carry, observation):
        regime, left = carry
        over = left == 0
        regime = jnp.where(over, 1 - regime, regime)
        drawn = numpyro.sample("drawn", dist.Categorical(jnp.where(over, lengths[regime], jnp.array([1.0, 0.0, 0.0]))))
        left = jnp.where(over, drawn, left - 1)
        numpyro.sample("observation", dist.Normal(1.5 * regime, 1.0), obs=observation)
        return (regime, left), carry  # the state that `read` speaks of: what is seen follows from it alone

    return scan(step, (numpyro.sample("start", dist.Bernoulli(0.4)), 0), observations)[1]


def repair(observations):
    """A machine wears, breaks down, and is in the workshop for two steps each time."""
    T = jnp.array([[0.7, 0.3, 0.0, 0.0], [0.0, 0.6, 0.4, 0.0], [0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0]])

    def step(state, observation):
        state = numpyro.sample("state", dist.Categorical(T[state]))
        numpyro.sample("observation", dist.Poisson(jnp.array([6.0, 3.0, 1.0, 1.0])[state]), obs=observation)
        return state, state

    return scan(step, numpyro.sample("start", dist.Categorical(jnp.full(4, 0.25))), observations)[1]


def two_tigers(observations):
    """Two sequences side by side, whose states stay; only the first step can change them."""

    def step(carry, observation):
        state, t = carry
        with numpyro.plate("sequence", 2):
            moves = jnp.where(t == 2, 0.5, jnp.eye(2))
            state = numpyro.sample("state", dist.Categorical(moves[state]))
            numpyro.sample("observation", dist.Categorical(HEAR[state]), obs=observation)
        return (state, t + 1), state

    with numpyro.plate("sequence", 2):
        start = numpyro.sample("start", dist.Categorical(jnp.array([0.3, 0.7])))
    return scan(step, (start, 0), observations)[1]


def ordinary(observations):
    T = jnp.array([[0.7, 0.3], [0.2, 0.8]])

    def step(state, observation):
        state = numpyro.sample("state", dist.Categorical(T[state]))
        numpyro.sample("observation", dist.Categorical(HEAR[state]), obs=observation)
        return state, state

    return scan(step, numpyro.sample("start", dist.Categorical(jnp.array([0.5, 0.5]))), observations)[1]


PROGRAMS: dict[str, tuple[Callable, dict[str, Any], dict[str, list[int]]]] = {
    "tiger": (
        tiger,
        {"observations": np.array([0, 1, 1, 0, 0, 1, 0]), "actions": np.array([0, 0, 0, 1, 0, 0, 0])},
        {"start": [0, 1], "state": [0, 1]},
    ),
    "left to right": (
        left_to_right,
        {"observations": np.array([0.1, 0.7, np.nan, 1.4, 0.9, 2.2])},
        {"start": [0, 1, 2], "state": [0, 1, 2]},
    ),
    "semi-Markov": (
        semi_markov,
        {"observations": np.array([0.2, 1.9, 0.4, 1.1, -0.3, 1.6])},
        {"start": [0, 1], "drawn": [0, 1, 2]},
    ),
    "repair": (repair, {"observations": np.array([5, 2, 2, 0, 4, 3])}, {"start": [0, 1, 2, 3], "state": [0, 1, 2, 3]}),
}


def errors(values: np.ndarray, exact: np.ndarray, ess: np.ndarray) -> np.ndarray:
    """Differences in their binomial standard errors, the effective draws of what never varied being the fewest of any."""
    effective = np.where(np.isfinite(ess), ess, np.nanmin(ess))
    return (values - exact) / (np.sqrt(exact * (1.0 - exact) / effective) + 1e-4)


def listed_beliefs(found: xr.DataTree, reference: list[dict[tuple, float]]) -> np.ndarray:
    """The reference's probabilities (time, state) of the states as the result lists them."""
    labels = json.loads(found["beliefs"].attrs["labels"])
    return np.array([[belief.get(tuple(label), 0.0) for label in labels] for belief in reference])


@pytest.mark.slow
@pytest.mark.parametrize("name", list(PROGRAMS))
def test_draws_are_those_of_all_paths(name: str) -> None:
    model, data, latents = PROGRAMS[name]
    reference: ProgramBeliefs = enumerate_program(model, data, {}, latents)
    prefixes = [1, 3] if name == "tiger" else 0  # each set of prefixes is compiled anew
    found = gibbs(num_samples=500, num_warmup=50, prefixes=prefixes)(read(model, data, {}), KEY)
    assert found.attrs["algorithm"] == WHOLE_PATHS
    beliefs = found["beliefs"].to_dataset()
    for kind in ("smoothed", "filtered", "predicted") if prefixes else ("smoothed",):
        exact = getattr(reference, kind)
        asked = np.isfinite(beliefs[kind].values).all(axis=-1)
        assert asked.sum() == (len(exact) if kind == "smoothed" else 2)
        ess = beliefs[f"{kind}_ess"].values[asked]
        z = errors(beliefs[kind].values[asked], listed_beliefs(found, exact)[asked], ess)
        assert np.abs(z).max() < 5.0, (kind, z)
        assert np.nanmin(ess) > 400
    (row,) = convergence.findings(found)
    assert row.verdict == "agrees"
    assert "single-site moves may not connect" in row.why


@pytest.mark.slow
def test_sequences_are_drawn_on_their_own() -> None:
    data = {"observations": np.array([[0, 1], [1, 1], [0, 0], [0, 1]])}
    reference = enumerate_program(two_tigers, data, {}, {"start": [0, 1], "state": [0, 1]}, sequence_axis=-1)
    found = gibbs(num_samples=500, num_warmup=50)(read(two_tigers, data, {}), KEY)
    assert found.attrs["algorithm"] == WHOLE_PATHS
    beliefs = found["beliefs"].to_dataset()
    for n, one in enumerate(reference.sequences):
        exact = listed_beliefs(found, one.smoothed)
        z = errors(beliefs["smoothed"].values[n], exact, beliefs["smoothed_ess"].values[n])
        assert np.abs(z).max() < 5.0, z


@pytest.mark.slow
def test_a_chain_whose_paths_connect_is_sampled_one_site_at_a_time() -> None:
    found = gibbs(num_samples=200, num_warmup=20)(read(ordinary, {"observations": np.array([0, 1, 1])}, {}), KEY)
    assert found.attrs["algorithm"] == ONE_AT_A_TIME
    (row,) = convergence.findings(found)
    assert "single-site moves may not connect" not in row.why


def test_an_observation_can_connect_what_is_apart_without_it() -> None:
    """Every state is seen without error: one path is possible, which is connected; of a prefix many are, and they are not."""

    def seen(observations):
        def step(state, observation):
            state = numpyro.sample("state", dist.Categorical(jnp.eye(2)[state]))
            numpyro.sample("observation", dist.Categorical(jnp.eye(2)[state]), obs=observation)
            return state, None

        scan(step, numpyro.sample("start", dist.Categorical(jnp.array([0.5, 0.5]))), observations)

    data = {"observations": np.array([1.0, 1.0, 1.0])}
    reading = read(seen, data, {})
    found = layout(reading)
    assert single_site_connects(reading, found, np.array([[True, True, True]])) is not None
    assert single_site_connects(reading, found, np.array([[True] * 3, [False] * 3])) is None


@pytest.mark.slow
def test_data_that_no_path_explains_are_refused_with_the_step() -> None:
    def impossible(observations):
        def step(state, observation):
            state = numpyro.sample("state", dist.Categorical(jnp.eye(2)[state]))
            numpyro.sample("observation", dist.Categorical(jnp.eye(2)[state]), obs=observation)
            return state, None

        scan(step, numpyro.sample("start", dist.Categorical(jnp.array([0.5, 0.5]))), observations)

    with pytest.raises(DataError, match=r"time step 2 .* impossible"):
        gibbs(num_samples=20, num_warmup=20)(read(impossible, {"observations": np.array([1, 1, 0, 0])}, {}), KEY)


def test_a_scaled_latent_site_cannot_be_drawn() -> None:
    def scaled(observations):
        def step(state, observation):
            with numpyro.handlers.scale(scale=2.0):
                state = numpyro.sample("state", dist.Categorical(jnp.eye(2)[state]))
            numpyro.sample("observation", dist.Categorical(HEAR[state]), obs=observation)
            return state, None

        scan(step, numpyro.sample("start", dist.Categorical(jnp.array([0.5, 0.5]))), observations)

    with pytest.raises(WorldModelError, match="scale"):
        gibbs(num_samples=20, num_warmup=20)(read(scaled, {"observations": np.array([1, 1])}, {}), KEY)
