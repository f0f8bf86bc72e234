"""Is the family of a full conditional read right?  Against the conjugate updates of the textbook, and where there is none."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from ppl_worldmodel.infer.conjugate import (
    BETA,
    DIRICHLET,
    GAMMA,
    INVERSE_GAMMA,
    INVERSE_WISHART,
    NORMAL,
    WISHART,
    Family,
    families,
    misfit,
)
from ppl_worldmodel.program.sites import random_value

Y = np.array([0.3, -1.2, 2.0, 0.7])
COUNTS = jnp.array([[3.0, 0.0, 2.0], [0.0, 7.0, 1.0]])
PAIRS = jax.random.normal(jax.random.key(0), (5, 2))
SCATTER = jnp.einsum("ti,tj->ij", PAIRS, PAIRS)
S = jnp.array([[2.0, 0.3], [0.3, 1.0]])


def normalised(p: Any) -> Any:
    return jnp.log(p / p.sum(axis=-1, keepdims=True))


# name: (prior, log likelihood, family, its numbers)
CASES: dict[str, tuple[Any, Callable, Family, Any]] = {
    "rows of T": (
        dist.Dirichlet(jnp.array([[1.0, 2.0, 0.5], [4.0, 1.0, 1.0]])),
        lambda p: (COUNTS * jnp.log(p)).sum(), DIRICHLET, COUNTS + jnp.array([[1.0, 2.0, 0.5], [4.0, 1.0, 1.0]]),
    ),
    "rows that the program normalises": (
        dist.Dirichlet(jnp.ones((2, 3))), lambda p: (COUNTS * normalised(p)).sum(), DIRICHLET, COUNTS + 1.0,
    ),
    "a chance": (dist.Beta(8.0, 2.0), lambda p: 3 * jnp.log(p) + 5 * jnp.log1p(-p), BETA, (11.0, 7.0)),
    "a chance, flat": (dist.Uniform(0.0, 1.0), lambda p: 3 * jnp.log(p), BETA, (4.0, 1.0)),
    "rates": (
        dist.Gamma(jnp.array([2.0, 3.0]), 0.5),
        lambda rate: dist.Poisson(rate).log_prob(jnp.array([[1.0, 4.0], [2.0, 6.0]])).sum(),
        GAMMA, (jnp.array([5.0, 13.0]), jnp.array([2.5, 2.5])),
    ),
    "a precision": (
        dist.Exponential(0.1), lambda t: dist.Normal(0.0, t**-0.5).log_prob(Y).sum(),
        GAMMA, (3.0, 0.1 + 0.5 * (Y**2).sum()),
    ),
    "a variance": (
        dist.InverseGamma(3.0, 2.0), lambda v: dist.Normal(0.5, v**0.5).log_prob(Y).sum(),
        INVERSE_GAMMA, (5.0, 2.0 + 0.5 * ((Y - 0.5) ** 2).sum()),
    ),
    "a mean": (
        dist.Normal(1.0, 2.0), lambda m: dist.Normal(m, 0.5).log_prob(Y).sum(),
        NORMAL, ((0.25 + 4.0 * Y.sum()) / 16.25, jnp.array([[16.25]])),
    ),
    "a covariance": (
        dist.InverseWishart(5.0, scale_matrix=S),
        lambda v: dist.MultivariateNormal(0.0, v).log_prob(PAIRS).sum(), INVERSE_WISHART, (10.0, S + SCATTER),
    ),
    "a matrix of precisions": (
        dist.Wishart(5.0, rate_matrix=S),
        lambda v: dist.MultivariateNormal(jnp.zeros(2), precision_matrix=v).log_prob(PAIRS).sum(),
        WISHART, (10.0, S + SCATTER),
    ),
}  # fmt: skip


QUICK = {"a chance", "a precision"}


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
def test_the_numbers_of_the_family(name: str) -> None:
    prior, log_likelihood, family, numbers = CASES[name]
    slope = jax.grad(lambda value: prior.log_prob(value).sum() + log_likelihood(value))
    values = jnp.stack([random_value(prior, key) for key in jax.random.split(jax.random.key(1), 4)])
    off = {tried.name: float(misfit(tried, slope, values)) for tried in families(prior.support)}
    assert [tried for tried, gap in off.items() if gap < 1e-9] == [family.name], off
    found = family.read(slope, values[0])
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-9), found, numbers)
    draws = jax.vmap(lambda key: family.drawn_from(found).sample(key))(jax.random.split(jax.random.key(2), 20_000))
    drawn = family.drawn_from(jax.tree.map(jnp.asarray, numbers))
    mean = numbers[0] if family is NORMAL else numbers[1] / 7.0 if family is INVERSE_WISHART else drawn.mean
    error = np.asarray(draws).std(axis=0) / np.sqrt(20_000)
    assert draws.shape[1:] == prior.shape()
    assert np.all(np.abs(np.asarray(draws).mean(axis=0) - mean) < 5.0 * error)


@pytest.mark.parametrize(
    ("prior", "log_likelihood"),
    [
        (dist.HalfNormal(100.0), lambda s: dist.Normal(0.5, s).log_prob(Y).sum()),
        (dist.LogNormal(0.0, 1.0), lambda s: dist.Poisson(s).log_prob(3.0)),
        (dist.Cauchy(0.0, 1.0), lambda m: dist.Normal(m, 1.0).log_prob(Y).sum()),
        (dist.Beta(2.0, 2.0), lambda p: 0.5 * jnp.log(0.1 + p)),
        (dist.Dirichlet(jnp.ones(3)), lambda p: jnp.log(p @ jnp.array([0.2, 0.3, 0.5]))),
        (dist.Uniform(0.0, 2.0), lambda p: 3 * jnp.log(p)),
    ],
)
def test_no_family_where_there_is_none(prior: Any, log_likelihood: Callable) -> None:
    slope = jax.grad(lambda value: prior.log_prob(value).sum() + log_likelihood(value))
    values = jnp.stack([random_value(prior, key) for key in jax.random.split(jax.random.key(1), 4)])
    assert all(misfit(tried, slope, values) > 1e-3 for tried in families(prior.support))


def test_rows_that_depend_on_each_other_are_noticed() -> None:
    """Two rows with one normaliser: each looks conjugate alone."""
    prior = dist.Dirichlet(jnp.ones((2, 3)))
    slope = jax.grad(lambda p: prior.log_prob(p).sum() + 3.0 * jnp.log((p[0] * p[1]).sum()))
    values = jnp.stack([random_value(prior, key) for key in jax.random.split(jax.random.key(1), 4)])
    assert misfit(DIRICHLET, slope, values) > 1e-3
