"""Comparison of learned parameters with a reference's: one engine's posterior against another's.

By the 2-Wasserstein distance of each parameter's marginal (as if Gaussian), in the reference's standard deviations.
"""

import arviz_stats  # noqa: F401  (registers the accessor `.azstats`)
import numpy as np
import xarray as xr

from ppl_worldmodel.checks.verdict import Finding, Verdict, joint_p, judge, two_sided_p
from ppl_worldmodel.infer.result_tree import PARAMETERS
from ppl_worldmodel.program.coordinates import entry_names

CONSTANT = 1e-13  # relative: an entry that varies by less counts as constant


def findings(
    candidate: xr.DataTree,
    reference: xr.DataTree,
    *,
    tolerance_sd: float = 0.25,
    converged: Verdict = "agrees",
    doubt: str = "",
) -> list[Finding]:
    """One finding over all entries of all parameters that both learned.

    Entries that are the same constant in both, such as the zeros of a Cholesky factor, are left out and named. If there are no
    others, there is no finding; nor is there one about a result that learned nothing.
    doubt  why nothing can be decided with this reference (see `verdict.judge`)
    """
    if candidate.attrs["question"] != PARAMETERS:
        return []
    here, there = candidate["posterior"].to_dataset(), reference["posterior"].to_dataset()
    names = [str(name) for name in here.data_vars if name in there.data_vars]
    if not names:
        return []
    z, distance, error, labels, ess, constants = [], [], [], [], [], []
    with np.errstate(invalid="ignore", divide="ignore"):  # what is not a number stays so, and is no agreement
        for name in names:
            (mean, sd, mean_error, sd_error), (mean_ref, sd_ref, mean_error_ref, sd_error_ref) = (
                _moments(posterior[name]) for posterior in (here, there)
            )
            shift, widening = mean - mean_ref, sd - sd_ref
            still, still_ref = constant(here[name]), constant(there[name])
            same = still & still_ref & (np.abs(shift) <= 1e-9 * (1.0 + np.abs(mean_ref)))
            mean_error, sd_error, mean_error_ref, sd_error_ref = (
                _known(each, never)
                for each, never in (
                    (mean_error, still), (sd_error, still), (mean_error_ref, still_ref), (sd_error_ref, still_ref)
                )
            )  # fmt: skip
            shift_error, widening_error = np.hypot(mean_error, mean_error_ref), np.hypot(sd_error, sd_error_ref)
            scale = np.where(still_ref, 0.0, sd_ref)
            off, kept = np.hypot(shift, widening), ~same
            z.append(np.stack([shift / shift_error, widening / widening_error])[:, kept])
            distance.append((off / scale)[kept])
            error.append(np.where(scale > 0, np.hypot(shift_error, widening_error) / scale, np.inf)[kept])
            every = entry_names({name: mean})
            labels += [label for label, keep in zip(every, kept.ravel(), strict=True) if keep]
            constants += [label for label, keep in zip(every, kept.ravel(), strict=True) if not keep]
            ess.append(here[name].azstats.ess(method="mean").values[kept])
        scores, distances = np.concatenate(z, axis=1), np.concatenate(distance)
        p = joint_p(two_sided_p(scores))
    what = f"parameters {', '.join(names)}"
    if not labels:
        return []
    approximate = candidate.attrs["law"] == "approximation"
    draws = candidate["posterior"].sizes["chain"] * candidate["posterior"].sizes["draw"]
    verdict, upper, why = judge(
        p=p, distance=distances, error=np.concatenate(error), tolerance=tolerance_sd, exact_in_the_limit=not approximate,
        draws=draws, converged=converged, ess=float(np.concatenate(ess).min()), doubt=doubt,
    )  # fmt: skip
    return [
        Finding(
            candidate=candidate.attrs["engine"], reference=reference.attrs["engine"], quantity=what, about="parameters",
            n=len(labels), worst=labels[int(distances.argmax())], z=float(np.abs(scores).max()), p=p,
            distance=float(distances.max()), upper=upper, tolerance=tolerance_sd, unit="standard deviations", verdict=verdict,
            why=why + left_out(constants),
        )
    ]  # fmt: skip


def constant(draws: xr.DataArray) -> np.ndarray:
    """Which entries never varied in any chain, up to rounding; infinite and NaN entries count as varying."""
    low, high = draws.min(("chain", "draw"), skipna=False).values, draws.max(("chain", "draw"), skipna=False).values
    return np.asarray(high - low <= CONSTANT * np.maximum(np.abs(low), np.abs(high)))


def _known(error: np.ndarray, never: np.ndarray) -> np.ndarray:
    """Standard errors, infinite where they are unknown: of entries that never varied, and where there is none."""
    return np.where(never | ~(error > 0), np.inf, error)


def left_out(labels: list[str]) -> str:
    if not labels:
        return ""
    named = ", ".join(labels[:4]) + (f" and {len(labels) - 4} more" if len(labels) > 4 else "")
    return f"; constant, and left out: {named}"


def _moments(draws: xr.DataArray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean and standard deviation of each entry, and their Monte Carlo standard errors."""
    mean, sd = draws.mean(("chain", "draw")).values, draws.std(("chain", "draw"), ddof=1).values
    return mean, sd, draws.azstats.mcse(method="mean").values, draws.azstats.mcse(method="sd").values
