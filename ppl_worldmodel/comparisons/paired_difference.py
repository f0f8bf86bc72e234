"""Paired difference of two models' scores on the same steps, with a standard error that allows for autocorrelation.

Scores of neighbouring steps depend on each other. The standard error of their sum is therefore taken from the effective number of
steps (autocorrelations by Geyer's initial monotone sequence, as in ArviZ), not from their count. For one step ahead and a right
model the differences are nearly uncorrelated; for several steps ahead they never are (Diebold & Mariano 1995, J. Business &
Economic Statistics 13).
"""

from typing import NamedTuple

import arviz_stats  # noqa: F401  (registers the accessor `.azstats`)
import numpy as np
import xarray as xr
from jaxtyping import Float

TELLS = 2.0  # standard errors that a difference must exceed


class Difference(NamedTuple):
    """The sum of the differences in nats, and its standard error; of how many steps."""

    total: float
    error: float
    steps: int

    @property
    def tells(self) -> bool:
        """Is it more than two standard errors?"""
        return abs(self.total) > TELLS * self.error


def difference(
    here: Float[np.ndarray, " time"], there: Float[np.ndarray, " time"], *, monte_carlo: float = 0.0
) -> Difference:
    """The difference of two series of scores, over the steps that both have (those that are not NaN in either).

    monte_carlo  standard error of the total that comes from sampling the posteriors, added in quadrature
    """
    both = np.isfinite(here) & np.isfinite(there)
    apart = here[both] - there[both]
    return Difference(float(apart.sum()), float(np.hypot(error_of_sum(apart), monte_carlo)), int(both.sum()))


def error_of_sum(series: Float[np.ndarray, " time"]) -> float:
    """The standard error of the sum of a stationary series; NaN with fewer than eight steps."""
    if series.size < 8:
        return float("nan")
    if np.ptp(series) == 0:
        return 0.0
    array = xr.DataArray(series[None], dims=("chain", "draw"))
    return float(array.azstats.mcse(method="mean")) * series.size
