"""The recursion in probabilities: right by listing paths, in value and gradient; and what it would lose goes to logarithms."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from ppl_worldmodel.exact import finite, probability_recursion
from ppl_worldmodel.exact.system import FiniteState, Order, Structure

from .systems import FINITE_ORDERS, list_paths, random_finite

RECURSIONS = ("probabilities", "logarithms")


def using(system: FiniteState, recursion: str) -> FiniteState:
    return system._replace(structure=replace(system.structure, recursion=recursion))


def by_paths(system: FiniteState) -> Array:
    """log sum over all paths s_0 ... s_T of the product of their probabilities, which JAX can differentiate, at zeros, too."""
    initial, T, l = system.initial, system.transition, system.log_likelihood
    steps, states, order = l.shape[0], initial.size, system.structure.order
    T = jnp.broadcast_to(T, (steps, states, states))
    path = np.indices((states,) * (steps + 1)).reshape(steps + 1, -1)
    weight = initial[path[0]]
    for t in range(steps):
        weight = weight * T[t][path[t], path[t + 1]]
        seen = {"both states": (path[t], path[t + 1]), "emission first": (path[t],), "transition first": (path[t + 1],)}
        weight = weight * jnp.exp(l[t])[seen[order]]
    return jnp.log(weight.sum())


@pytest.mark.parametrize("order", FINITE_ORDERS)
@pytest.mark.parametrize("varying", [False, True])
def test_value_and_gradient_equal_the_sum_over_paths(order: Order, varying: bool) -> None:
    system = random_finite(1, order, varying, steps=5)
    # A likelihood of zero has no derivative in its logarithm; a transition of zero has one.
    system = system._replace(log_likelihood=jnp.maximum(system.log_likelihood, -3.0))
    value, gradient = jax.value_and_grad(by_paths)(system)
    for recursion in RECURSIONS:
        found, along = jax.value_and_grad(finite.log_evidence)(using(system, recursion))
        np.testing.assert_allclose(found, value, rtol=1e-12)
        for name in ("initial", "transition", "log_likelihood"):
            expected = np.asarray(getattr(gradient, name))
            if name == "transition" and order == "emission first" and varying:
                expected = np.concatenate([expected[:-1], 0.0 * expected[-1:]])  # rows sum to one: no effect
            if name == "transition" and order == "emission first" and not varying:
                continue  # the sum over paths moves once more, by rows that sum to one: compared in forward mode below
            np.testing.assert_allclose(
                getattr(along, name), expected, rtol=1e-10, atol=1e-12, err_msg=f"{recursion} {name}"
            )


@pytest.mark.slow
@pytest.mark.parametrize("order", FINITE_ORDERS)
def test_gradients_along_rows_that_sum_to_one(order: Order) -> None:
    """In forward mode, and twice."""
    system = random_finite(2, order, steps=4)
    system = system._replace(log_likelihood=jnp.maximum(system.log_likelihood, -3.0))

    def along(evidence, system: FiniteState):
        return lambda z: evidence(system._replace(transition=jax.nn.softmax(z, axis=-1)))

    z = jnp.log(system.transition + 0.1)
    first, second = (jax.jacfwd(along(by_paths, system))(z), jax.hessian(along(by_paths, system))(z))
    asked = along(finite.log_evidence, using(system, "probabilities"))
    np.testing.assert_allclose(jax.jacfwd(asked)(z), first, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(jax.grad(asked)(z), first, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(jax.hessian(asked)(z), second, rtol=1e-9, atol=1e-11)


def long_chain(steps: int, states: int, seed: int = 0) -> FiniteState:
    rng = np.random.default_rng(seed)
    T = rng.dirichlet(np.ones(states), states)
    return FiniteState(jnp.ones(states) / states, jnp.array(T), jnp.array(3.0 * rng.normal(size=(steps, states))))


@pytest.mark.parametrize(("steps", "states"), [pytest.param(12_000, 2, marks=pytest.mark.slow), (300, 20)])
def test_a_long_chain_and_a_large_one_equal_logarithms(steps: int, states: int) -> None:
    """Eight steps in a turn of the loop; exp inside of it."""
    system = long_chain(steps, states)
    assert probability_recursion.used(system)
    assert probability_recursion.backward(system, probability_recursion.forward(system)).safe
    for verb, tolerance in ((finite.filter, 1e-12), (finite.smooth, 1e-11), (finite.evidence, 1e-11)):
        for found, expected in zip(
            jax.tree.leaves(verb(system)), jax.tree.leaves(verb(using(system, "logarithms"))), strict=True
        ):
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=1e-14)
    found, expected = (jax.grad(finite.log_evidence)(using(system, recursion)) for recursion in RECURSIONS)
    for name in ("initial", "transition", "log_likelihood"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-9, atol=1e-11, err_msg=name)


def left_to_right(nats: float) -> FiniteState:
    """State 0 looks dead after the outlier of step 1, cannot be entered again, and is the truth all the same."""
    T = jnp.array([[0.9, 0.1, 0.0], [0.0, 0.9, 0.1], [0.0, 0.0, 1.0]])
    l = jnp.zeros((6, 3)).at[1, 0].set(-nats).at[3, 1:].set(-0.7 * nats).at[4, 1:].set(-0.6 * nats)
    return FiniteState(jnp.array([1.0, 0.0, 0.0]), T, l, Structure(recursion="probabilities"))


def rare_move(rare: float) -> FiniteState:
    """State 1 can only be reached by a rare move, and the data leave no other explanation."""
    T = jnp.array([[1.0 - rare, rare], [0.0, 1.0]])
    l = jnp.zeros((4, 2)).at[2, 0].set(-jnp.inf)
    return FiniteState(jnp.array([1.0, 0.0]), T, l, Structure(recursion="probabilities"))


def contradiction(nats: float, rare: float) -> FiniteState:
    """Two states that can hardly be left, and observations for one and the other in turn."""
    T = jnp.array([[1.0 - rare, rare], [rare, 1.0 - rare]])
    l = jnp.zeros((12, 2)).at[::2, 0].set(-nats).at[1::2, 1].set(-nats)
    return FiniteState(jnp.array([0.5, 0.5]), T, l, Structure(recursion="probabilities"))


UNSAFE = {
    "an outlier of 800 nats, left to right": left_to_right(800.0),
    "a move of 1e-200": rare_move(1e-200),
    "moves of 1e-120": contradiction(800.0, 1e-120),
    "sums of 1e-174": contradiction(400.0, 1e-200),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_what_would_be_lost_is_computed_in_logarithms(name: str) -> None:
    system = UNSAFE[name]
    found = probability_recursion.backward(system, probability_recursion.forward(system))
    assert not found.safe
    expected = list_paths(system)
    np.testing.assert_allclose(finite.log_evidence(system), expected.log_predictive.sum(), rtol=1e-12)
    np.testing.assert_allclose(finite.evidence(system), expected.log_predictive, rtol=1e-10, atol=1e-12)
    smoothed = finite.smooth(system).smoothed
    np.testing.assert_allclose(smoothed, expected.smoothed, atol=1e-12)
    gradient = jax.grad(finite.log_evidence)(system)
    np.testing.assert_allclose(gradient.log_likelihood, smoothed, rtol=1e-9, atol=1e-12)


def test_without_logarithms_the_outlier_would_be_lost() -> None:
    """The check must be able to fail: the state that underflows is the one that explains the data."""
    system = left_to_right(800.0)
    lost = probability_recursion.forward(system).log_predictive.sum()
    assert not np.isclose(lost, list_paths(system).log_predictive.sum(), rtol=1e-3)


@pytest.mark.parametrize("nats", [20.0, 800.0, 1e5])
def test_a_dense_chain_keeps_its_digits_at_any_outlier(nats: float) -> None:
    system = contradiction(nats, 1e-20)
    assert probability_recursion.backward(system, probability_recursion.forward(system)).safe
    expected = list_paths(system)
    np.testing.assert_allclose(finite.evidence(system), expected.log_predictive, rtol=1e-11)
    np.testing.assert_allclose(finite.smooth(system).smoothed, expected.smoothed, atol=1e-12)


def test_one_series_of_a_batch_sends_all_to_logarithms_and_all_are_right() -> None:
    start = jnp.array([0.98, 0.01, 0.01])  # the logarithm of a zero would have no derivative
    systems = [left_to_right(nats)._replace(initial=start) for nats in (1.0, 800.0)]
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *systems)
    for verb in (finite.log_evidence, finite.evidence, jax.grad(finite.log_evidence)):
        found = jax.vmap(verb)(batch)
        for at, system in enumerate(systems):
            for one, alone in zip(jax.tree.leaves(found), jax.tree.leaves(verb(system)), strict=True):
                np.testing.assert_allclose(one[at], alone, rtol=1e-10, atol=1e-12)


def test_a_batch_of_safe_series_runs_one_branch() -> None:
    """Under `jax.vmap` the choice stays a branch, so that logarithms are not computed beside."""
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), long_chain(600, 2))
    text = str(jax.make_jaxpr(jax.vmap(finite.log_evidence))(batch))
    assert "cond[" in text


@pytest.mark.parametrize("value", [jnp.nan, jnp.inf])
def test_what_is_no_number_is_no_evidence(value: float) -> None:
    system = long_chain(600, 2)
    system = system._replace(log_likelihood=system.log_likelihood.at[3, 1].set(value))
    assert not np.isfinite(finite.log_evidence(system))


def test_small_systems_use_logarithms_only() -> None:
    """Compiling both recursions takes longer than it would save."""
    assert not probability_recursion.used(long_chain(100, 2))
    assert probability_recursion.used(long_chain(100, 8))
    assert "custom_jvp" not in str(jax.make_jaxpr(finite.log_evidence)(long_chain(100, 2)))
