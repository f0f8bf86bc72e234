"""Filtered and predicted beliefs by sampling: one posterior for each prefix y_1:n of the series, side by side in one run.

Of the posterior given y_1:n the state that emits y_n is the filtered one, and the state after it the predicted one: the
posterior of the whole series gives smoothed states only. A recursion answers in one pass what takes as many posteriors as steps.
"""

from collections.abc import Callable, Sequence

import jax
import numpy as np
import xarray as xr

from ppl_worldmodel.infer.beliefs import of_state_draws

MOST_BYTES = 1_000_000_000  # of the draws that are held at a time; prefixes beyond that run one batch after the other


def prefix_lengths(prefixes: bool | int | Sequence[int], steps: int) -> list[int]:
    """How many observations each posterior sees. True: 0 to all; a number: the prefixes that end at so many steps, evenly spread;
    a list of time steps, counted from 0: those that end there.
    """
    if prefixes is True:
        return list(range(steps + 1))
    if isinstance(prefixes, int):
        prefixes = [int(t) for t in np.linspace(0, steps - 1, int(prefixes) + 2)[1:-1]]
    return sorted({t + 1 for t in prefixes})


def with_prefixes(
    posteriors: Callable[[np.ndarray, jax.Array], np.ndarray],
    lengths: list[int],
    steps: int,
    key: jax.Array,
    num_states: int | None,
    *,
    bytes_each: int,
) -> dict[str, xr.DataArray]:
    """The filtered and predicted beliefs that these prefixes tell, NaN at all other time steps, which `<kind>_asked` tells.

    posteriors(keep, keys) draws the states given the observations that are kept, (prefix, time) with one key each: an array
    (prefix, chain, draw, *sequence, time), of vectors with the last axis dim. bytes_each: what one prefix takes.
    """
    if not lengths:
        return {}
    keep, keys = np.arange(steps) < np.array(lengths)[:, None], jax.random.split(key, len(lengths))
    size = max(1, MOST_BYTES // bytes_each)
    time = -1 if num_states is not None else -2
    ends: dict[str, list[np.ndarray]] = {"filtered": [], "predicted": []}
    for at in range(0, len(lengths), size):
        batch = lengths[at : at + size]
        draws = posteriors(keep[at : at + size], keys[at : at + size])
        ends["filtered"] += [np.take(draws[i], n - 1, axis=time) for i, n in enumerate(batch) if n]
        ends["predicted"] += [np.take(draws[i], n, axis=time) for i, n in enumerate(batch) if n < steps]
    where = {"filtered": [n - 1 for n in lengths if n], "predicted": [n for n in lengths if n < steps]}
    found: dict[str, xr.DataArray] = {}
    for kind, parts in ends.items():
        if parts:
            for name, values in of_state_draws(kind, np.stack(parts, axis=time), num_states).items():
                found[name] = values.assign_coords(time=where[kind]).reindex(time=range(steps)).drop_vars("time")
            found[f"{kind}_asked"] = xr.DataArray(np.isin(np.arange(steps), where[kind]), dims="time")
    return found
