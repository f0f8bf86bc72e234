"""Distances between beliefs, time step by time step, with their Monte Carlo errors: total variation and 2-Wasserstein.

Several independent series are judged together: every time step of every series is one distance.

Finite states: total variation. Each probability has a binomial distribution with its effective number of draws. If no or hardly any
draw visited a state, the spread of the draws is meaningless, and the binomial distribution is used. If the reference then gives the
state far more probability than that allows, it is not known whether the engine is wrong or never got there (`unreached`).
Gaussian states: the 2-Wasserstein distance of each dimension's marginal, in standard deviations of the reference, the largest over
dimensions; z-scores of means and of variances.
An invalid probability or variance gives a NaN distance; an unknown error is infinite.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr

from ppl_worldmodel.checks.verdict import ALPHA, ONE_SIDED, binomial_p, joint_p, two_sided_p
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.infer import beliefs as belief
from ppl_worldmodel.infer.result_tree import PARAMETERS

ROUNDING = 1e-9  # of a probability, of a standard deviation
FEWEST_REPLICATES = 5.0  # effective replicates that reached a state; with fewer their spread is no standard error


class Distances(NamedTuple):
    """For the time steps that both results answer: `step` (counted from 0), `distance`, and its standard error, each (asked,).

    z is the largest difference in Monte Carlo standard errors, p the joint p-value of all of them.
    series     the series of each distance (counted from 0), None if there is only one; names: the names of all series
    unreached  a state that the candidate hardly reached though the reference is far from excluding it, in words; empty if none
    largest    the upper bound of such a distance
    """

    step: np.ndarray
    distance: np.ndarray
    error: np.ndarray
    unit: str
    z: float
    p: float
    unreached: str = ""
    largest: float = float("inf")
    series: np.ndarray | None = None
    names: tuple[str, ...] = ()

    @property
    def upper(self) -> np.ndarray:
        """Upper 95 % limit of each distance, (asked,)."""
        return np.minimum(self.distance + ONE_SIDED * self.error, self.largest)

    @property
    def worst_series(self) -> list[int]:
        """The numbers of all series, the one with the largest distance first; empty if there is only one series."""
        if self.series is None:
            return []
        most = np.full(len(self.names), -np.inf)
        np.maximum.at(most, self.series, self.distance)
        return [int(number) for number in np.argsort(-most, kind="stable")]

    @property
    def worst(self) -> str:
        """Where the distance is largest: `t = 17`, or `series 2, t = 17`, with the series' label where it has one."""
        at = int(self.distance.argmax())
        place = f"t = {self.step[at]}"
        return place if self.series is None else f"series {self.names[self.series[at]]}, {place}"


def averaged(tree: xr.DataTree) -> bool:
    """Are the beliefs exact ones, averaged over draws of the parameters (and not draws of states)?"""
    return tree.attrs.get("question") == PARAMETERS


def distances(kind: str, candidate: xr.DataTree, reference: xr.DataTree) -> Distances | None:
    """Distances of one kind of belief (predicted, filtered or smoothed); None where one of the two has none.

    Raises DataError where both have some, of different axes or lengths.
    """
    if "beliefs" not in candidate.children or "beliefs" not in reference.children:
        return None
    here, there = candidate.children["beliefs"].to_dataset(), reference.children["beliefs"].to_dataset()
    if kind not in here or kind not in there:
        return None
    if here[kind].dims != there[kind].dims or here[kind].shape != there[kind].shape:
        raise DataError(
            f"{kind} beliefs of '{candidate.attrs['engine']}' are {dict(here[kind].sizes)}, those of "
            f"'{reference.attrs['engine']}' {dict(there[kind].sizes)}: compare results about the same data and states"
        )
    asked = belief.asked(kind, here) & belief.asked(kind, there)
    if not asked.any():
        return None
    of = _total_variation if "state" in here[kind].dims else _wasserstein
    with np.errstate(invalid="ignore", divide="ignore"):  # what is not a number stays so, and is no agreement
        found = of(kind, here, there, asked, candidate)
    if "sequence" not in here[kind].dims:
        return found
    labels = there if "sequence" in there.coords else here
    names = labels["sequence"].values if "sequence" in labels.coords else range(here.sizes["sequence"])
    return found._replace(series=np.nonzero(asked)[0], names=tuple(map(str, names)))


def _total_variation(
    kind: str, here: xr.Dataset, there: xr.Dataset, asked: np.ndarray, candidate: xr.DataTree
) -> Distances:
    share, probability = (_probabilities(beliefs[kind].values[asked]) for beliefs in (here, there))
    difference, step = share - probability, np.nonzero(asked)[-1]
    same = np.abs(difference) <= ROUNDING
    own, other = _error(here, kind, "mcse", asked, same), _error(there, kind, "mcse", asked, same)
    unreached = ""
    if averaged(candidate) or f"{kind}_ess" not in here:
        error = np.hypot(own, other)
        z = _scores(difference, error, same)
        p_each = two_sided_p(z, _freedom(candidate))
    else:
        replicates = float(candidate.attrs.get("num_replicates", np.nan))
        ess = here[f"{kind}_ess"].values[asked]
        hardly = _hardly_reached(share, own, ess, replicates)
        effective = np.where(hardly, _fewest(ess, hardly, replicates), ess)
        law = np.sqrt(probability * (1.0 - probability) / effective)
        error = np.hypot(np.where(hardly & np.isfinite(own), law, np.maximum(own, law)), other)
        z = _scores(difference, error, same)
        counted = binomial_p(share, probability, effective)
        p_each = counted if np.isnan(replicates) else np.where(hardly, counted, two_sided_p(z, _freedom(candidate)))
        # What the reference excludes must not be seen at all; all else that was hardly seen may just be hard to reach.
        possible = (probability > ROUNDING) & (probability < 1.0 - ROUNDING)
        far = hardly & possible & (counted < ALPHA / counted.size)
        if far.any():
            unreached = _words(step, share, probability, far)
    return Distances(
        step, 0.5 * np.abs(difference).sum(axis=-1), 0.5 * error.sum(axis=-1), "total variation", float(np.abs(z).max()),
        joint_p(p_each), unreached, 1.0,
    )  # fmt: skip


