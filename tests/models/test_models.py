"""Does every shipped model keep the promises of a model file, and those of its own docstring?"""

from itertools import permutations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.contrib.control_flow import scan
from numpyro.infer.util import log_density
from scipy.linalg import expm

from ppl_worldmodel import marginalize, nuts, read, simulate
from ppl_worldmodel.exact import finite
from ppl_worldmodel.files.catalogue import catalogue, shipped
from ppl_worldmodel.files.load import default_data, load
from ppl_worldmodel.models import damped_oscillator, left_to_right, old_faithful, three_state


@pytest.mark.parametrize("name", shipped())
def test_a_model_file_has_all_its_parts(name: str) -> None:
    loaded = load(name)
    assert "-->" in loaded.about, "the ASCII graph"
    assert "Reference" in loaded.about or "Source" in loaded.about
    assert loaded.truth is not None or callable(loaded.module.data)
    assert {"state", "dim"} & set(loaded.coords)


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped())
def test_a_model_simulates_and_its_data_fit_it(name: str) -> None:
    loaded = load(name)
    data, where_from = default_data(loaded, 0)
    assert where_from
    trace = handlers.trace(handlers.seed(loaded.model, 0)).get_trace(**data)
    observed = [site for site in trace.values() if site["type"] == "sample" and site["is_observed"]]
    assert observed
    for site in observed:
        assert bool(jax.numpy.all(site["fn"].support(site["value"])))
    simulated = handlers.trace(handlers.seed(loaded.model, 0)).get_trace()
    assert not [site for site in simulated.values() if site["type"] == "sample" and site["is_observed"]]


def test_the_data_are_what_their_sources_say() -> None:
    nile, earthquakes, geyser = (
        load(name).module.data()["observations"] for name in ("nile", "earthquakes", "old_faithful")
    )
    assert (len(nile), nile[0], nile[-1]) == (100, 1120, 740)
    assert (len(earthquakes), earthquakes[0], int(np.sum(earthquakes))) == (107, 13, 2072)
    assert len(geyser) == 299
    assert set(np.unique(geyser)) == {0, 1}


def test_the_catalogue_lists_the_folder() -> None:
    assert [entry.name for entry in catalogue()] == shipped()
    assert {entry.data for entry in catalogue()} == {"real data", "simulated"}


def test_the_tigers_rewards_are_those_of_the_paper() -> None:
    loaded = load("tiger")
    actions = loaded.module.simulation_inputs(8)["actions"]
    sites = handlers.trace(handlers.seed(loaded.model, 3)).get_trace(actions=actions)
    before = np.r_[int(sites["initial_state"]["value"]), np.asarray(sites["state"]["value"])[:-1]]
    expected = {
        0: lambda state: -1,
        1: lambda state: -100 if state == 0 else 10,
        2: lambda state: -100 if state == 1 else 10,
    }
    rewards = np.asarray(sites["reward"]["value"])
    assert [
        expected[int(action)](int(state)) for action, state in zip(actions, before, strict=True)
    ] == rewards.tolist()


