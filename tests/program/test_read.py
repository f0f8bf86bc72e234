"""What does `read` say of data and parameters that do not fit, of missing data and of zeros?"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.contrib.control_flow import scan

from ppl_worldmodel import read
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.exact import finite
from ppl_worldmodel.exact.system import FiniteState, LinearGaussian
from ppl_worldmodel.models import earthquakes, nile, tiger, tracker, two_state_pomdp

from ..agreement import assert_logs_close
from ..references import dense
from .contract import assert_gaussian_beliefs

SEEN = np.array([0, 1, 1, 0, 1, 0])
TRUTH = two_state_pomdp.truth
VOLUMES = nile.data()["observations"][:12]
SCALES = {"level_scale": 40.0, "observation_scale": 120.0}


def constant(T: Any, O: Any, start: Any = (0.5, 0.5)) -> Any:
    """A finite program without parameters."""

    def model(observations: Any) -> None:
        def step(state: Any, seen: Any) -> Any:
            state = numpyro.sample("state", dist.Categorical(jnp.asarray(T)[state]))
            numpyro.sample("seen", dist.Categorical(jnp.asarray(O)[state]), obs=seen)
            return state, None

        scan(step, numpyro.sample("first", dist.Categorical(jnp.asarray(start))), observations)

    return model


def test_repr_says_what_was_found() -> None:
    assert repr(read(earthquakes.model, earthquakes.data()).system).splitlines() == [
        "FiniteState: 3 states, 107 steps, homogeneous",
        "  step         transition, then emission",
        "  state        site 'state', Categorical; first state from 'initial_state'",
        "  observation  site 'count', Poisson, none missing",
        "  parameters   'T' (3, 3) Dirichlet, 'rate' (3,) Gamma",
    ]
    gaps = np.where(np.arange(12) == 3, np.nan, VOLUMES)
    assert repr(read(nile.model, {"observations": gaps}, SCALES).system).splitlines() == [
        "LinearGaussian: 1 dimensions, 1 observed, 12 steps, homogeneous",
        "  step         emission, then transition",
        "  state        site 'level', Normal; first state from 'initial_level'",
        "  observation  site 'volume', Normal, 1 missing",
        "  parameters   'level_scale' () HalfNormal, 'observation_scale' () HalfNormal",
    ]


def test_a_numpyro_param_is_said_to_be_held() -> None:
    """It has no prior, so that it is no parameter to be learned."""

    def model(y: Any) -> None:
        scale = numpyro.param("scale", 2.0)

        def step(x: Any, y: Any) -> Any:
            x = numpyro.sample("x", dist.Normal(x, scale))
            numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
            return x, None

        scan(step, numpyro.sample("start", dist.Normal(0.0, 1.0)), y)

    said = repr(read(model, {"y": np.array([0.1, 0.2, 0.5])}).system).splitlines()
    assert "  held         'scale' (numpyro.param: no prior) at the initial value; to learn it, sample it" in said
    assert "  parameters   none" in said


def test_repr_says_that_inputs_drive_it() -> None:
    actions = np.array([0, 0, 1, 0, 2, 0])
    assert "driven by its inputs" in repr(read(tiger.model, {"observations": SEEN, "actions": actions}).system)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({**TRUTH, "T": [[0.9, 0.1], [0.3, 0.8]]}, r"'T' at row \[1\] is .* sums to 1.1: expected .* sum to one"),
        ({**TRUTH, "T": [[0.9, 0.1], [-0.2, 1.2]]}, r"'T' at row \[1\]"),
        ({**TRUTH, "T": [[0.9, 0.1], [np.nan, 0.8]]}, r"'T' at row \[1\]"),
        ({"T": TRUTH["T"], "o": TRUTH["O"]}, "'O' .* missing|no parameter 'o': did you mean 'O'"),
        ({**TRUTH, "OO": TRUTH["O"]}, "no parameter 'OO': did you mean 'O'"),
        ({**TRUTH, "elephants": 1.0}, r"no parameter 'elephants': its parameters are \['O', 'T'\]"),
        ({"T": TRUTH["T"]}, r"parameter 'O' \(2, 2\) is missing"),
        ({**TRUTH, "T": np.eye(3)}, r"'T' has shape \(3, 3\), expected \(2, 2\)"),
        ({**TRUTH, "T": "sticky"}, "'T' is 'sticky': expected an array of numbers"),
    ],
)
def test_parameters_that_do_not_fit(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(two_state_pomdp.model, {"observations": SEEN}, parameters)


def test_a_scale_that_is_negative() -> None:
    with pytest.raises(DataError, match="'level_scale' is -40"):
        read(nile.model, {"observations": VOLUMES}, {**SCALES, "level_scale": -40.0})


@pytest.mark.parametrize("bad", [2, -1, 7])
def test_a_category_outside_the_support(bad: int) -> None:
    seen = np.where(np.arange(6) == 3, bad, SEEN)
    with pytest.raises(DataError, match=r"'observation' at time step 3 .* outside the support"):
        read(two_state_pomdp.model, {"observations": seen}, TRUTH)
    with pytest.raises(DataError, match="'count' at time step 1"):
        read(earthquakes.model, {"observations": np.array([4, -3, 5])})


def test_half_a_category_is_no_category() -> None:
    with pytest.raises(DataError, match="'observation' at time step 3"):
        read(two_state_pomdp.model, {"observations": np.where(np.arange(6) == 3, 0.5, SEEN)}, TRUTH)


def test_a_nan_that_is_no_missing_observation() -> None:
    with pytest.raises(DataError, match=r"'actions' is NaN .*at \[2\]"):
        read(tiger.model, {"observations": SEEN, "actions": np.where(np.arange(6) == 2, np.nan, 0.0)})


@pytest.mark.slow
def test_a_vector_with_dependent_components_that_is_missing_in_part() -> None:
    """A normal vector leaves the missing component out, exactly; of another one that is not possible."""
    R = np.array([[1.0, 0.5], [0.5, 2.0]])

    def walk(observations: Any) -> None:
        def step(x: Any, seen: Any) -> Any:
            x = numpyro.sample("x", dist.Normal(x, 0.5).to_event(1))
            numpyro.sample("seen", dist.MultivariateNormal(x, R), obs=seen)
            return x, None

        scan(step, jnp.zeros(2), observations)

    def regimes(observations: Any) -> None:
        def step(state: Any, seen: Any) -> Any:
            state = numpyro.sample("state", dist.Bernoulli(0.5))
            numpyro.sample("seen", dist.MultivariateStudentT(4.0, state * jnp.ones(2), np.linalg.cholesky(R)), obs=seen)
            return state, None

        scan(step, 0, observations)

    partly = np.random.default_rng(0).normal(size=(5, 2))
    partly[2, 1] = partly[4, 0] = np.nan
    eye, nothing = [np.eye(2)] * 5, np.zeros((5, 2))
    by_hand = dense.joint(
        initial_mean=np.zeros(2),
        initial_covariance=np.zeros((2, 2)),
        A=eye,
        b=nothing,
        Q=0.25 * np.array(eye),
        C=eye,
        d=nothing,
        R=[R] * 5,
        emission_first=False,
    )
    found = read(walk, {"observations": partly}).system
    assert isinstance(found, LinearGaussian)
    assert_gaussian_beliefs(found, dense.posterior(by_hand, partly, dim_x=2, emission_first=False))
    with pytest.raises(DataError, match=r"'seen' at time step 2 .* all or none may be missing"):
        read(regimes, {"observations": partly})


def test_series_of_different_lengths() -> None:
    with pytest.raises(DataError, match="leading time axis of length 6"):
        read(tiger.model, {"observations": SEEN, "actions": np.zeros(5, int)})


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (constant([[0.9, 0.2], [0.5, 0.5]], np.eye(2)), r"transition of site 'state' .* row \[0\] sums to 1.1"),
        (constant(np.eye(2), [[0.9, 0.1], [0.5, 0.4]]), "probabilities of site 'seen' miss a sum of one by 0.1"),
        (constant(np.eye(2), np.eye(2), (0.5, 0.6)), "initial state does not sum to one: it sums to 1.1"),
    ],
)
def test_constants_of_the_program_that_do_not_sum_to_one(model: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(model, {"observations": SEEN})


def test_zeros_in_the_program_stay_zeros() -> None:
    system = read(constant(np.eye(2), [[1.0, 0.0], [0.5, 0.5]]), {"observations": SEEN}).system
    assert isinstance(system, FiniteState)
    np.testing.assert_array_equal(system.transition, np.eye(2))
    np.testing.assert_array_equal(np.isneginf(system.log_likelihood), [[y == 1, False] for y in SEEN])
    beliefs = finite.smooth(system)
    np.testing.assert_array_equal(beliefs.smoothed, [[0.0, 1.0]] * 6)
    assert_logs_close(beliefs.log_evidence, np.log(0.5 * 0.5**6), "log evidence")


def test_an_impossible_observation_in_a_program() -> None:
    system = read(constant([[0.0, 1.0], [0.0, 1.0]], np.eye(2)), {"observations": np.array([1, 1, 0, 1])}).system
    assert isinstance(system, FiniteState)
    log_predictive = finite.evidence(system)
    assert log_predictive.sum() == -np.inf
    assert finite.first_impossible(log_predictive) == 2


@pytest.mark.slow
def test_missing_observations_of_every_kind_are_left_out() -> None:
    whole = read(two_state_pomdp.model, {"observations": SEEN}, TRUTH).system
    gaps = np.where(np.isin(np.arange(6), [0, 4]), np.nan, SEEN)
    for given_as in (gaps, gaps.astype(np.float32), jnp.asarray(gaps)):
        system = read(two_state_pomdp.model, {"observations": given_as}, TRUTH).system
        assert isinstance(system, FiniteState)
        expected = np.where(np.isnan(gaps)[:, None], 0.0, whole.log_likelihood)
        np.testing.assert_array_equal(system.log_likelihood, expected)
    nothing = read(two_state_pomdp.model, {"observations": np.full(6, np.nan)}, TRUTH).system
    assert nothing.log_likelihood.sum() == 0.0
    series = np.where(np.arange(12) % 5 == 0, np.nan, VOLUMES)
    kalman = read(nile.model, {"observations": series}, SCALES).system
    np.testing.assert_array_equal(kalman.observations[:, 0], series)


def test_parameters_are_random_if_none_are_given_and_stay_in_their_support() -> None:
    system = read(two_state_pomdp.model, {"observations": SEEN}).system
    np.testing.assert_allclose(system.transition.sum(axis=-1), 1.0)
    assert np.linalg.eigvalsh(read(tracker.model, {"observations": np.ones((4, 2))}).system.Q).min() > 0


def test_values_given_by_numpyro_handlers_are_seen() -> None:
    def model(T: Any = None) -> None:
        chances = numpyro.sample("T", dist.Dirichlet(jnp.ones((2, 2))).to_event(1))

        def step(state: Any, _: Any) -> Any:
            state = numpyro.sample("state", dist.Categorical(chances[state]))
            numpyro.sample("seen", dist.Categorical(jnp.array(TRUTH["O"])[state]))
            return state, None

        scan(step, numpyro.sample("first", dist.Categorical(jnp.array([0.5, 0.5]))), None, length=6)

    expected = read(two_state_pomdp.model, {"observations": SEEN}, TRUTH).system
    by_condition = read(handlers.condition(model, data={"seen": SEEN}), {}, {"T": TRUTH["T"]}).system
    np.testing.assert_array_equal(by_condition.log_likelihood, expected.log_likelihood)
    everything = {"seen": jnp.asarray(SEEN), "T": jnp.asarray(TRUTH["T"])}
    np.testing.assert_array_equal(read(handlers.condition(model, data=everything)).system.transition, TRUTH["T"])
    with pytest.raises(DataError, match=r"values given for site 'seen' have shape \(5,\), expected .* length 6"):
        read(handlers.condition(model, data={"seen": SEEN[:5]}))


def test_numpy_data_reach_the_step_as_jax_arrays() -> None:
    def model(observations: Any) -> None:
        def step(x: Any, y: Any) -> Any:
            assert isinstance(x, jax.Array)
            assert isinstance(y, jax.Array)
            x = numpyro.sample("x", dist.Normal(x, 1.0))
            numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
            return x, None

        scan(step, 0.0, observations)

    assert isinstance(read(model, {"observations": VOLUMES}).system, LinearGaussian)