def _probabilities(values: np.ndarray) -> np.ndarray:
    """The probabilities (asked, state), NaN where they are invalid: negative, above one, or not of sum one."""
    wrong = (values < -ROUNDING).any(axis=-1) | (np.abs(values.sum(axis=-1) - 1.0) > 1e-6)
    return np.where(wrong[..., None], np.nan, values)


def _hardly_reached(share: np.ndarray, error: np.ndarray, ess: np.ndarray, replicates: float) -> np.ndarray:
    """Which states too few draws visited for the spread of the draws to be a standard error, (asked, state).

    For a chain: states without any variation. For a particle filter also states that only a few replicates carry. How many carry a
    state is an effective number: the number of replicates times the squared mean of their shares over the mean square.
    """
    never = (share <= 0.0) | (share >= 1.0)
    if np.isnan(replicates):
        return never
    rare = np.minimum(share, 1.0 - share)
    carried = replicates * rare**2 / (rare**2 + replicates * error**2)
    return never | ~(carried >= FEWEST_REPLICATES)


def _fewest(ess: np.ndarray, hardly: np.ndarray, replicates: float) -> np.ndarray:
    """The fewest effective draws of the states that were reached at each time step, else at any step; if none was reached, one for
    each independent replicate, (asked, 1)."""
    some = np.where(hardly | ~np.isfinite(ess), np.inf, ess)
    each, all_of_them = some.min(axis=-1, keepdims=True), some.min()
    none = np.nanmax([replicates, 1.0])
    return np.where(np.isfinite(each), each, all_of_them if np.isfinite(all_of_them) else none)


def _words(step: np.ndarray, share: np.ndarray, probability: np.ndarray, far: np.ndarray) -> str:
    gap = np.where(far, np.abs(share - probability), -1.0)
    row, state = np.unravel_index(int(gap.argmax()), gap.shape)
    return (
        f"hardly any draw ever moved in or out of state {state} at t = {step[row]}, whose probability is "
        f"{probability[row, state]:.2g} under the reference: the engine is wrong there, or cannot get there with so few draws"
    )


def _wasserstein(
    kind: str, here: xr.Dataset, there: xr.Dataset, asked: np.ndarray, candidate: xr.DataTree
) -> Distances:
    mean_here, mean_there = here[kind].values[asked], there[kind].values[asked]
    variance_here, variance_there = (
        np.diagonal(beliefs[f"{kind}_covariance"].values[asked], axis1=-2, axis2=-1) for beliefs in (here, there)
    )
    scale, spread = np.sqrt(variance_there), np.sqrt(variance_here)  # a negative variance has no root, and no distance
    shift, widening = mean_here - mean_there, variance_here - variance_there
    # A state without variance has no scale of its own: it is right, or infinitely far off.
    size = 1.0 + np.abs(mean_there)
    known = scale <= 1e-12 * size
    safe = np.where(known, 1.0, scale)
    off = np.where(np.isfinite(mean_there) & np.isfinite(variance_there), np.hypot(shift, spread - scale), np.nan)
    right = off <= ROUNDING * size
    distance = np.where(np.isnan(off), np.nan, np.where(known, np.where(right, 0.0, np.inf), off / safe))
    same_mean = np.where(known, right, np.abs(shift) <= ROUNDING * scale + 1e-12 * np.abs(mean_there))
    same_variance = np.where(known, right, np.abs(widening) <= ROUNDING * variance_there)
    mean_error = np.hypot(*(_error(beliefs, kind, "mcse", asked, same_mean) for beliefs in (here, there)))
    variance_error = np.hypot(
        *(_error(beliefs, kind, "variance_mcse", asked, same_variance) for beliefs in (here, there))
    )
    z = np.stack([_scores(shift, mean_error, same_mean), _scores(widening, variance_error, same_variance)])
    error = np.where(known, 0.0, np.hypot(mean_error, variance_error / (2.0 * safe)) / safe)
    return Distances(
        np.nonzero(asked)[-1], distance.max(axis=-1), error.max(axis=-1), "standard deviations",
        float(np.abs(z).max()), joint_p(two_sided_p(z, _freedom(candidate))),
    )  # fmt: skip


def _freedom(candidate: xr.DataTree) -> float:
    """Degrees of freedom of the standard errors: those from a few replicates are uncertain themselves."""
    return float(candidate.attrs.get("num_replicates", np.inf)) - 1.0


def _scores(difference: np.ndarray, error: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Differences in units of their standard errors: zero where they are rounding error, infinite where the error is zero."""
    exact = np.where(np.isnan(difference), np.nan, np.copysign(np.inf, difference))
    score = np.where(error > 0, difference / np.where(error > 0, error, 1.0), np.where(np.isnan(error), np.nan, exact))
    return np.where(same, 0.0, score)


def _error(beliefs: xr.Dataset, kind: str, what: str, asked: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Standard errors (asked, state or dim): zero for an exact answer; infinite (unknown) where the quantity never varied, or zero
    where it is the `same` as the other's; NaN where they are negative."""
    name = f"{kind}_{what}"
    if name not in beliefs:
        return np.zeros(same.shape)
    error = beliefs[name].values[asked]
    return np.where(error < 0, np.nan, np.where(np.isnan(error), np.where(same, 0.0, np.inf), error))
