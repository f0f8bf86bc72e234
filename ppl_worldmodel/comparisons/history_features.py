"""Features of the history for a sufficiency test: functions of what was known before each step, as columns of numbers.

A column at t is made of values before t (and of the input of t), never of later ones. The means and standard deviations that bring
values to one scale are those of the past, too. All arrays have the axes (sequence, time, column).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Real
from scipy import signal

FEW = 5  # so many different whole numbers, or fewer, count as symbols
FORGOTTEN = 0.1  # share of the exponentially weighted mean that a step replaces: it looks about ten steps back


class Feature(NamedTuple):
    """name      what it is, in words
    columns   one or more functions of the history
    """

    name: str
    columns: Float[np.ndarray, "sequence time column"]


def features(
    values: Float[np.ndarray, "sequence time column"],
    log_predictive: Float[np.ndarray, "sequence time"],
    called: str,
    more: tuple[Feature, ...] = (),
) -> list[Feature]:
    """The features in the order in which they are tried: the likely ones first, since a short series has room for few.

    values          what was seen at t, coded, zero where nothing was; called: "observation", "innovation"
    log_predictive  log p(y_t | y_1:t-1), NaN where nothing was seen
    more            features of other origin, already functions of the past
    """
    weighted = signal.lfilter([FORGOTTEN], [1.0, FORGOTTEN - 1.0], values, axis=1)
    return [
        Feature("constant", np.ones((*values.shape[:2], 1))),
        Feature(f"last {called}", earlier(values, 1)),
        *more,
        Feature(f"weighted mean of past {called}s", earlier(weighted, 1)),
        Feature("last log predictive", earlier(standardised(log_predictive[..., None]), 1)),
        Feature(f"{called} two steps ago", earlier(values, 2)),
        Feature(f"{called} three steps ago", earlier(values, 3)),
    ]


def earlier(values: Float[np.ndarray, "sequence time column"], lag: int) -> Float[np.ndarray, "sequence time column"]:
    """The values `lag` steps ago; zero before the start."""
    return np.concatenate([np.zeros_like(values[:, :lag]), values[:, :-lag]], axis=1)[:, : values.shape[1]]


def coded(values: Real[np.ndarray, "sequence time dim_y"]) -> Float[np.ndarray, "sequence time column"]:
    """Symbols as indicators of all but the smallest of them, other values standardised; zero where missing (NaN)."""
    columns = []
    for series in np.moveaxis(values.astype(float), -1, 0):
        known = np.unique(series[~np.isnan(series)])
        if known.size <= FEW and (known == np.round(known)).all():
            columns += [(series == symbol).astype(float) for symbol in known[1:]]
        else:
            columns.append(standardised(series[..., None])[..., 0])
    return np.stack(columns, axis=-1) if columns else np.zeros((*values.shape[:2], 0))


def standardised(values: Float[np.ndarray, "sequence time column"]) -> Float[np.ndarray, "sequence time column"]:
    """(y_t - mean) / standard deviation of y_1 ... y_t; zero where missing, or where nothing has varied yet."""
    seen = ~np.isnan(values)
    first = np.take_along_axis(values, seen.argmax(axis=1)[:, None], axis=1)
    moved = np.where(seen, values - first, 0.0)  # from a value near the data, so that squares lose no digits
    number = np.maximum(np.cumsum(seen, axis=1), 1)
    mean, square = np.cumsum(moved, axis=1) / number, np.cumsum(moved**2, axis=1) / number
    variance = square - mean**2
    varied = seen & (variance > 1e-12 * square)
    return np.where(varied, (moved - mean) / np.sqrt(np.where(varied, variance, 1.0)), 0.0)
