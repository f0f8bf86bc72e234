"""How far is one engine's belief from another's, time step by time step?  The distances whose largest is in the findings.

Finite states: total variation. Gaussian states: the 2-Wasserstein distance of the marginal of each dimension in standard
deviations of the reference, the largest over dimensions.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr

from ppl_worldmodel.checks.verdict import limit
from ppl_worldmodel.reports.names import group, text


class Distances(NamedTuple):
    """Of the time steps that both answer: `step` (counted from 0), `distance`, and its standard error, each (asked,)."""

    step: np.ndarray
    distance: np.ndarray
    error: np.ndarray
    unit: str

    @property
    def upper(self) -> np.ndarray:
        """Upper 95 % limits of the distances, all at once, (asked,)."""
        return self.distance + limit(self.distance.size) * self.error


def distances(kind: str, candidate: xr.DataTree, reference: xr.DataTree) -> Distances | None:
    """Distances of the filtered or smoothed beliefs; None where one of the two has none."""
    here, there = group(candidate, "beliefs"), group(reference, "beliefs")
    if here is None or there is None or kind not in here or kind not in there:
        return None
    if here[kind].dims != there[kind].dims or here[kind].shape != there[kind].shape:
        return None
    asked = np.isfinite(here[kind].values).all(axis=-1) & np.isfinite(there[kind].values).all(axis=-1)
    if not asked.any():
        return None
    if "state" in here[kind].dims:
        averaged = text(candidate.attrs, "beliefs_from").startswith("exact beliefs averaged")
        return Distances(
            np.flatnonzero(asked), *_total_variation(kind, here, there, asked, averaged), "total variation"
        )
    return Distances(np.flatnonzero(asked), *_wasserstein(kind, here, there, asked), "standard deviations")


def _total_variation(
    kind: str, here: xr.Dataset, there: xr.Dataset, asked: np.ndarray, averaged: bool
) -> tuple[np.ndarray, np.ndarray]:
    probability = there[kind].values[asked]
    error = np.hypot(_error(here, kind, "mcse", asked), _error(there, kind, "mcse", asked))
    if not averaged and f"{kind}_ess" in here:
        # A state that few draws visited has too small a standard error of its own.
        ess = here[f"{kind}_ess"].values[asked]
        fewest = np.nanmin(ess) if np.isfinite(ess).any() else 1.0
        binomial = np.sqrt(probability * (1.0 - probability) / np.where(np.isfinite(ess), ess, fewest))
        error = np.maximum(error, binomial)
    return 0.5 * np.abs(here[kind].values[asked] - probability).sum(axis=-1), 0.5 * error.sum(axis=-1)


def _wasserstein(kind: str, here: xr.Dataset, there: xr.Dataset, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    variance_here, variance_there = (
        np.diagonal(beliefs[f"{kind}_covariance"].values[asked], axis1=-2, axis2=-1) for beliefs in (here, there)
    )
    scale = np.sqrt(variance_there)
    known = scale <= 1e-12 * (
        1.0 + np.abs(there[kind].values[asked])
    )  # a state without variance has no scale of its own
    safe = np.where(known, 1.0, scale)
    shift = here[kind].values[asked] - there[kind].values[asked]
    spread = np.sqrt(np.maximum(variance_here, 0.0)) - scale
    mean_error = np.hypot(_error(here, kind, "mcse", asked), _error(there, kind, "mcse", asked))
    variance_error = np.hypot(_error(here, kind, "variance_mcse", asked), _error(there, kind, "variance_mcse", asked))
    distance = np.where(known, 0.0, np.hypot(shift, spread) / safe)
    error = np.where(known, 0.0, np.hypot(mean_error, variance_error / (2.0 * safe)) / safe)
    return distance.max(axis=-1), error.max(axis=-1)


def _error(beliefs: xr.Dataset, kind: str, what: str, asked: np.ndarray) -> np.ndarray:
    """Standard errors (asked, state or dim); zero where the quantity is exact, or never varied."""
    name = f"{kind}_{what}"
    return (
        np.nan_to_num(beliefs[name].values[asked]) if name in beliefs else np.zeros(beliefs[kind].values[asked].shape)
    )
