"""Are the verbs of `exact.gaussian` what their definitions say?"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ppl_worldmodel.exact import gaussian
from ppl_worldmodel.exact.system import LinearGaussian, Order

from ..agreement import assert_covariances_close, assert_logs_close, assert_means_close
from .systems import GAUSSIAN_ORDERS, condition_joint, random_gaussian

both_orders = pytest.mark.parametrize("order", GAUSSIAN_ORDERS)
KINDS = ("predicted", "filtered", "smoothed")


def assert_beliefs_close(found: Any, expected: Any, kinds: tuple[str, ...] = KINDS) -> None:
    """`found` as the verbs return it; `expected` likewise, or as the oracle returns it."""
    for kind in kinds:
        mean = getattr(expected, kind) if hasattr(expected, kind) else getattr(expected, f"{kind}_mean")
        covariance = getattr(expected, f"{kind}_covariance")
        assert_means_close(getattr(found, kind), mean, covariance, f"{kind} mean")
        found_covariance = getattr(found, f"{kind}_covariance")
        assert_covariances_close(found_covariance, covariance, covariance, covariance, f"{kind} covariance")
    assert_logs_close(found.log_predictive, expected.log_predictive, "log predictive")
    assert_logs_close(found.log_evidence, expected.log_evidence, "log evidence")


def matrix_at(system: LinearGaussian, name: str, t: int) -> jax.Array:
    return getattr(system, name)[t] if name in system.structure.varying else getattr(system, name)


@pytest.mark.slow
@both_orders
@pytest.mark.parametrize(("varying", "dim_x", "dim_y"), [("", 3, 2), ("AbQCdR", 3, 2), ("bC", 1, 1)])
def test_beliefs_equal_the_conditioned_joint(order: Order, varying: str, dim_x: int, dim_y: int) -> None:
    for seed in range(3):
        for singular in (False, True):
            system = random_gaussian(seed, order, varying, dim_x, dim_y, singular=singular)
            found, expected = gaussian.smooth(system), condition_joint(system)
            assert_beliefs_close(found, expected)
            smoothed = expected.smoothed_covariance
            pairs = gaussian.pairwise(system)
            assert_covariances_close(pairs, expected.pairwise_covariance, smoothed[:-1], smoothed[1:], "pairwise")
            assert_logs_close(gaussian.evidence(system), expected.log_predictive, "evidence")
            filtered = gaussian.filter(system)
            assert filtered.digits is not None
            assert filtered.digits.least > 9
            for name in (name for name in filtered._fields if name != "digits"):
                value = getattr(filtered, name)
                np.testing.assert_allclose(value, getattr(found, name), rtol=1e-13, atol=1e-13, err_msg=name)


@both_orders
def test_more_observed_than_hidden(order: Order) -> None:
    system = random_gaussian(4, order, "R", dim_x=2, dim_y=3)
    assert_beliefs_close(gaussian.smooth(system), condition_joint(system))


@pytest.mark.parametrize(
    ("seed", "singular", "order"),
    [
        (0, False, "transition first"),
        pytest.param(0, False, "emission first", marks=pytest.mark.slow),
        pytest.param(1, False, "transition first", marks=pytest.mark.slow),
        pytest.param(1, False, "emission first", marks=pytest.mark.slow),
        (2, True, "transition first"),
        pytest.param(2, True, "emission first", marks=pytest.mark.slow),
    ],
)
def test_sampled_paths_have_the_smoothed_moments(order: Order, singular: bool, seed: int) -> None:
    system, draws = random_gaussian(seed, order, "AbQCdR", singular=singular), 4000
    expected = condition_joint(system)
    paths = np.asarray(gaussian.sample_paths(system, jax.random.key(seed), draws))
    assert paths.shape == (draws, 7, 3)

    def z(found: np.ndarray, true: np.ndarray, variance: np.ndarray) -> float:
        error = np.sqrt(variance / draws)
        # What the posterior leaves no freedom has to be right itself.
        np.testing.assert_allclose(found[error < 1e-8], true[error < 1e-8], atol=1e-8)
        return float(np.abs((found - true)[error >= 1e-8] / error[error >= 1e-8]).max())

    covariance, mean = expected.smoothed_covariance, expected.smoothed_mean
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    assert z(paths.mean(0), mean, variance) < 4.5
    centred = paths - mean
    spread = np.einsum("dti,dtj->tij", centred, centred) / draws
    # The variance of a product of two normal variables: s_ii s_jj + s_ij^2.
    assert z(spread, covariance, variance[:, :, None] * variance[:, None, :] + covariance**2) < 4.5
    across = np.einsum("dti,dtj->tij", centred[:, :-1], centred[:, 1:]) / draws
    both = variance[:-1, :, None] * variance[1:, None, :] + expected.pairwise_covariance**2
    assert z(across, expected.pairwise_covariance, both) < 4.5
    # The same test must tell the smoother from the filter.
    last = slice(0, -1)
    assert np.abs((paths.mean(0) - expected.filtered_mean)[last] / np.sqrt(variance[last] / draws + 1e-16)).max() > 4.5


@both_orders
@pytest.mark.parametrize("varying", ["", "AbQCdR"])
def test_online_steps_are_the_filter(order: Order, varying: str) -> None:
    system = random_gaussian(1, order, varying)
    expected = gaussian.filter(system)
    belief = gaussian.Belief(system.initial_mean, system.initial_covariance)
    for t in range(7):
        move = [matrix_at(system, name, t) for name in "AbQ"]
        if order == "transition first":
            belief = gaussian.predict(belief, *move)
        np.testing.assert_allclose(belief.mean, expected.predicted[t], rtol=1e-12)
        np.testing.assert_allclose(belief.covariance, expected.predicted_covariance[t], rtol=1e-12)
        belief = gaussian.correct(belief, system.observations[t], *[matrix_at(system, name, t) for name in "CdR"])
        np.testing.assert_allclose(belief.mean, expected.filtered[t], rtol=1e-12)
        np.testing.assert_allclose(belief.covariance, expected.filtered_covariance[t], rtol=1e-12)
        if order == "emission first":
            belief = gaussian.predict(belief, *move)


@both_orders
def test_an_uninformative_observation_leaves_the_prediction(order: Order) -> None:
    blind = random_gaussian(0, order)._replace(C=jnp.zeros((2, 3)))
    unseen = random_gaussian(0, order)._replace(observations=jnp.full((7, 2), jnp.nan))
    for system in (blind, unseen):
        found = gaussian.smooth(system)
        np.testing.assert_allclose(found.filtered, found.predicted, rtol=1e-14)
        np.testing.assert_allclose(found.smoothed, found.predicted, rtol=1e-14)
        np.testing.assert_allclose(found.smoothed_covariance, found.predicted_covariance, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(gaussian.evidence(unseen), np.zeros(7))


@both_orders
def test_an_offset_of_the_data_offsets_the_means(order: Order) -> None:
    """A level that stays where it is but for noise: all data 1000 higher, and the prior, means all beliefs 1000 higher."""
    plain = random_gaussian(2, order, dim_x=2, dim_y=2)._replace(A=jnp.eye(2), C=jnp.eye(2))
    raised = plain._replace(observations=plain.observations + 1000.0, initial_mean=plain.initial_mean + 1000.0)
    found, expected = gaussian.smooth(raised), gaussian.smooth(plain)
    for kind in KINDS:
        np.testing.assert_allclose(getattr(found, kind) - 1000.0, getattr(expected, kind), rtol=0, atol=1e-10)
        np.testing.assert_array_equal(getattr(found, f"{kind}_covariance"), getattr(expected, f"{kind}_covariance"))
    np.testing.assert_allclose(found.log_predictive, expected.log_predictive, rtol=1e-10, atol=1e-10)
    offset = plain._replace(d=plain.d + 5.0, observations=plain.observations + 5.0)
    np.testing.assert_allclose(gaussian.smooth(offset).smoothed, expected.smoothed, rtol=1e-10, atol=1e-10)


@both_orders
def test_two_halves_one_after_the_other_are_the_whole(order: Order) -> None:
    system = random_gaussian(3, order, "AbQCdR")
    whole = gaussian.filter(system)

    def part(mean: jax.Array, covariance: jax.Array, steps: slice) -> LinearGaussian:
        cut = {name: getattr(system, name)[steps] for name in ("A", "b", "Q", "C", "d", "R", "observations")}
        return system._replace(initial_mean=mean, initial_covariance=covariance, **cut)

    first = gaussian.filter(part(system.initial_mean, system.initial_covariance, slice(0, 4)))
    between = gaussian.Belief(first.filtered[-1], first.filtered_covariance[-1])
    if order == "emission first":  # what is carried on has moved already
        between = gaussian.predict(between, system.A[3], system.b[3], system.Q[3])
    second = gaussian.filter(part(*between, slice(4, 7)))
    for name in ("predicted", "predicted_covariance", "filtered", "filtered_covariance", "log_predictive"):
        halves = np.concatenate([getattr(first, name), getattr(second, name)])
        np.testing.assert_allclose(halves, getattr(whole, name), rtol=1e-11, atol=1e-11, err_msg=name)


@both_orders
def test_another_basis_of_the_state_changes_nothing_else(order: Order) -> None:
    """z = M x: what permuted labels are to a finite system."""
    system = random_gaussian(5, order)
    M = jnp.array([[0.0, 2.0, 0.0], [1.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    back = jnp.linalg.inv(M)
    changed = system._replace(
        initial_mean=M @ system.initial_mean,
        initial_covariance=M @ system.initial_covariance @ M.T,
        A=M @ system.A @ back,
        b=M @ system.b,
        Q=M @ system.Q @ M.T,
        C=system.C @ back,
    )
    found, expected = gaussian.smooth(changed), gaussian.smooth(system)
    np.testing.assert_allclose(found.smoothed, expected.smoothed @ M.T, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(
        found.smoothed_covariance, M @ expected.smoothed_covariance @ M.T, rtol=1e-10, atol=1e-10
    )
    assert_logs_close(found.log_predictive, expected.log_predictive, "log predictive")


def test_systems_are_batched_by_vmap() -> None:
    systems = [random_gaussian(seed, "transition first") for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *systems)
    found = jax.vmap(gaussian.smooth)(stacked)
    for i, system in enumerate(systems):
        np.testing.assert_allclose(found.smoothed[i], gaussian.smooth(system).smoothed, rtol=1e-10, atol=1e-12)
