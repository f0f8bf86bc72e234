"""Is a state that no particle reached held against the filter only where that is possible?  Replicates drawn by hand."""

import numpy as np
import pytest
import xarray as xr

from ppl_worldmodel.checks import beliefs, convergence
from ppl_worldmodel.infer.particles import Summary
from ppl_worldmodel.infer.result_tree import STATES
from ppl_worldmodel.infer.smc import of_replicates

from ..agreement import law_of

TIME, REPLICATES, PARTICLES = 30, 32, 2000
COMMON = np.array([0.55, 0.45])


def exact(rare: np.ndarray) -> xr.DataTree:
    """Two common states, and a third one of the probability `rare` at each step."""
    belief = np.concatenate([COMMON * (1.0 - rare[:, None]), rare[:, None]], axis=1)
    return _tree("exact", {"filtered": xr.DataArray(belief, dims=("time", "state"))}, {})


def particles(rare: np.ndarray, seed: int, *, reached: int = REPLICATES) -> xr.DataTree:
    """What `smc` makes of independent particles, whose third state only the first `reached` replicates ever get to."""
    random = np.random.default_rng(seed)
    share = np.zeros((REPLICATES, TIME, 1, 3))
    for replicate in range(REPLICATES):
        at = rare if replicate < reached else np.zeros(TIME)
        law = np.concatenate([COMMON * (1.0 - at[:, None]), at[:, None]], axis=1)
        share[replicate, :, 0] = random.multinomial(PARTICLES, law) / PARTICLES
    summary: Summary = {"probability": share}
    found = of_replicates("filtered", summary, np.ones((REPLICATES, TIME, 1), bool), False)
    return _tree("smc", found, {"num_particles": PARTICLES, "num_replicates": REPLICATES})


def _tree(engine: str, found: dict[str, xr.DataArray], more: dict) -> xr.DataTree:
    states = xr.Dataset({"last_state": (("chain", "draw"), np.zeros((REPLICATES, 1)))})
    tree = xr.DataTree.from_dict({"posterior": states, "beliefs": xr.Dataset(found)})
    tree.attrs = {
        "engine": engine,
        "law": law_of(engine),
        "question": STATES,
        "family": "FiniteState",
        "beliefs_from": "",
        **more,
    }
    return tree


@pytest.mark.parametrize("rare", [1e-9, 1e-6, 1e-5, 3e-4])
def test_a_rare_state_is_no_alarm(rare: float) -> None:
    """Of 64,000 particles none, one or a few are in it."""
    verdicts = [
        beliefs.findings(particles(np.full(TIME, rare), seed), exact(np.full(TIME, rare)))[0] for seed in range(20)
    ]
    assert {found.verdict for found in verdicts} == {"agrees"}
    assert all(np.isfinite([found.z, found.p, found.upper]).all() for found in verdicts)


@pytest.mark.parametrize("reached", [0, 1])
def test_a_state_that_the_particles_missed_is_undecided(reached: int) -> None:
    """The data make a rare move likely afterwards: replicates that have missed it cannot know."""
    (found,) = beliefs.findings(particles(np.full(TIME, 0.3), 1, reached=reached), exact(np.full(TIME, 0.3)))
    assert found.verdict == "undecided"
    assert "cannot get there with so few draws" in found.why
    assert "state 2" in found.why


def test_a_state_that_must_not_be_visited_is_still_found() -> None:
    (found,) = beliefs.findings(particles(np.full(TIME, 0.01), 1), exact(np.zeros(TIME)))
    assert found.verdict == "disagrees"


def test_a_wrong_share_is_still_found() -> None:
    (found,) = beliefs.findings(particles(np.full(TIME, 0.02), 1), exact(np.full(TIME, 0.03)))
    assert found.verdict == "disagrees"


def test_no_state_is_without_an_error() -> None:
    found = particles(np.full(TIME, 1e-9), 0)["beliefs"]
    assert (found["filtered_mcse"].values > 0).all()
    assert (found["filtered_mcse"].values[:, 2] < 1e-3).all()


def chain(probability: np.ndarray, share: np.ndarray, ess: float) -> tuple[xr.DataTree, xr.DataTree]:
    """A chain whose state is in each of two states with `share`, beside an exact answer."""
    both, right = np.stack([share, 1.0 - share], axis=1), np.stack([probability, 1.0 - probability], axis=1)
    draws = (np.random.default_rng(0).random((4, 500, len(share))) > share).astype(int)
    dims = ("time", "state")
    reference = _tree("exact", {"smoothed": xr.DataArray(right, dims=dims)}, {})
    found = {
        "smoothed": xr.DataArray(both, dims=dims),
        "smoothed_ess": xr.DataArray(np.full(both.shape, ess), dims=dims),
    }
    candidate = _tree("gibbs", found, {})
    candidate["posterior"] = xr.DataTree(xr.Dataset({"state": (("chain", "draw", "time"), draws)}))
    return candidate, reference


@pytest.mark.parametrize(("stuck_at", "verdict"), [(1.0, "agrees"), (1.0 - 1e-6, "agrees"), (0.7, "undecided")])
def test_a_state_that_never_varied_has_converged_only_where_it_is_certain(stuck_at: float, verdict: str) -> None:
    probability, share = np.full(10, 0.5), np.full(10, 0.5)
    probability[4], share[4] = stuck_at, 1.0
    candidate, reference = chain(probability, share, 1900.0)
    (found,) = convergence.findings(candidate, reference)
    assert found.verdict == verdict, found.why
    (alone,) = convergence.findings(candidate)
    assert alone.verdict == "undecided"
    assert "never varied at 1 of 10 time steps" in alone.why


def vectors(variance: float, drawn: float) -> tuple[xr.DataTree, xr.DataTree]:
    """A chain of continuous states, of which the third has the variance `drawn`, beside an exact answer, which gives it `variance`.

    A further site is a constant of the program.
    """
    found = []
    for last, engine in ((drawn, "nuts"), (variance, "exact")):
        covariance = np.ones((5, 1, 1))
        covariance[2] = last
        belief = {"smoothed": xr.DataArray(np.full((5, 1), 3.0), dims=("time", "dim"))}
        belief |= {"smoothed_covariance": xr.DataArray(covariance, dims=("time", "dim", "dim_bis"))}
        belief |= {"smoothed_ess": xr.DataArray(np.full((5, 1), 1000.0), dims=("time", "dim"))}
        found.append(_tree(engine, belief, {}))
    draws = 3.0 + np.random.default_rng(0).standard_normal((4, 500, 5))
    draws[..., 2] = 3.0 + np.sqrt(drawn) * (draws[..., 2] - 3.0)
    states = {"x": (("chain", "draw", "time"), draws), "start": (("chain", "draw"), np.zeros((4, 500)))}
    found[0]["posterior"] = xr.DataTree(xr.Dataset(states))
    return found[0], found[1]


@pytest.mark.parametrize(
    ("variance", "drawn", "verdict"), [(1.0, 1.0, "agrees"), (0.0, 0.0, "agrees"), (1.0, 0.0, "undecided")]
)
def test_a_continuous_state_that_never_varied_is_certain_or_stuck(variance: float, drawn: float, verdict: str) -> None:
    (found,) = convergence.findings(*vectors(variance, drawn))
    assert found.verdict == verdict, found.why
