"""What can be wrong with a result?  Ten planted faults, each in one of three forms.

A wrong question is put to a right engine (`Case -> Case`: the program of another T, without its first observation, at other
actions, with another prior); a right result is mislabelled (`DataTree -> DataTree`); or an engine is run wrongly.
The true size of a fault is exact: recursion against recursion, or mixture against mixture of conjugate posteriors.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ppl_worldmodel.infer import beliefs as belief

from ..references import mixtures
from . import runs
from .runs import Case, Engine


def transposed(case: Case) -> Case:
    """The program moves by the columns of T where it should by the rows: `Categorical(T[..., :, state])`, which normalises."""
    T = np.swapaxes(case.parameters["T"], -1, -2)
    return case._replace(parameters=case.parameters | {"T": T / T.sum(axis=-1, keepdims=True)})


def rows_swapped(case: Case) -> Case:
    """Two states have each other's emissions."""
    name = "O" if "O" in case.parameters else "rate"
    rows = case.parameters[name].copy()
    rows[[0, 1]] = rows[[1, 0]]
    return case._replace(parameters=case.parameters | {name: rows})


def first_skipped(case: Case) -> Case:
    """The update of the first time step is left out."""
    series = case.data["observations"].copy()
    series[0] = np.nan
    return case._replace(data=case.data | {"observations": series})


def action_late(case: Case) -> Case:
    """Every step moves by the action of the step before."""
    return case._replace(data=case.data | {"actions": np.roll(case.data["actions"], 1)})


def prior_dropped(case: Case) -> Case:
    """T has a flat prior."""
    return case._replace(data=case.data | {"prior_T": np.ones_like(case.data["prior_T"])})


