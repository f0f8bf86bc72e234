"""Stateless baselines: independent draws and windows of history, as rows of a table of log predictives.

Each uses the last few observations and nothing else, with its parameters integrated out in closed form. Its predictive of y_t is a
proper density given y_1:t-1, so that the sum of the logarithms is an exact log evidence, comparable with that of a marginalised
program. A world model that does not beat them has not shown that its hidden state helps prediction. `window_models` has those of
symbols and counts, `autoregressions` those of real values, with their sources.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Array, Bool, Float, Real
from numpyro.distributions import Distribution, constraints

from ppl_worldmodel.comparisons import autoregressions, window_models
from ppl_worldmodel.errors import DataError

Kind = Literal["categorical", "count", "real"]
Values = Real[Array | np.ndarray, "..."] | Bool[Array | np.ndarray, "..."]


def kind_of(distribution: Distribution) -> Kind | None:
    """The kind of the values that a distribution has, by its support; None where there is no baseline for it."""
    support: Any = distribution.support
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    if support is constraints.boolean or isinstance(support, constraints.integer_interval):
        return "categorical"
    if support is constraints.nonnegative_integer:
        return "count"
    return "real" if support is constraints.real else None


def baselines(
    observed: Values,
    *,
    kind: str | None,
    orders: Sequence[int] = (0, 1, 2),
    actions: Values | None = None,
    location: Values | float | int | None = None,
    scale: Values | float | int | None = None,
    num_symbols: int | None = None,
) -> dict[str, Float[np.ndarray, " time"]]:
    """log p(y_t | y_1:t-1) of each baseline by name, in nats, 0 where nothing was seen: "independent draws", "window of 1", ...

    observed     one series (time,) or (time, dim_y), NaN where missing; components of real vectors are predicted jointly, those of
                 symbols and counts each from their own past
    kind         "categorical": symbols 0 ... num_symbols - 1; "count"; "real" (see `kind_of`)
    orders       how many of the last observations a window holds, one baseline for each
    actions      whole numbers (time,); the one of the step itself is used beside the window
    location, scale  of "count" and "real": prior location and scale of the values, for all or for each component; such as the
                 prior predictive mean and standard deviation of the model that one compares with. They may not come from the
                 data, or the densities would not be predictive
    num_symbols  of "categorical"; without it, one more than the largest symbol of the series, at least 2

    Raises DataError if the values are not of the kind, if a setting is missing, or if shapes do not fit.
    """
    values = _series(observed, kind)
    chosen = None if actions is None else _actions(actions, len(values))
    if not all(order >= 0 for order in orders):
        raise DataError(f"orders={tuple(orders)}: a window holds 0, 1, 2, ... observations")
    if kind == "categorical":
        size = _size(values, num_symbols)
    else:
        centre, spread = _prior(kind, location, scale, values.shape[1])

    def one(order: int) -> np.ndarray:
        if kind == "real":
            return autoregressions.reals(values, order=order, location=centre, scale=spread, actions=chosen)
        if kind == "count":
            prior = zip(values.T, centre.tolist(), spread.tolist(), strict=True)
            each = [window_models.counts(y, order=order, location=m, scale=s, actions=chosen) for y, m, s in prior]
        else:
            each = [window_models.symbols(y, order=order, num_symbols=size, actions=chosen) for y in values.T]
        return np.sum(each, axis=0)

    return {f"window of {order}" if order else "independent draws": one(order) for order in orders}


def _series(observed: Values, kind: str | None) -> np.ndarray:
    """The observations as floats (time, dim_y), checked to be of the kind."""
    if kind not in get_args(Kind):
        raise DataError(
            f"kind={kind!r}: expected one of {', '.join(get_args(Kind))}; kind_of(distribution) tells which"
        )
    values = np.asarray(observed, float)
    if values.ndim not in (1, 2):
        raise DataError(
            f"the observations have shape {values.shape}: expected one series, (time,) or (time, dim_y); take several series one "
            "after the other"
        )
    present = values[~np.isnan(values)]
    wrong = ~np.isfinite(present)
    if kind != "real":
        wrong |= (present < 0) | (present != np.round(present))
    if wrong.any():
        expected = "finite numbers" if kind == "real" else "whole numbers from 0 on"
        raise DataError(
            f"an observation is {present[wrong][0]}: values of the kind '{kind}' are {expected}, NaN where missing"
        )
    return values.reshape(len(values), -1)


def _actions(actions: Values, steps: int) -> np.ndarray:
    """The actions as whole numbers (time,)."""
    values = np.asarray(actions, float)
    if values.shape != (steps,) or not (values == np.round(values)).all() or np.isinf(values).any():
        raise DataError(
            f"actions of shape {values.shape} for {steps} steps: expected one whole number for each step; leave real-valued inputs "
            "out, no window uses them"
        )
    return values.astype(int)


def _size(values: np.ndarray, num_symbols: int | None) -> int:
    """How many symbols there are."""
    largest = int(np.nanmax(values, initial=-1.0))
    if num_symbols is not None and num_symbols <= largest:
        raise DataError(f"num_symbols={num_symbols}, but the series has a symbol {largest}: they are counted from 0")
    return max(largest + 1, 2) if num_symbols is None else num_symbols


def _prior(kind: str | None, location: Any, scale: Any, dim_y: int) -> tuple[np.ndarray, np.ndarray]:
    """Location and scale of each component, (dim_y,)."""
    if location is None or scale is None:
        raise DataError(
            f"the kind '{kind}' needs location and scale: give the mean and the spread of the values that are expected before "
            "any are seen, such as the prior predictive mean and standard deviation of the model that you compare with"
        )
    if np.shape(location) not in ((), (dim_y,)) or np.shape(scale) not in ((), (dim_y,)):
        raise DataError(
            f"location and scale have shapes {np.shape(location)} and {np.shape(scale)}: expected one number each, or one for each "
            f"of {dim_y} components"
        )
    centre, spread = (np.broadcast_to(np.asarray(given, float), (dim_y,)) for given in (location, scale))
    if not (np.isfinite(centre).all() and np.isfinite(spread).all() and (spread > 0).all()):
        raise DataError(f"location={location}, scale={scale}: expected finite numbers, and a positive scale")
    if kind == "count" and not (centre > 0).all():
        raise DataError(f"location={location}: the mean of a Poisson rate is positive")
    return centre, spread
