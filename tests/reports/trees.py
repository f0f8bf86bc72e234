"""Runs made by hand: numbers out of a random generator in the shape that the engines return, and no sampling."""

import json

import numpy as np
import xarray as xr

from ppl_worldmodel.checks.check import as_dataset, check
from ppl_worldmodel.infer.beliefs import FROM_PARAMETERS, FROM_RECURSION, FROM_STATES
from ppl_worldmodel.infer.result_tree import PARAMETERS, STATES

from ..agreement import law_of

STEPS = 20
KINDS = ("filtered", "smoothed")
SOURCE = '"""A model.\n\nWith <script>alert(1)</script> in it."""\n\nx = "</pre><script>alert(2)</script>"\n'


def finite_known(num_states: int = 2, prefixes: tuple[int, ...] = (5, 12), **more) -> xr.DataTree:
    """Exact, and a Gibbs sampler with filtered beliefs at single steps and no systematic error."""
    rng = np.random.default_rng(1)
    truth = {kind: rng.dirichlet(np.full(num_states, 0.7), STEPS) for kind in KINDS}
    exact = _tree(
        "exact",
        STATES,
        FROM_RECURSION,
        "FiniteState",
        _finite(truth),
        {"T": np.full((1, 1, 2, 2), 0.5)},
        log_evidence=-9.5,
    )
    states = rng.integers(num_states, size=(4, 500, STEPS))
    noise = {kind: np.abs(truth[kind] + 0.004 * rng.normal(size=truth[kind].shape)) for kind in KINDS}
    noise = {kind: each / each.sum(axis=-1, keepdims=True) for kind, each in noise.items()}
    noise["filtered"][~np.isin(np.arange(STEPS), prefixes)] = np.nan
    sampled = _tree("gibbs", STATES, FROM_STATES, "FiniteState", _finite(noise, error=0.004), {"state": states})
    return run({"exact": exact, "gibbs": sampled}, "known", **more)


def finite_learned(rhat_is_bad: bool = False, **more) -> xr.DataTree:
    """NUTS on two parameters and a mean-field SVI whose beliefs are off by 0.1 everywhere; the truth is known."""
    rng = np.random.default_rng(2)
    truth = {"T": np.array([[0.9, 0.1], [0.2, 0.8]]), "rate": np.array(3.0)}
    probability = {kind: rng.dirichlet([2.0, 2.0], STEPS) * 0.6 + 0.2 for kind in KINDS}
    shift = np.array([0.1, -0.1])
    engines = {
        "exact": _tree(
            "exact",
            STATES,
            FROM_RECURSION,
            "FiniteState",
            _finite(probability),
            {k: v[None, None] for k, v in truth.items()},
        )
    }
    for name, shape, moved in (("nuts", (4, 250), 0.0), ("svi", (1, 800), 1.0)):
        draws = {key: value + 0.02 * rng.normal(size=(*shape, *value.shape)) for key, value in truth.items()}
        if name == "nuts" and rhat_is_bad:
            draws["rate"] = draws["rate"] + 5.0 * np.arange(4)[:, None]
        beliefs = _finite({kind: p + moved * shift for kind, p in probability.items()}, error=0.001)
        extra = {"elbo": -12.0, "elbo_mcse": 0.1, "pareto_k": 0.3, "loss_change": 0.0} if name == "svi" else {}
        engines[name] = _tree(name, PARAMETERS, FROM_PARAMETERS, "FiniteState", beliefs, draws, **extra)
    values = {key: value.tolist() for key, value in truth.items()}
    return run(engines, "learned", truth=json.dumps(values), parameters_from="the truth of the simulation", **more)


def gaussian_known(dims: int = 1, steps: int = STEPS, **more) -> xr.DataTree:
    """Exact, and a full-rank SVI, with years on the time axis."""
    rng = np.random.default_rng(3)
    mean = {kind: rng.normal(size=(steps, dims)).cumsum(axis=0) for kind in KINDS}
    covariance = np.broadcast_to(np.eye(dims), (steps, dims, dims))
    exact = _tree(
        "exact",
        STATES,
        FROM_RECURSION,
        "LinearGaussian",
        _gaussian(mean, covariance),
        {"scale": np.ones((1, 1))},
        log_evidence=-5.0,
    )
    moved = {"smoothed": mean["smoothed"] + 0.01}
    approximate = _tree(
        "svi_full_rank", STATES, FROM_STATES, "LinearGaussian", _gaussian(moved, covariance, error=0.01),
        {"x": rng.normal(size=(1, 300, steps, dims))}, elbo=-5.1, elbo_mcse=0.01, pareto_k=0.2, loss_change=0.0,
        seconds_sampling=2.0,
    )  # fmt: skip
    return run({"exact": exact, "svi_full_rank": approximate}, "known", first=1900, **more)