def in_part(fault: Callable[[Case], Case], weight: float) -> Callable[[Case], Case]:
    """A weaker fault: parameters and priors so far on the way to the faulty ones."""

    def weaker(case: Case) -> Case:
        def between(right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
            return right if right is wrong else (1.0 - weight) * right + weight * wrong

        return jax.tree.map(between, case, fault(case))

    return weaker


def smoother_as_filter(result: xr.DataTree) -> xr.DataTree:
    """The smoothed beliefs, with their errors, stand where the filtered ones should."""
    beliefs = result["beliefs"].to_dataset()
    names = [str(name) for name in beliefs if str(name).startswith("smoothed")]
    found = result.copy()
    found["beliefs"] = xr.DataTree(
        beliefs.assign({name.replace("smoothed", "filtered"): beliefs[name] for name in names})
    )
    return found


def relabelled(draw: Callable) -> Callable:
    """The second chain calls state 0 what the others call state 1."""

    def faulty(case: Case, key: jax.Array) -> tuple[dict[str, Any], Any]:
        draws, diverging = draw(case, key)

        def swapped(name: str, values: jax.Array) -> jax.Array:
            other = values[:, :, ::-1, ::-1] if name == "T" else values[:, :, ::-1]
            return jnp.where(jnp.arange(len(values)).reshape(-1, *(1,) * (values.ndim - 1)) == 1, other, values)

        return {name: swapped(name, values) for name, values in draws.items()}, diverging

    return faulty


def labels_swapped(result: xr.DataTree) -> xr.DataTree:
    """The second chain of drawn states calls state 0 what the others call state 1."""
    states = result["posterior"]["state"].values.copy()
    states[1] = np.where(states[1] < 2, 1 - states[1], states[1])
    found = result.copy()
    found["posterior"] = xr.DataTree(xr.Dataset({"state": (result["posterior"]["state"].dims, states)}))
    drawn = belief.of_state_draws("smoothed", states, result["beliefs"].sizes["state"])
    found["beliefs"] = xr.DataTree(result["beliefs"].to_dataset().assign(drawn))
    return found


def in_single_precision(model: Callable, cases: Sequence[Case]) -> list[xr.DataTree]:
    """The exact engine in float32."""
    with jax.enable_x64(False), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the package asks for float64 and does not get it
        return list(runs.answers(runs.exact(model, cases[0]), cases, jax.random.key(0)))


def mixture(case: Case) -> mixtures.Mixture:
    """The exact posterior of the parameters of `letters` and `regimes`."""
    data = case.data
    emission = mixtures.Dirichlet(data["prior_O"]) if "prior_O" in data else mixtures.Gamma(data["shape"], data["per"])
    return mixtures.mixture(
        data["observations"], initial=[0.5, 0.5], T=mixtures.Dirichlet(data["prior_T"]), O=emission
    )  # fmt: skip


def exact_draws(case: Case, seed: int, number: int = 4000) -> Case:
    """The same case with independent draws of the exact posterior as its parameters, (chain, draw, ...)."""
    found = mixtures.draw(mixture(case), number, np.random.default_rng(seed))
    second = "O" if "prior_O" in case.data else "rate"
    shaped = {"T": found.T, second: found.O}
    return case._replace(parameters={n: v.reshape(runs.CHAINS, -1, *v.shape[1:]) for n, v in shaped.items()})


def from_draws(model: Callable, example: Case) -> Engine:
    """The reference of learned parameters: an engine that takes its draws from the case (`exact_draws`)."""
    return runs.learned("mixture", model, example, lambda case, key: (case.parameters, None))


def size_of_beliefs(wrong: xr.DataTree, right: xr.DataTree, kind: str = "smoothed", of: str = "") -> float:
    """How far exact beliefs are apart, at the worst time step: total variation, or reference standard deviations."""
    here, there = wrong["beliefs"].to_dataset(), right["beliefs"].to_dataset()
    gap = here[of or kind].values - there[kind].values
    if f"{kind}_covariance" not in there:
        return float(0.5 * np.abs(gap).sum(axis=-1).max())
    sd_here, sd_there = (
        np.sqrt(np.diagonal(beliefs[f"{name}_covariance"].values, axis1=-2, axis2=-1))
        for beliefs, name in ((here, of or kind), (there, kind))
    )
    return float((np.hypot(gap, sd_here - sd_there) / sd_there).max())


def size_of_swapped_labels(right: xr.DataTree) -> float:
    """How far the smoothed beliefs move if one chain in four swaps states 0 and 1."""
    beliefs = right["beliefs"]["smoothed"].values
    return float(0.25 * np.abs(beliefs[:, 0] - beliefs[:, 1]).max())


def size_of_relabelling(case: Case) -> float:
    """How far the posterior means move if one chain in four swaps states 0 and 1, in posterior standard deviations."""
    found = mixtures.moments(mixture(case))
    T, second = found.T_mean, found.O_mean
    gap = np.concatenate([(T[::-1, ::-1] - T).ravel(), (second[::-1] - second).ravel()])
    return float((0.25 * np.abs(gap) / np.sqrt(np.diag(found.covariance))).max())


def size_of_parameters(wrong: Case, right: Case) -> float:
    """How far two exact posteriors of the parameters are apart in the worst entry, in the right one's standard deviations."""
    here, there = (mixtures.moments(mixture(case)) for case in (wrong, right))
    sd_here, sd_there = np.sqrt(np.diag(here.covariance)), np.sqrt(np.diag(there.covariance))
    return float((np.hypot(here.mean - there.mean, sd_here - sd_there) / sd_there).max())


def size_of_mean_field(case: Case, right: xr.DataTree) -> float:
    """By how much the best independent Gaussians are too narrow: their variance is one over the precision given all else.

    For a state that moves by x' = a x + noise of scale q and is seen with noise of scale r.
    """
    known = case.parameters
    a, q, r = (known["rho"], 0.3, 1.0) if "rho" in known else (1.0, known["level_scale"], known["observation_scale"])
    sd = np.sqrt(right["beliefs"]["smoothed_covariance"].values[:, 0, 0])[1:-1]
    return float(np.abs(1.0 - 1.0 / np.sqrt((1 + a**2) / q**2 + 1 / r**2) / sd).max())
