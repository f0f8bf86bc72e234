"""Prior predictive check: an observation far outside of what the program foretells before it has seen any.

The distance of a series is that of its farthest entry from the middle of what the prior foretells for it, in units of the
prior's spread; of categories it is that of their shares. It is compared with the distances of series that the program itself
makes, measured in the same way: the rank of the observed one is uniform if the data come from the prior (a Monte Carlo test,
valid at any number of series). It ends as soon as so many of them lie as far out that the observed one is nothing unusual. A
prior wider than the data are is never blamed.

Source: Box (1980), J. Royal Statistical Society A 143; Besag & Clifford (1991), Biometrika 78, for the test that may end early.
"""

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, NamedTuple

import jax
import numpy as np

from ppl_worldmodel.checks.verdict import ALPHA, Finding, Verdict
from ppl_worldmodel.exact import Structure
from ppl_worldmodel.infer.site_axes import Named, sites
from ppl_worldmodel.program.prior_predictive import batches, forward

SPREAD_FROM, RANKED_AMONG = 300, 1200  # simulated series
ENOUGH = 20  # of those ranked, as far out as the observed one: then the test ends
AT_A_TIME, HELD = 4_000_000, 5_000_000  # simulated numbers: drawn side by side, and held to tell middle and spread


class Foretold(NamedTuple):
    """What a prior foretells for each number: middle and spread, and the central 90 %; arrays of the same shape."""

    middle: np.ndarray
    spread: np.ndarray
    low: np.ndarray
    high: np.ndarray


