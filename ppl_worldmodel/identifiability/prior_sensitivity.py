"""Prior sensitivity: overlap of posterior and prior, and power-scaling of the prior and of the likelihood.

The overlap of two densities, the integral of the smaller one, is 1 where nothing was learned and near 0 where the prior hardly
matters. Power-scaling raises the prior to a power near one and reweights the posterior's draws: do they move? If they do, and
scaling the likelihood moves them too, prior and data are in conflict; if only the prior moves them, it alone decides.

Source: Garrett & Zeger (2000), Biometrics 56 (overlap); Kallioinen et al. (2024), Statistics and Computing 34 (power-scaling).
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from arviz_stats import psense_summary
from arviz_stats.base import array_stats
from jaxtyping import Array, Float

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.program.coordinates import Coordinates, entry_names

TAIL = 0.005  # share of the posterior's draws that is left out on either side, since it would stretch the grid
FEW = 10  # fewer draws of the prior are too few for a kernel estimate, and count as flat


def overlap(posterior: Float[np.ndarray, " draw"], prior: Float[np.ndarray, " draw_prior"]) -> float:
    """The integral of the smaller density over the range of the posterior; outside, the smaller density is next to zero."""
    low, high = np.quantile(posterior, [TAIL, 1.0 - TAIL])
    if low == high:
        return 0.0
    inside, own = (draws[(draws >= low) & (draws <= high)] for draws in (prior, posterior))
    share = len(inside) / len(prior)
    grid, density, _ = array_stats.kde(own, custom_lims=(low, high))
    other = np.full(grid.shape, share / (high - low))
    if len(inside) >= FEW and np.ptp(inside) > 0:
        other = share * array_stats.kde(inside, custom_lims=(low, high))[1]
    return float(np.trapezoid(np.minimum(density * len(own) / len(posterior), other), grid))


def sensitivity(space: Coordinates, fit_draws: Mapping[str, Any]) -> xr.Dataset:
    """ArviZ's power-scaling sensitivity of each entry: to the prior, to the likelihood, and its diagnosis; dimension `entry`.

    fit_draws  {name: (chain, draw, ...)} of the program's parameters. Above 0.05 the prior, or the likelihood, matters
    Raises DataError where the log prior is the same at every draw: a flat prior stays flat when it is scaled.
    """
    draws = {name: jnp.asarray(fit_draws[name]) for name in space.names}
    chains, length = next(iter(draws.values())).shape[:2]

    def parts(values: Mapping[str, Array]) -> tuple[Array, Array]:
        z = space.unconstrain(values)
        density = space.density(z)
        return density.prior - space.log_slope(z), density.terms

    flat = {name: values.reshape(-1, *values.shape[2:]) for name, values in draws.items()}
    log_prior, terms = jax.jit(lambda each: jax.lax.map(parts, each, batch_size=100))(flat)
    if np.ptp(log_prior) <= 1e-9 * (1.0 + np.abs(log_prior).max()):
        raise DataError(
            "the log prior is the same at every draw, so that scaling it changes nothing: there is no sensitivity to a flat prior"
        )
    tree = xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset(
                {
                    name: (("chain", "draw", *(f"{name}_dim_{i}" for i in range(values.ndim - 2))), np.asarray(values))
                    for name, values in draws.items()
                }
            ),
            "log_likelihood": xr.Dataset(
                {"log_predictive": (("chain", "draw", "time"), np.asarray(terms).reshape(chains, length, -1))}
            ),
            "log_prior": xr.Dataset({"log_prior": (("chain", "draw"), np.asarray(log_prior).reshape(chains, length))}),
        }
    )
    with _silent("arviz_stats.psense"):  # what it logs is in the diagnosis
        told = psense_summary(tree, var_names=list(space.names), round_to=12)
    return xr.Dataset(
        {
            "prior": ("entry", told["prior"].to_numpy(float)),
            "likelihood": ("entry", told["likelihood"].to_numpy(float)),
            "diagnosis": ("entry", told["diagnosis"].to_numpy(str)),
        },
        {"entry": entry_names({name: values[0, 0] for name, values in draws.items()})},
    )


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Switch a logger off."""
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
