"""What could be learned, beside what was?  The identifiability of a run's parameters, with the posterior of one of its engines."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr

from ppl_worldmodel.comparisons.identifiability import identifiability
from ppl_worldmodel.comparisons.prior_overlap import overlap
from ppl_worldmodel.errors import WorldModelError
from ppl_worldmodel.infer.tree import PARAMETERS
from ppl_worldmodel.questions import means

NUM_PRIOR = 1000


def learnable(
    model: Callable,
    data: Mapping[str, Any],
    names: Sequence[str],
    results: Mapping[str, xr.DataTree],
    truth: Mapping[str, Any] | None,
    key: jax.Array,
) -> xr.Dataset:
    """`identifiability` at the truth, else at the posterior mean of NUTS (or the first engine that learned parameters).

    names  of the program's parameters

    With a draw-based answer of that engine, posterior_sd and overlap (of posterior and prior) of each entry stand beside it.
    Attributes: those of `identifiability`, at (in words) and engine; or only `left_out`, the reason why nothing can be said.
    """
    learned = [name for name, result in results.items() if result.attrs["question"] == PARAMETERS]
    if not learned:
        return xr.Dataset(attrs={"left_out": "no engine learned the parameters"})
    engine = "nuts" if "nuts" in learned else learned[0]
    at = means(results[engine], names) if truth is None else truth
    try:
        found = identifiability(model, data, at, num_prior=NUM_PRIOR, key=key)
    except WorldModelError as error:
        return xr.Dataset(attrs={"left_out": str(error)})
    posterior = results[engine]["posterior"].to_dataset()
    draws = np.concatenate(
        [posterior[name].values.reshape(*posterior[name].shape[:2], -1) for name in names], axis=-1, dtype=float
    )
    prior = found["prior"].values
    shared = [
        overlap(draws[..., i].ravel(), prior[:, i]) if np.isfinite(prior[:, i]).all() else 0.0
        for i in range(draws.shape[-1])
    ]
    return (
        found.drop_vars("prior")
        .assign(posterior_sd=("entry", draws.std(axis=(0, 1), ddof=1)), overlap=("entry", np.array(shared)))
        .assign_attrs(at="the truth of the simulation" if truth is not None else "the posterior mean", engine=engine)
    )
