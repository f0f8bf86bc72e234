"""Sufficiency of a belief for the history: a score test of whether any function of the past improves the prediction.

If the belief is sufficient, the scores of the next observation's predictive (`predictive_scores`) are zero on average whatever
happened before. So is their product g_t with any function of the past (`history_features`): a martingale difference. Then

    (sum_t g_t)' V^-1 (sum_t g_t),   V = sum_t g_t g_t'

is chi squared, with as many degrees of freedom as there are moments. For linear-Gaussian systems the scores' covariance given the
past is known, and V is computed from it: the outer products of squared innovations need thousands of steps.

A moment is left out, and the result says so, where it follows from others, where it rests on a few steps only (so that its sum is
far from normal), and where there are more than a tenth as many as steps. Moments are tried in a fixed order, whatever their sums.

The test is for given parameters. If they were learned from the same data (as the maximum of the likelihood or nearly, such as a
posterior mean), the fit has drawn sums towards zero, and the test is conservative: it rejects too rarely, but a rejection stands.
Parameters learned from other data, or a prior mean, have an error of their own; a long series finds it, and rightly so. The test
cannot find what makes no difference to the next observation, nor a state of which the model is wrongly certain.

Source: Newey (1985), Econometrica 53, and Tauchen (1985), J. Econometrics 30 (moments, outer products); Hall & Heyde (1980),
Martingale Limit Theory, section 3.2; Engle (1984), Handbook of Econometrics 2, chapter 13 (Lagrange multiplier tests).
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Real
from scipy import stats

from ppl_worldmodel.comparisons.history_features import Feature, coded, features
from ppl_worldmodel.comparisons.predictive_scores import Directions, of_finite, of_gaussian
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.exact import FiniteState, LinearGaussian
from ppl_worldmodel.exact.system import System

Values = Real[Array | np.ndarray, "..."] | Bool[Array | np.ndarray, "..."]

STEPS_PER_MOMENT = 10
FEWEST = 20  # effective steps on which a moment rests, at least
MOST = 100  # moments; more of them would make the test weaker

TOO_SHORT = "no room for more in so few steps"
TOO_FEW = f"rests on fewer than {FEWEST} steps"
DEPENDENT = "follows from the others"


class Sufficiency(NamedTuple):
    """The result of the test.

    statistic  chi squared with degrees_of_freedom, if the belief is sufficient; p: its p-value (NaN if there was nothing to test)
    gain       about how many nats a step the prediction would gain from the past, beyond chance
    worst      the feature of the past with the smallest p-value of its own
    steps      at which something was seen
    dropped    moments that were left out, and why
    """

    statistic: float
    degrees_of_freedom: int
    p: float
    gain: float
    worst: str
    steps: int
    dropped: tuple[str, ...] = ()


def sufficiency(
    system: System,
    observed: Values,
    inputs: Values | None = None,
) -> Sufficiency:
    """Test whether the past improves the prediction once the belief is given, at the parameters with which the system was read.

    observed  the data of the system, (time,) or (time, dim_y), NaN where missing; of several series (time, sequence, ...). Symbols
              are whole numbers, five different ones at most; others count as measurements. For a linear-Gaussian system its own
              innovations are used instead, since sums with a level that wanders are not normal, however long the series
    inputs    actions or covariates, of the same axes, each known before the observation of its step

    Raises DataError if shapes do not fit, if an observation is impossible, or if fewer than 20 steps were observed.
    """
    count = system.structure.sequences
    found, past, called, more = _of_family(system, observed)
    if inputs is not None:
        more = [Feature("inputs", coded(_by_sequence("inputs", inputs, found, count))), *more]
    return _score_test(found, features(past, found.log_predictive, called, tuple(more)))


class _Of(NamedTuple):
    """The directions of a system's predictions, its past and what that is called, and further functions of the history."""

    found: Directions
    past: np.ndarray
    called: str
    more: list[Feature]


@singledispatch
def _of_family(system: Any, observed: Values) -> _Of:
    raise DataError(f"no test of sufficiency is known for a {type(system).__name__}")


