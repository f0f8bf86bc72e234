"""Comparison of beliefs with a reference's: filtered with filtered, smoothed with smoothed, each step of each series.

Predicted beliefs are compared only where they were sampled. Averages over parameters are compared by the other two kinds.
"""

import xarray as xr

from ppl_worldmodel.checks.distances import Distances, averaged, distances
from ppl_worldmodel.checks.verdict import Finding, Verdict, judge
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.infer.beliefs import KINDS


def kinds(tree: xr.DataTree) -> tuple[str, ...]:
    """The kinds of belief by which this result is compared."""
    return KINDS[1:] if averaged(tree) or tree.attrs.get("law") == "exact" else KINDS


def findings(
    candidate: xr.DataTree,
    reference: xr.DataTree,
    *,
    tolerance: float = 0.05,
    tolerance_sd: float = 0.25,
    converged: Verdict = "agrees",
    doubt: str = "",
) -> list[Finding]:
    """One finding for each kind of belief that both have.

    tolerance     in total variation (finite states); tolerance_sd in standard deviations of the reference (Gaussian states).
    doubt         why nothing can be decided with this reference (see `verdict.judge`)
    Raises DataError if the two results answer different questions.
    """
    if candidate.attrs["question"] != reference.attrs["question"]:
        raise DataError(
            f"'{candidate.attrs['engine']}' answers a question about {candidate.attrs['question']}, "
            f"'{reference.attrs['engine']}' one about {reference.attrs['question']}: beliefs are compared only where both "
            "answer the same"
        )
    if candidate.attrs["family"] != reference.attrs["family"]:
        raise DataError("the two results are about states of different kinds: compare results of the same model")
    scale = tolerance if candidate.attrs["family"] == "FiniteState" else tolerance_sd
    found = [(kind, distances(kind, candidate, reference)) for kind in kinds(candidate)]
    return [
        _finding(kind, candidate, reference, each, scale, converged, doubt) for kind, each in found if each is not None
    ]


def _fewest(kind: str, candidate: xr.DataTree) -> float:
    """The fewest effective draws of any belief of this kind; NaN where they are not known."""
    beliefs = candidate["beliefs"].to_dataset()
    return float(beliefs[f"{kind}_ess"].min()) if f"{kind}_ess" in beliefs else float("nan")


def _finding(
    kind: str,
    candidate: xr.DataTree,
    reference: xr.DataTree,
    found: Distances,
    tolerance: float,
    converged: Verdict,
    doubt: str,
) -> Finding:
    posterior, each = candidate.children["posterior"].sizes, int(candidate.attrs.get("num_particles", 1))
    verdict, upper, why = judge(
        p=found.p, distance=found.distance, error=found.error, tolerance=tolerance, converged=converged,
        exact_in_the_limit=candidate.attrs["law"] != "approximation", draws=each * posterior["chain"] * posterior["draw"],
        ess=_fewest(kind, candidate), doubt=doubt or found.unreached, largest=found.largest,
    )  # fmt: skip
    worst = int(found.distance.argmax())
    return Finding(
        candidate=candidate.attrs["engine"], reference=reference.attrs["engine"],
        quantity=f"{kind} beliefs{', averaged' if averaged(candidate) else ''}", about="beliefs", n=int(found.distance.size),
        worst=found.worst, z=found.z, p=found.p, distance=float(found.distance[worst]), upper=upper, tolerance=tolerance,
        unit=found.unit, verdict=verdict, why=why,
    )  # fmt: skip
