"""Checks of the log evidence: a guide's gap, KL(guide, posterior) = log evidence - ELBO, and a particle filter's estimate.

The tolerance of the gap follows from that of the beliefs: shifting each of n coordinates by d standard deviations is a divergence
of n d^2 / 2 nats.
"""

import numpy as np
import xarray as xr

from ppl_worldmodel.checks.verdict import Finding, Verdict, judge, two_sided_p

NATS = 0.1  # a Bayes factor of 1.1


def findings(
    candidate: xr.DataTree,
    reference: xr.DataTree,
    *,
    tolerance_sd: float = 0.25,
    converged: Verdict = "agrees",
    doubt: str = "",
) -> list[Finding]:
    """One finding if the candidate has an ELBO or an estimate, and the reference the exact log evidence of the same question.

    doubt  why nothing can be decided with this reference (see `verdict.judge`)
    """
    if "log_evidence_mcse" in candidate.attrs and "log_evidence" in reference.attrs:
        return [_of_particles(candidate, reference, converged, doubt)]
    if candidate.attrs["law"] == "exact" and candidate.attrs["question"] == reference.attrs["question"]:
        return _of_recursion(candidate, reference)
    if (
        "elbo" not in candidate.attrs
        or "log_evidence" not in reference.attrs
        or candidate.attrs["question"] != reference.attrs["question"]
    ):
        return []
    gap, error = reference.attrs["log_evidence"] - candidate.attrs["elbo"], candidate.attrs["elbo_mcse"]
    coordinates = sum(
        int(np.prod(values.shape[2:])) for values in candidate["posterior"].to_dataset().data_vars.values()
    )
    tolerance = coordinates * tolerance_sd**2 / 2.0
    upper = gap + 2.0 * error
    verdict: Verdict = "agrees"
    why = f"KL from the guide to the posterior is at most {upper:.2g} nats"
    if not np.isfinite([gap, error]).all() or error < 0:
        verdict, why = (
            "undecided",
            f"the log evidence or the ELBO is not finite (ELBO {candidate.attrs['elbo']:.3g} +- {error:.2g})",
        )
    elif doubt:
        verdict, why = "undecided", doubt
    elif gap < -4.0 * error - 1e-8 * abs(reference.attrs["log_evidence"]):
        verdict, why = "disagrees", f"the ELBO lies {-gap:.3g} nats above the log evidence, which is impossible"
    elif not gap - 2.0 * error <= tolerance:
        verdict, why = (
            "disagrees",
            f"KL from the guide to the posterior is {gap:.3g} nats, more than {tolerance:.2g} ({coordinates} coordinates)",
        )
    elif not upper <= tolerance:
        verdict, why = "undecided", "Monte Carlo error of the ELBO is too large to tell"
    return [
        Finding(
            candidate=candidate.attrs["engine"], reference=reference.attrs["engine"], quantity="evidence - ELBO", about="ELBO",
            z=gap / error if error else float("nan"), distance=gap, upper=upper, tolerance=tolerance, unit="nats",
            verdict=verdict, why=why,
        )
    ]  # fmt: skip


def _of_particles(candidate: xr.DataTree, reference: xr.DataTree, converged: Verdict, doubt: str) -> Finding:
    """A particle filter's estimate, which is exact in the limit; its tolerance is what changes a probability by a tenth."""
    said, exact = candidate.attrs, float(reference.attrs["log_evidence"])
    gap, error = np.array([said["log_evidence"] - exact]), np.array([said["log_evidence_mcse"]])
    rounding = np.isfinite(gap) & (np.abs(gap) <= 1e-9 * (1.0 + abs(exact)))
    # Without any spread between replicates, or with a single one, the error is unknown, unless the gap is rounding error.
    error = np.where(error > 0, error, np.where(rounding & (error == 0), 0.0, np.inf))
    z = np.where(rounding, 0.0, gap / np.where(error > 0, error, 1.0))
    p = float(two_sided_p(z, said["num_replicates"] - 1.0)[0])
    verdict, upper, why = judge(
        p=p, distance=np.abs(gap), error=error, tolerance=NATS, exact_in_the_limit=True,
        draws=int(said["num_replicates"]) * int(said["num_particles"]), converged=converged, doubt=doubt,
    )  # fmt: skip
    return Finding(
        candidate=said["engine"], reference=reference.attrs["engine"], quantity="log evidence", about="evidence",
        z=float(np.abs(z)[0]), p=p, distance=float(np.abs(gap)[0]), upper=upper, tolerance=NATS, unit="nats", verdict=verdict,
        why=why,
    )  # fmt: skip


def _of_recursion(candidate: xr.DataTree, reference: xr.DataTree) -> list[Finding]:
    """Another exact answer, of another precision or recursion: it differs by rounding."""
    if "log_evidence" not in reference.attrs:
        return []
    gap = abs(float(candidate.attrs["log_evidence"]) - float(reference.attrs["log_evidence"]))
    verdict: Verdict = "agrees" if gap <= NATS else "disagrees"  # NaN is no agreement
    why = f"rounding of {gap:.1g} nats"
    if not np.isfinite(float(reference.attrs["log_evidence"])):
        verdict, why = "undecided", "the log evidence of the reference is not finite"
    elif verdict == "disagrees":
        why = f"off by {gap:.3g} nats, more than {NATS}: too few digits, or another model"
    return [
        Finding(
            candidate=candidate.attrs["engine"], reference=reference.attrs["engine"], quantity="log evidence", about="evidence",
            distance=gap, upper=gap, tolerance=NATS, unit="nats", verdict=verdict, why=why,
        )
    ]  # fmt: skip
