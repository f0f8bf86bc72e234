"""Identifiability of a run's parameters beside the posterior of one of its engines: what could be learned, and what was."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float

from ppl_worldmodel.errors import WorldModelError
from ppl_worldmodel.identifiability.identifiability import identifiability
from ppl_worldmodel.identifiability.prior_sensitivity import overlap, sensitivity
from ppl_worldmodel.infer.result_tree import PARAMETERS
from ppl_worldmodel.labels.aligned_results import posterior_mean
from ppl_worldmodel.program.coordinates import coordinates, entry_names
from ppl_worldmodel.program.reading import Reading

NUM_PRIOR = 1000
FEW = 2000  # draws of the posterior that are reweighted


def learnable(
    reading: Reading,
    results: Mapping[str, xr.DataTree],
    truth: Mapping[str, Any] | None,
    key: jax.Array,
) -> xr.Dataset:
    """`identifiability` at the truth, else at the posterior mean of NUTS (or the first engine that learned parameters).

    From that engine's draws, for each entry: posterior_sd, overlap (of posterior and prior), and prior_felt and data_felt, the
    power-scaling sensitivity to the prior and to the likelihood (see `prior_sensitivity.sensitivity`; NaN for a flat prior).
    Attributes: those of `identifiability`, at (in words) and engine, unfelt (why there is no sensitivity, where there is none); or
    only `left_out`, the reason why nothing can be said.
    """
    learned = [name for name, result in results.items() if result.attrs["question"] == PARAMETERS]
    if not learned:
        return xr.Dataset(attrs={"left_out": "no engine learned the parameters"})
    engine = "nuts" if "nuts" in learned else learned[0]
    at = posterior_mean(reading, results[engine]) if truth is None else truth
    try:
        found = identifiability(reading, at, num_prior=NUM_PRIOR, key=key)
    except WorldModelError as error:
        return xr.Dataset(attrs={"left_out": str(error)})
    posterior, names = results[engine]["posterior"].to_dataset(), list(reading.parameters)
    draws = np.concatenate(
        [posterior[name].values.reshape(*posterior[name].shape[:2], -1) for name in names], axis=-1, dtype=float
    )
    prior = found["prior"].values
    shared = [
        overlap(draws[..., i].ravel(), prior[:, i]) if np.isfinite(prior[:, i]).all() else 0.0
        for i in range(draws.shape[-1])
    ]
    prior_felt, data_felt, unfelt = _felt(reading, {name: posterior[name].values for name in names})
    return (
        found.drop_vars("prior")
        .assign(posterior_sd=("entry", draws.std(axis=(0, 1), ddof=1)), overlap=("entry", np.array(shared)))
        .assign(prior_felt=("entry", prior_felt), data_felt=("entry", data_felt))
        .assign_attrs(at="the truth of the simulation" if truth is not None else "the posterior mean", engine=engine)
        .assign_attrs({"unfelt": unfelt} if unfelt else {})
    )


def _felt(
    reading: Reading, draws: Mapping[str, np.ndarray]
) -> tuple[Float[np.ndarray, " entry"], Float[np.ndarray, " entry"], str]:
    """The sensitivity of each entry to the prior and to the likelihood, in the order of the draws, or why there is none."""
    chains, length = next(iter(draws.values())).shape[:2]
    every = -(-chains * length // FEW)
    some = {name: np.asarray(values, float)[:, ::every] for name, values in draws.items()}
    labels = entry_names({name: values[0, 0] for name, values in some.items()})
    try:
        found = sensitivity(coordinates(reading), some).sel(entry=labels)
    except WorldModelError as error:
        return np.full(len(labels), np.nan), np.full(len(labels), np.nan), str(error)
    return found["prior"].values, found["likelihood"].values, ""