def under_every_name(name: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log p(y | T, O), log p(T, O) p(y | T, O) and log p(T, O, states, y), for every order of the states' names."""
    model = load(name).model
    drawn = simulate(model, None, jax.random.key(seed), num_steps=20)
    data = {"observations": drawn["observation"]}
    found = []
    for order in permutations(range(len(drawn["T"]))):
        old, new = jnp.array(order), jnp.argsort(jnp.array(order))  # the state now called i was called old[i]
        parameters = {"T": drawn["T"][old][:, old], "O": drawn["O"][old]}
        states = {site: new[drawn[site]] for site in ("initial_state", "state")}
        evidence = finite.evidence(read(model, data, parameters).system).sum()
        marginal, joint = (
            log_density(program, (), data, values)[0]
            for program, values in ((marginalize(model), parameters), (model, parameters | states))
        )
        found.append((evidence, marginal, joint))
    evidences, marginals, joints = np.array(found).T
    return evidences, marginals, joints


def assert_one_value(values: np.ndarray) -> None:
    np.testing.assert_allclose(values, values[0], rtol=1e-10)


@pytest.mark.slow
def test_neither_data_nor_prior_of_three_state_know_the_names_of_the_states() -> None:
    for densities in under_every_name("three_state", 0):
        assert len(densities) == 6
        assert_one_value(densities)


@pytest.mark.slow
def test_a_prior_that_names_the_states_is_seen_to_do_so() -> None:
    evidences, marginals, joints = under_every_name("two_state_pomdp", 0)
    assert_one_value(evidences)
    for densities in (marginals, joints):
        with pytest.raises(AssertionError):
            assert_one_value(densities)


@pytest.mark.slow
@pytest.mark.parametrize("num_states", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ["three_state", "earthquakes", "old_faithful"])
def test_the_number_of_states_is_free(name: str, num_states: int) -> None:
    loaded = load(name)
    data = {site: value[:10] for site, value in default_data(loaded, 0)[0].items()} | {"num_states": num_states}
    system = read(loaded.model, data).system
    assert system.transition.shape == (num_states, num_states)
    np.testing.assert_allclose(system.initial, 1 / num_states, rtol=1e-15)
    beliefs = finite.smooth(system)
    assert np.isfinite(beliefs.log_evidence)
    if num_states == 1:  # nothing is hidden: the observations are independent
        np.testing.assert_allclose(beliefs.log_evidence, system.log_likelihood.sum(), rtol=1e-12)


@pytest.mark.nightly
def test_a_single_state_leaves_nothing_to_learn_about_moving() -> None:
    data = default_data(load("three_state"), 0, num_steps=10)[0] | {"num_states": 1}
    learned = nuts(num_warmup=20, num_samples=20, num_chains=2)(read(three_state.model, data), jax.random.key(0))
    assert learned["posterior"]["T"].shape == (2, 20, 1, 1)
    assert (learned["posterior"]["T"] == 1).all()


@pytest.mark.slow
def test_a_machine_never_recovers() -> None:
    """The zeros of T are zeros after reading, in the beliefs and in the paths; no gradient is lost to them."""
    loaded = load("left_to_right")
    data, _ = default_data(loaded, 0)
    possible = np.triu(np.ones((3, 3), bool)) & ~np.triu(np.ones((3, 3), bool), 2)
    system = read(left_to_right.model, data, loaded.truth).system
    np.testing.assert_array_equal(np.asarray(system.transition) != 0, possible)
    np.testing.assert_allclose(system.transition.sum(axis=-1), 1.0, rtol=1e-15)
    pairs = np.asarray(finite.pairwise(system))
    assert (pairs[:, ~possible] == 0).all()
    assert pairs.sum(axis=0)[possible].min() > 0
    moves = np.diff(np.asarray(finite.sample_paths(system, jax.random.key(0), 200)), axis=-1)
    assert set(np.unique(moves)) == {0, 1}

    def density(parameters: dict[str, Any]) -> Any:
        return log_density(marginalize(left_to_right.model), (), data, parameters)[0]

    slopes = jax.grad(density)({name: jnp.asarray(value) for name, value in loaded.truth.items()})
    assert all(bool(jnp.isfinite(slope).all() & (slope != 0).all()) for slope in slopes.values())


@pytest.mark.parametrize(("frequency", "damping"), [(0.2, 0.05), (0.39, 0.4), (0.11, 1e-12)])
def test_an_oscillator_turns_and_fades_as_its_equation_says(frequency: float, damping: float) -> None:
    h, omega = damped_oscillator.SECONDS_PER_STEP, 2 * np.pi * frequency
    parameters = damped_oscillator.truth | {"frequency": frequency, "damping": damping}
    A = np.asarray(read(damped_oscillator.model, {"observations": np.zeros(3)}, parameters).system.A)
    np.testing.assert_allclose(A, expm(h * np.array([[-damping, omega], [-omega, -damping]])), rtol=1e-10, atol=1e-14)
    eigenvalues = sorted(np.linalg.eigvals(A), key=np.imag)
    np.testing.assert_allclose(eigenvalues, np.exp(h * np.array([-damping - 1j * omega, -damping + 1j * omega])))
    # The same in position and velocity: x'' + 2 damping x' + (damping^2 + omega^2) x = 0.
    to_velocity = np.array([[1.0, 0.0], [-damping, omega]])
    equation = np.array([[0.0, 1.0], [-(damping**2) - omega**2, -2 * damping]])
    np.testing.assert_allclose(to_velocity @ A @ np.linalg.inv(to_velocity), expm(h * equation), atol=1e-10)


def test_no_frequency_of_the_oscillators_prior_has_an_alias() -> None:
    trace = handlers.trace(handlers.seed(damped_oscillator.model, 0)).get_trace(num_steps=2)
    support = trace["frequency"]["fn"].support
    assert 0 < support.lower_bound < support.upper_bound < 0.5 / damped_oscillator.SECONDS_PER_STEP


def geyser_of_two_states(observations: Any) -> None:
    """`old_faithful` with its two states written out."""
    T = numpyro.sample("T", dist.Dirichlet(jnp.ones((2, 2))).to_event(1))
    prior = dist.Beta(jnp.array([2.0, 9.0]), jnp.array([4.0, 1.0])).to_event(1)
    long_probability = numpyro.sample("long_probability", prior)

    def step(state: Any, long: Any) -> tuple[Any, None]:
        state = numpyro.sample("state", dist.Categorical(T[state]))
        numpyro.sample("long", dist.Bernoulli(long_probability[state]), obs=long)
        return state, None

    scan(step, numpyro.sample("initial_state", dist.Categorical(jnp.array([0.5, 0.5]))), observations)


def test_the_geysers_two_states_are_those_of_the_references() -> None:
    data = old_faithful.data()
    states = np.r_[1, data["observations"]]
    values = {
        "T": jnp.array([[0.1, 0.9], [0.6, 0.4]]),
        "long_probability": jnp.array([0.2, 0.97]),
        "initial_state": jnp.asarray(states[0]),
        "state": jnp.asarray(states[1:]),
    }
    found, expected = (
        float(log_density(program, (), data, values)[0]) for program in (old_faithful.model, geyser_of_two_states)
    )
    assert found == expected


@pytest.mark.parametrize(
    ("num_states", "counts"),
    [(1, ([5.5], [2.5])), (2, ([2, 9], [4, 1])), (3, ([2, 5.5, 9], [4, 2.5, 1]))],
)
def test_more_states_of_the_geyser_lie_between_its_two(num_states: int, counts: tuple[list, list]) -> None:
    program = handlers.seed(old_faithful.model, 0)
    trace = handlers.trace(program).get_trace(num_steps=2, num_states=num_states)
    prior = trace["long_probability"]["fn"].base_dist
    np.testing.assert_array_equal(prior.concentration1, counts[0])
    np.testing.assert_array_equal(prior.concentration0, counts[1])
