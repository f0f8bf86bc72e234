"""Prior predictive check: a Monte Carlo test for observations far outside of what the program predicts before seeing any.

The distance of a series is that of its farthest entry from the middle of the prior prediction for it, in units of the prior's
spread; for categories it is that of their shares. It is compared with the distances, measured in the same way, of series that the
program simulates. The rank of the observed distance is uniform if the data come from the prior (a Monte Carlo test, valid at any
number of series). The test ends as soon as so many of them lie as far out that the observed one is not unusual. A prior that is
wider than the data never disagrees.

Source: Box (1980), J. Royal Statistical Society A 143; Besag & Clifford (1991), Biometrika 78, for the test that may end early.
"""

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, NamedTuple

import jax
import numpy as np

from ppl_worldmodel.checks.verdict import ALPHA, Finding, Verdict
from ppl_worldmodel.program.jaxprs.dependence import needed
from ppl_worldmodel.program.prior_predictive import batches, forward
from ppl_worldmodel.program.reading import Reading
from ppl_worldmodel.program.site_axes import Named, sites

SPREAD_FROM, RANKED_AMONG = 300, 1200  # simulated series
ENOUGH = 20  # of those ranked, as far out as the observed one: then the test ends
AT_A_TIME, HELD = 4_000_000, 5_000_000  # simulated numbers: drawn side by side, and held to compute middle and spread


class PriorSummary(NamedTuple):
    """The prior prediction for each number: middle and spread, and the central 90 %; arrays of the same shape."""

    middle: np.ndarray
    spread: np.ndarray
    low: np.ndarray
    high: np.ndarray


