"""What do posterior draws say about a system, whatever its states are called?  Draws of what names and coordinates do not touch.

R-hat and averages of T, O, A or C mean nothing where draws may exchange the names of states, or turn their coordinates; of the
quantities here they mean what they say. Which there are depends on the family: see `chain` (finite states) and `gauge` (Gaussian).
"""

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import arviz_stats  # noqa: F401  (registers the accessor `.azstats`)
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.exact import FiniteState
from ppl_worldmodel.identifiability import gaussian_invariants, markov_invariants
from ppl_worldmodel.infer.beliefs import over_draws
from ppl_worldmodel.program.read import examine

STATISTICS = ("mean", "sd", "q5", "q95", "rhat", "ess_bulk")


def invariants(
    model: Callable,
    data: Mapping[str, Any],
    draws: Mapping[str, Any],
    *,
    horizon: int = 20,
    num_frequencies: int = 64,
) -> xr.Dataset:
    """The invariants of the system at every draw, dims (chain, draw, ...); those of `chain.invariants` or `gauge.invariants`.

    draws    of the program's parameters, {name: (chain, draw, ...)}, as in the group `posterior` of a result
    horizon, num_frequencies   of a Gaussian system: how many lags ahead, and at how many frequencies

    Several series: `log_evidence` is that of all together; the others have a dim `sequence` where the series differ. The attribute
    `left_out` (JSON) has the names that are not defined for this program, with the reason.
    Raises DataError if there are no draws, or not equally many of each parameter.
    """
    shapes = {name: np.shape(value)[:2] for name, value in draws.items()}
    if not shapes or len(set(shapes.values())) > 1 or len(next(iter(shapes.values()))) < 2:
        raise DataError(
            f"expected draws of the parameters with the leading axes (chain, draw), as many of each; given: {shapes}"
        )
    arrays = {name: np.asarray(value) for name, value in draws.items()}
    family, plan = examine(model, data, {name: value[0, 0] for name, value in arrays.items()})
    of: Any = markov_invariants.invariants
    names, left_out = markov_invariants.DIMS, markov_invariants.undefined(family.structure)
    coords: dict[str, np.ndarray] = {}
    if not isinstance(family, FiniteState):
        of = partial(gaussian_invariants.invariants, horizon=horizon, num_frequencies=num_frequencies)
        names, left_out = gaussian_invariants.DIMS, gaussian_invariants.undefined(family.structure)
        coords = {
            "lag": np.arange(horizon + 1),
            "frequency": np.asarray(gaussian_invariants.frequencies(num_frequencies)),
        }
    flat = {name: jnp.asarray(value.reshape(-1, *value.shape[2:])) for name, value in arrays.items()}
    found: dict[str, np.ndarray] = over_draws(model, data, flat, plan, of)
    lead = next(iter(shapes.values()))
    variables = {}
    for name, values in found.items():
        dims: tuple[str, ...] = names.get(name, ())
        if family.structure.sequences:
            values, dims = _of_series(name, values, dims)
        variables[name] = (("chain", "draw", *dims), values.reshape(*lead, *values.shape[1:]))
    used = {dim for dims, _ in variables.values() for dim in dims}
    return xr.Dataset(
        variables,
        {dim: values for dim, values in coords.items() if dim in used},
        {"family": type(family).__name__, "left_out": json.dumps(left_out)},
    )


def summary(dataset: xr.Dataset) -> xr.Dataset:
    """Of every entry of every variable: mean, sd, 5 % and 95 % quantiles, R-hat and bulk ESS, along a dim `statistic`.

    Quantiles are draws, so that infinite ones do no harm; what is NaN in one draw has none. sd, R-hat and ESS are NaN where a draw
    is infinite, the last two also of what never varies.
    """
    return dataset.map(_summary, keep_attrs=True)


def _summary(draws: xr.DataArray) -> xr.DataArray:
    over = ["chain", "draw"]
    finite = xr.apply_ufunc(np.isfinite, draws).all(over)
    varies = finite & (draws.max(over) > draws.min(over))
    safe = draws.where(finite, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):  # what never varies is taken out below
        rhat, ess = safe.azstats.rhat(), safe.azstats.ess(method="bulk")
    low, high = (
        draws.quantile(level, over, method="inverted_cdf", skipna=False).drop_vars("quantile") for level in (0.05, 0.95)
    )
    mean, sd = draws.mean(over, skipna=False), safe.std(over, ddof=1).where(finite)
    parts = (mean, sd, low, high, rhat.where(varies), ess.where(varies))
    return xr.concat(parts, xr.DataArray(list(STATISTICS), dims="statistic", name="statistic"))


def _of_series(name: str, values: np.ndarray, dims: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Values (draw, sequence, ...) of several series: their sum, one of them where they are alike, or all, and the dims."""
    if name == "log_evidence":
        return values.sum(axis=1), dims
    size = np.abs(values[np.isfinite(values)]).max(initial=0.0)
    alike = np.allclose(values, values[:, :1], rtol=1e-9, atol=1e-12 * size, equal_nan=True)
    return (values[:, 0], dims) if alike else (values, ("sequence", *dims))
