"""Are the candidate's beliefs the reference's?  Filtered against filtered, smoothed against smoothed, every time step.

Finite states are compared by total variation, and each probability with a binomial law of its effective number of draws (so
that a state that no draw visited is no division by zero). Gaussian states are compared by the 2-Wasserstein distance of each
dimension's marginal, in units of the reference's standard deviation, and by z-scores of means and variances.
"""

import numpy as np
import xarray as xr

from ppl_worldmodel.checks.verdict import Finding, binomial_p, joint_p, judge, normal_p
from ppl_worldmodel.errors import DataError

KINDS = ("filtered", "smoothed")


def findings(
    candidate: xr.DataTree,
    reference: xr.DataTree,
    *,
    tolerance: float = 0.05,
    tolerance_sd: float = 0.25,
    converged: bool = True,
) -> list[Finding]:
    """One finding for each kind of belief that both have.

    tolerance     in total variation (finite states); tolerance_sd in standard deviations of the reference (Gaussian states).
    Raises DataError if the two results answer different questions.
    """
    if candidate.attrs["question"] != reference.attrs["question"]:
        raise DataError(
            f"'{candidate.attrs['engine']}' answers a question about {candidate.attrs['question']}, "
            f"'{reference.attrs['engine']}' one "
            f"about {reference.attrs['question']}: beliefs are compared only where both answer the same"
        )
    if candidate.attrs["family"] != reference.attrs["family"]:
        raise DataError("the two results are about states of different kinds")
    compare = _finite if candidate.attrs["family"] == "FiniteState" else _gaussian
    have = [kind for kind in KINDS if kind in candidate["beliefs"].data_vars and kind in reference["beliefs"].data_vars]
    scale = tolerance if compare is _finite else tolerance_sd
    return [compare(kind, candidate, reference, scale, converged) for kind in have]


def _finite(kind: str, candidate: xr.DataTree, reference: xr.DataTree, tolerance: float, converged: bool) -> Finding:
    here, there = _beliefs(candidate), _beliefs(reference)
    asked = np.isfinite(here[kind].values).all(axis=-1) & np.isfinite(there[kind].values).all(axis=-1)
    times = np.flatnonzero(asked)
    share, probability = here[kind].values[asked], there[kind].values[asked]
    error = np.hypot(_error(here, f"{kind}_mcse", asked), _error(there, f"{kind}_mcse", asked))
    if not _averaged(candidate):
        effective = _effective(here, kind, asked)
        error = np.maximum(error, np.sqrt(probability * (1.0 - probability) / effective))
    difference = share - probability
    z = np.divide(difference, error, out=np.zeros_like(difference), where=error > 0)
    p = joint_p(normal_p(z) if _averaged(candidate) else binomial_p(share, probability, effective))
    distance = 0.5 * np.abs(difference).sum(axis=-1)
    return _finding(
        kind,
        candidate,
        reference,
        distance,
        0.5 * error.sum(axis=-1),
        z,
        p,
        times,
        tolerance,
        "total variation",
        converged,
    )


def _gaussian(kind: str, candidate: xr.DataTree, reference: xr.DataTree, tolerance: float, converged: bool) -> Finding:
    here, there = _beliefs(candidate), _beliefs(reference)
    mean_here, mean_there = here[kind].values, there[kind].values
    variance_here, variance_there = (
        np.diagonal(group[f"{kind}_covariance"].values, axis1=-2, axis2=-1) for group in (here, there)
    )
    asked = np.isfinite(mean_here).all(axis=-1) & np.isfinite(mean_there).all(axis=-1)
    times = np.flatnonzero(asked)
    scale = np.sqrt(variance_there[asked])
    mean_error = np.hypot(_error(here, f"{kind}_mcse", asked), _error(there, f"{kind}_mcse", asked))
    variance_error = np.hypot(
        _error(here, f"{kind}_variance_mcse", asked), _error(there, f"{kind}_variance_mcse", asked)
    )
    shift, widening = (mean_here - mean_there)[asked], (variance_here - variance_there)[asked]
    known = scale <= 1e-12 * (1.0 + np.abs(mean_there[asked]))  # a state known exactly: only its mean can be wrong
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.stack(
            [
                np.where(mean_error > 0, shift / mean_error, 0.0),
                np.where(variance_error > 0, widening / variance_error, 0.0),
            ]
        )
        spread = np.sqrt(np.maximum(variance_here[asked], 0)) - scale
        distance = np.where(known, 0.0, np.hypot(shift, spread) / scale)
        error = np.where(known, 0.0, np.hypot(mean_error, variance_error / (2.0 * scale)) / scale)
    unit = "standard deviations"
    worst_z = z[np.unravel_index(np.abs(z).argmax(), z.shape)] if z.size else 0.0
    return _finding(
        kind, candidate, reference, distance.max(axis=-1), error.max(axis=-1), np.array([worst_z]), joint_p(normal_p(z)), times,
        tolerance, unit, converged,
    )  # fmt: skip


def _finding(kind, candidate, reference, distance, error, z, p, times, tolerance, unit, converged) -> Finding:
    approximate = candidate.attrs["engine"].startswith("svi")
    verdict, upper, why = judge(
        p=p,
        distance=distance,
        error=error,
        tolerance=tolerance,
        exact_in_the_limit=not approximate,
        draws=_draws(candidate),
        converged=converged,
    )
    worst = int(times[int(distance.argmax())])
    names = candidate.attrs["engine"], reference.attrs["engine"]
    z_worst = float(np.abs(z).max()) if z.size else float("nan")
    about = f"{kind} beliefs"
    if _averaged(candidate):
        about += ", averaged"
    return Finding(
        *names,
        about,
        int(distance.size),
        f"t = {worst}",
        z_worst,
        p,
        float(distance.max()),
        upper,
        tolerance,
        unit,
        verdict,
        why,
    )


def _beliefs(tree: xr.DataTree) -> xr.Dataset:
    return tree.children["beliefs"].to_dataset()


def _effective(group: xr.Dataset, kind: str, asked: np.ndarray) -> np.ndarray:
    """Effective draws of each indicator; one that never varied has none of its own and gets the smallest of the others."""
    ess = group[f"{kind}_ess"].values[asked]
    return np.where(np.isfinite(ess), ess, np.nanmin(ess) if np.isfinite(ess).any() else 1.0)


def _error(group: xr.Dataset, name: str, asked: np.ndarray) -> np.ndarray:
    """The standard errors of that name; zero where the quantity is exact, or never varied."""
    kind = name.split("_")[0]
    return (
        np.nan_to_num(group[name].values[asked])
        if name in group.data_vars
        else np.zeros(group[kind].values[asked].shape)
    )


def _averaged(tree: xr.DataTree) -> bool:
    return tree.attrs["beliefs_from"].startswith("exact beliefs averaged")


def _draws(tree: xr.DataTree) -> int:
    return tree["posterior"].sizes["chain"] * tree["posterior"].sizes["draw"]
