"""How far is one engine's belief from another's, time step by time step, and is it more than Monte Carlo error?

Several independent series are judged together: every time step of every series is one distance.

Finite states: total variation; each probability has a binomial law of its effective number of draws, so that a state that no
draw visited is no division by zero. Gaussian states: the 2-Wasserstein distance of each dimension's marginal, in standard
deviations of the reference, the largest over dimensions; z-scores of means and of variances.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr

from ppl_worldmodel.checks.verdict import ONE_SIDED, binomial_p, joint_p, two_sided_p


class Distances(NamedTuple):
    """Of the time steps that both answer: `step` (counted from 0), `distance`, and its standard error, each (asked,).

    z is the largest difference in Monte Carlo standard errors, p the joint p-value of all of them.
    series  of each distance the series it belongs to (counted from 0), None if there is only one; names: what all are called
    """

    step: np.ndarray
    distance: np.ndarray
    error: np.ndarray
    unit: str
    z: float
    p: float
    series: np.ndarray | None = None
    names: tuple[str, ...] = ()

    @property
    def upper(self) -> np.ndarray:
        """Upper 95 % limit of each distance, (asked,)."""
        return self.distance + ONE_SIDED * self.error

    @property
    def worst_series(self) -> list[int]:
        """Of several series all those compared, the one with the largest distance first; nothing of a single one."""
        if self.series is None:
            return []
        most = np.full(len(self.names), -np.inf)
        np.maximum.at(most, self.series, self.distance)
        return [int(number) for number in np.argsort(-most, kind="stable")]

    @property
    def worst(self) -> str:
        """Where the distance is largest: `t = 17`, or `series 2, t = 17`, with the series' label where it has one."""
        at = int(self.distance.argmax())
        place = f"t = {self.step[at]}"
        return place if self.series is None else f"series {self.names[self.series[at]]}, {place}"


def averaged(tree: xr.DataTree) -> bool:
    """Are the beliefs exact ones averaged over draws of the parameters (and not draws of states)?"""
    return str(tree.attrs.get("beliefs_from", "")).startswith("exact beliefs averaged")


def distances(kind: str, candidate: xr.DataTree, reference: xr.DataTree) -> Distances | None:
    """Distances of one kind of belief (predicted, filtered or smoothed); None where one of the two has none."""
    if "beliefs" not in candidate.children or "beliefs" not in reference.children:
        return None
    here, there = candidate.children["beliefs"].to_dataset(), reference.children["beliefs"].to_dataset()
    if kind not in here or kind not in there or here[kind].dims != there[kind].dims:
        return None
    if here[kind].shape != there[kind].shape:
        return None
    asked = _answered(kind, here) & _answered(kind, there)
    if not asked.any():
        return None
    if "state" in here[kind].dims:
        found = _total_variation(kind, here, there, asked, candidate)
    else:
        found = _wasserstein(kind, here, there, asked, candidate)
    if "sequence" not in here[kind].dims:
        return found
    labels = there if "sequence" in there.coords else here
    names = labels["sequence"].values if "sequence" in labels.coords else range(here.sizes["sequence"])
    return found._replace(series=np.nonzero(asked)[0], names=tuple(map(str, names)))


def _answered(kind: str, beliefs: xr.Dataset) -> np.ndarray:
    """Where there is a belief: not where none was asked for, nor where a flat start leaves it undetermined, (..., time)."""
    found = np.isfinite(beliefs[kind].values).all(axis=-1)
    if f"{kind}_covariance" in beliefs:
        found &= np.isfinite(np.diagonal(beliefs[f"{kind}_covariance"].values, axis1=-2, axis2=-1)).all(axis=-1)
    return found


def _total_variation(
    kind: str, here: xr.Dataset, there: xr.Dataset, asked: np.ndarray, candidate: xr.DataTree
) -> Distances:
    share, probability = here[kind].values[asked], there[kind].values[asked]
    difference = share - probability
    error = np.hypot(_error(here, kind, "mcse", asked), _error(there, kind, "mcse", asked))
    counted = not averaged(candidate) and f"{kind}_ess" in here and "num_replicates" not in candidate.attrs
    if counted:
        # An indicator that never varied has no effective draws of its own: it gets the smallest of the others.
        ess = here[f"{kind}_ess"].values[asked]
        effective = np.where(np.isfinite(ess), ess, np.nanmin(ess) if np.isfinite(ess).any() else 1.0)
        error = np.maximum(error, np.sqrt(probability * (1.0 - probability) / effective))
    z = _scores(difference, error, probability)
    p = joint_p(binomial_p(share, probability, effective) if counted else two_sided_p(z, _freedom(candidate)))
    return Distances(
        np.nonzero(asked)[-1], 0.5 * np.abs(difference).sum(axis=-1), 0.5 * error.sum(axis=-1), "total variation",
        float(np.abs(z).max()), p,
    )  # fmt: skip


def _wasserstein(
    kind: str, here: xr.Dataset, there: xr.Dataset, asked: np.ndarray, candidate: xr.DataTree
) -> Distances:
    mean_here, mean_there = here[kind].values[asked], there[kind].values[asked]
    variance_here, variance_there = (
        np.diagonal(beliefs[f"{kind}_covariance"].values[asked], axis1=-2, axis2=-1) for beliefs in (here, there)
    )
    shift, widening, scale = mean_here - mean_there, variance_here - variance_there, np.sqrt(variance_there)
    mean_error = np.hypot(_error(here, kind, "mcse", asked), _error(there, kind, "mcse", asked))
    variance_error = np.hypot(_error(here, kind, "variance_mcse", asked), _error(there, kind, "variance_mcse", asked))
    z = np.stack([_scores(shift, mean_error, mean_there), _scores(widening, variance_error, variance_there)])
    spread = np.sqrt(np.maximum(variance_here, 0.0)) - scale
    # A state without variance has no scale of its own: it is right, or infinitely far off.
    known = scale <= 1e-12 * (1.0 + np.abs(mean_there))
    safe = np.where(known, 1.0, scale)
    right = np.hypot(shift, spread) <= 1e-9 * (1.0 + np.abs(mean_there))
    distance = np.where(known, np.where(right, 0.0, np.inf), np.hypot(shift, spread) / safe)
    error = np.where(known, 0.0, np.hypot(mean_error, variance_error / (2.0 * safe)) / safe)
    return Distances(
        np.nonzero(asked)[-1], distance.max(axis=-1), error.max(axis=-1), "standard deviations",
        float(np.abs(z).max()), joint_p(two_sided_p(z, _freedom(candidate))),
    )  # fmt: skip


def _freedom(candidate: xr.DataTree) -> float:
    """Degrees of freedom of the standard errors: those from a few replicates are uncertain themselves."""
    return float(candidate.attrs.get("num_replicates", np.inf)) - 1.0


def _scores(difference: np.ndarray, error: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Differences in their standard errors; one without any error is zero, up to rounding, or infinite."""
    rounding = np.abs(difference) <= 1e-9 * (1.0 + np.abs(size))
    exact = np.where(rounding, 0.0, np.copysign(np.inf, difference))
    return np.where(error > 0, difference / np.where(error > 0, error, 1.0), exact)


def _error(beliefs: xr.Dataset, kind: str, what: str, asked: np.ndarray) -> np.ndarray:
    """Standard errors (asked, state or dim); zero where the quantity is exact, or never varied."""
    name = f"{kind}_{what}"
    shape = beliefs[kind].values[asked].shape
    return np.nan_to_num(beliefs[name].values[asked]) if name in beliefs else np.zeros(shape)
