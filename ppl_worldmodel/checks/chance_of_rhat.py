"""How large R-hat gets by chance: short chains of one law have different means, the more so the fewer effective draws each has.

Of 2 m halves of chains with n effective draws each, (R-hat^2 - 1) n + 1 is the F statistic of an analysis of variance, with 2 m - 1
and 2 m (n - 1) degrees of freedom, if the chains have one law. n is estimated within each chain alone, so that chains which are
apart do not lower it.

Source: Gelman & Rubin (1992), Statistical Science 7, section 3; Vehtari et al. (2021), Bayesian Analysis 16 (halves of chains).
"""

import arviz_stats  # noqa: F401  (registers the accessor `.azstats`)
import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.stats import f

LEVEL = 1e-3  # for all entries together
FEWEST = (
    12.5  # effective draws of half a chain: a chain below 50 autocorrelation times does not tell its own (Sokal 1997)
)


def largest_by_chance(draws: Float[np.ndarray, "chain draw"], entries: int) -> float:
    """The R-hat that the largest of so many entries exceeds one time in a thousand, if chains like these have one law.

    It is infinite where the chains are too short for their own autocorrelation to be known. A chain that never varied counts as one
    of independent draws.
    """
    chains, length = draws.shape
    each = [
        float(xr.DataArray(chain[None], dims=("chain", "draw")).azstats.ess(method="bulk"))
        if np.ptp(chain) > 0
        else np.nan
        for chain in draws
    ]
    half = np.nan_to_num(np.array(each), nan=float(length)).mean() / 2.0
    if half < FEWEST:
        return np.inf
    quantile = f.isf(LEVEL / entries, 2 * chains - 1, 2 * chains * (half - 1.0))
    return float(np.sqrt(1.0 + (quantile - 1.0) / half))
