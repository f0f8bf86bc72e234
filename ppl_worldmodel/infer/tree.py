"""What does every engine return?  One DataTree in ArviZ's schema, with a group `beliefs` of our own.

posterior       parameters (and states, where they were drawn), dims (chain, draw, ...)
sample_stats    what the sampler noted about each draw
log_likelihood  log_predictive: log p(y_t | y_1:t-1, parameters), dims (chain, draw, time)
observed_data   the observed sites' values, NaN where missing; constant_data: the program's other inputs
beliefs         predicted, filtered, smoothed, dims (time, state), or (time, dim) with `..._covariance` (time, dim, dim_bis);
                `..._mcse` and `..._ess` where they are Monte Carlo estimates; NaN where an engine was not asked
Attributes of the tree: engine, algorithm, question, family, beliefs_from, key, seconds, dtype, versions, created.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import xarray as xr
from numpyro import handlers

from ppl_worldmodel.provenance import provenance

Dims = tuple[str, ...]

STATES = "states given the parameters"
PARAMETERS = "parameters, with the states integrated out"


def build(
    *,
    model: Callable,
    data: Mapping[str, Any],
    key: jax.Array,
    started: float,
    engine: str,
    algorithm: str,
    question: str,
    family: str,
    beliefs_from: str,
    beliefs: Mapping[str, xr.DataArray],
    posterior: Mapping[str, np.ndarray],
    sample_stats: Mapping[str, np.ndarray] | None = None,
    log_predictive: np.ndarray | None = None,
    **more: str | float | int,
) -> xr.DataTree:
    """The result of an engine. Arrays of posterior, sample_stats and log_predictive have the leading axes (chain, draw).

    `more` are further flat attributes (numbers or strings) that the engine wants to say.
    """
    observed = observed_series(model, data)
    constant = {
        name: np.asarray(value)
        for name, value in data.items()
        if value is not None
        and not any(np.array_equal(value, series, equal_nan=True) for series in map(_float, observed.values()))
    }
    steps = max((series.shape[0] for series in observed.values()), default=0)
    groups: dict[str, xr.Dataset] = {"posterior": _draws(posterior, steps)}
    if sample_stats:
        groups["sample_stats"] = _draws(sample_stats, None)
    if log_predictive is not None:
        lead = ("sequence",) if np.ndim(log_predictive) == 4 else ()
        dims = ("chain", "draw", *lead, "time")
        groups["log_likelihood"] = xr.Dataset({"log_predictive": (dims, np.asarray(log_predictive))})
    groups["observed_data"] = _plain(observed, steps)
    groups["constant_data"] = _plain(constant, steps)
    groups["beliefs"] = xr.Dataset(dict(beliefs))
    tree = xr.DataTree.from_dict({name: group for name, group in groups.items() if group.variables})
    tree.attrs = {
        "engine": engine,
        "algorithm": algorithm,
        "question": question,
        "family": family,
        "beliefs_from": beliefs_from,
        "key": json.dumps(np.asarray(jax.random.key_data(key)).tolist()),
        "seconds": time.perf_counter() - started,
        "dtype": str(next(iter(beliefs.values())).dtype) if beliefs else str(jax.numpy.zeros(()).dtype),
        **provenance(),
        **more,
    }
    return tree


def observed_series(model: Callable, data: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The observed sites of the program and their values, as one run of it shows them."""
    trace = handlers.trace(handlers.seed(model, 0)).get_trace(**data)
    return {
        name: np.asarray(site["value"])
        for name, site in trace.items()
        if site["type"] == "sample" and site["is_observed"] and np.ndim(site["value"]) and np.size(site["value"])
    }


def _float(series: np.ndarray) -> np.ndarray:
    return series.astype(float)


def _draws(values: Mapping[str, Any], steps: int | None) -> xr.Dataset:
    return xr.Dataset(
        {
            name: (("chain", "draw", *_dims(name, np.shape(value)[2:], steps)), np.asarray(value))
            for name, value in values.items()
        }
    )


def _plain(values: Mapping[str, np.ndarray], steps: int) -> xr.Dataset:
    return xr.Dataset(
        {name: (_dims(name, np.shape(value), steps), np.asarray(value)) for name, value in values.items()}
    )


def _dims(name: str, shape: tuple[int, ...], steps: int | None) -> Dims:
    """Names of the dimensions of a variable; an axis as long as the series is time."""
    rest = tuple(f"{name}_dim_{i}" for i in range(len(shape)))
    return ("time", *rest[1:]) if steps and shape[:1] == (steps,) else rest
