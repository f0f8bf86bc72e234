"""Verdicts on a candidate against a reference: a joint test of Monte Carlo error, and an equivalence test with tolerance.

A verdict is one of three. With an engine that is exact in the limit (MCMC), a difference that Monte Carlo error cannot explain
(joint p < ALPHA) is `disagrees`, however small: something is wrong. Otherwise it `agrees` if the upper 95 % limit of every
distance is within the tolerance, and is `undecided` if one is not; then it says how many draws would do. All limits must be within
the tolerance, so none is widened for their number (an intersection-union test: Berger 1982, Technometrics 24).
An approximation (SVI) is never exact, so it is judged by its distance alone.

Verdicts fail closed: if a judged quantity is NaN, or its Monte Carlo error is unknown, the verdict is not `agrees`.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import special, stats

Verdict = Literal["agrees", "disagrees", "undecided"]

ALPHA = 1e-3  # level of the joint test of one quantity
LARGE = 0.99  # a larger p-value counts as this one
ONE_SIDED = float(stats.norm.isf(0.05))  # standard errors up to an upper 95 % limit


About = Literal[
    "beliefs", "evidence", "ELBO", "parameters", "truth", "chains", "particles", "reweighting", "labels", "data", "calibration",
    "refusal", "fault",
]  # fmt: skip
DRAWS: tuple[About, ...] = ("chains", "particles", "reweighting")  # what is about an engine's own draws
FAILED: tuple[About, ...] = ("refusal", "fault")


class Finding(NamedTuple):
    """One row of the table: what was compared with what, and what came of it. Built by keyword; NaN is what does not apply.

    quantity   what was compared, for people; about: of which kind that is, for code
    n          how many numbers were compared
    worst      where the difference is largest
    z          the largest difference in its Monte Carlo standard errors
    p          joint p-value of all of them, valid under dependence
    distance   the largest distance, in `unit`; upper: the largest of the n upper 95 % limits
    ess        the fewest effective draws of any entry, where chains are judged
    tolerance  the distance that is still called agreement, in the same unit
    """

    candidate: str
    reference: str
    quantity: str
    about: About
    verdict: Verdict
    why: str
    n: int = 1
    worst: str = "-"
    z: float = float("nan")
    p: float = float("nan")
    distance: float = float("nan")
    upper: float = float("nan")
    ess: float = float("nan")
    tolerance: float = float("nan")
    unit: str = ""


def joint_p(p_values: np.ndarray) -> float:
    """One p-value from many dependent ones: the Cauchy combination (Liu & Xie 2020, J. Amer. Statist. Assoc. 115).

    NaN if one of them is NaN, or there is none: an unknown one is not left out.
    Truncated at LARGE (Fang et al. 2023, Statistica Sinica 33): p-values of discrete draws are often exactly one, and a single
    one of those would outweigh any number of small ones. The level hardly changes: 0.0010 to 0.0013 at 0.001 for 1000 of them.
    """
    p = np.asarray(p_values, float).ravel()
    if p.size == 0 or np.isnan(p).any():
        return float("nan")
    p = np.clip(p, 1e-300, LARGE)
    terms = np.where(p < 1e-15, 1.0 / (p * np.pi), np.tan((0.5 - p) * np.pi))
    return float(stats.cauchy.sf(terms.mean()))


def binomial_p(share: np.ndarray, probability: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Two-sided p-value of a share of (effective, so possibly fractional) draws under a probability; exact for rare events."""
    share, probability, draws = np.broadcast_arrays(share, probability, draws)
    hits = share * draws
    with np.errstate(invalid="ignore", divide="ignore"):
        at_most = np.where(
            hits >= draws, 1.0, special.betainc(np.maximum(draws - hits, 1e-300), hits + 1.0, 1.0 - probability)
        )
        at_least = np.where(hits <= 0, 1.0, special.betainc(np.maximum(hits, 1e-300), draws - hits + 1.0, probability))
    return np.asarray(np.minimum(1.0, 2.0 * np.minimum(at_most, at_least)))


