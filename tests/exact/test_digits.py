"""Digits claimed are digits had, and six at least: against rational arithmetic, on a ladder of stiffness."""

from dataclasses import replace
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ppl_worldmodel.errors import DataError, DigitsLost
from ppl_worldmodel.exact import gaussian
from ppl_worldmodel.exact.digits import Answer, Digits, Moments, agreement, refuse
from ppl_worldmodel.exact.system import LinearGaussian, Order, Structure

from .stiff import raw_columns, right_digits, two_sensors
from .systems import random_gaussian

LADDER = list(product([1.0, 1e4, 1e8, 1e16], [1e-2, 1e-7, 1e-12, 1e-16], [1.0, 1e-4, 1e-8]))


def assert_claims_hold(system: LinearGaussian) -> Digits:
    found = gaussian.smooth(system)
    evidence, beliefs = right_digits(system, found)
    assert found.digits is not None
    assert found.digits.least >= 6
    assert found.digits.evidence <= evidence + 0.5
    assert found.digits.beliefs <= beliefs + 0.5
    return found.digits


@pytest.mark.slow
@pytest.mark.parametrize("prior", [1.0, 1e4, 1e8, 1e16])
def test_digits_claimed_are_digits_had(prior: float) -> None:
    for at, noise, apart in LADDER:
        if at == prior:
            assert_claims_hold(two_sensors(prior, noise, apart))


@pytest.mark.slow
@pytest.mark.parametrize("order", ["transition first", "emission first"])
def test_two_nearly_identical_sensors(order: Order) -> None:
    """Covariances are off by several nats here; the claim of the covariance form must say so."""
    system = two_sensors(1e4, 1e-14, 1e-7, order)
    assert_claims_hold(system)
    plain = jax.jit(lambda y: gaussian.evidence(system._replace(observations=y)).sum())(system.observations)
    assert not abs(plain - gaussian.evidence(system).sum()) < 0.5
    assert not gaussian.keeps_digits(system)
    assert gaussian.settled(system).structure.form == "square root"


@pytest.mark.parametrize("prior", [1e2, 1e16])
def test_raw_columns_of_very_different_size(prior: float) -> None:
    assert_claims_hold(raw_columns(prior))


@pytest.mark.parametrize("prior", [1e12, 1e16, 1e20])
@pytest.mark.slow
def test_what_a_wide_covariance_has_absorbed_is_missed(prior: float) -> None:
    """One sensor: after two steps all that the noise left is below the rounding of the prior, and no input's rounding shows it."""
    system = two_sensors(prior, 0.25, 1.0)._replace(C=jnp.array([[1.0, 0.0], [0.0, 0.0]]))
    system = system._replace(observations=system.observations.at[:, 1].set(jnp.nan))
    assert_claims_hold(system)


def test_where_keeps_digits_they_are_taken() -> None:
    system = random_gaussian(0, "transition first")
    assert gaussian.keeps_digits(system)
    assert gaussian.settled(system, "smooth").structure.form == "covariance"
    assert gaussian.filter(system).digits is not None
    assert jax.jit(gaussian.filter)(system).digits is None


@pytest.mark.slow
def test_several_series_have_digits_each() -> None:
    hard, easy = two_sensors(1e8, 1e-12, 1e-4), two_sensors(1.0, 1e-2, 1.0)
    bare = [jax.tree.map(jnp.asarray, system._replace(structure=Structure())) for system in (hard, easy)]
    both = jax.tree.map(lambda *parts: jnp.stack(parts), *bare)
    both = both._replace(structure=Structure(sequences=2))
    found = gaussian.smooth(both)
    assert found.digits is not None
    assert found.digits.evidence.shape == (2,)
    for n, system in enumerate((hard, easy)):
        one = gaussian.smooth(system)
        np.testing.assert_allclose(found.log_evidence[n], one.log_evidence, rtol=1e-12)
        np.testing.assert_allclose(found.smoothed[n], one.smoothed, rtol=1e-9)


def test_an_observation_without_density_is_refused_with_its_step() -> None:
    """A constant seen without noise: the second observation is certain."""
    one, zero = jnp.ones((1, 1)), jnp.zeros((1, 1))
    system = LinearGaussian(
        jnp.zeros(1), one, one, jnp.zeros(1), zero, one, jnp.zeros(1), zero, jnp.array([[0.3], [0.3]])
    )
    with pytest.raises(DataError, match=r"time step 1 .* has no density"):
        gaussian.evidence(system)


def test_too_few_digits_are_refused_with_the_step() -> None:
    lost = Digits(np.array([14.0, 3.0]), np.array([9.0, 2.0]), np.array([-1, 5]))
    with pytest.raises(DigitsLost, match=r"time step 5 .* of series 1 .* 2\.0 decimal digits"):
        refuse(lost, jnp.zeros((2, 7)))
    refuse(lost._replace(evidence=np.array(7.0), beliefs=np.array(6.5)), jnp.zeros(7))


@pytest.mark.parametrize("fault", ["nan", "negative", "indefinite", "apart"])
def test_what_is_wrong_has_no_digits(fault: str) -> None:
    covariance = np.tile(np.array([[2.0, 0.5], [0.5, 1.0]]), (4, 1, 1))
    right = Moments(np.zeros((4, 2)), covariance)
    wrong = covariance.copy()
    if fault in ("nan", "negative"):
        wrong[2, 1, 1] = {"nan": np.nan, "negative": -1e-12}[fault]
    if fault == "indefinite":
        wrong[2, 0, 1] = wrong[2, 1, 0] = 1.5
    found = Moments(np.zeros((4, 2)), wrong)
    copy = (
        found if fault != "apart" else Moments(np.zeros((4, 2)), covariance + 1e-3 * (np.arange(4) == 2)[:, None, None])
    )
    terms = np.full(4, -1.0)
    said = agreement(Answer(terms, (found,), None), [Answer(terms, (copy,), None)], diffuse=False)
    assert said.beliefs < 6
    assert said.step == 2
    assert agreement(Answer(terms, (right,), None), [Answer(terms, (right,), None)], diffuse=False).least > 14


def test_a_negative_variance_of_the_program_is_not_believed() -> None:
    """Q is not a covariance: there is no right answer, so none is given."""
    system = random_gaussian(0, "transition first")
    with pytest.raises(DigitsLost):
        gaussian.filter(system._replace(Q=system.Q - 3.0 * jnp.eye(3)))


def test_names_do_not_matter() -> None:
    system = two_sensors(1.0, 1e-2, 1.0)
    named = system._replace(structure=replace(system.structure, states=("x",), about=(("state", "x"),)))
    np.testing.assert_array_equal(gaussian.evidence(named), gaussian.evidence(system))
