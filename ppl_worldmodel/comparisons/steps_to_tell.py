"""How long must a series be to tell two models apart?  From a long simulated series, before any data are collected.

If A is true, the log evidence ratio of A over B (both at given parameters) grows by the Kullback-Leibler rate per step, and what a
single series shows of it spreads with the square root of the number of steps. It tells once it is expected to reach log 20, strong
evidence in the words of Kass & Raftery (1995, J. American Statistical Association 90), and twice its own standard deviation.

Source: Leroux (1992), Stochastic Processes and their Applications 40 (the rate exists and tells hidden Markov models apart).
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from ppl_worldmodel.comparisons.difference import TELLS, error_of_sum
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.program.read import log_predictive, read
from ppl_worldmodel.program.simulate import as_data, simulate

STRONG = float(np.log(20.0))  # nats
ROUNDING = 1e-9  # nats per step


class StepsToTell(NamedTuple):
    """nats   per step that A is better than B if A is true, and its standard error
    spread  standard deviation that a single step adds to the log evidence ratio, dependence between steps included
    steps   after which the ratio tells; infinite if it never does as far as can be seen
    simulated  length of the series that it was measured on
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
    arguments: Mapping[str, Any] | None = None,
    arguments_b: Mapping[str, Any] | None = None,
) -> StepsToTell:
    """How many steps it takes to see that A, and not B, made the data.

    arguments    what A takes besides the observations (such as actions, which then say how long the series is)
    arguments_b  what B takes; None: the same

    Where A makes what B calls impossible, the rate is infinite, and `steps` how long that took in the simulated series.
    Raises DataError if no simulated site of A is an observation of B.
    """
    given = dict(arguments or {})
    others = given if arguments_b is None else dict(arguments_b)
    takes = inspect.signature(model_a).parameters
    length = {"num_steps": num_steps} if "num_steps" in takes and "num_steps" not in given else {}
    sites = jax.jit(lambda key: simulate(model_a, parameters_a, key, **given, **length))(key)
    data = as_data(model_a, sites, {name: value for name, value in given.items() if name != "num_steps"})
    seen = {name: value for name, value in sites.items() if any(value is each for each in data.values())}
    data_b = as_data(model_b, seen, {name: value for name, value in others.items() if name != "num_steps"})
    terms = [
        np.asarray(log_predictive(read(*read_of)), float)
        for read_of in ((model_a, data, parameters_a), (model_b, data_b, parameters_b))
    ]
    here, there = (each.reshape(-1, each.shape[-1]).sum(axis=0) for each in terms)
    if here.shape != there.shape:
        raise DataError(
            f"the models see {len(here)} and {len(there)} steps of the same data: give both series of one length (arguments, "
            "arguments_b)"
        )
    if np.isneginf(there).any():
        first = int(np.isneginf(there).argmax())
        return StepsToTell(np.inf, 0.0, np.nan, first + 1.0, len(here))
    return told(here - there)


def told(ratio: Float[np.ndarray, " time"]) -> StepsToTell:
    """The same from the log ratio of each step of a long series."""
    steps = len(ratio)
    nats, error = float(ratio.mean()), error_of_sum(ratio) / steps
    spread = float(error * np.sqrt(steps))
    enough = np.inf if nats < ROUNDING else float(np.ceil(max(STRONG / nats, (TELLS * spread / nats) ** 2)))
    return StepsToTell(nats, error, spread, enough, steps)
