"""Scores of one fitted model: evidence, leave-future-out scores and a sufficiency test, each with its standard error."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from ppl_worldmodel.comparisons.bridge_sampling import Estimate, bridge
from ppl_worldmodel.comparisons.data_annealing import anneal
from ppl_worldmodel.comparisons.fit import Fit
from ppl_worldmodel.comparisons.information_criteria import Criteria, criteria
from ppl_worldmodel.comparisons.leave_future_out import Scores, leave_future_out, refitted
from ppl_worldmodel.comparisons.stateless_baselines import actions_of, observed_series
from ppl_worldmodel.comparisons.sufficiency import Sufficiency, sufficiency
from ppl_worldmodel.errors import DataError, NotExactlySolvable
from ppl_worldmodel.labels.aligned_results import posterior_mean
from ppl_worldmodel.program.system import log_predictive

EVIDENCE = ("bridge", "smc")


class Score(NamedTuple):
    """parameters  how many free numbers are learned; sufficient: None where the test says nothing, and `unsaid` why

    failed  {part: why} of the parts that could not be computed
    """

    parameters: int
    evidence: Estimate
    lfo: Scores
    criteria: Criteria | None
    sufficient: Sufficiency | None
    unsaid: str = ""
    failed: Mapping[str, Exception] = {}


def score(
    fit: Fit,
    key: jax.Array,
    *,
    first: int,
    horizon: int = 1,
    evidence: str = "bridge",
    classic: bool = False,
    size: Callable[[int], int] = lambda number: number,
) -> Score:
    """All scores of a fitted model.

    first, horizon  of the leave-future-out scores; evidence: "bridge" (from the draws) or "smc" (over the data); classic: AIC, BIC,
    DIC and LOO, too
    A part that fails leaves the others as they are, and is named in `failed`; only leave-future-out scores may raise.
    """
    failed: dict[str, Exception] = {}

    def attempt(what: str, work: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return work()
        except Exception as error:
            failed[what] = error
            return otherwise

    key_evidence, key_refits = jax.random.split(key)
    terms = terms_of(fit)
    refit = refitted(fit.reading, key_refits, num_warmup=size(400), num_samples=size(500))
    future = leave_future_out(refit, terms.shape[-1], first=first, horizon=horizon, whole=_thinned(terms))
    sufficient, unsaid = attempt("test of sufficiency", lambda: _sufficient(fit), (None, "the test failed"))
    unknown = Estimate(float("nan"), float("nan"), "failed")
    found = attempt("evidence", lambda: _evidence(fit, terms, key_evidence, evidence), unknown)
    told = None
    if classic:
        told = attempt("classic criteria", lambda: criteria(fit.space, _thinned(fit.draws), _thinned(terms)), None)
    return Score(
        parameters=fit.space.size,
        evidence=found,
        lfo=future,
        criteria=told,
        sufficient=sufficient,
        unsaid=unsaid,
        failed=failed,
    )


def terms_of(fit: Fit) -> Float[np.ndarray, "chain draw time"]:
    """log p(y_t | y_1:t-1, parameters) of every draw, of all series together."""
    terms = fit.result["log_likelihood"].to_dataset()["log_predictive"].values
    return terms if terms.ndim == 3 else terms.sum(axis=2)


def _thinned(draws: np.ndarray, most: int = 4000) -> np.ndarray:
    return draws[:, :: max(1, -(-draws.shape[0] * draws.shape[1] // most))]


def _evidence(fit: Fit, terms: np.ndarray, key: jax.Array, method: str) -> Estimate:
    if not fit.space.size:
        return Estimate(float(terms[0, 0].sum()), 0.0, "exact")
    try:
        if method == "smc":
            return anneal(fit.space, key, names=fit.exchanged).estimate
        return bridge(fit.space, fit.draws, key, names=fit.exchanged)
    except NotExactlySolvable as error:
        return Estimate(float("nan"), float("nan"), str(error))


def _sufficient(fit: Fit) -> tuple[Sufficiency | None, str]:
    """The test at the posterior mean of the (relabelled) parameters."""
    means = posterior_mean(fit.reading, fit.result)
    system = fit.reading.at(means)
    series = observed_series(fit.reading)
    if len(series) != 1:
        return None, f"the test is made for one observed site, and there are {len(series)}"
    if not np.isfinite(np.asarray(log_predictive(system))).all():
        return None, "some observation has no predictive density at the posterior mean"
    try:
        values = next(iter(series.values()))
        found = sufficiency(system, values, actions_of(fit.reading.data, len(values)))
    except DataError as error:
        return None, str(error)
    if found.degrees_of_freedom:
        return found, ""
    return (
        None,
        "the series is too short for the test: every moment rests on a few steps"
        if found.dropped
        else "a single state has no belief to test",
    )
