"""Stateless baselines of a program's data: windows of history, on the scale of the program's prior predictive."""

import inspect
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Float
from numpyro import handlers
from numpyro.distributions import Distribution

from ppl_worldmodel.comparisons.baselines import baselines, kind_of
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.program.arguments import check_arguments
from ppl_worldmodel.program.reading import Reading, observed_arguments
from ppl_worldmodel.program.simulate import simulate_series
from ppl_worldmodel.program.site_axes import sites

DRAWS = 200  # of the prior predictive
SIMULATED = "give it the default None, so that the program can be simulated"


def observed_series(reading: Reading) -> dict[str, Float[np.ndarray, "time ..."]]:
    """What the program observes in its step, by site: floats with the leading axis time, NaN where nothing was seen."""
    found = sites(reading)
    return {
        name: np.asarray(site.seen, float) for name, site in found.items() if site.observed and "time" in site.dims[:1]
    }


def stateless(reading: Reading, key: jax.Array) -> tuple[dict[str, Float[np.ndarray, " time"]], str]:
    """log p(y_t | y_1:t-1) of every baseline, by name; or none, and the reason.

    The scale of the values is that of the program's prior predictive: the baselines know as much as the program, and no more.
    """
    series, structure = observed_series(reading), reading.structure
    if structure.sequences or len(series) != 1:
        what = f"{structure.sequences} series" if structure.sequences else f"{len(series)} observed sites"
        return {}, f"windows of history are made for one series of one site, and there are {what}"
    (name, values), *_ = series.items()
    kind = kind_of(distribution_of(reading, name))
    if kind is None:
        return (
            {},
            f"windows of history are made for symbols, counts and real numbers, and site '{name}' has none of these",
        )
    settings: dict[str, Any] = {}
    if kind == "categorical":
        settings["num_symbols"] = _symbols(distribution_of(reading, name))
    else:
        try:
            settings["location"], settings["scale"] = _expected(reading, name, values, key)
        except DataError as error:
            return {}, str(error)
    return baselines(values, kind=kind, actions=actions_of(reading.data, len(values)), **settings), ""


def distribution_of(reading: Reading, name: str) -> Distribution:
    """The distribution of a site, as one run of the program has it."""
    with handlers.trace() as trace, handlers.seed(rng_seed=0):
        reading.model(**reading.data)
    return trace[name]["fn"]


def _symbols(fn: Distribution) -> int | None:
    support: Any = fn.support
    upper = getattr(support, "upper_bound", None)
    return 2 if upper is None else int(np.max(np.asarray(upper))) + 1


def _expected(reading: Reading, name: str, values: np.ndarray, key: jax.Array) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the prior predictive, of each component."""
    model, observed = reading.model, observed_arguments(reading)
    given = {argument: value for argument, value in reading.data.items() if argument not in observed}
    if not observed:
        raise DataError(f"no argument of the program is what site '{name}' observes: pass the observations as they are")
    check_arguments(model, given, remedy=SIMULATED)
    length = {"num_steps": len(values)} if "num_steps" in inspect.signature(model).parameters else {}

    def one(key: jax.Array) -> jax.Array:
        return simulate_series(model, None, key, **(given | length))[name]

    drawn = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(key, DRAWS)), float)
    return np.asarray(drawn.mean(axis=(0, 1))), np.asarray(drawn.std(axis=(0, 1)))


def actions_of(data: Mapping[str, Any], steps: int) -> np.ndarray | None:
    """The program's argument `actions`, if it is one series of whole numbers; else None."""
    value = data.get("actions")
    array = None if value is None else np.asarray(value)
    return array if array is not None and array.shape == (steps,) and array.dtype.kind in "iu" else None
