"""How is a filtered belief sampled?  One posterior for each prefix y_1:t of the series; only its last state is kept."""

from collections.abc import Callable, Sequence

import jax
import numpy as np
import xarray as xr

from ppl_worldmodel.infer.beliefs import of_state_draws


def chosen_prefixes(prefixes: int | Sequence[int], steps: int) -> list[int]:
    """The time steps t (counted from 0) whose filtered belief is asked for: as given, or so many, evenly spread."""
    if not isinstance(prefixes, int):
        return sorted(prefixes)
    return sorted({int(t) for t in np.linspace(0, steps - 1, prefixes + 2)[1:-1]})


def with_prefixes(
    last_states: Callable[[int, jax.Array], np.ndarray],
    prefixes: list[int],
    steps: int,
    key: jax.Array,
    num_states: int | None,
) -> dict[str, xr.DataArray]:
    """The filtered beliefs at the prefixes asked for, NaN at all other time steps.

    last_states(t, key) draws s_t given y_1:t, with axes (chain, draw, *sequence) or (chain, draw, *sequence, dim).
    """
    if not prefixes:
        return {}
    draws = np.stack(
        [last_states(t, key) for t, key in zip(prefixes, jax.random.split(key, len(prefixes)), strict=True)],
        axis=-1 if num_states is not None else -2,
    )
    beliefs = of_state_draws("filtered", draws, num_states)
    return {
        name: values.assign_coords(time=prefixes).reindex(time=range(steps)).drop_vars("time")
        for name, values in beliefs.items()
    }
