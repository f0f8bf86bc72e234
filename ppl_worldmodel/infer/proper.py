"""Proper beliefs: finite, probabilities that sum to one, and covariances that are positive semi-definite up to rounding."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.infer.beliefs import KINDS, asked

PROBABILITY = 1e-6  # that probabilities may be away from a sum of one
ROUNDING = 1e-9  # of a variance: how far below zero it, or an eigenvalue of the correlations, may be computed
RESOLUTION = 1e-7  # of a state's size: a standard deviation below this is zero for all that float64 can tell


def check_proper(beliefs: Mapping[str, xr.DataArray], remedy: str) -> None:
    """Raise DataError, naming the kind of belief and the first time step at which it is no distribution.

    remedy  what to do about it, in words
    """
    dataset = xr.Dataset(dict(beliefs))
    for kind in KINDS:
        if kind not in dataset:
            continue
        told = asked(kind, dataset)
        for what, wrong in _wrong(kind, dataset).items():
            steps = np.nonzero(told & wrong)[-1]
            if steps.size:
                raise DataError(
                    f"the exact {kind} belief at time step {steps.min()} (counted from 0) {what}: digits were lost in the "
                    f"recursion; {remedy}"
                )


def _wrong(kind: str, beliefs: xr.Dataset) -> dict[str, np.ndarray]:
    """{what is wrong with a belief: at which steps (..., time)}."""
    values = beliefs[kind].values
    found = {"is not finite": ~np.isfinite(values).all(axis=-1)}
    if "state" in beliefs[kind].dims:
        off = np.abs(values.sum(axis=-1) - 1.0) > PROBABILITY
        return found | {"is no distribution: its probabilities do not sum to one": off | (values < 0.0).any(axis=-1)}
    covariance = beliefs[f"{kind}_covariance"].values
    finite = np.isfinite(covariance).all(axis=(-2, -1))
    covariance = np.where(finite[..., None, None], covariance, np.eye(covariance.shape[-1]))
    variance = np.diagonal(covariance, axis1=-2, axis2=-1)
    usual = np.median(np.abs(variance), axis=-2, keepdims=True)  # over time: a vague first step is no measure
    smallest = ROUNDING * usual + (RESOLUTION * (1.0 + np.abs(values))) ** 2
    smallest = np.where(np.isfinite(smallest), smallest, 1.0)
    floored = np.maximum(variance, smallest)
    covariance = covariance + (floored - variance)[..., None] * np.eye(variance.shape[-1])
    scale = np.sqrt(floored)
    lowest = np.linalg.eigvalsh(covariance / (scale[..., :, None] * scale[..., None, :]))[..., 0]
    return {
        **found,
        "has a covariance that is not finite": ~finite,
        "has a negative variance": (variance < -smallest).any(axis=-1),
        "has a covariance that is not positive semi-definite": lowest < -1e-6,
    }
