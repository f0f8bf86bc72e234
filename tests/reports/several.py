"""Runs made by hand about several series, and about states of several parts."""

import json

import numpy as np
import xarray as xr

from ppl_worldmodel.infer.beliefs import FROM_RECURSION, FROM_STATES
from ppl_worldmodel.infer.result_tree import STATES

from . import trees

WORST, AT = 7, 13  # the series that is off, and the time step where it is
PARTS = {
    "factors": json.dumps(["weather", "market"]),
    "labels": json.dumps([[i, j] for i in range(3) for j in range(2)]),
}


def finite_series(count: int = 12, **more) -> xr.DataTree:
    """Two states in each of several series; a Gibbs sampler that is off by 0.2 in one of them."""
    rng = np.random.default_rng(4)
    truth = {kind: rng.dirichlet([2.0, 2.0], (count, trees.STEPS)) * 0.5 + 0.25 for kind in trees.KINDS}
    found = {kind: p + 0.002 * rng.normal(size=(*p.shape[:2], 1)) * [1, -1] for kind, p in truth.items()}
    found["smoothed"][min(WORST, count - 1), AT] += [0.2, -0.2]
    found["filtered"][:, np.arange(trees.STEPS) % 4 > 0] = np.nan
    parts = {"factors": json.dumps(["s"]), "labels": json.dumps([[0], [1]])}
    return _run(truth, found, ("sequence", "time", "state"), parts, count, **more)


def product(**more) -> xr.DataTree:
    """Six states of two parts in one series."""
    rng = np.random.default_rng(5)
    truth = {kind: rng.dirichlet(np.ones(6), trees.STEPS) for kind in trees.KINDS}
    found = {kind: _near(p, rng) for kind, p in truth.items()}
    return _run(truth, found, ("time", "state"), PARTS, 0, **more)


def product_series(count: int = 4, **more) -> xr.DataTree:
    """Six states of two parts in each of several series."""
    rng = np.random.default_rng(6)
    truth = {kind: rng.dirichlet(np.ones(6), (count, trees.STEPS)) for kind in trees.KINDS}
    found = {kind: _near(p, rng) for kind, p in truth.items()}
    return _run(truth, found, ("sequence", "time", "state"), PARTS, count, **more)


def gaussian_series(count: int = 5, dims: int = 1, **more) -> xr.DataTree:
    """Levels in several series, of which the first is not determined at the first two steps."""
    rng = np.random.default_rng(7)
    mean = {kind: rng.normal(size=(count, trees.STEPS, dims)).cumsum(axis=1) for kind in trees.KINDS}
    covariance = np.broadcast_to(np.eye(dims), (count, trees.STEPS, dims, dims)).copy()
    undetermined = {kind: (values.copy(), covariance.copy()) for kind, values in mean.items()}
    for part in undetermined["filtered"]:
        part[0, :2] = np.nan
    lead = ("sequence", "time", "dim")
    exact, found = xr.Dataset(), xr.Dataset()
    for kind, (values, spread) in undetermined.items():
        exact[kind], exact[f"{kind}_covariance"] = (lead, values), ((*lead, "dim_bis"), spread)
        exact[f"{kind}_asked"] = (lead[:-1], np.isfinite(values).all(axis=-1))
        found[kind], found[f"{kind}_covariance"] = (lead, mean[kind] + 0.01), ((*lead, "dim_bis"), covariance)
        for name in ("mcse", "variance_mcse"):
            found[f"{kind}_{name}"] = (lead, np.full(values.shape, 0.01))
    states = rng.normal(size=(4, 500, count, trees.STEPS))
    return _tree(exact, found, "LinearGaussian", "nuts", states, count, **more)


def _near(p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Probabilities that are off by a little."""
    off = np.abs(p + 0.002 * rng.normal(size=p.shape))
    return off / off.sum(axis=-1, keepdims=True)


def _run(truth: dict, found: dict, dims: tuple, parts: dict, count: int, **more) -> xr.DataTree:
    exact = xr.Dataset({kind: (dims, p) for kind, p in truth.items()}, attrs=parts)
    sampled = xr.Dataset({kind: (dims, p) for kind, p in found.items()}, attrs=parts)
    for kind, p in found.items():
        sampled[f"{kind}_asked"] = (dims[:-1], np.isfinite(p).all(axis=-1))
        sampled[f"{kind}_mcse"] = (dims, np.where(np.isnan(p), np.nan, 0.004))
        sampled[f"{kind}_ess"] = (dims, np.where(np.isnan(p), np.nan, 10_000.0))
    states = np.random.default_rng(8).integers(2, size=(4, 500, *([count] if count else []), trees.STEPS))
    return _tree(exact, sampled, "FiniteState", "gibbs", states, count, **more)


def _tree(
    exact: xr.Dataset, found: xr.Dataset, family: str, engine: str, states: np.ndarray, count: int, **more
) -> xr.DataTree:
    given = {"T": np.full((1, 1, 2, 2), 0.5)}
    engines = {
        "exact": trees._tree("exact", STATES, FROM_RECURSION, family, exact, given),
        engine: trees._tree(engine, STATES, FROM_STATES, family, found, {"s": states}),
    }
    if count:
        rng = np.random.default_rng(9)
        observed = rng.poisson(3.0, (trees.STEPS, count)).astype(float)
        observed[2, 1] = np.nan
        for tree in engines.values():
            tree["observed_data"].dataset = xr.Dataset({"y": (("time", "sequence"), observed)})
    return trees.run(engines, "known", **more)
