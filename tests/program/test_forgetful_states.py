"""States at the two ends: drawn anew at every step without being carried, and held unchanged (a regression)."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.contrib.control_flow import scan
from scipy.stats import multivariate_normal, norm

from ppl_worldmodel import read
from ppl_worldmodel.exact import finite, gaussian

from ..agreement import assert_logs_close

Y = np.array([0.3, 1.5, 2.2, -0.4, 0.1])
X = np.random.default_rng(0).normal(size=(5, 2))


def test_a_mixture_without_a_carry() -> None:
    def model(y: Any) -> None:
        def step(carry: Any, y: Any) -> Any:
            z = numpyro.sample("z", dist.Categorical(jnp.array([0.3, 0.7])))
            numpyro.sample("y", dist.Normal(2.0 * z, 0.5), obs=y)
            return carry, None

        scan(step, None, y)

    each = np.log(0.3 * norm.pdf(Y, 0.0, 0.5) + 0.7 * norm.pdf(Y, 2.0, 0.5))
    assert_logs_close(finite.evidence(read(model, {"y": Y}).system), each, "log predictive")


def test_white_noise_beside_a_counter() -> None:
    def model(y: Any) -> None:
        def step(time: Any, y: Any) -> Any:
            z = numpyro.sample("z", dist.Normal(0.1 * time, 1.0))
            numpyro.sample("y", dist.Normal(2.0 * z, 0.5), obs=y)
            return time + 1, None

        scan(step, 0, y)

    expected = norm.logpdf(Y, 0.2 * np.arange(5), np.sqrt(4.25))
    assert_logs_close(gaussian.evidence(read(model, {"y": Y}).system), expected, "log predictive")


def test_coefficients_that_are_carried_unchanged() -> None:
    def model(y: Any, x: Any) -> None:
        def step(beta: Any, inputs: Any) -> Any:
            y, x = inputs
            numpyro.sample("y", dist.Normal(beta @ x, 0.5), obs=y)
            return beta, None

        scan(step, numpyro.sample("beta", dist.Normal(jnp.zeros(2), 2.0).to_event(1)), (y, x))

    system = read(model, {"y": Y, "x": X}).system
    np.testing.assert_array_equal(system.A, np.eye(2))
    expected = multivariate_normal(np.zeros(5), 4.0 * X @ X.T + 0.25 * np.eye(5)).logpdf(Y)
    assert_logs_close(gaussian.evidence(system).sum(), expected, "log evidence")


def test_a_class_that_is_held_unchanged() -> None:
    def model(y: Any) -> None:
        def step(z: Any, y: Any) -> Any:
            numpyro.sample("y", dist.Normal(2.0 * z, 0.5), obs=y)
            return z, None

        scan(step, numpyro.sample("z", dist.Categorical(jnp.array([0.3, 0.7]))), y)

    each = np.log([0.3, 0.7]) + np.array([norm.logpdf(Y, mean, 0.5).sum() for mean in (0.0, 2.0)])
    assert_logs_close(finite.evidence(read(model, {"y": Y}).system).sum(), np.logaddexp(*each), "log evidence")


def test_text_functions_and_none_among_the_arguments() -> None:
    def model(y: Any, kind: str, link: Any, extra: Any = None) -> None:
        assert kind == "known"

        def step(x: Any, y: Any) -> Any:
            x = numpyro.sample("x", dist.Normal(link(x), 1.0))
            numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
            return x, None

        scan(step, 0.0, y)

    gaps = np.where(np.arange(5) == 1, np.nan, Y)
    given = {"y": gaps, "kind": "known", "link": lambda x: 0.5 * x, "extra": None}
    terms = gaussian.evidence(read(model, given).system)
    assert_logs_close(terms[0], norm.logpdf(Y[0], 0.0, np.sqrt(2.0)), "first step")
    assert_logs_close(terms[1], 0.0, "missing step")