def prior_predictive(
    reading: Reading,
    key: jax.Array,
    *,
    spread_from: int = SPREAD_FROM,
    ranked_among: int = RANKED_AMONG,
) -> list[Finding]:
    """One finding for each observed site; none where the program cannot be run forward, or its observations are inputs, too.

    spread_from   how many simulated series middle and spread are computed from
    ranked_among  how many more the observed one is ranked among, at most; with fewer than 1 / ALPHA nothing can disagree
    """
    run = forward(reading)
    observed = {name: site for name, site in sites(reading).items() if site.observed and site.value.size}
    try:
        drawn = jax.eval_shape(run, key)
        names = [name for name in observed if name in drawn and drawn[name].shape == observed[name].value.shape]
        if not names or uses_observations(reading, observed, key):
            return []
        numbers = sum(observed[name].value.size for name in names)
        size = max(1, min(100, AT_A_TIME // numbers))
        told_by = -(-min(spread_from, max(50, HELD // numbers)) // size)
        series = batches(run, names, key, size=size, number=told_by - (-ranked_among // size))
        summaries = {name: _summary(observed[name]) for name in names}
        first = list(islice(series, told_by))
        of_prior = {
            name: _prior_summary(np.concatenate([summaries[name](batch[name]) for batch in first])) for name in names
        }
        if not all(np.isfinite(told.middle).all() for told in of_prior.values()):
            return []
        own = {name: _distance(summaries[name](observed[name].value[None]), of_prior[name])[0] for name in names}
        farthest: dict[str, np.ndarray] = {name: np.empty(0) for name in names}
        for batch in series:
            for name in names:
                others = _distance(summaries[name](batch[name]), of_prior[name]).max(axis=1)
                farthest[name] = np.append(farthest[name], others)
            if all((farthest[name] >= own[name].max()).sum() >= ENOUGH for name in names):
                break
    except NotImplementedError:  # a flat density, from which nothing can be drawn
        return []
    source = "parameters given" if reading.values else "prior"
    return [
        _finding(name, observed[name], summaries[name], of_prior[name], own[name], farthest[name], source)
        for name in names
    ]


def rank_p(observed: float, simulated: np.ndarray) -> float:
    """The p-value of a distance among those of simulated series, in the order in which they were drawn.

    If ENOUGH of them are as large, it is ENOUGH over the number drawn until then, else (1 + as large) / (1 + all).
    """
    as_far = np.flatnonzero(simulated >= observed)
    if len(as_far) >= ENOUGH:
        return float(ENOUGH / (1 + as_far[ENOUGH - 1]))
    return float((1 + len(as_far)) / (1 + len(simulated)))


def uses_observations(reading: Reading, observed: Mapping[str, Named], key: Any) -> bool:
    """Does a run of the program depend on what was observed?

    Not where its jaxpr, without what is not needed, takes no observation. Otherwise the test is the same run with the
    observations in reverse order.
    """
    values = [site.seen for site in observed.values()]

    def is_observed(leaf: Any) -> bool:
        array = np.asarray(leaf)
        same = any(array.shape == seen.shape and np.array_equal(array, seen, equal_nan=_real(array)) for seen in values)
        return bool(array.ndim and same)

    leaves, treedef = jax.tree.flatten(dict(reading.data))
    at = [i for i, leaf in enumerate(leaves) if is_observed(leaf)]

    def of_observed(*series: Any) -> dict[str, Any]:
        data = list(leaves)
        for i, one in zip(at, series, strict=True):
            data[i] = one
        return forward(reading.on(jax.tree.unflatten(treedef, data)))(key)

    if not needed(of_observed, *(leaves[i] for i in at)):
        return False
    other = jax.tree.unflatten(treedef, [leaf[::-1] if i in at else leaf for i, leaf in enumerate(leaves)])
    as_given, as_moved = (forward(each)(key) for each in (reading, reading.on(other)))
    return any(
        not np.array_equal(as_given[name], as_moved[name], equal_nan=_real(np.asarray(as_given[name])))
        for name in as_given
    )


def _real(array: np.ndarray) -> bool:
    return array.dtype.kind == "f"


def _summary(site: Named) -> Callable[[np.ndarray], np.ndarray]:
    """A function from series (run, ...) to the compared numbers (run, number): the observed entries, or shares of categories."""
    seen = np.isfinite(site.seen.astype(float)).ravel()
    if not site.categories:
        return lambda series: series.reshape(len(series), -1)[:, seen].astype(float)
    kinds = np.arange(site.categories)
    return lambda series: np.stack(
        [(series.reshape(len(series), -1)[:, seen] == kind).mean(axis=1) for kind in kinds], axis=1
    )


def _prior_summary(numbers: np.ndarray) -> PriorSummary:
    """Middle and spread of simulated numbers (run, number): half of the central 68 %, else the standard deviation."""
    low, left, middle, right, high = np.quantile(numbers, [0.05, 0.16, 0.5, 0.84, 0.95], axis=0)
    spread = (right - left) / 2.0
    return PriorSummary(middle, np.where(spread > 0, spread, numbers.std(axis=0)), low, high)


def _distance(numbers: np.ndarray, of_prior: PriorSummary) -> np.ndarray:
    """Distances (run, number) from the middle, in spreads; zero or infinite for numbers that never vary."""
    away = np.nan_to_num(np.abs(numbers - of_prior.middle), nan=np.inf, posinf=np.inf)
    still = np.where(away > 1e-9 * (1.0 + np.abs(of_prior.middle)), np.inf, 0.0)
    return np.where(of_prior.spread > 0, away / np.where(of_prior.spread > 0, of_prior.spread, 1.0), still)


def _finding(
    name: str,
    site: Named,
    summary: Callable,
    of_prior: PriorSummary,
    distance: np.ndarray,
    simulated: np.ndarray,
    source: str,
) -> Finding:
    numbers = summary(site.value[None])
    at, count = int(distance.argmax()), len(simulated)
    p = rank_p(distance[at], simulated)
    if site.categories:
        worst, what = f"category {at}", f"the share of category {at} is"
    else:
        index = np.unravel_index(np.flatnonzero(np.isfinite(site.seen.astype(float)).ravel())[at], site.value.shape)
        worst, what = _place(index, site.dims), f"'{name}' at {_place(index, site.dims)} is"
    range_ = f"{of_prior.low[at]:.4g} to {of_prior.high[at]:.4g}"
    verdict: Verdict = "agrees" if p >= ALPHA else "disagrees"
    why = f"no farther out than series that the program simulates (p = {p:.2g})"
    if verdict == "disagrees":
        why = (
            f"{what} {numbers[0, at]:.4g}, where the program predicts {range_} (90 %); none of {count:,} series that it simulates "
            "lies as far out: look at the column and its unit, or at the prior"
        )
    return Finding(
        candidate="data", reference=source, quantity=f"prior predictive of {name}", about="data", n=int(distance.size),
        worst=worst, z=float(distance[at]), p=p, distance=float(distance[at]),
        tolerance=float(np.quantile(simulated, 1.0 - ALPHA, method="higher")), unit="prior spreads", verdict=verdict, why=why,
    )  # fmt: skip


def _place(index: tuple[Any, ...], dims: tuple[str, ...]) -> str:
    """Where an entry is: `t = 17`, with its series and its further indices."""
    parts = {"time": "t = {}", "sequence": "series {}"}
    named = [parts[dim].format(i) for dim, i in zip(dims, index, strict=True) if dim in parts]
    rest = [int(i) for dim, i in zip(dims, index, strict=True) if dim not in parts]
    return ", ".join([*sorted(named), *([f"entry {rest}"] if rest else [])]) or "-"