def run(engines: dict[str, xr.DataTree], mode: str, first: int | None = None, **more) -> xr.DataTree:
    """What the main job returns, with checks by the package; numbers come as numpy scalars, as they do from a file."""
    reference = "exact" if mode == "known" else "nuts"
    truth = json.loads(more.get("truth", "{}")) or None
    findings = tuple(
        finding
        for name, tree in engines.items()
        if name != "exact"
        for finding in check(tree, against=engines[reference] if name != reference else None, truth=truth)
    )
    tree = xr.DataTree.from_dict({"checks": as_dataset(findings)})
    for name, engine in engines.items():
        tree[f"engines/{name}"] = engine
        for group in ("beliefs", "observed_data") if first is not None else ():
            path = f"engines/{name}/{group}"
            dataset = tree[path].to_dataset()
            tree[path].dataset = dataset.assign_coords(time=np.arange(first, first + dataset.sizes["time"]))
    tree.attrs = {
        "name": "made by hand", "mode": mode, "source": SOURCE, "about": "A model.\n\nWith <script>alert(1)</script> in it.",
        "structure": "FiniteState: 2 states", "data_from": "a random generator", "parameters_from": "given by the caller",
        "truth": "{}", "seed": np.int64(0), "fast": np.int64(0), "command": "worldmodel check", "commit": "abc1234",
        "created": "2026-01-01T00:00:00+00:00", "versions": json.dumps({"numpyro": "0.22.0"}), "dtype": "float64",
        "seconds": np.float64(1.5), **more,
    }  # fmt: skip
    return tree


def _finite(probability: dict[str, np.ndarray], error: float | None = None) -> xr.Dataset:
    found: dict = {kind: (("time", "state"), p) for kind, p in probability.items()}
    found |= {f"{kind}_asked": ("time", np.isfinite(p).all(axis=-1)) for kind, p in probability.items()}
    if error is not None:
        for kind, p in probability.items():
            found[f"{kind}_mcse"] = (("time", "state"), np.where(np.isnan(p), np.nan, error))
            found[f"{kind}_ess"] = (("time", "state"), np.where(np.isnan(p), np.nan, 1500.0))
    states = next(iter(probability.values())).shape[1]
    return xr.Dataset(found, {"state": ["<b>calm</b>", "costs $5 or $6", "c", "d", "e"][:states]})


def _gaussian(mean: dict[str, np.ndarray], covariance: np.ndarray, error: float | None = None) -> xr.Dataset:
    found: dict = {}
    for kind, values in mean.items():
        found[kind] = (("time", "dim"), values)
        found[f"{kind}_covariance"] = (("time", "dim", "dim_bis"), covariance)
        for name in ("mcse", "variance_mcse") if error is not None else ():
            found[f"{kind}_{name}"] = (("time", "dim"), np.full(values.shape, error))
    return xr.Dataset(found)


def _tree(engine, question, beliefs_from, family, beliefs, draws, **more) -> xr.DataTree:
    steps = beliefs.sizes["time"]
    posterior = {}
    for name, values in draws.items():
        rest = [f"{name}_dim_{i}" for i in range(values.ndim - 2)]
        posterior[name] = (("chain", "draw", *(["time", *rest[1:]] if values.shape[2:3] == (steps,) else rest)), values)
    observed = np.random.default_rng(0).normal(size=steps)
    observed[3] = np.nan
    tree = xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset(posterior),
            "beliefs": beliefs,
            "observed_data": xr.Dataset({"y": ("time", observed)}),
            "constant_data": xr.Dataset({"actions": ("time", np.arange(steps) % 3), "size": 7}),
        }
    )
    tree.attrs = {
        "engine": engine, "law": law_of(engine), "algorithm": f"the algorithm of {engine}", "question": question, "family": family,
        "beliefs_from": beliefs_from, "key": "[0, 1]", "seconds": np.float64(3.25),
    } | more  # fmt: skip
    return tree
