"""Parameter recovery: learned parameters of simulated data against the true values; coverage and contraction.

A row of T or O is a distribution, and its error is a total variation: the most by which the probability of an event can be wrong.
Any other entry has a relative error. The central 90 % intervals should cover nine true values in ten, and a posterior should
contract with the square root of the length of the series (Bernstein & von Mises; for hidden Markov models Bickel, Ritov & Ryden
1998, Annals of Statistics 26).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float
from scipy import stats

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.program.coordinates import entry_names

LEVEL = 0.9  # of the intervals
ROUNDING = 1e-6  # of a sum of probabilities, also in single precision


class Coverage(NamedTuple):
    """How many of `of` true values lie in their intervals; between `low` and `high` 95 % of the time, if the intervals are right
    and the values independent of each other.
    """

    covered: int
    of: int
    low: int
    high: int

    @property
    def expected(self) -> bool:
        return self.low <= self.covered <= self.high


class Contraction(NamedTuple):
    """The slope of the log standard deviation against the log length of the series, and its standard error; -1/2 is expected."""

    slope: float
    error: float

    @property
    def expected(self) -> bool:
        """Is the slope within two standard errors of -1/2?"""
        return abs(self.slope + 0.5) <= 2.0 * self.error


def recovery(result: xr.DataTree, truth: Mapping[str, Any]) -> xr.Dataset:
    """The learned parameters of a result against the truth.

    Dimension `row`, a distribution or else a single entry: error of the posterior mean; spread, the posterior mean of the error
    of a draw; unit, "total variation", "relative", or "absolute" where the truth is zero. Dimension `entry`: truth, mean, sd, low
    and high (the central 90 % interval), covered, and free, which is false of the last entry of a distribution, since it follows
    from the others.
    Attributes: covered, of, low, high, as in `Coverage`, of the free entries.

    Raises DataError if the result has none of these parameters, or one in another shape.
    """
    posterior = result["posterior"].to_dataset()
    names = [name for name in truth if name in posterior.data_vars]
    if not names:
        raise DataError(
            f"the result learned none of the parameters {sorted(truth)}: it has {sorted(map(str, posterior.data_vars))}"
        )
    rows: list[tuple[str, float, float, str]] = []
    entries: list[Float[np.ndarray, "column entry"]] = []
    labels: list[str] = []
    for name in names:
        true, draws = np.asarray(truth[name], float), posterior[name].values.astype(float)
        if draws.shape[2:] != true.shape:
            raise DataError(
                f"the truth of '{name}' has shape {true.shape}, its draws {draws.shape[2:]}: give the truth as drawn"
            )
        flat = draws.reshape(-1, *true.shape)
        whole = is_distribution(draws, true)
        rows += _rows(name, flat, true, whole)
        entries.append(_entries(flat, true, whole))
        labels += entry_names({name: true})
    columns = np.concatenate(entries, axis=1)
    true, mean, sd, low, high, free = columns
    covered, free = (low <= true) & (true <= high), free.astype(bool)
    row_names, errors, spreads, units = zip(*rows, strict=True)
    return xr.Dataset(
        {
            "error": ("row", np.array(errors)), "spread": ("row", np.array(spreads)), "unit": ("row", np.array(units)),
            "truth": ("entry", true), "mean": ("entry", mean), "sd": ("entry", sd), "low": ("entry", low),
            "high": ("entry", high), "covered": ("entry", covered), "free": ("entry", free),
        },
        {"row": list(row_names), "entry": labels},
        coverage(covered[free])._asdict(),
    )  # fmt: skip


def coverage(covered: Bool[np.ndarray, "..."], level: float = LEVEL) -> Coverage:
    """The number of true values covered, of one result or of many, and the numbers to expect if the intervals are right."""
    count = int(covered.size)
    low, high = stats.binom.ppf([0.025, 0.975], count, level)
    return Coverage(int(covered.sum()), count, int(low), int(high))


def contraction(sds: Float[np.ndarray, "length ..."], lengths: Float[np.ndarray, " length"]) -> Contraction:
    """The rate at which posteriors contract with the length of the series.

    sds      posterior standard deviations at each length, of one or more entries and series; their logarithms are averaged
    lengths  numbers of steps
    Raises DataError for fewer than three lengths, and for standard deviations that are not positive.
    """
    if len(set(lengths.tolist())) < 3 or len(sds) != len(lengths):
        raise DataError(
            f"standard deviations at {len(sds)} lengths, and the lengths {lengths.tolist()}: give as many of both, and three "
            "different lengths at least"
        )
    if not (np.isfinite(sds).all() and (sds > 0).all()):
        raise DataError("standard deviations must be positive: leave out entries that never vary")
    means = np.log(sds.reshape(len(lengths), -1)).mean(axis=1)
    line = stats.linregress(np.log(lengths), means)
    return Contraction(float(line.slope), float(line.stderr))


def is_distribution(draws: Float[np.ndarray, "chain draw ..."], true: Float[np.ndarray, "..."]) -> bool:
    """Are the rows (along the last axis) of a parameter distributions? They are if all draws are non-negative and sum to one."""
    if not true.ndim or true.shape[-1] < 2:
        return False
    return all((each >= 0).all() and np.abs(each.sum(axis=-1) - 1.0).max() < ROUNDING for each in (draws, true))


def _rows(name: str, draws: np.ndarray, true: np.ndarray, whole: bool) -> list[tuple[str, float, float, str]]:
    """(label, error, spread, unit) of each distribution, or else of each entry."""
    mean, found = draws.mean(axis=0), []
    for index in np.ndindex(*(true.shape[:-1] if whole else true.shape)):
        label = f"{name}{list(index) if index else ''}"
        away, each = np.abs(mean[index] - true[index]), np.abs(draws[(slice(None), *index)] - true[index])
        if whole:
            found.append((label, away.sum() / 2.0, each.sum(axis=-1).mean() / 2.0, "total variation"))
        else:
            size = np.abs(true[index]) or 1.0
            found.append((label, away / size, each.mean() / size, "relative" if true[index] else "absolute"))
    return found


def _entries(draws: np.ndarray, true: np.ndarray, whole: bool) -> Float[np.ndarray, "column entry"]:
    """truth, mean, sd, low, high and free of every entry."""
    low, high = np.quantile(draws, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0], axis=0)
    free = np.ones(true.shape)
    if whole:
        free[..., -1] = 0.0
    columns = (true, draws.mean(axis=0), draws.std(axis=0, ddof=1), low, high, free)
    return np.stack([np.ravel(column) for column in columns])