@_of_family.register
def _(system: FiniteState, observed: Values) -> _Of:
    found, beliefs = of_finite(system, MOST)
    values = _by_sequence("observed", observed, found, system.structure.sequences)
    seen = ~np.isnan(found.log_predictive)
    return _Of(found, coded(np.where(seen[..., None], values, np.nan)), "observation", [Feature("belief", beliefs)])


@_of_family.register
def _(system: LinearGaussian, observed: Values) -> _Of:
    found, past = of_gaussian(system)
    _by_sequence("observed", observed, found, system.structure.sequences)
    return _Of(found, past, "innovation", [])


def _by_sequence(name: str, values: Values, found: Directions, count: int) -> np.ndarray:
    """A series as floats (sequence, time, column)."""
    array = np.asarray(values, float)
    array = np.moveaxis(array, 1, 0) if count and array.ndim > 1 else array[None]
    expected = found.log_predictive.shape
    if array.ndim not in (2, 3) or array.shape[:2] != expected:
        axes = f"(time, sequence) = {expected[::-1]}" if count else f"(time,) = ({expected[1]},)"
        raise DataError(
            f"'{name}' has shape {np.shape(values)}: expected the axes {axes} of the system, and at most one more"
        )
    return array.reshape(*expected, -1)


def _score_test(found: Directions, past: list[Feature]) -> Sufficiency:
    steps = int((~np.isnan(found.log_predictive)).sum())
    if steps < FEWEST:
        raise DataError(f"only {steps} steps were observed: the test needs {FEWEST} at least, and better a few hundred")
    room = min(steps // STEPS_PER_MOMENT, MOST)
    statistic, freedom, left = _chi_squared(_moments(found, past), room)
    alone = {
        each.name: stats.chi2.logsf(own, df)
        for each in past
        for own, df, _ in [_chi_squared(_moments(found, [each]), room)]
        if df
    }
    dropped = tuple(f"{number} of '{name}': {why}" for (name, why), number in left.items())
    if not freedom:
        return Sufficiency(0.0, 0, float("nan"), 0.0, "-", steps, dropped)
    gain = max(statistic - freedom, 0.0) / (2.0 * steps)
    p = float(stats.chi2.sf(statistic, freedom))
    return Sufficiency(statistic, freedom, p, gain, min(alone, key=lambda name: alone[name]), steps, dropped)


class _Moment(NamedTuple):
    """feature  whose moment it is
    root     such that the inner products of all moments' roots are V
    weight   sum_t g_t is the inner product of root and weight
    """

    feature: str
    root: Float[np.ndarray, " entry"]
    weight: Float[np.ndarray, " entry"] | float


def _moments(found: Directions, past: list[Feature]) -> Iterator[_Moment]:
    """Each function of the past times each direction: early features and directions first."""
    pairs = [
        (place + rank, place, column, direction)
        for place, feature in enumerate(past)
        for column in range(feature.columns.shape[-1])
        for direction, rank in enumerate(found.rank)
    ]
    for _, place, column, direction in sorted(pairs):
        function = past[place].columns[..., column]
        if found.unit:
            root = np.zeros(found.scores.shape)
            root[..., direction] = function * found.present[..., direction]
            yield _Moment(past[place].name, root.ravel(), found.scores.ravel())
        else:
            yield _Moment(past[place].name, (function * found.scores[..., direction]).ravel(), 1.0)


def _chi_squared(moments: Iterable[_Moment], room: int) -> tuple[float, int, Counter]:
    """(statistic, degrees of freedom, what was left out), one moment after the other, each made orthogonal to those before."""
    kept: list[np.ndarray] = []
    statistic, left = 0.0, Counter[tuple[str, str]]()
    for feature, root, weight in moments:
        size, rest = (root**2).sum(), root
        if len(kept) == room:
            left[feature, TOO_SHORT] += 1
            continue
        for _ in range(2):  # once more for the digits that the first round lost
            for other in kept:
                rest = rest - other * (other @ rest)
        own = (rest**2).sum()
        if own <= 1e-8 * size:
            left[feature, DEPENDENT if size else TOO_FEW] += 1
        elif own**2 < FEWEST * (rest**4).sum():
            left[feature, TOO_FEW] += 1
        else:
            kept.append(rest / np.sqrt(own))
            statistic += float((kept[-1] * weight).sum() ** 2)
    return statistic, len(kept), left
