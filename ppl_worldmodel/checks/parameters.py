"""Checks of learned parameters: against the truth of a simulation, and one engine's posterior against another's.

Against the truth: how often the central 90 % intervals cover it, and a joint test that the truth is a plausible draw. Against
another engine: the 2-Wasserstein distance of each parameter's marginal (as if Gaussian), in the reference's standard deviations.
"""

from collections.abc import Mapping

import arviz_stats  # noqa: F401  (registers the accessor `.azstats`)
import numpy as np
import xarray as xr

from ppl_worldmodel.checks.verdict import ALPHA, Finding, Verdict, joint_p, judge, two_sided_p

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
    others, there is no finding.
    doubt  why nothing can be decided with this reference (see `verdict.judge`)
    """
    here, there = candidate["posterior"].to_dataset(), reference["posterior"].to_dataset()
    names = [str(name) for name in here.data_vars if name in there.data_vars]
    if not names:
        return []
    z, distance, error, labels, ess, constant = [], [], [], [], [], []
    with np.errstate(invalid="ignore", divide="ignore"):  # what is not a number stays so, and is no agreement
        for name in names:
            (mean, sd, mean_error, sd_error), (mean_ref, sd_ref, mean_error_ref, sd_error_ref) = (
                _moments(posterior[name]) for posterior in (here, there)
            )
            shift, widening = mean - mean_ref, sd - sd_ref
            still, still_ref = _constant(here[name]), _constant(there[name])
            left_out = still & still_ref & (np.abs(shift) <= 1e-9 * (1.0 + np.abs(mean_ref)))
            mean_error, sd_error, mean_error_ref, sd_error_ref = (
                _known(each, never)
                for each, never in (
                    (mean_error, still), (sd_error, still), (mean_error_ref, still_ref), (sd_error_ref, still_ref)
                )
            )  # fmt: skip
            shift_error, widening_error = np.hypot(mean_error, mean_error_ref), np.hypot(sd_error, sd_error_ref)
            scale = np.where(still_ref, 0.0, sd_ref)
            off, kept = np.hypot(shift, widening), ~left_out
            z.append(np.stack([shift / shift_error, widening / widening_error])[:, kept])
            distance.append((off / scale)[kept])
            error.append(np.where(scale > 0, np.hypot(shift_error, widening_error) / scale, np.inf)[kept])
            every = _labels(name, mean.shape)
            labels += [label for label, keep in zip(every, kept.ravel(), strict=True) if keep]
            constant += [label for label, keep in zip(every, kept.ravel(), strict=True) if not keep]
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
            why=why + _left_out(constant),
        )
    ]  # fmt: skip


def against_truth(
    candidate: xr.DataTree, truth: Mapping[str, np.ndarray], *, converged: Verdict = "agrees"
) -> list[Finding]:
    """Test that the truth could be a draw from the posterior: its quantile in each marginal, and the coverage of 90 % intervals.

    Entries that are constant and equal to their true value are left out and named. A constant that differs from it disagrees.
    """
    posterior = candidate["posterior"].to_dataset()
    names = [name for name in truth if name in posterior.data_vars]
    if not names:
        return []
    quantiles, labels, shifts, constant = [], [], [], []
    with np.errstate(invalid="ignore", divide="ignore"):
        for name in names:
            true = np.asarray(truth[name], float)
            draws = posterior[name].values.reshape(-1, *true.shape).astype(float)
            below = np.where(np.isnan(draws).any(axis=0) | np.isnan(true), np.nan, (draws < true).mean(axis=0))
            mean, still = draws.mean(axis=0), _constant(posterior[name])
            kept = ~(still & (np.abs(mean - true) <= 1e-9 * (1.0 + np.abs(true))))
            quantiles.append(np.where(still & kept, 0.0, below)[kept])
            shifts.append(((mean - true) / np.where(still, 0.0, draws.std(axis=0)))[kept])
            every = _labels(name, true.shape)
            labels += [label for label, keep in zip(every, kept.ravel(), strict=True) if keep]
            constant += [label for label, keep in zip(every, kept.ravel(), strict=True) if not keep]
    if not labels:
        return []
    quantile, shift = np.concatenate(quantiles), np.concatenate(shifts)
    total = posterior.sizes["chain"] * posterior.sizes["draw"]
    p_each = np.maximum(
        2.0 * np.minimum(quantile, 1.0 - quantile), 1.0 / total
    )  # a quantile is known to one draw at best
    p = joint_p(p_each)
    covered = int(((quantile >= 0.05) & (quantile <= 0.95)).sum())
    verdict, why = "agrees", f"90 % intervals cover {covered} of {len(labels)} true values (joint p = {p:.2g})"
    unknown = np.isnan(shift) | np.isnan(p_each)
    if unknown.any():
        verdict, why = "undecided", f"the draws or the truth of {labels[int(unknown.argmax())]} are not numbers"
    elif np.isinf(shift).any():
        verdict, why = "disagrees", f"{labels[int(np.isinf(shift).argmax())]} never varied, and is not the truth; {why}"
    elif p < ALPHA:
        verdict, why = "disagrees", f"the truth is implausible under the posterior: {why}"
    if converged != "agrees":
        verdict, why = "undecided", f"the draws have not converged; {why}"
    return [
        Finding(
            candidate=candidate.attrs["engine"], reference="truth", quantity=f"parameters {', '.join(names)}", about="truth",
            n=len(labels), worst=labels[int(p_each.argmin())], z=float(np.abs(shift).max()), p=p,
            distance=float(np.abs(shift).max()), unit="posterior standard deviations",
            verdict=verdict, why=why + _left_out(constant),  # type: ignore[arg-type]
        )
    ]  # fmt: skip


def _constant(draws: xr.DataArray) -> np.ndarray:
    """Which entries never varied in any chain, up to rounding; infinite and NaN entries count as varying."""
    low, high = draws.min(("chain", "draw"), skipna=False).values, draws.max(("chain", "draw"), skipna=False).values
    return np.asarray(high - low <= CONSTANT * np.maximum(np.abs(low), np.abs(high)))


def _known(error: np.ndarray, never: np.ndarray) -> np.ndarray:
    """Standard errors, infinite where they are unknown: of entries that never varied, and where there is none."""
    return np.where(never | ~(error > 0), np.inf, error)


def _left_out(labels: list[str]) -> str:
    if not labels:
        return ""
    named = ", ".join(labels[:4]) + (f" and {len(labels) - 4} more" if len(labels) > 4 else "")
    return f"; constant, and left out: {named}"


def _moments(draws: xr.DataArray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean and standard deviation of each entry, and their Monte Carlo standard errors."""
    mean, sd = draws.mean(("chain", "draw")).values, draws.std(("chain", "draw"), ddof=1).values
    return mean, sd, draws.azstats.mcse(method="mean").values, draws.azstats.mcse(method="sd").values


def _labels(name: str, shape: tuple[int, ...]) -> list[str]:
    return [f"{name}{list(index) if index else ''}" for index in np.ndindex(*shape)]
