"""How far is one engine's belief from another's, time step by time step?  The distances whose largest is in the findings.

Finite states: total variation. Gaussian states: the 2-Wasserstein distance of the marginal of each dimension in standard
deviations of the reference, the largest over dimensions.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr


class Distances(NamedTuple):
    """Of the time steps that both answer: `step` (counted from 0), `distance`, and its standard error, each (asked,)."""

    step: np.ndarray
    distance: np.ndarray
    error: np.ndarray
    unit: str


def distances(kind: str, candidate: xr.DataTree, reference: xr.DataTree) -> Distances | None:
    """Distances of the filtered or smoothed beliefs; None where one of the two has none."""
    if not all("beliefs" in tree.children and kind in tree["beliefs"].data_vars for tree in (candidate, reference)):
        return None
    here, there = candidate["beliefs"], reference["beliefs"]
    if here[kind].shape != there[kind].shape or here[kind].dims != there[kind].dims:
        return None
    asked = np.isfinite(here[kind].values).all(axis=-1) & np.isfinite(there[kind].values).all(axis=-1)
    if not asked.any():
        return None
    finite = "state" in here[kind].dims
    distance, error = (_total_variation if finite else _wasserstein)(kind, here, there, asked, _averaged(candidate))
    return Distances(np.flatnonzero(asked), distance, error, "total variation" if finite else "standard deviations")


def _total_variation(
    kind: str, here: xr.DataTree, there: xr.DataTree, asked: np.ndarray, averaged: bool
) -> tuple[np.ndarray, np.ndarray]:
    probability = there[kind].values[asked]
    error = np.hypot(_error(here, f"{kind}_mcse", asked), _error(there, f"{kind}_mcse", asked)) + np.zeros(probability.shape)
    if not averaged and f"{kind}_ess" in here.data_vars:
        ess = here[f"{kind}_ess"].values[asked]
        fewest = np.nanmin(ess) if np.isfinite(ess).any() else 1.0
        error = np.maximum(error, np.sqrt(probability * (1.0 - probability) / np.where(np.isfinite(ess), ess, fewest)))
    return 0.5 * np.abs(here[kind].values[asked] - probability).sum(axis=-1), 0.5 * error.sum(axis=-1)


def _wasserstein(
    kind: str, here: xr.DataTree, there: xr.DataTree, asked: np.ndarray, averaged: bool
) -> tuple[np.ndarray, np.ndarray]:
    variance_here, variance_there = (
        np.diagonal(group[f"{kind}_covariance"].values[asked], axis1=-2, axis2=-1) for group in (here, there)
    )
    scale = np.sqrt(variance_there)
    known = scale <= 1e-12 * (1.0 + np.abs(there[kind].values[asked]))  # a state without variance has no scale of its own
    safe = np.where(known, 1.0, scale)
    shift = here[kind].values[asked] - there[kind].values[asked]
    spread = np.sqrt(np.maximum(variance_here, 0.0)) - scale
    mean_error = np.hypot(_error(here, f"{kind}_mcse", asked), _error(there, f"{kind}_mcse", asked))
    variance_error = np.hypot(_error(here, f"{kind}_variance_mcse", asked), _error(there, f"{kind}_variance_mcse", asked))
    distance = np.where(known, 0.0, np.hypot(shift, spread) / safe)
    error = np.where(known, 0.0, np.hypot(mean_error, variance_error / (2.0 * safe)) / safe)
    return distance.max(axis=-1), error.max(axis=-1)


def _error(group: xr.DataTree, name: str, asked: np.ndarray) -> np.ndarray:
    return np.nan_to_num(group[name].values[asked]) if name in group.data_vars else np.zeros(1)


def _averaged(tree: xr.DataTree) -> bool:
    return str(tree.attrs.get("beliefs_from", "")).startswith("exact beliefs averaged")
