"""The prior predictive check fires on data that the prior does not predict, and on others as rarely as it says."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan
from scipy import stats

from ppl_worldmodel import read
from ppl_worldmodel.checks.prior_predictive import _distance, _prior_summary, prior_predictive, rank_p
from ppl_worldmodel.checks.verdict import Finding
from ppl_worldmodel.program.jaxprs.dependence import needed

FEW: dict[str, Any] = {"spread_from": 100, "ranked_among": 1100}
KEY = jax.random.key(0)


def level(y: Any = None, start: Any = None, own: bool = False) -> None:
    """A level near zero; `own`: the step goes on from the observation itself."""
    scale = numpyro.sample("scale", dist.HalfNormal(1.0))
    first = numpyro.sample("first", dist.Normal(0.0, 1.0) if start is None else start)

    def step(x: Any, y: Any) -> Any:
        x = numpyro.sample("x", dist.Normal(x, scale))
        numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
        return (jnp.nan_to_num(y) if own else x), None

    scan(step, first, y)


def categories(y: Any) -> None:
    def step(s: Any, y: Any) -> Any:
        s = numpyro.sample("s", dist.Bernoulli(jnp.where(s == 1, 0.9, 0.1)))
        numpyro.sample("y", dist.Categorical(jnp.array([[0.70, 0.29, 0.01], [0.29, 0.70, 0.01]])[s]), obs=y)
        return s, None

    scan(step, 0, y)


def rows(model: Callable, data: dict[str, Any], parameters: dict[str, float] | None = None) -> list[Finding]:
    return prior_predictive(read(model, data, parameters), KEY, **FEW)


def walk(length: int = 30, seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.cumsum(random.normal(size=length)) * 0.7 + random.normal(size=length)


@pytest.mark.parametrize("cauchy", [False, True])
def test_the_rank_is_uniform(cauchy: bool) -> None:
    """Numbers that depend on each other, of different spreads, with light and heavy tails: p-values are what they say."""
    random = np.random.default_rng(0)

    def series(number: int) -> np.ndarray:
        steps = random.standard_cauchy((number, 12)) if cauchy else random.normal(size=(number, 12))
        return np.cumsum(steps, axis=1)

    p_values = []
    for _ in range(600):
        of_prior = _prior_summary(series(60))
        observed, simulated = (_distance(series(number), of_prior).max(axis=1) for number in (1, 99))
        p_values.append(rank_p(float(observed[0]), simulated))
    assert stats.binomtest(int((np.array(p_values) <= 0.05).sum()), 600, 0.05).pvalue > 1e-3
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3


@pytest.mark.slow
def test_years_given_to_a_level_near_zero() -> None:
    (row,) = rows(level, {"y": 1900.0 + np.arange(30)})
    assert row.verdict == "disagrees"
    assert row.candidate == "data"
    assert "is 19" in row.why
    assert row.p == pytest.approx(1 / 1101)


def test_one_entry_far_outside() -> None:
    y = walk()
    y[[4, 9]] = np.nan, 1e4
    (row,) = rows(level, {"y": y})
    assert (row.verdict, row.worst, row.n) == ("disagrees", "t = 9", 29)


@pytest.mark.slow
def test_data_of_the_program() -> None:
    y = walk()
    y[4] = np.nan
    (row,) = rows(level, {"y": y})
    assert row.verdict == "agrees"
    assert 0.01 < row.p <= 1.0
    # At given parameters the same observations are predicted more sharply.
    (sharp,) = rows(level, {"y": 3.0 * y}, {"scale": 0.001})
    assert sharp.reference == "parameters given"
    assert sharp.verdict == "disagrees"


@pytest.mark.slow
def test_shares_of_categories() -> None:
    usual, rare = np.array([0, 0, 1, 1, 0, 1, 0, 0] * 5), np.array([0, 2, 1, 2, 0, 2, 0, 2] * 5)
    (row,) = rows(categories, {"y": usual})
    assert (row.verdict, row.n) == ("agrees", 3)
    (row,) = rows(categories, {"y": rare})
    assert (row.verdict, row.worst) == ("disagrees", "category 2")


@pytest.mark.slow
def test_where_nothing_can_be_predicted() -> None:
    """A flat first state has no draws, and a program that goes on from its observations has no series of its own."""
    flat = dist.ImproperUniform(dist.constraints.real, (), ())
    assert rows(level, {"y": walk(), "start": flat}) == []
    assert rows(level, {"y": walk(), "own": True}) == []


def test_a_scan_that_ignores_its_inputs_needs_no_numbers() -> None:
    assert not needed(lambda y: jax.lax.scan(lambda x, y: (x + 1, x), 0.0, y)[1], jnp.arange(3.0))
    assert needed(lambda y: jax.lax.scan(lambda x, y: (x + y, x), 0.0, y)[1], jnp.arange(3.0))
    assert needed(lambda y: jnp.zeros(int(y.sum())), jnp.arange(3.0))  # it cannot be traced
