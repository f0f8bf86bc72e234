"""Is a system in another basis the same system, and does an alignment find the basis, or say that there is none?"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import special_ortho_group

from ppl_worldmodel.comparisons.basis import align_basis, carry_over, change_basis
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.exact import gaussian
from ppl_worldmodel.exact.system import LinearGaussian

from ..exact.systems import GAUSSIAN_ORDERS, condition_joint, random_gaussian
from .systems import stationary

M = np.array([[0.3, 2.0, 0.0], [1.0, 0.5, 1.0], [0.0, -0.4, -1.0]])


def assert_same_in_another_basis(system: LinearGaussian, changed: LinearGaussian, M: np.ndarray) -> None:
    before, after = gaussian.smooth(system), gaussian.smooth(changed)
    np.testing.assert_allclose(after.log_predictive, before.log_predictive, rtol=1e-10, atol=1e-10)
    for kind in ("predicted", "filtered", "smoothed"):
        mean, covariance = getattr(before, kind), getattr(before, f"{kind}_covariance")
        np.testing.assert_allclose(getattr(after, kind), mean @ M.T, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(getattr(after, f"{kind}_covariance"), M @ covariance @ M.T, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("order", GAUSSIAN_ORDERS)
@pytest.mark.parametrize("varying", ["", "AbQCdR"])
def test_evidence_and_predictions_are_unchanged(order: Any, varying: str) -> None:
    for seed, singular in ((0, False), (1, True)):
        system = random_gaussian(seed, order, varying, singular=singular)
        changed = change_basis(system, M)
        assert_same_in_another_basis(system, changed, M)
        expected, found = condition_joint(system), condition_joint(changed)
        np.testing.assert_allclose(found.log_predictive, expected.log_predictive, rtol=1e-10, atol=1e-10)
        back = change_basis(changed, np.linalg.inv(M))
        for name in ("initial_mean", "initial_covariance", *"AbQCdR"):
            np.testing.assert_allclose(getattr(back, name), getattr(system, name), rtol=1e-10, atol=1e-12)


def test_a_diffuse_start_is_unchanged() -> None:
    system = random_gaussian(0, "emission first", gaps=False)._replace(diffuse=jnp.array([[1.0], [0.5], [0.0]]))
    found, expected = gaussian.evidence(change_basis(system, M)), gaussian.evidence(system)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)
    assert np.abs(found - gaussian.evidence(system._replace(diffuse=None))).max() > 0.1


def test_the_extra_coordinates_of_a_state_stay() -> None:
    system = random_gaussian(2, "transition first")
    system = system._replace(structure=replace(system.structure, extra=1))
    changed = change_basis(system, M[:2, :2])
    np.testing.assert_allclose(gaussian.evidence(changed), gaussian.evidence(system), rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(changed.initial_mean[2], system.initial_mean[2])
    np.testing.assert_array_equal(changed.C[:, 2], system.C[:, 2])
    np.testing.assert_allclose(changed.b[:2], M[:2, :2] @ system.b[:2], rtol=1e-14)


def test_several_series_change_alike() -> None:
    each = [random_gaussian(seed, "emission first") for seed in range(2)]
    stacked: LinearGaussian = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    found = change_basis(stacked._replace(structure=replace(stacked.structure, sequences=2)), M)
    for i, one in enumerate(each):
        for name in ("initial_mean", "initial_covariance", *"AbQCdR"):
            np.testing.assert_allclose(getattr(found, name)[i], getattr(change_basis(one, M), name), rtol=1e-13)


def test_what_is_no_basis_is_refused() -> None:
    system = random_gaussian(0, "emission first")
    with pytest.raises(DataError, match="3 dimensions"):
        change_basis(system, np.eye(2))
    with pytest.raises(DataError, match="no inverse"):
        change_basis(system, np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [0.0, 0.0, 1.0]]))


@pytest.mark.parametrize("seed", range(3))
def test_a_rotation_is_recovered(seed: int) -> None:
    random = np.random.default_rng(seed)
    path = random.normal(size=(40, 3)) * np.array([1.0, 10.0, 0.1]) + 5.0
    turn = special_ortho_group.rvs(3, random_state=random)
    for orthogonal in (True, False):
        found = align_basis(path, path @ turn.T + 2.0, orthogonal=orthogonal)
        np.testing.assert_allclose(found.M, turn, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(found.offset, 2.0, rtol=1e-10)
        np.testing.assert_allclose(found.residual, 0.0, atol=1e-20)


@pytest.mark.parametrize("orthogonal", [True, False])
def test_smoothed_means_find_the_basis(orthogonal: bool) -> None:
    system = stationary(0, steps=60)
    mine, theirs = gaussian.smooth(change_basis(system, M)), gaussian.smooth(system)
    found = align_basis(mine.smoothed, theirs.smoothed, orthogonal=orthogonal)
    np.testing.assert_allclose(found.M @ M, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(found.residual, 0.0, atol=1e-18)
    means, covariances = carry_over(found, mine.smoothed, mine.smoothed_covariance)
    np.testing.assert_allclose(means, theirs.smoothed, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(covariances, theirs.smoothed_covariance, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("orthogonal", [True, False])
def test_another_system_is_not_mapped(orthogonal: bool) -> None:
    """Other dynamics seen through other data: most of the reference is not met, and the residual says so."""
    theirs = gaussian.smooth(stationary(0, steps=60)).smoothed
    mine = gaussian.smooth(stationary(1, steps=60)).smoothed
    assert (align_basis(mine, theirs, orthogonal=orthogonal).residual > 0.5).all()
    late = align_basis(theirs[:-1], theirs[1:], orthogonal=orthogonal)  # a filter that lags by a step
    assert late.residual.max() > 0.1


def test_least_squares_map_states_of_other_dimensions() -> None:
    path = np.random.default_rng(0).normal(size=(50, 3))
    found = align_basis(path, path[:, :1] - path[:, 2:], orthogonal=False)
    np.testing.assert_allclose(found.M, [[1.0, 0.0, -1.0]], atol=1e-12)
    back = align_basis(path[:, :1], path, orthogonal=False)
    assert back.residual[0] < 1e-20
    assert (back.residual[1:] > 0.9).all()
    with pytest.raises(DataError, match="orthogonal=False"):
        align_basis(path, path[:, :2])


def test_a_coordinate_that_never_moves_is_met_by_the_offset() -> None:
    path = np.random.default_rng(0).normal(size=(50, 2))
    still = np.column_stack([path, np.full(50, 3.0)])
    for orthogonal in (True, False):
        found = align_basis(still, still + 1.0, orthogonal=orthogonal)
        np.testing.assert_allclose(found.M, np.diag([1.0, 1.0, 0.0]), atol=1e-12)
        np.testing.assert_allclose(found.offset, [1.0, 1.0, 4.0], rtol=1e-12)
        np.testing.assert_allclose(found.residual, 0.0, atol=1e-20)


def test_paths_that_do_not_fit_are_refused() -> None:
    path = np.random.default_rng(0).normal(size=(50, 2))
    with pytest.raises(DataError, match="50 and 49 steps"):
        align_basis(path, path[1:])
    with pytest.raises(DataError, match="more steps"):
        align_basis(path[:2], path[:2])
    with pytest.raises(DataError, match="without a belief"):
        align_basis(path, np.where(path > 2.0, np.nan, path))
