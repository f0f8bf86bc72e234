"""Observations shorter than the covariates: filled up with missing values where it is plain what is meant, refused otherwise."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan

from ppl_worldmodel import read
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.exact import gaussian
from ppl_worldmodel.program.missing.forecast import with_forecast

from ...agreement import assert_logs_close

Y, X = np.array([1, 3, 2]), np.array([0.1, 0.4, -0.2, 0.3, 0.5])


def driven(y: Any, x: Any) -> None:
    def step(level: Any, now: Any) -> Any:
        y, x = now
        level = numpyro.sample("level", dist.Normal(0.9 * level + x, 1.0))
        numpyro.sample("y", dist.Normal(level, 0.5), obs=y)
        return level, None

    scan(step, 0.2, (y, x))


def both_seen(y: Any, x: Any) -> None:
    def step(level: Any, now: Any) -> Any:
        y, x = now
        level = numpyro.sample("level", dist.Normal(0.9 * level, 1.0))
        numpyro.sample("y", dist.Normal(level, 0.5), obs=y)
        numpyro.sample("x", dist.Normal(level, 0.5), obs=x)
        return level, None

    scan(step, 0.2, (y, x))


def lookup(y: Any, x: Any) -> None:
    """What is longer is no series: the program's own business."""

    def step(level: Any, y: Any) -> Any:
        level = numpyro.sample("level", dist.Normal(0.9 * level + jnp.sum(x), 1.0))
        numpyro.sample("y", dist.Normal(level, 0.5), obs=y)
        return level, None

    scan(step, 0.2, y)


def test_the_steps_beyond_are_unobserved() -> None:
    data = with_forecast(driven, {"y": Y, "x": X})
    np.testing.assert_array_equal(data["y"], [1.0, 3.0, 2.0, np.nan, np.nan])
    np.testing.assert_array_equal(data["x"], X)
    found = gaussian.evidence(read(driven, data).system)
    assert_logs_close(found[:3], gaussian.evidence(read(driven, {"y": 1.0 * Y, "x": X[:3]}).system), "log predictive")
    np.testing.assert_array_equal(found[3:], 0.0)


@pytest.mark.parametrize(
    ("model", "y", "x"), [(driven, X, X[:3]), (both_seen, Y, X), (lookup, Y, X), (driven, X, X)]
)  # fmt: skip
def test_what_is_not_plain_is_left_as_it_is(model: Any, y: np.ndarray, x: np.ndarray) -> None:
    data = with_forecast(model, {"y": y, "x": x})
    assert data["y"] is y
    assert data["x"] is x


@pytest.mark.parametrize("model", [driven, both_seen])
def test_reading_them_says_what_to_do(model: Any) -> None:
    with pytest.raises(DataError, match="fill the observations up with NaN"):
        read(model, {"y": Y, "x": X})
