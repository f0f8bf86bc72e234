"""A missing entry is left out whatever stands around its distribution: a mask, a plate, both; and a number is never cut to fit."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.contrib.control_flow import scan
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from ppl_worldmodel import read
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.exact import finite
from ppl_worldmodel.program.likelihood import log_prob

from ...agreement import assert_logs_close

NAN = np.nan
T = np.array([[0.9, 0.1], [0.2, 0.8]])
COVARIANCE = np.array([[1.0, 0.4], [0.4, 0.8]])
PAIRS = np.array([[0.3, 1.0], [NAN, -0.5], [1.2, NAN], [NAN, NAN], [0.1, 0.7]])
MASK = np.array([True, True, True, True, False])


def pairs(y: Any, m: Any) -> None:
    def step(z: Any, inputs: Any) -> Any:
        y, m = inputs
        z = numpyro.sample("z", dist.Categorical(jnp.asarray(T)[z]))
        with handlers.mask(mask=m):
            numpyro.sample("y", dist.MultivariateNormal(jnp.stack([1.0 * z, -1.0 * z]), COVARIANCE), obs=y)
        return z, None

    scan(step, 0, (y, m))


def flags(y: Any, m: Any) -> None:
    """Two independent entries, in a plate around the mask."""

    def step(z: Any, inputs: Any) -> Any:
        y, m = inputs
        z = numpyro.sample("z", dist.Categorical(jnp.asarray(T)[z]))
        with numpyro.plate("copies", 1), handlers.mask(mask=m):
            chances = jnp.array([[0.2, 0.6], [0.7, 0.9]])[z]
            numpyro.sample("y", dist.Bernoulli(chances).to_event(1), obs=y)
        return z, None

    scan(step, 0, (y, m))


def of_pair(z: int, y: np.ndarray) -> float:
    seen = ~np.isnan(y)
    if not seen.any():
        return 0.0
    law = multivariate_normal(np.array([z, -z])[seen], COVARIANCE[np.ix_(seen, seen)])
    return float(law.logpdf(y[seen]))


def of_flags(z: int, y: np.ndarray) -> float:
    one = np.array([[0.2, 0.6], [0.7, 0.9]])[z]
    return float(sum(np.log(p if v else 1 - p) for v, p in zip(y, one, strict=True) if not np.isnan(v)))


def forward(terms: np.ndarray) -> float:
    log_belief = np.array([0.0, -np.inf])
    for row in terms:
        log_belief = logsumexp(log_belief[:, None] + np.log(T), axis=0) + row
    return float(logsumexp(log_belief))


FLAGS = np.array([[0.0, 1.0], [NAN, 0.0], [1.0, NAN], [NAN, NAN], [1.0, 1.0]])


@pytest.mark.parametrize(
    ("program", "y", "term"), [(pairs, PAIRS, of_pair), (flags, FLAGS[:, None], lambda z, y: of_flags(z, y[0]))]
)
def test_part_of_a_vector_is_missing_under_a_mask(program: Any, y: np.ndarray, term: Any) -> None:
    expected = forward(
        np.array([[term(z, row) if kept else 0.0 for z in (0, 1)] for row, kept in zip(y, MASK, strict=True)])
    )
    found = finite.smooth(read(program, {"y": y, "m": MASK}).system).log_evidence
    assert_logs_close(found, expected, "log evidence")


def test_a_mask_does_not_hide_what_is_outside_the_support() -> None:
    y = np.where(np.isnan(FLAGS), NAN, FLAGS)[:, None]
    y[1, 0, 1] = 2.0
    with pytest.raises(DataError, match="'y' at time step 1"):
        read(flags, {"y": y, "m": MASK})
    y[1, 0, 1], y[4, 0, 0] = 0.0, 2.0  # masked there
    read(flags, {"y": y, "m": MASK})


def test_a_category_that_is_no_whole_number_is_impossible() -> None:
    fn = dist.Categorical(jnp.array([0.2, 0.3, 0.5]))
    np.testing.assert_array_equal(log_prob(fn, jnp.array([1.7, 0.9])), -np.inf)
    np.testing.assert_allclose(log_prob(fn, jnp.array([2.0])), np.log(0.5))