def prior_predictive(
    model: Callable,
    data: Mapping[str, Any],
    structure: Structure,
    key: jax.Array,
    *,
    parameters: Mapping[str, Any] | None = None,
    spread_from: int = SPREAD_FROM,
    ranked_among: int = RANKED_AMONG,
) -> list[Finding]:
    """One finding for each observed site; none where the program cannot be run forward, or its observations are inputs, too.

    parameters    values that are given; without them they come from the prior
    spread_from   how many simulated series tell middle and spread
    ranked_among  how many more the observed one is ranked among, at most: less than 1 / ALPHA of them can blame nothing
    """
    run = forward(model, data, parameters)
    observed = {name: site for name, site in sites(model, data, structure).items() if site.observed and site.value.size}
    try:
        drawn = jax.eval_shape(run, key)
        names = [name for name in observed if name in drawn and drawn[name].shape == observed[name].value.shape]
        if not names or uses_observations(model, data, observed, parameters, key):
            return []
        numbers = sum(observed[name].value.size for name in names)
        size = max(1, min(100, AT_A_TIME // numbers))
        told_by = -(-min(spread_from, max(50, HELD // numbers)) // size)
        series = batches(run, names, key, size=size, number=told_by - (-ranked_among // size))
        summaries = {name: _summary(observed[name]) for name in names}
        first = list(islice(series, told_by))
        foretold = {
            name: _foretold(np.concatenate([summaries[name](batch[name]) for batch in first])) for name in names
        }
        if not all(np.isfinite(told.middle).all() for told in foretold.values()):
            return []
        own = {name: _distance(summaries[name](observed[name].value[None]), foretold[name])[0] for name in names}
        farthest: dict[str, np.ndarray] = {name: np.empty(0) for name in names}
        for batch in series:
            for name in names:
                others = _distance(summaries[name](batch[name]), foretold[name]).max(axis=1)
                farthest[name] = np.append(farthest[name], others)
            if all((farthest[name] >= own[name].max()).sum() >= ENOUGH for name in names):
                break
    except NotImplementedError:  # a flat density, from which nothing can be drawn
        return []
    source = "parameters given" if parameters else "prior"
    return [
        _finding(name, observed[name], summaries[name], foretold[name], own[name], farthest[name], source)
        for name in names
    ]


def rank_p(observed: float, simulated: np.ndarray) -> float:
    """The p-value of a distance among those of simulated series, in the order in which they were drawn.

    Where ENOUGH of them are as large it is ENOUGH over how many that took, else (1 + as large) / (1 + all).
    """
    as_far = np.flatnonzero(simulated >= observed)
    if len(as_far) >= ENOUGH:
        return float(ENOUGH / (1 + as_far[ENOUGH - 1]))
    return float((1 + len(as_far)) / (1 + len(simulated)))


def uses_observations(
    model: Callable,
    data: Mapping[str, Any],
    observed: Mapping[str, Named],
    parameters: Mapping[str, Any] | None,
    key: Any,
) -> bool:
    """Does a run of the program depend on what was observed?  Tried: the same run with the observations in another order."""
    values = [site.seen for site in observed.values()]

    def moved(leaf: Any) -> Any:
        array = np.asarray(leaf)
        same = any(array.shape == seen.shape and np.array_equal(array, seen, equal_nan=_real(array)) for seen in values)
        return leaf[::-1] if array.ndim and same else leaf

    other = jax.tree.map(moved, dict(data))
    as_given, as_moved = (forward(model, each, parameters)(key) for each in (data, other))
    return any(
        not np.array_equal(as_given[name], as_moved[name], equal_nan=_real(np.asarray(as_given[name])))
        for name in as_given
    )


def _real(array: np.ndarray) -> bool:
    return array.dtype.kind == "f"


def _summary(site: Named) -> Callable[[np.ndarray], np.ndarray]:
    """Of series (run, ...) the numbers that are compared, (run, number): the entries that were seen, or shares of categories."""
    seen = np.isfinite(site.seen.astype(float)).ravel()
    if not site.categories:
        return lambda series: series.reshape(len(series), -1)[:, seen].astype(float)
    kinds = np.arange(site.categories)
    return lambda series: np.stack(
        [(series.reshape(len(series), -1)[:, seen] == kind).mean(axis=1) for kind in kinds], axis=1
    )


def _foretold(numbers: np.ndarray) -> Foretold:
    """Middle and spread of simulated numbers (run, number): half of the central 68 %, else the standard deviation."""
    low, left, middle, right, high = np.quantile(numbers, [0.05, 0.16, 0.5, 0.84, 0.95], axis=0)
    spread = (right - left) / 2.0
    return Foretold(middle, np.where(spread > 0, spread, numbers.std(axis=0)), low, high)


def _distance(numbers: np.ndarray, foretold: Foretold) -> np.ndarray:
    """Distances (run, number) from the middle, in spreads; from what never varies, zero or infinite."""
    away = np.nan_to_num(np.abs(numbers - foretold.middle), nan=np.inf, posinf=np.inf)
    still = np.where(away > 1e-9 * (1.0 + np.abs(foretold.middle)), np.inf, 0.0)
    return np.where(foretold.spread > 0, away / np.where(foretold.spread > 0, foretold.spread, 1.0), still)


def _finding(
    name: str,
    site: Named,
    summary: Callable,
    foretold: Foretold,
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
    range_ = f"{foretold.low[at]:.4g} to {foretold.high[at]:.4g}"
    verdict: Verdict = "agrees" if p >= ALPHA else "disagrees"
    why = f"no farther out than series that the program makes (p = {p:.2g})"
    if verdict == "disagrees":
        why = (
            f"{what} {numbers[0, at]:.4g}, where the program foretells {range_} (90 %); none of {count:,} series that it makes "
            "lies as far out: look at the column and its unit, or at the prior"
        )
    return Finding(
        "data", source, f"prior predictive of {name}", int(distance.size), worst, float(distance[at]), p, float(distance[at]),
        float("nan"), float(np.quantile(simulated, 1.0 - ALPHA, method="higher")), "prior spreads", verdict, why,
    )  # fmt: skip


def _place(index: tuple[Any, ...], dims: tuple[str, ...]) -> str:
    """Where an entry is: `t = 17`, with its series and its further indices."""
    parts = {"time": "t = {}", "sequence": "series {}"}
    named = [parts[dim].format(i) for dim, i in zip(dims, index, strict=True) if dim in parts]
    rest = [int(i) for dim, i in zip(dims, index, strict=True) if dim not in parts]
    return ", ".join([*sorted(named), *([f"entry {rest}"] if rest else [])]) or "-"
