"""Does `exact.finite` hold where others break: zeros, tiny probabilities, impossible data, outliers, very long series?"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ppl_worldmodel.exact import finite
from ppl_worldmodel.exact.system import FiniteState, Order, Structure

from ..agreement import assert_logs_close, assert_probabilities_close
from .systems import FINITE_ORDERS, list_paths, random_finite

all_orders = pytest.mark.parametrize("order", FINITE_ORDERS)
VARYING = frozenset({"transition"})


@all_orders
@pytest.mark.parametrize("at", [0, 2, 5])
def test_an_impossible_observation_is_named_and_left_out(order: Order, at: int) -> None:
    system = random_finite(0, order, varying=True)
    impossible = system._replace(log_likelihood=system.log_likelihood.at[at].set(-jnp.inf))
    left_out = system._replace(log_likelihood=system.log_likelihood.at[at].set(0.0))
    found, expected = finite.smooth(impossible), list_paths(left_out)
    assert found.log_evidence == -np.inf
    assert list_paths(impossible).log_predictive[at] == -np.inf
    assert finite.first_impossible(found.log_predictive) == at
    assert np.isneginf(found.log_predictive).sum() == 1
    for name in ("predicted", "filtered", "smoothed"):
        assert_probabilities_close(getattr(found, name), getattr(expected, name), name)
    assert_probabilities_close(finite.pairwise(impossible), expected.pairwise, "pairwise")
    path = finite.most_likely_path(impossible)
    np.testing.assert_array_equal(path, expected.path[expected.log_joint.argmax()])
    draws = np.asarray(finite.sample_paths(impossible, jax.random.key(0), 50))
    assert set(draws.ravel()) <= {0, 1, 2}


def test_possible_data_have_no_impossible_step() -> None:
    assert finite.first_impossible(finite.evidence(random_finite(0, "transition first"))) is None


def test_an_observation_that_only_the_past_rules_out() -> None:
    """The state cannot leave 0, and state 0 cannot emit what is seen in step 1."""
    log_likelihood = jnp.array([[0.0, 0.0], [-jnp.inf, 0.0], [0.0, 0.0]])
    system = FiniteState(jnp.array([1.0, 0.0]), jnp.array([[1.0, 0.0], [0.5, 0.5]]), log_likelihood)
    found = finite.smooth(system)
    assert finite.first_impossible(found.log_predictive) == 1
    np.testing.assert_array_equal(found.smoothed, [[1.0, 0.0]] * 3)
    gradient = jax.grad(
        lambda T: jnp.where(jnp.isinf(e := finite.evidence(system._replace(transition=T))), 0.0, e).sum()
    )
    assert np.isfinite(gradient(system.transition)).all()


@all_orders
@pytest.mark.parametrize("rare", [1e-9, 1e-30, 1e-300])
def test_a_rare_move_is_small_and_not_zero(order: Order, rare: float) -> None:
    """State 1 can only be reached by a rare move, and the data leave no other explanation than one such move."""
    T = jnp.array([[1.0 - rare, rare], [0.0, 1.0]])
    log_likelihood = jnp.array([[0.0, 0.0], [0.0, 0.0], [-jnp.inf, -1.0], [-2.0, -1.0], [0.0, 0.0]])
    if order == "both states":
        log_likelihood = jnp.broadcast_to(log_likelihood[:, None, :], (5, 2, 2))
    system = FiniteState(jnp.array([1.0, 0.0]), T, log_likelihood, Structure(order=order))
    found, expected = finite.smooth(system), list_paths(system)
    assert_probabilities_close(found.smoothed, expected.smoothed, "smoothed")
    assert_probabilities_close(found.filtered, expected.filtered, "filtered")
    assert_logs_close(found.log_evidence, expected.log_predictive.sum(), "log evidence")
    if order == "transition first":  # the one move has happened by step 0, 1 or 2, each equally likely
        assert_probabilities_close(found.smoothed[:, 1], [1 / 3, 2 / 3, 1.0, 1.0, 1.0], "by hand", rtol=1e-8)


@all_orders
@pytest.mark.parametrize("nats", [800.0, 1e4, 1e6])
def test_an_outlier_kills_no_state_of_a_left_to_right_chain(order: Order, nats: float) -> None:
    """State 0 looks dead after the outlier of step 1, cannot be entered again, and is the truth all the same."""
    T = jnp.array([[0.9, 0.1, 0.0], [0.0, 0.9, 0.1], [0.0, 0.0, 1.0]])
    log_likelihood = jnp.zeros((6, 3)).at[1, 0].set(-nats).at[3, 1:].set(-0.7 * nats).at[4, 1:].set(-0.6 * nats)
    if order == "both states":
        log_likelihood = jnp.broadcast_to(log_likelihood[:, None, :], (6, 3, 3))
    system = FiniteState(jnp.array([1.0, 0.0, 0.0]), T, log_likelihood, Structure(order=order))
    found, expected = finite.smooth(system), list_paths(system)
    assert found.filtered[1, 0] == 0.0, "the outlier is meant to be beyond float64 in linear space"
    assert found.smoothed[1, 0] > 0.99
    # A log weight of a million nats is itself rounded to 1e-10.
    for name in ("filtered", "smoothed"):
        assert_probabilities_close(getattr(found, name), getattr(expected, name), name, rtol=max(1e-10, 1e-15 * nats))
    assert_logs_close(found.log_evidence, expected.log_predictive.sum(), "log evidence")
    np.testing.assert_array_equal(finite.most_likely_path(system), expected.path[expected.log_joint.argmax()])


def constrained(angles: jax.Array, order: Order) -> FiniteState:
    """Zeros in T, in the likelihood and in the first belief are constants; the rest are functions of two angles."""
    p, q = jnp.sin(angles) ** 2
    T = jnp.stack([jnp.stack([p, 1 - p, 0 * p]), jnp.stack([0 * p, q, 1 - q]), jnp.array([0.3, 0.0, 0.7])])
    log_seen = jnp.stack([jnp.log(q), jnp.log(p), -jnp.inf * jnp.ones(())])
    log_likelihood = jnp.stack([log_seen, jnp.zeros(3), log_seen[::-1], log_seen, jnp.array([0.0, -jnp.inf, -1.0])])
    if order == "both states":
        log_likelihood = jnp.broadcast_to(log_likelihood[:, None, :], (5, 3, 3))
    return FiniteState(jnp.array([0.5, 0.5, 0.0]), T, log_likelihood, Structure(order=order))


@all_orders
def test_gradients_are_those_of_finite_differences_where_there_are_zeros(order: Order) -> None:
    quantities = ("evidence", "filtered", "smoothed", "pairwise")

    @jax.jit
    def values(angles: jax.Array) -> jax.Array:
        system = constrained(angles, order)
        found, pairs = finite.smooth(system), finite.pairwise(system)
        return jnp.stack([found.log_evidence, found.filtered[1, 1], found.smoothed[1, 1], pairs[1, 1, 1]])

    step, angles = 1e-4, jnp.array([0.7, 1.1])
    found = np.asarray(jax.jit(jax.jacrev(values))(angles))
    for i in range(2):
        shift = jnp.zeros(2).at[i].set(step)
        near = values(angles + shift) - values(angles - shift)
        far = values(angles + 2 * shift) - values(angles - 2 * shift)
        slope = (8 * near - far) / (12 * step)  # fourth order
        np.testing.assert_allclose(found[:, i], slope, rtol=1e-6, err_msg=f"{quantities} by angle {i}")
    assert np.abs(found).min() > 1e-4, "the test must have something to measure"


@pytest.mark.parametrize("order", ["transition first", "emission first"])
def test_the_gradient_at_a_zero_of_T_is_that_of_the_polynomial(order: Order) -> None:
    """Every state can be reached, T[0, 1] = 0; the evidence is a polynomial in T whose derivative there is plain."""
    T, start = jnp.array([[0.6, 0.0, 0.4], [0.2, 0.5, 0.3], [0.1, 0.7, 0.2]]), jnp.array([0.2, 0.3, 0.5])
    likelihood = jnp.asarray(np.random.default_rng(0).uniform(0.1, 1.0, (4, 3)))

    def polynomial(T: jax.Array) -> jax.Array:
        weight = start
        for seen in likelihood:
            weight = (weight @ T) * seen if order == "transition first" else (weight * seen) @ T
        # The last move of "emission first" emits nothing; its weights are no part of the evidence.
        return jnp.log(weight.sum() if order == "transition first" else (weight @ jnp.linalg.inv(T)).sum())

    system = FiniteState(start, T, jnp.log(likelihood), Structure(order=order))
    found = jax.grad(lambda T: finite.evidence(system._replace(transition=T)).sum())(T)
    assert_probabilities_close(found, jax.grad(polynomial)(T), "gradient")


def test_a_hundred_thousand_steps() -> None:
    """Against the scaled recursion of Rabiner (1989) in a plain loop."""
    rng, steps = np.random.default_rng(0), 100_000
    T, start = np.array([[0.95, 0.05, 0.0], [0.01, 0.98, 0.01], [0.0, 0.1, 0.9]]), np.array([0.2, 0.3, 0.5])
    log_likelihood = rng.normal(size=(steps, 3)) * 3
    found = finite.smooth(FiniteState(jnp.asarray(start), jnp.asarray(T), jnp.asarray(log_likelihood)))
    belief, scales, likelihood = start, np.empty(steps), np.exp(log_likelihood)
    filtered = np.empty((steps, 3))
    for t in range(steps):
        joint = (belief @ T) * likelihood[t]
        scales[t] = joint.sum()
        filtered[t] = belief = joint / scales[t]
    ahead, smoothed = np.ones(3), np.empty((steps, 3))
    for t in reversed(range(steps)):
        smoothed[t] = filtered[t] * ahead
        ahead = T @ (likelihood[t] * ahead) / scales[t]
    assert_logs_close(found.log_evidence, np.log(scales).sum(), "log evidence")
    assert_probabilities_close(found.filtered, filtered, "filtered")
    assert_probabilities_close(found.smoothed, smoothed, "smoothed")
    np.testing.assert_allclose(found.smoothed.sum(axis=1), 1.0, rtol=1e-12)
