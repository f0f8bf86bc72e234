"""Invariants of a system at posterior draws: quantities that depend on neither state names nor coordinates.

R-hat and averages of T, O, A or C mean nothing where draws may exchange the names of states (label switching) or rotate their
coordinates. For the quantities here they are meaningful. Which quantities there are depends on the family: see `markov_invariants`
(finite states) and `gaussian_invariants` (linear-Gaussian).
"""

import json
from collections.abc import Callable, Mapping
from functools import partial, singledispatch
from typing import Any, NamedTuple

import arviz_stats  # noqa: F401  (registers the accessor `.azstats`)
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.exact import FiniteState, LinearGaussian
from ppl_worldmodel.identifiability import gaussian_invariants, markov_invariants
from ppl_worldmodel.infer.beliefs import over_draws
from ppl_worldmodel.program.reading import Reading

STATISTICS = ("mean", "sd", "q5", "q95", "rhat", "ess_bulk")


class _Of(NamedTuple):
    """What `_of_family` says of a family."""

    compute: Callable
    dims: Mapping[str, tuple[str, ...]]
    left_out: Mapping[str, str]
    coords: Mapping[str, np.ndarray]


def invariants(
    reading: Reading,
    draws: Mapping[str, Any],
    *,
    horizon: int = 20,
    num_frequencies: int = 64,
) -> xr.Dataset:
    """The invariants of the system at every draw, dims (chain, draw, ...); see `markov_invariants`, `gaussian_invariants`.

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
    family = reading.exact
    of, names, left_out, coords = _of_family(family, horizon, num_frequencies)
    flat = {name: jnp.asarray(value.reshape(-1, *value.shape[2:])) for name, value in arrays.items()}
    found: dict[str, np.ndarray] = over_draws(reading, flat, of)
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


@singledispatch
def _of_family(system: Any, horizon: int, num_frequencies: int) -> _Of:
    """How invariants are computed, their dims, which are not defined and why, and coordinates of their dims."""
    raise DataError(f"no invariants are known of a {type(system).__name__}")


@_of_family.register
def _(system: FiniteState, horizon: int, num_frequencies: int) -> _Of:
    return _Of(markov_invariants.invariants, markov_invariants.DIMS, markov_invariants.undefined(system.structure), {})


@_of_family.register
def _(system: LinearGaussian, horizon: int, num_frequencies: int) -> _Of:
    return _Of(
        partial(gaussian_invariants.invariants, horizon=horizon, num_frequencies=num_frequencies),
        gaussian_invariants.DIMS,
        gaussian_invariants.undefined(system.structure),
        {"lag": np.arange(horizon + 1), "frequency": np.asarray(gaussian_invariants.frequencies(num_frequencies))},
    )


def summary(dataset: xr.Dataset) -> xr.Dataset:
    """Mean, sd, 5 % and 95 % quantiles, R-hat and bulk ESS of every entry of every variable, along a dim `statistic`.

    Quantiles are draws, so that infinite draws do no harm; an entry that is NaN in one draw has none. sd, R-hat and ESS are NaN
    where a draw is infinite; R-hat and ESS also where an entry never varies.
    """
    return dataset.map(_summary, keep_attrs=True)


def _summary(draws: xr.DataArray) -> xr.DataArray:
    over = ["chain", "draw"]
    finite = xr.apply_ufunc(np.isfinite, draws).all(over)
    varies = finite & (draws.max(over) > draws.min(over))
    safe = draws.where(finite, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):  # entries that never vary are masked below
        rhat, ess = safe.azstats.rhat(), safe.azstats.ess(method="bulk")
    low, high = (
        draws.quantile(level, over, method="inverted_cdf", skipna=False).drop_vars("quantile") for level in (0.05, 0.95)
    )
    mean, sd = draws.mean(over, skipna=False), safe.std(over, ddof=1).where(finite)
    parts = (mean, sd, low, high, rhat.where(varies), ess.where(varies))
    return xr.concat(parts, xr.DataArray(list(STATISTICS), dims="statistic", name="statistic"))


def _of_series(name: str, values: np.ndarray, dims: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Values (draw, sequence, ...) of several series, and their dims: the sum, one series where all are alike, or all of them."""
    if name == "log_evidence":
        return values.sum(axis=1), dims
    size = np.abs(values[np.isfinite(values)]).max(initial=0.0)
    alike = np.allclose(values, values[:, :1], rtol=1e-9, atol=1e-12 * size, equal_nan=True)
    return (values[:, 0], dims) if alike else (values, ("sequence", *dims))
