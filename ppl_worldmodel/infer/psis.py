"""Pareto smoothed importance sampling: smoothed weights, and k-hat, which says how far they can be trusted.

ArviZ's `psislw` smooths the weights exp(-x), since it was made for log likelihoods that are divided out; this file is the one place
that knows.

Source: Vehtari, Simpson, Gelman, Yao & Gabry (2024), J. Machine Learning Research 25.
"""

import arviz_stats  # noqa: F401  (registers the accessor `.azstats`)
import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.special import logsumexp


def psis(log_ratio: Float[np.ndarray, "*draws"]) -> tuple[Float[np.ndarray, "*draws"], float]:
    """Normalised log weights of the draws, their upper tail smoothed, and k-hat (above 0.7: too few draws carry the weight).

    log_ratio  log of the density that is wanted over the density that the draws are from, up to a constant
    Equal ratios give equal weights and k-hat 0; ratios that are not finite, or whose largest are all the same (chains that never
    moved), are not smoothed, and their k-hat is infinite.
    """
    flat = log_ratio.ravel()
    if np.ptp(flat) == 0:
        return np.full(log_ratio.shape, -np.log(flat.size)), 0.0
    if not np.isfinite(flat).all():
        return log_ratio - logsumexp(log_ratio), np.inf
    try:
        smoothed, k = xr.DataArray(-flat, dims="sample").azstats.psislw(dim="sample")
    except ValueError:  # the tail has no spread: there is nothing to fit a Pareto distribution to
        return log_ratio - logsumexp(log_ratio), np.inf
    return (smoothed.values - logsumexp(smoothed.values)).reshape(log_ratio.shape), float(k)
