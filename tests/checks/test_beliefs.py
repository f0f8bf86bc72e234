"""Does the check of beliefs pass what is right, and does it fail what is wrong?  Perfect draws, and planted faults."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from ppl_worldmodel import read, simulate
from ppl_worldmodel.checks import beliefs
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.exact import FiniteState, LinearGaussian
from ppl_worldmodel.infer.result_tree import PARAMETERS
from ppl_worldmodel.models import nile, two_state_pomdp

from . import trees

OBSERVATIONS = simulate(two_state_pomdp.model, two_state_pomdp.truth, jax.random.key(2), num_steps=40)["observation"]
SCALES = {"level_scale": 38.3, "observation_scale": 122.9}


def two_state() -> FiniteState:
    return read(two_state_pomdp.model, {"observations": OBSERVATIONS}, two_state_pomdp.truth).system


def level() -> LinearGaussian:
    return read(nile.model, {"observations": nile.data()["observations"][:40]}, SCALES).system


SYSTEMS = {"finite": two_state, "Gaussian": level}


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS.values(), ids=list(SYSTEMS))
def test_perfect_draws_are_hardly_ever_called_wrong(system) -> None:
    system = system()
    exact = trees.reference(system)
    verdicts = [beliefs.findings(trees.drawn(system, seed, num_draws=500), exact)[0].verdict for seed in range(60)]
    assert verdicts.count("disagrees") <= 1
    assert set(verdicts) <= {"agrees", "undecided", "disagrees"}


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=list(SYSTEMS))
def test_enough_perfect_draws_agree(system) -> None:
    system = system()
    (found,) = beliefs.findings(trees.drawn(system, 0, num_draws=10_000), trees.reference(system))
    assert found.verdict == "agrees", found
    assert found.distance <= found.upper <= found.tolerance


def test_few_draws_leave_it_undecided() -> None:
    system = two_state()
    (found,) = beliefs.findings(trees.drawn(system, 1, num_draws=100), trees.reference(system))
    assert found.verdict == "undecided"
    assert "draws would" in found.why


def faults() -> dict[str, tuple]:
    finite, gaussian = two_state(), level()
    asymmetric = finite._replace(transition=jnp.array([[0.95, 0.05], [0.3, 0.7]]))
    return {
        "T transposed": (
            asymmetric,
            asymmetric._replace(transition=asymmetric.transition.T / asymmetric.transition.sum(axis=0)[:, None]),
        ),
        "emission rows swapped": (finite, finite._replace(log_likelihood=finite.log_likelihood[:, ::-1])),
        "first observation skipped": (finite, finite._replace(log_likelihood=finite.log_likelihood.at[0].set(0.0))),
        "observations one step late": (
            finite,
            finite._replace(log_likelihood=jnp.roll(finite.log_likelihood, 1, axis=0)),
        ),
        "first observation skipped, Gaussian": (
            gaussian,
            gaussian._replace(observations=gaussian.observations.at[0].set(jnp.nan)),
        ),
        "Q a quarter": (gaussian, gaussian._replace(Q=gaussian.Q / 4)),
        "R a quarter": (gaussian, gaussian._replace(R=gaussian.R / 4)),
        "variance too small, means right": (
            gaussian,
            gaussian._replace(Q=gaussian.Q / 2, R=gaussian.R / 2, initial_covariance=gaussian.initial_covariance / 2),
        ),
    }


@pytest.mark.slow
@pytest.mark.parametrize("fault", list(faults()))
def test_a_planted_fault_is_found(fault: str) -> None:
    right, wrong = faults()[fault]
    for seed in range(5):
        (found,) = beliefs.findings(trees.drawn(wrong, seed), trees.reference(right))
        assert found.verdict == "disagrees", found


@pytest.mark.parametrize("system", [two_state, pytest.param(level, marks=pytest.mark.slow)], ids=["finite", "Gaussian"])
def test_a_smoother_passed_off_as_a_filter_is_found(system) -> None:
    system = system()
    for seed in range(5):
        (found,) = beliefs.findings(trees.drawn(system, seed, kind="filtered"), trees.reference(system))
        assert found.quantity == "filtered beliefs"
        assert found.verdict == "disagrees"


def test_an_impossible_state_that_was_visited_is_found() -> None:
    system = two_state()
    certain = system._replace(log_likelihood=system.log_likelihood.at[5].set(jnp.array([0.0, -jnp.inf])))
    candidate, exact = trees.drawn(certain, 0), trees.reference(certain)
    (found,) = beliefs.findings(candidate, exact)
    assert found.verdict != "disagrees"  # never visited: no division by its standard error of zero
    smoothed = candidate["beliefs"]["smoothed"].values
    smoothed[5] = [0.999, 0.001]
    (found,) = beliefs.findings(candidate, exact)
    assert found.verdict == "disagrees"
    assert found.worst != ""


def test_an_approximation_is_judged_by_its_distance() -> None:
    system = level()
    candidate = trees.drawn(system._replace(Q=system.Q * 0.97), 0, num_draws=10_000)
    candidate.attrs |= {"engine": "svi", "law": "approximation"}
    (found,) = beliefs.findings(candidate, trees.reference(system))
    assert found.verdict == "agrees"


def test_different_questions_are_not_compared() -> None:
    system = two_state()
    candidate = trees.drawn(system, 0)
    candidate.attrs["question"] = PARAMETERS
    with pytest.raises(DataError, match="compared only where both answer the same"):
        beliefs.findings(candidate, trees.reference(system))


def test_steps_that_were_not_asked_are_left_out() -> None:
    system = two_state()
    candidate = trees.drawn(system, 0, num_draws=10_000)
    candidate["beliefs"]["smoothed"].values[10:] = np.nan
    (found,) = beliefs.findings(candidate, trees.reference(system))
    assert (found.n, found.verdict) == (40, "undecided")
    assert "30 of 40 differences are not a number" in found.why
    candidate["beliefs"]["smoothed_asked"] = xr.DataArray(np.arange(40) < 10, dims="time")
    (found,) = beliefs.findings(candidate, trees.reference(system))
    assert (found.n, found.verdict) == (10, "agrees")
