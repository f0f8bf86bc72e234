"""Are several series judged together, and is the worst place named?  Perfect draws, and a fault in one series."""

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy.stats import cauchy

from ppl_worldmodel.checks import beliefs
from ppl_worldmodel.checks.distances import distances

from . import trees
from .test_beliefs import SYSTEMS

gaussian_is_slow = pytest.mark.parametrize("name", ["finite", pytest.param("Gaussian", marks=pytest.mark.slow)])


def systems(name: str):
    return trees.several(SYSTEMS[name](), 3)


def faulty(system):
    """The second series without its observations 11 to 13."""
    if hasattr(system, "log_likelihood"):
        return system._replace(log_likelihood=system.log_likelihood.at[1, 11:14].set(0.0))
    return system._replace(observations=system.observations.at[1, 11:14].set(jnp.nan))


@pytest.mark.slow
@pytest.mark.parametrize("name", SYSTEMS)
def test_perfect_draws_of_several_series_agree(name: str) -> None:
    system = systems(name)
    (found,) = beliefs.findings(trees.drawn(system, 0, num_draws=10_000), trees.reference(system))
    assert found.verdict == "agrees", found
    assert found.n == 3 * 40


@pytest.mark.slow
@pytest.mark.parametrize("name", SYSTEMS)
def test_a_fault_in_one_series_is_found_where_it_is(name: str) -> None:
    system = systems(name)
    (found,) = beliefs.findings(trees.drawn(faulty(system), 0, num_draws=2000), trees.reference(system))
    assert found.verdict == "disagrees", found
    assert found.worst in [f"series 1, t = {t}" for t in (11, 12, 13)]


@gaussian_is_slow
def test_each_series_alone_has_the_same_distances(name: str) -> None:
    system = systems(name)
    candidate, exact = trees.drawn(faulty(system), 0, num_draws=500), trees.reference(system)
    together = distances("smoothed", candidate, exact)
    assert together is not None
    each = []
    for series in range(3):
        alone = distances("smoothed", *(_one(tree, series) for tree in (candidate, exact)))
        assert alone is not None
        here = together.series == series
        np.testing.assert_array_equal(together.step[here], alone.step)
        np.testing.assert_allclose(together.distance[here], alone.distance, rtol=1e-12)
        assert alone.series is None
        each.append(alone.p)
        assert alone.worst == f"t = {alone.step[alone.distance.argmax()]}"
    assert together.p == pytest.approx(cauchy.sf(cauchy.isf(each).mean()), rel=1e-6)


def _one(tree: xr.DataTree, series: int) -> xr.DataTree:
    alone = tree.copy()
    alone["beliefs"].dataset = tree["beliefs"].to_dataset().isel(sequence=series)
    return alone


def test_the_label_of_a_series_is_its_name() -> None:
    system = systems("finite")
    candidate, exact = trees.drawn(faulty(system), 0, num_draws=500), trees.reference(system)
    exact["beliefs"].dataset = exact["beliefs"].to_dataset().assign_coords(sequence=["Aswan", "Cairo", "Luxor"])
    (found,) = beliefs.findings(candidate, exact)
    assert found.worst.startswith("series Cairo, t = 1")


@gaussian_is_slow
def test_what_was_not_asked_of_a_series_is_left_out(name: str) -> None:
    system = systems(name)
    candidate, exact = trees.drawn(faulty(system), 0, num_draws=2000), trees.reference(system)
    asked = np.ones((3, 40), bool)
    asked[1, 5:20] = False
    candidate["beliefs"]["smoothed_asked"] = xr.DataArray(asked, dims=("sequence", "time"))
    candidate["beliefs"]["smoothed"].values[1, 5:20] = np.nan
    (found,) = beliefs.findings(candidate, exact)
    assert found.n == 3 * 40 - 15
    of_two = np.broadcast_to(np.array([[True], [True], [False]]), (3, 40))
    exact["beliefs"]["smoothed_asked"] = xr.DataArray(of_two, dims=("sequence", "time"))
    (found,) = beliefs.findings(candidate, exact)
    assert found.n == 2 * 40 - 15


@pytest.mark.slow
def test_a_spread_that_is_not_a_number_is_not_left_out() -> None:
    system = systems("Gaussian")
    candidate, exact = trees.drawn(system, 0, num_draws=500), trees.reference(system)
    covariance = np.array(exact["beliefs"]["smoothed_covariance"])
    covariance[0, :4] = np.nan
    exact["beliefs"]["smoothed_covariance"] = exact["beliefs"]["smoothed_covariance"].copy(data=covariance)
    (found,) = beliefs.findings(candidate, exact)
    assert (found.n, found.verdict) == (3 * 40, "undecided")
