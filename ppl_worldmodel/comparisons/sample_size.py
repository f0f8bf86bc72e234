"""Sample size to tell two models apart: from simulated series, before any data are collected.

If A is true, the log evidence ratio of A over B (both at given parameters) grows by the Kullback-Leibler rate per step, and its
standard deviation with the square root of the number of steps. It tells the models apart once it is expected to reach log 20,
strong evidence in the words of Kass & Raftery (1995, J. American Statistical Association 90), and twice its own standard deviation.

Source: Leroux (1992), Stochastic Processes and their Applications 40 (the rate exists and tells hidden Markov models apart).
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from ppl_worldmodel.comparisons.paired_difference import TELLS, error_of_sum
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.program.reading import read
from ppl_worldmodel.program.simulate import as_data, simulate
from ppl_worldmodel.program.system import log_predictive

STRONG = float(np.log(20.0))  # nats
ROUNDING = 1e-9  # nats per step


class StepsToTell(NamedTuple):
    """nats   per step that A is better than B if A is true, and its standard error
    spread  standard deviation that a single step adds to the log evidence ratio, dependence between steps included
    steps   after which the ratio tells A from B; infinite if the rate is not above zero
    simulated  number of steps that it was measured on
    """

    nats: float
    error: float
    spread: float
    steps: float
    simulated: int

    @property
    def tells(self) -> bool:
        """Is the rate itself more than two standard errors above zero? If not, simulate a longer series."""
        return self.nats > TELLS * self.error


def steps_to_tell(
    model_a: Callable,
    parameters_a: Mapping[str, Any],
    model_b: Callable,
    parameters_b: Mapping[str, Any],
    key: Array,
    *,
    num_steps: int = 5000,
    num_series: int = 1,
    arguments: Mapping[str, Any] | None = None,
    arguments_b: Mapping[str, Any] | None = None,
) -> StepsToTell:
    """The number of steps needed to see that A, and not B, generated the data.

    arguments    what A takes besides the observations (such as actions, which then say how long the series is)
    arguments_b  what B takes; None: the same
    num_steps, num_series  of the simulation. A level that drifts goes further in one long series than in many as long as the data,
                 and B then fits it worse than it fits the data: to speak about series of one length, simulate such ones

    Where A generates what is impossible under B, the rate is infinite, and `steps` is when that happened in the simulated series.
    Raises DataError if no simulated site of A is an observation of B.
    """
    given = dict(arguments or {})
    others = given if arguments_b is None else dict(arguments_b)
    takes = inspect.signature(model_a).parameters
    length = {"num_steps": num_steps} if "num_steps" in takes and "num_steps" not in given else {}
    run = jax.jit(lambda key: simulate(model_a, parameters_a, key, **given, **length))

    def data_of(sites: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        data = as_data(model_a, sites, {name: value for name, value in given.items() if name != "num_steps"})
        seen = {name: value for name, value in sites.items() if any(value is each for each in data.values())}
        return data, as_data(model_b, seen, {name: value for name, value in others.items() if name != "num_steps"})

    sites = [run(each) for each in (jax.random.split(key, num_series) if num_series > 1 else [key])]
    terms = [_terms(model, parameters) for model, parameters in ((model_a, parameters_a), (model_b, parameters_b))]
    ratios = []
    for each in sites:
        here, there = (of(data) for of, data in zip(terms, data_of(each), strict=True))
        if here.shape != there.shape:
            raise DataError(
                f"the models see {len(here)} and {len(there)} steps of the same data: give both series of one length (arguments, "
                "arguments_b)"
            )
        if np.isneginf(there).any():
            first = int(np.isneginf(there).argmax())
            return StepsToTell(np.inf, 0.0, np.nan, first + 1.0, len(here))
        ratios.append(here - there)
    return told(ratios[0]) if num_series == 1 else told_of_several(np.stack(ratios))


def _terms(model: Callable, parameters: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], Float[np.ndarray, " time"]]:
    """log p(y_t | y_1:t-1) of a data set, of all sequences together; compiled once for data of the same shapes."""
    compiled: list[Callable] = []

    def of(data: Mapping[str, Any]) -> Float[np.ndarray, " time"]:
        series = {name: value for name, value in data.items() if np.ndim(value)}
        if not compiled:
            reading = read(model, data, parameters)
            rest = {name: value for name, value in data.items() if name not in series}
            compiled.append(jax.jit(lambda series: log_predictive(reading.on(rest | series).at(parameters))))
        found = np.asarray(compiled[0](series), float)
        return found.reshape(-1, found.shape[-1]).sum(axis=0)

    return of


def told(ratio: Float[np.ndarray, " time"]) -> StepsToTell:
    """The `StepsToTell` of one long series, from the log ratio of each step."""
    steps = len(ratio)
    return _enough(float(ratio.mean()), error_of_sum(ratio) / steps, steps)


def told_of_several(ratios: Float[np.ndarray, "series time"]) -> StepsToTell:
    """The same of several independent series: the error is that of their means, so that steps may depend on each other."""
    each = ratios.mean(axis=1)
    return _enough(float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each))), ratios.size)


def _enough(nats: float, error: float, steps: int) -> StepsToTell:
    spread = float(error * np.sqrt(steps))
    enough = np.inf if nats < ROUNDING else float(np.ceil(max(STRONG / nats, (TELLS * spread / nats) ** 2)))
    return StepsToTell(nats, error, spread, enough, steps)
