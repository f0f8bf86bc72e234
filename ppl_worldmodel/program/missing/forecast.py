"""Observations that end before the covariates do: the steps beyond are unobserved, a forecast."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from ppl_worldmodel.program.missing.inputs import observed_arguments
from ppl_worldmodel.program.start import up_to_scan


def with_forecast(model: Callable, data: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, with observations that are shorter than the covariates filled up with NaN to their length.

    That is done where it is unambiguous: the inputs of the scan differ in length, there are two lengths among the arguments, all
    of the shorter ones are observed, and none of the longer ones is. All else is left as it is, and refused where it is read.
    """
    given = dict(data)
    series = {name: np.asarray(value) for name, value in given.items() if _is_series(value)}
    lengths = sorted({len(value) for value in series.values()})
    if len(lengths) != 2 or lengths[0] == 0 or not _differ(model, given):
        return given
    few, most = lengths
    short = {name: value for name, value in series.items() if len(value) == few}
    # The last value again: of what is missing only the place matters here.
    filled = {name: np.concatenate([value, np.repeat(value[-1:], most - few, axis=0)]) for name, value in short.items()}
    observed = observed_arguments(model, given | filled)
    if not set(short) <= observed or observed & (set(series) - set(short)):
        return given
    beyond = {name: np.full((most - few, *value.shape[1:]), np.nan) for name, value in short.items()}
    return given | {name: np.concatenate([value.astype(float), beyond[name]]) for name, value in short.items()}


def _is_series(value: Any) -> bool:
    return isinstance(value, (np.ndarray, jax.Array)) and value.ndim > 0 and value.dtype.kind in "biuf"


def _differ(model: Callable, data: Mapping[str, Any]) -> bool:
    """Do the inputs of the program's scan differ in length?"""
    found: list[set[int]] = []

    def run() -> None:
        inputs = up_to_scan(model, (), data, {}).message["args"][2]
        found.append({np.shape(leaf)[0] for leaf in jax.tree.leaves(inputs) if np.ndim(leaf)})

    try:
        jax.eval_shape(run)
    except Exception:  # it is another fault, and reading the program says what it is
        return False
    return len(found[0]) > 1
