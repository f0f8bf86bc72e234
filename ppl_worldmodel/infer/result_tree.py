"""The result of an engine: one DataTree in ArviZ's schema, with a group `beliefs` of our own.

posterior       parameters (and states, where they were drawn), dims (chain, draw, ...)
sample_stats    what the sampler noted about each draw
log_likelihood  log_predictive: log p(y_t | y_1:t-1, parameters), dims (chain, draw, time)
observed_data   the observed sites' values, NaN where missing or masked; constant_data: the program's other inputs
beliefs         predicted, filtered, smoothed, dims (time, state), or (time, dim) with `..._covariance` (time, dim, dim_bis);
                `..._mcse` and `..._ess` where they are Monte Carlo estimates; NaN where `..._asked` (time,) says that an engine
                was not asked, or that the data do not determine a belief yet; without it there is one everywhere.
                Attributes (JSON): `factors`, the names of the parts of a state, and `labels`, their values for each finite state
A program with several independent series has a dim `sequence` before `time`, in its data after it, as the program has them.
A slash in the name of a site is a point here.
ArviZ's `from_numpyro` reads an MCMC of NumPyro's; most engines here have none, and it knows of no beliefs.
Attributes of the tree: engine, algorithm, question, law, family, beliefs_from, key, seconds, dtype, versions, created.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import numpy as np
import xarray as xr

from ppl_worldmodel.exact import Structure
from ppl_worldmodel.exact.marginals import entries
from ppl_worldmodel.program.missing.masking import UNOBSERVED
from ppl_worldmodel.program.reading import Reading
from ppl_worldmodel.program.site_axes import Named, dims, sites
from ppl_worldmodel.program.site_names import dotted
from ppl_worldmodel.provenance import provenance

Engine = Callable[[Reading, int | jax.Array], xr.DataTree]  # what a factory of engines makes: (reading, key) -> result

# What an engine's answer is drawn from: nothing, for it is exact; chains that converge to the law asked about; weighted particles,
# exact in the limit; or an approximation, whose bias no number of draws takes away.
Law = Literal["exact", "chains", "particles", "approximation"]

STATES = "states given the parameters"
PARAMETERS = "parameters, with the states integrated out"


def build(
    *,
    reading: Reading,
    key: jax.Array,
    started: float,
    engine: str,
    algorithm: str,
    question: str,
    law: Law,
    beliefs_from: str,
    beliefs: Mapping[str, xr.DataArray],
    posterior: Mapping[str, np.ndarray],
    sample_stats: Mapping[str, np.ndarray] | None = None,
    log_predictive: np.ndarray | None = None,
    **more: str | float | int,
) -> xr.DataTree:
    """The result of an engine. Arrays of posterior, sample_stats and log_predictive have the leading axes (chain, draw).

    more  further flat attributes (numbers or strings) that the engine wants to say
    """
    structure, found = reading.structure, sites(reading)
    observed = {name: site for name, site in found.items() if site.observed and site.dims and site.value.size}
    constant = {
        dotted(name): _input(name, np.asarray(value), found, structure)
        for name, value in _flat(reading.data).items()
        if not any(_same(value, site.seen) for site in observed.values())
    }
    groups: dict[str, xr.Dataset] = {
        "posterior": _draws({dotted(name): (_dims(name, found), v) for name, v in posterior.items()})
    }
    if sample_stats:
        groups["sample_stats"] = _draws({name: ((), values) for name, values in sample_stats.items()})
    if log_predictive is not None:
        lead = ("sequence",) if np.ndim(log_predictive) == 4 else ()
        groups["log_likelihood"] = xr.Dataset(
            {"log_predictive": (("chain", "draw", *lead, "time"), np.asarray(log_predictive))}
        )
    groups["observed_data"] = xr.Dataset({dotted(name): (site.dims, site.seen) for name, site in observed.items()})
    groups["constant_data"] = xr.Dataset(constant)
    groups["beliefs"] = xr.Dataset(dict(beliefs), attrs=_named(structure, beliefs))
    tree = xr.DataTree.from_dict({name: group for name, group in groups.items() if group.variables})
    tree.attrs = {
        "engine": engine,
        "algorithm": algorithm,
        "question": question,
        "law": law,
        "family": reading.family,
        "beliefs_from": beliefs_from,
        "key": json.dumps(np.asarray(jax.random.key_data(key)).tolist()),
        "seconds": time.perf_counter() - started,
        "dtype": str(next(iter(beliefs.values())).dtype) if beliefs else str(jax.numpy.zeros(()).dtype),
        **provenance(),
        **more,
    }
    return tree


def _dims(name: str, found: Mapping[str, Named]) -> tuple[str, ...]:
    """The dims of a variable; a missing observation that was drawn has those of its site."""
    site = found.get(name) or found.get(name.removesuffix(UNOBSERVED))
    return site.dims if site else ()


def _flat(data: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays in the program's arguments, by name: an argument may be a dict of several, or a list of numbers."""

    def numbers(value: Any) -> bool:
        return isinstance(value, list) and all(np.ndim(entry) == 0 for entry in value)

    leaves = jax.tree_util.tree_flatten_with_path(dict(data), is_leaf=numbers)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _same(value: Any, series: np.ndarray) -> bool:
    """Is this argument of the program what it observed, as far as that was seen?"""
    given = np.asarray(value)
    if given.dtype.kind not in "biuf" or given.shape != series.shape:
        return False
    seen = ~np.isnan(series.astype(float))
    return np.array_equal(given[seen], series[seen]) and bool(seen.any() or np.isnan(given.astype(float)).all())


def _draws(values: Mapping[str, tuple[tuple[str, ...], Any]]) -> xr.Dataset:
    """Draws of variables, whose axes after (chain, draw) are called as given, or by number where they have another count."""
    found = {}
    for name, (called, draws) in values.items():
        rest = called if len(called) == np.ndim(draws) - 2 else dims(name, np.ndim(draws) - 2)
        found[name] = (("chain", "draw", *rest), np.asarray(draws))
    return xr.Dataset(found)


def _input(name: str, value: np.ndarray, found: Mapping[str, Named], structure: Structure) -> tuple:
    """An input of the program with its dims; one as long as the series is a series."""
    steps = {site.value.shape[site.dims.index("time")] for site in found.values() if "time" in site.dims}
    series = value.ndim > 0 and value.shape[0] in steps
    sequence = 1 if series and value.ndim > 1 and structure.sequences == value.shape[1] else None
    return dims(name, value.ndim, time=0 if series else None, sequence=sequence), value


def _named(structure: Structure, beliefs: Mapping[str, xr.DataArray]) -> dict[str, str]:
    """What the parts of the state are called, as attributes of the beliefs."""
    first = next(iter(beliefs.values()), None)
    if first is None or not structure.factors:
        return {}
    if structure.labels:
        names = entries(structure.factors, len(structure.labels[0]))
        return {"factors": json.dumps(names), "labels": json.dumps(structure.labels)}
    count = first.sizes.get("dim", 0)
    return {"factors": json.dumps(entries(structure.factors, count))} if len(structure.factors) in (1, count) else {}
