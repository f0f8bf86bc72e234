"""Are the learned parameters right?  Against the truth of a simulation, and one engine's posterior against another's.

Against the truth: how often the central 90 % intervals cover it, and a joint test that the truth is a plausible draw. Against
another engine: the 2-Wasserstein distance of each parameter's marginal (as if Gaussian), in the reference's standard deviations.
"""

from collections.abc import Mapping

import arviz_stats  # noqa: F401  (registers the accessor `.azstats`)
import numpy as np
import xarray as xr

from ppl_worldmodel.checks.verdict import ALPHA, Finding, Verdict, joint_p, judge, two_sided_p


def findings(
    candidate: xr.DataTree,
    reference: xr.DataTree,
    *,
    tolerance_sd: float = 0.25,
    converged: Verdict = "agrees",
) -> list[Finding]:
    """One finding over all entries of all parameters that both learned."""
    here, there = candidate["posterior"].to_dataset(), reference["posterior"].to_dataset()
    names = [str(name) for name in here.data_vars if name in there.data_vars]
    if not names:
        return []
    z, distance, error, labels, ess = [], [], [], [], []
    for name in names:
        moments = [_moments(posterior[name]) for posterior in (here, there)]
        (mean, sd, mean_error, sd_error), (mean_ref, sd_ref, mean_error_ref, sd_error_ref) = moments
        shift, widening = mean - mean_ref, sd - sd_ref
        shift_error, widening_error = np.hypot(mean_error, mean_error_ref), np.hypot(sd_error, sd_error_ref)
        z.append(np.concatenate([(shift / shift_error).ravel(), (widening / widening_error).ravel()]))
        distance.append((np.hypot(shift, widening) / sd_ref).ravel())
        error.append((np.hypot(shift_error, widening_error) / sd_ref).ravel())
        labels.extend(_labels(name, mean.shape))
        ess.append(np.nanmin(here[name].azstats.ess(method="mean").values))
    scores, distances = np.concatenate(z), np.concatenate(distance)
    p = joint_p(two_sided_p(scores))
    approximate = candidate.attrs["engine"].startswith("svi")
    draws = candidate["posterior"].sizes["chain"] * candidate["posterior"].sizes["draw"]
    verdict, upper, why = judge(
        p=p, distance=distances, error=np.concatenate(error), tolerance=tolerance_sd, exact_in_the_limit=not approximate,
        draws=draws, converged=converged, ess=float(min(ess)),
    )  # fmt: skip
    return [
        Finding(
            candidate.attrs["engine"], reference.attrs["engine"], f"parameters {', '.join(names)}", len(labels),
            labels[int(distances.argmax())], float(np.abs(scores).max()), p, float(distances.max()), upper, tolerance_sd,
            "standard deviations", verdict, why,
        )
    ]  # fmt: skip


def against_truth(
    candidate: xr.DataTree, truth: Mapping[str, np.ndarray], *, converged: Verdict = "agrees"
) -> list[Finding]:
    """Could the truth be a draw from the posterior?  Its quantile in each marginal, with the coverage of 90 % intervals."""
    posterior = candidate["posterior"].to_dataset()
    names = [name for name in truth if name in posterior.data_vars]
    if not names:
        return []
    quantiles, labels, shifts = [], [], []
    for name in names:
        draws = posterior[name].values.reshape(-1, *np.shape(truth[name]))
        below = (draws < truth[name]).mean(axis=0)
        quantiles.append(np.ravel(below))
        shifts.append(np.ravel((draws.mean(axis=0) - truth[name]) / draws.std(axis=0)))
        labels.extend(_labels(name, np.shape(truth[name])))
    quantile, shift = np.concatenate(quantiles), np.concatenate(shifts)
    total = posterior.sizes["chain"] * posterior.sizes["draw"]
    p_each = np.maximum(
        2.0 * np.minimum(quantile, 1.0 - quantile), 1.0 / total
    )  # a quantile is known to one draw at best
    p = joint_p(p_each)
    covered = int(((quantile >= 0.05) & (quantile <= 0.95)).sum())
    verdict, why = "agrees", f"90 % intervals cover {covered} of {len(labels)} true values (joint p = {p:.2g})"
    if p < ALPHA:
        verdict, why = "disagrees", f"the truth is implausible under the posterior: {why}"
    if converged != "agrees":
        verdict, why = "undecided", f"the draws have not converged; {why}"
    return [
        Finding(
            candidate.attrs["engine"], "truth", f"parameters {', '.join(names)}", len(labels), labels[int(p_each.argmin())],
            float(np.abs(shift).max()), p, float(np.abs(shift).max()), float("nan"), float("nan"), "posterior standard deviations",
            verdict, why,  # type: ignore[arg-type]
        )
    ]  # fmt: skip


def _moments(draws: xr.DataArray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean and standard deviation of each entry, and their Monte Carlo standard errors."""
    mean, sd = draws.mean(("chain", "draw")).values, draws.std(("chain", "draw"), ddof=1).values
    return mean, sd, draws.azstats.mcse(method="mean").values, draws.azstats.mcse(method="sd").values


def _labels(name: str, shape: tuple[int, ...]) -> list[str]:
    return [f"{name}{list(index) if index else ''}" for index in np.ndindex(*shape)]