def two_sided_p(z: np.ndarray, freedom: float = np.inf) -> np.ndarray:
    """Two-sided p-value of z-scores whose standard errors have `freedom` degrees of freedom (Student's t)."""
    return np.asarray(2.0 * stats.t.sf(np.abs(z), freedom))


def limit(number: int) -> float:
    """How many standard errors to subtract so that all of `number` lower 95 % limits hold at once (Bonferroni)."""
    return float(stats.norm.isf(0.05 / max(number, 1)))


def judge(
    *,
    p: float,
    distance: np.ndarray,
    error: np.ndarray,
    tolerance: float,
    exact_in_the_limit: bool,
    draws: int,
    converged: Verdict,
    ess: float = float("nan"),
    doubt: str = "",
    largest: float = float("inf"),
) -> tuple[Verdict, float, str]:
    """(verdict, upper confidence limit of the worst distance, why), from all distances and their standard errors.

    converged is the verdict on the draws themselves: chains that are apart say nothing about anything else; chains that are
    merely short may still show a difference, but no agreement. `draws` and `ess`, the fewest effective draws of any quantity, only
    appear in the message. An infinite standard error is an unknown one.

    doubt    why nothing can be decided, whatever the numbers say; empty if nothing speaks against a verdict
    largest  the upper bound of a distance: no upper limit is above it
    """
    distance, error = np.asarray(distance, float).ravel(), np.asarray(error, float).ravel()
    if distance.size == 0:
        return "undecided", float("nan"), "nothing was compared"
    wrong = np.isnan(distance) | np.isnan(error) | (error < 0)
    if wrong.any() or np.isnan(p):
        count = f"{wrong.sum()} of {distance.size} differences are" if wrong.any() else "the joint p-value is"
        return "undecided", float("nan"), f"{count} not a number{f': {doubt}' if doubt else ''}"
    wide = float((distance + ONE_SIDED * error).max())
    upper = min(wide, largest)
    if doubt:
        return "undecided", upper, doubt
    known = np.isfinite(error)
    lower = float((distance[known] - limit(distance.size) * error[known]).max(initial=-np.inf))
    effective = f", at least {ess:,.0f} effective" if np.isfinite(ess) else ""
    noise = f"standard error {error[int(distance.argmax())]:.2g} from {draws:,} draws{effective}"
    if exact_in_the_limit and converged == "disagrees":
        return "undecided", upper, "the draws are no basis for a verdict: see the row on convergence"
    if exact_in_the_limit and p < ALPHA:
        return "disagrees", upper, f"beyond Monte Carlo error (joint p = {_p(p)}; {noise})"
    if not exact_in_the_limit and lower > tolerance:
        return "disagrees", upper, f"the approximation is off by {distance.max():.2g}, more than {tolerance:.2g}"
    if converged != "agrees":
        return "undecided", upper, "the draws are too few, or too alike: see the row on convergence"
    if not known.all():
        count = f"of {(~known).sum()} of {error.size} quantities "
        return "undecided", upper, f"the Monte Carlo error {count}is not known: they never varied"
    if not np.isfinite(distance).all():
        return "undecided", upper, "a distance is infinite, and it is not known whether by chance"
    if upper > tolerance:
        needed = draws * (wide / tolerance) ** 2
        return (
            "undecided",
            upper,
            f"Monte Carlo error too large to tell ({noise}): about {_round_up(needed):,} draws would",
        )
    if exact_in_the_limit:
        return "agrees", upper, f"within Monte Carlo error (joint p = {_p(p)}) and within {upper:.2g} ({noise})"
    return "agrees", upper, f"the approximation is within {upper:.2g} ({noise})"


def disagreement(findings: Any) -> bool:
    """Is there a finding that does not agree?"""
    return any(finding.verdict != "agrees" for finding in findings)


def _p(p: float) -> str:
    return f"{p:.2f}" if p >= 0.01 else f"{p:.1g}"


def _round_up(draws: float) -> int:
    size = 10 ** max(int(np.floor(np.log10(max(draws, 1.0)))) - 1, 0)
    return int(np.ceil(draws / size) * size)
