"""Does anything agree with what is not a number?  NaN, infinities, constants and negative variances planted in results."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as some

from ppl_worldmodel import check
from ppl_worldmodel.checks.check import closed
from ppl_worldmodel.checks.verdict import Finding
from ppl_worldmodel.infer.result_tree import PARAMETERS, STATES

from ..agreement import law_of

TIME, STATES_OF, CHAINS, DRAWS = 12, 3, 4, 400
KINDS = ("predicted", "filtered", "smoothed")
EVERY = ("gibbs", "nuts", "smc", "svi", "exact", "nuts, learned", "svi, learned")
TRUTH = {"theta": np.array([0.0, 5.0, -2.0]), "chol": np.array([[1.0, 0.0], [0.3, 0.95]])}


def result(engine: str, family: str, seed: int, reference: bool = False) -> xr.DataTree:
    """What an engine that is right would return: an imaginary answer and, of a sampler, a little noise with its error."""
    called, learned = engine.split(",")[0], "learned" in engine
    random, noise = np.random.default_rng(seed), 0.0 if called == "exact" else 0.001
    beliefs: dict[str, Any] = {}
    for number, kind in enumerate(KINDS):
        if family == "FiniteState":
            right = np.random.default_rng(number).dirichlet(np.full(STATES_OF, 4.0), TIME)
            shift = random.normal(0.0, noise, right.shape)
            beliefs[kind] = (("time", "state"), right + shift - shift.mean(axis=-1, keepdims=True))
            shape, dims = right.shape, ("time", "state")
            ess = np.full(shape, 0.2 / 0.001**2)
        else:
            shape, dims = (TIME, 2), ("time", "dim")
            right = np.random.default_rng(number).normal(0.0, 3.0, shape)
            beliefs[kind] = (dims, right + random.normal(0.0, noise, shape))
            own = np.eye(2) * (1.0 + random.normal(0.0, noise, (TIME, 1, 1)))
            beliefs[f"{kind}_covariance"] = (("time", "dim", "dim_bis"), own)
            beliefs[f"{kind}_variance_mcse"], ess = (dims, np.full(shape, 0.001)), np.full(shape, 1e6)
        if noise:
            beliefs[f"{kind}_mcse"], beliefs[f"{kind}_ess"] = (dims, np.full(shape, 0.001)), (dims, ess)
    theta = random.standard_normal((CHAINS, DRAWS, 3)) + TRUTH["theta"]
    chol = np.broadcast_to(TRUTH["chol"], (CHAINS, DRAWS, 2, 2)).copy()
    chol[..., 1, :] += 0.1 * random.standard_normal((CHAINS, DRAWS, 2))
    tree = xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset(
                {"theta": (("chain", "draw", "entry"), theta), "chol": (("chain", "draw", "row", "column"), chol)}
            ),
            "beliefs": xr.Dataset(beliefs),
            "log_likelihood": xr.Dataset(
                {"log_predictive": (("chain", "draw", "time"), random.normal(-1.0, 0.01, (32, 1, TIME)))}
            ),
        }
    )
    if not learned:
        del tree["posterior"]["chol"]
    tree.attrs = {
        "engine": called, "law": law_of(called), "question": PARAMETERS if learned else STATES, "family": family,
        "log_evidence": -12.0,
        "beliefs_from": "exact beliefs averaged over draws" if learned else "draws of the states",
    }  # fmt: skip
    if called == "svi":
        tree.attrs |= {"elbo": -12.001, "elbo_mcse": 0.0005, "pareto_k": 0.3, "loss_change": 0.0}
    if called == "smc":
        tree.attrs |= {
            "log_evidence_mcse": 0.01, "num_particles": 2000, "num_replicates": 32, "replicates_lost": 0, "smallest_ess": 900.0,
            "smallest_ess_time": 3,
        }  # fmt: skip
    return tree


def about(finding: Any, where: str) -> bool:
    """Does this finding judge what stands there?"""
    if where in KINDS:
        return finding.quantity.startswith(f"{where} beliefs")
    return {
        "posterior": "parameters" in finding.quantity
        or (finding.quantity == "convergence" and finding.candidate != "svi"),
        "evidence": "evidence" in finding.quantity,
        "pareto_k": finding.about == "reweighting",
        "smallest_ess": finding.quantity == "convergence",
    }[where]


def checked(candidate: xr.DataTree, reference: xr.DataTree) -> tuple:
    learned = candidate.attrs["question"] == PARAMETERS
    return check(candidate, against=reference, truth=TRUTH if learned else None)


@pytest.mark.parametrize("family", ["FiniteState", "LinearGaussian"])
@pytest.mark.parametrize("engine", EVERY)
def test_without_a_plant_everything_agrees(engine: str, family: str) -> None:
    other = "nuts, learned" if "learned" in engine else "exact"
    found = checked(result(engine, family, 1), result(other, family, 2))
    assert found
    assert {row.verdict for row in found} == {"agrees"}, found
    if "learned" in engine:
        named = [row.why for row in found if row.quantity.startswith("parameters")]
        assert all("constant, and left out: chol[0, 0], chol[0, 1]" in why for why in named)


PLANTS = {"NaN": np.nan, "inf": np.inf, "-inf": -np.inf, "negative": -0.5}


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(data=some.data())
def test_nothing_agrees_that_judges_what_is_not_a_number(data: some.DataObject) -> None:
    engine, family = (
        data.draw(some.sampled_from(EVERY)),
        data.draw(some.sampled_from(["FiniteState", "LinearGaussian"])),
    )
    other = "nuts, learned" if "learned" in engine else "exact"
    trees = [result(engine, family, 1), result(other, family, 2)]
    place = data.draw(some.sampled_from([0, 1]), label="candidate or reference")
    tree, value = trees[place], PLANTS[data.draw(some.sampled_from(list(PLANTS)))]
    groups = ["beliefs", "posterior"] if "learned" in engine else ["beliefs"]
    flat = [
        name for name in ("elbo", "elbo_mcse", "log_evidence_mcse", "pareto_k", "smallest_ess") if name in tree.attrs
    ]
    flat += ["log_evidence"] if engine in ("smc", "exact", "svi") and (place == 1 or engine != "svi") else []
    where = data.draw(some.sampled_from([*groups, *flat]))
    if where == "beliefs":
        # Those that are compared: predicted ones only where they were sampled.
        kinds = KINDS[1:] if "learned" in engine or engine == "exact" else KINDS
        kind = data.draw(some.sampled_from(kinds))
        own = [str(name) for name in tree["beliefs"].data_vars if str(name).startswith(kind)]
        name = data.draw(
            some.sampled_from(
                [
                    name
                    for name in own
                    if not (name.endswith("_ess") and family != "FiniteState")
                    # An exact answer has no Monte Carlo errors: those of this one, made by hand, are judged by nothing.
                    and not (tree.attrs["law"] == "exact" and name.endswith(("_ess", "_mcse")))
                ]
            )
        )
        array = tree["beliefs"][name].values
        if name.endswith("covariance"):
            at: tuple = (data.draw(some.integers(0, TIME - 1)), *[data.draw(some.integers(0, 1))] * 2)
        else:
            at = tuple(data.draw(some.integers(0, size - 1)) for size in array.shape)
        if name.endswith("_ess") or (value == -0.5 and name == kind and family != "FiniteState"):
            value = np.nan  # a mean may be negative; an effective size that is not told makes the error unknown
        array[at] = value
        if name.endswith("_ess"):
            tree["beliefs"][f"{kind}_mcse"].values[at] = np.nan
        where = kind
    elif where == "posterior":
        array = tree["posterior"]["theta"].values
        array[tuple(data.draw(some.integers(0, size - 1)) for size in array.shape)] = np.nan if value == -0.5 else value
    else:
        value = np.nan if value == -0.5 and not where.endswith("mcse") else value
        tree.attrs[where] = np.inf if where == "smallest_ess" and value == -np.inf else value
        if where == "smallest_ess" and np.isinf(value):
            return
        where = "evidence" if where not in ("pareto_k", "smallest_ess") else where
        if where == "pareto_k" and value == -np.inf:
            return
    findings = [row for row in checked(*trees) if about(row, where)]
    assert findings
    against_truth = [row for row in findings if row.reference == "truth"]
    wrong = [row for row in findings if row.verdict == "agrees"]
    # Draws of the reference are not held against the truth, and its convergence is a reason and no row.
    allowed = [*against_truth, *(row for row in findings if row.quantity == "convergence")] if place == 1 else []
    assert [row for row in wrong if row not in allowed] == []


@pytest.mark.parametrize("place", [0, 1])
def test_a_constant_where_the_other_varies_decides_nothing(place: int) -> None:
    trees = [result("nuts, learned", "FiniteState", seed) for seed in (1, 2)]
    trees[place]["posterior"]["theta"].values[..., 1] = 5.0
    (found,) = (row for row in checked(*trees) if row.quantity.startswith("parameters") and row.reference == "nuts")
    assert found.verdict != "agrees"


def test_constants_that_differ_disagree_with_each_other_and_with_the_truth() -> None:
    trees = [result("nuts, learned", "FiniteState", seed) for seed in (1, 2)]
    trees[0]["posterior"]["chol"].values[..., 0, 0] = 1.2
    found = {row.reference: row for row in checked(*trees) if row.quantity.startswith("parameters")}
    assert found["nuts"].verdict != "agrees"
    assert found["truth"].verdict == "disagrees"
    assert "chol[0, 0] never varied" in found["truth"].why


def test_nothing_is_decided_against_a_reference_that_has_not_converged() -> None:
    candidate, reference = result("svi, learned", "FiniteState", 1), result("nuts, learned", "FiniteState", 2)
    reference["posterior"]["theta"].values[0] += 3.0
    rows = [row for row in checked(candidate, reference) if row.reference == "nuts"]
    assert {row.verdict for row in rows} == {"undecided"}
    assert all("the reference, nuts, has not converged" in row.why for row in rows)


def test_no_check_can_agree_on_what_is_not_a_number() -> None:
    row = Finding(candidate="a", reference="b", quantity="anything", about="evidence", verdict="agrees", why="fine")
    assert closed(row).verdict == "undecided"
    assert closed(row._replace(distance=0.0)).verdict == "agrees"
    assert closed(row._replace(verdict="disagrees")).verdict == "disagrees"


def test_a_negative_error_is_unknown_at_every_step_and_state() -> None:
    """Also of a state that hardly any particle reached, whose own error is not taken at its word."""
    for place in np.ndindex(TIME, 2):
        candidate, reference = result("smc", "FiniteState", 1), result("exact", "FiniteState", 2)
        candidate["beliefs"]["predicted_mcse"].values[place] = -np.inf
        rows = [row for row in checked(candidate, reference) if row.quantity.startswith("predicted")]
        assert rows
        assert not [row for row in rows if row.verdict == "agrees"]
