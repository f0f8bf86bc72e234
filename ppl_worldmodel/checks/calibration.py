"""Simulation-based calibration (SBC): on average over the prior, true values rank uniformly among posterior draws.

Parameters are drawn from the prior, data are simulated at them, and the posterior of these data is sampled. If the engine is right,
the rank of the true value among independent draws is uniform, and so is that of any function of parameters, states and data. Ranks
of `log likelihood` find faults that those of single parameters miss. Draws of a chain are thinned to nearly independent ones.

Source: Talts et al. (2018), arXiv 1804.06788; Modrak et al. (2023), Bayesian Analysis (data-dependent quantities); Saeilynoja,
Buerkner & Vehtari (2022), Statistics and Computing 32, and ArviZ's `uniformity_test` for the test of uniformity.
"""

import arviz_stats  # noqa: F401  (registers the accessor `.azstats`)
import numpy as np
import xarray as xr

from ppl_worldmodel.checks.verdict import ALPHA, Finding, Verdict, joint_p

FEWEST = 20  # ranks; with fewer a test of uniformity has little power


def thinning(draws: np.ndarray) -> int:
    """The thinning interval that leaves nearly independent draws, from draws (quantity, replication, draw).

    Nine in ten chains then have as many effective draws as are kept, for every quantity that varies.
    """
    array = xr.DataArray(draws.astype(float)[..., None, :], dims=("quantity", "replication", "chain", "draw"))
    varies = (array.max("draw") > array.min("draw")).isel(chain=0)
    ess = array.azstats.ess(method="mean").where(varies).dropna("quantity", how="all")
    low = ess.quantile(0.1, "replication", skipna=True).min(skipna=True).item() if ess.size else np.inf
    return max(1, int(np.ceil(draws.shape[-1] / max(low, 1.0)))) if np.isfinite(low) else 1


def fractional_ranks(truth: np.ndarray, draws: np.ndarray, seed: int | np.ndarray) -> np.ndarray:
    """(rank + u) / (draws + 1), uniform on (0, 1) if calibrated; ties in a random order.

    truth (quantity, replication), draws (quantity, replication, draw). NaN where the truth or a draw is not a number.
    """
    random = np.random.default_rng(seed)
    below, same = (draws < truth[..., None]).sum(axis=-1), (draws == truth[..., None]).sum(axis=-1)
    rank = below + random.integers(0, same + 1)
    fractions = (rank + random.uniform(size=rank.shape)) / (draws.shape[-1] + 1.0)
    return np.where(np.isnan(truth) | np.isnan(draws).any(axis=-1), np.nan, fractions)


def uniformity(fractions: np.ndarray) -> np.ndarray:
    """A p-value of the uniformity of each row of fractional ranks (quantity, replication); NaN where a rank is NaN."""
    ranks = xr.DataArray(fractions, dims=("quantity", "replication"))
    found = [
        float(np.ravel(row.azstats.uniformity_test(dim="replication")[0])[0]) if np.isfinite(row).all() else np.nan
        for row in ranks
    ]
    return np.array(found)


def finding(engine: str, names: list[str], p_values: np.ndarray, *, replications: int, kept: int) -> Finding:
    """One finding over all quantities.

    kept  how many draws each rank is among
    """
    p, worst = joint_p(p_values), int(np.argmin(p_values))  # the place of a NaN, if there is one
    verdict: Verdict = "agrees"
    why = f"ranks of {len(names)} quantities among {kept} draws are uniform over {replications} data sets (joint p = {p:.2g})"
    if np.isnan(p):
        verdict, why = "undecided", f"the ranks of {names[worst]} are not numbers"
    elif p < ALPHA:
        verdict = "disagrees"
        why = f"ranks are not uniform, least of all for {names[worst]} (p = {p_values[worst]:.1g}; joint p = {p:.1g})"
    elif kept < FEWEST:
        verdict, why = "undecided", f"only {kept} nearly independent draws of each chain: give more --draws"
    return Finding(
        candidate=engine, reference="prior", quantity="calibration", about="calibration", n=len(names), worst=names[worst], p=p,
        distance=float(p_values[worst]), tolerance=ALPHA, unit="p-value", verdict=verdict, why=why,
    )  # fmt: skip
