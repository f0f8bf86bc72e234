"""Do the checks of parameters, convergence and evidence pass what is right and fail what is wrong?"""

import numpy as np
import pytest
import xarray as xr

from ppl_worldmodel import check
from ppl_worldmodel.checks import convergence, evidence, parameters
from ppl_worldmodel.checks import truth as truth_check
from ppl_worldmodel.checks.check import as_dataset, from_dataset
from ppl_worldmodel.infer.result_tree import PARAMETERS, STATES

from ..agreement import law_of


def posterior(seed: int, *, shift: float = 0.0, widen: float = 1.0, engine: str = "nuts", **attributes) -> xr.DataTree:
    """4 x 1000 independent draws of three parameters."""
    draws = np.random.default_rng(seed).standard_normal((4, 1000, 3)) * widen + shift + np.array([0.0, 5.0, -2.0])
    beliefs = xr.Dataset(
        {
            "smoothed": (("time", "state"), np.full((4, 2), 0.5)),
            "smoothed_ess": (("time", "state"), np.full((4, 2), 900.0)),
        }
    )
    tree = xr.DataTree.from_dict(
        {"posterior": xr.Dataset({"theta": (("chain", "draw", "theta_dim_0"), draws)}), "beliefs": beliefs}
    )
    tree.attrs = {
        "engine": engine, "question": PARAMETERS, "law": law_of(engine), "family": "FiniteState", "beliefs_from": "",
    } | attributes  # fmt: skip
    return tree


def test_two_runs_on_the_same_posterior_agree() -> None:
    verdicts = [parameters.findings(posterior(2 * seed), posterior(2 * seed + 1))[0].verdict for seed in range(30)]
    assert verdicts.count("disagrees") == 0
    assert verdicts.count("agrees") >= 28


@pytest.mark.parametrize("fault", [{"shift": 0.5}, {"widen": 0.6}, {"widen": 1.5}])
def test_a_shifted_or_misscaled_posterior_is_found(fault: dict[str, float]) -> None:
    for engine in ("nuts", "svi"):
        (found,) = parameters.findings(posterior(1, engine=engine, **fault), posterior(2))
        assert found.verdict == "disagrees", found


def test_the_truth_is_covered_or_not() -> None:
    right, wrong = {"theta": np.array([0.3, 4.5, -2.2])}, {"theta": np.array([0.3, 9.5, -2.2])}
    (found,) = truth_check.findings(posterior(1), truth=right)
    assert found.verdict == "agrees"
    assert "cover 3 of 3" in found.why
    (found,) = truth_check.findings(posterior(1), truth=wrong)
    assert found.verdict == "disagrees"
    assert found.worst == "theta[1]"


def test_the_truth_is_rejected_at_the_rate_that_is_claimed() -> None:
    random, rejected = np.random.default_rng(5), 0
    for seed in range(200):
        truth = {"theta": random.standard_normal(3) + np.array([0.0, 5.0, -2.0])}
        rejected += truth_check.findings(posterior(seed), truth=truth)[0].verdict == "disagrees"
    assert rejected <= 2  # 200 * 0.001 expected


def test_independent_chains_converge_and_stuck_ones_do_not() -> None:
    assert convergence.findings(posterior(3))[0].verdict == "agrees"
    apart = posterior(3)
    apart["posterior"]["theta"].values[0] += 1.0
    found = convergence.findings(apart)[0]
    assert found.verdict == "disagrees"
    assert "R-hat" in found.why
    slow = posterior(3)
    slow["posterior"]["theta"].values[:] = np.repeat(slow["posterior"]["theta"].values[:, :50], 20, axis=1)
    assert convergence.findings(slow)[0].verdict in ("undecided", "disagrees")


def test_divergences_are_not_passed_over() -> None:
    tree = posterior(3)
    flags = np.zeros((4, 1000), bool)
    flags[0, 7] = True
    tree["sample_stats"] = xr.DataTree(xr.Dataset({"diverging": (("chain", "draw"), flags)}))
    assert convergence.findings(tree)[0].verdict == "undecided"


def test_a_chain_that_is_not_a_number_has_not_converged() -> None:
    tree = posterior(3)
    tree["posterior"]["theta"].values[2, :, 1] = np.inf
    with np.errstate(invalid="ignore"):
        assert convergence.findings(tree)[0].verdict == "disagrees"


def test_a_constant_up_to_rounding_is_no_failure() -> None:
    """A probability that is always one, computed as a sum."""
    tree = posterior(3)
    values = np.ones((4, 1000))
    values[1] -= np.finfo(float).eps
    tree["posterior"]["theta"].values[..., 1] = values
    assert convergence.findings(tree)[0].verdict == "agrees"
    tree["posterior"]["theta"].values[1, :, 1] = 0.9
    assert convergence.findings(tree)[0].verdict == "disagrees"


def test_a_constant_is_no_failure() -> None:
    tree = posterior(3)
    tree["posterior"]["theta"].values[..., 0] = 1.0
    found = convergence.findings(tree)[0]
    assert found.verdict == "agrees"
    assert "1 entry never varied" in found.why


def test_the_evidence_bounds_the_elbo() -> None:
    exact = posterior(0, engine="exact", log_evidence=-100.0)
    good = posterior(0, engine="svi", elbo=-100.01, elbo_mcse=0.005)
    bad = posterior(0, engine="svi", elbo=-103.0, elbo_mcse=0.05)
    impossible = posterior(0, engine="svi", elbo=-99.0, elbo_mcse=0.05)
    noisy = posterior(0, engine="svi", elbo=-100.05, elbo_mcse=0.2)
    verdicts = [evidence.findings(tree, exact)[0].verdict for tree in (good, bad, impossible, noisy)]
    assert verdicts == ["agrees", "disagrees", "disagrees", "undecided"]
    assert evidence.findings(posterior(0), exact) == []
    assert evidence.findings(posterior(0, engine="svi", elbo=1.0, elbo_mcse=1.0, question=STATES), exact) == []


def test_all_checks_together_and_their_table() -> None:
    findings = check(posterior(1), against=posterior(2), truth={"theta": np.array([0.0, 5.0, -2.0])})
    assert [row.quantity for row in findings] == [
        "convergence", "smoothed beliefs, averaged", "parameters theta", "parameters theta",
    ]  # fmt: skip
    assert {row.verdict for row in findings} == {"agrees"}
    assert "agrees" in repr(findings)
    assert from_dataset(as_dataset(findings)) == findings or np.isnan([row.p for row in findings]).any()
