"""Programs on which covariances lose their digits: read with the evidence that they have, or refused by name."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax.scipy.stats import norm
from numpyro.contrib.control_flow import scan
from numpyro.infer.util import log_density
from scipy.stats import multivariate_normal

from ppl_worldmodel import marginalize, read
from ppl_worldmodel.exact import gaussian

from ..exact.stiff import right_digits

A = jnp.array([[0.6, 0.3], [-0.2, 0.5]])
Q = jnp.array([[1.0, 0.4], [0.4, 0.9]])


def flat(*shape: int) -> dist.Distribution:
    support = dist.constraints.real_vector if shape else dist.constraints.real
    return dist.ImproperUniform(support, (), shape)


def autoregression(y: Any) -> None:
    """Seen as it is."""
    phi = numpyro.sample("phi", dist.Uniform(0.1, 0.9))

    def step(x: Any, y: Any) -> Any:
        x = numpyro.sample("x", dist.Normal(phi * x, 1.0))
        numpyro.sample("y", dist.Delta(x), obs=y)
        return x, None

    scan(step, numpyro.sample("x0", flat()), y)


def vector_autoregression(y: Any) -> None:
    def step(x: Any, y: Any) -> Any:
        x = numpyro.sample("x", dist.MultivariateNormal(A @ x, Q))
        numpyro.sample("y", dist.Delta(x, event_dim=1), obs=y)
        return x, None

    scan(step, numpyro.sample("x0", flat(2)), y)


def trend(y: Any, prior: Any) -> None:
    """Level and slope; the prior's standard deviation is an argument."""
    scale = numpyro.sample("scale", dist.LogNormal(0.0, 0.1))

    def step(x: Any, y: Any) -> Any:
        w = numpyro.sample("w", dist.Normal(0.0, scale))
        x = jnp.stack([x[0] + x[1], x[1] + w])
        numpyro.sample("y", dist.Normal(x[0], 0.5), obs=y)
        return x, None

    scan(step, numpyro.sample("x0", dist.Normal(jnp.zeros(2), prior).to_event(1)), y)


@pytest.mark.slow
def test_an_autoregression_seen_without_noise_from_a_flat_start() -> None:
    """The integral over the start of p(y_1 | x_0) is 1 / phi; after that it is a regression on what was seen."""
    y, phi = np.random.default_rng(0).normal(size=6), 0.7
    system = read(autoregression, {"y": y}, {"phi": phi}).system
    terms = np.asarray(gaussian.evidence(system))
    np.testing.assert_allclose(terms, [-np.log(phi), *norm.logpdf(y[1:], phi * y[:-1], 1.0)], rtol=1e-12)
    assert np.abs(gaussian.smooth(system).smoothed[:, 0] - y).max() < 1e-14
    # And as a program over its parameter, with the gradient.
    density = jax.value_and_grad(lambda phi: log_density(marginalize(autoregression), (), {"y": y}, {"phi": phi})[0])
    value, slope = density(phi)
    np.testing.assert_allclose(value, terms.sum() - np.log(0.8), rtol=1e-12)
    np.testing.assert_allclose(slope, -1 / phi + ((y[1:] - phi * y[:-1]) * y[:-1]).sum(), rtol=1e-10)


@pytest.mark.slow
def test_a_vector_autoregression_seen_without_noise_from_a_flat_start() -> None:
    y = np.random.default_rng(0).normal(size=(6, 2))
    system = read(vector_autoregression, {"y": y}).system
    normal = multivariate_normal(np.zeros(2), np.asarray(Q))
    expected = [-np.log(np.linalg.det(A)), *normal.logpdf(y[1:] - y[:-1] @ np.asarray(A).T)]
    np.testing.assert_allclose(gaussian.evidence(system), expected, rtol=1e-12)
    np.testing.assert_allclose(gaussian.filter(system).filtered, y, rtol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("prior", [1e3, 1e6, 1e7])
def test_a_vague_prior_leaves_the_smoothed_slope_its_variance(prior: float) -> None:
    y = 3.0 + 0.5 * np.arange(8) + np.random.default_rng(0).normal(size=8)
    system = read(trend, {"y": y, "prior": prior}, {"scale": 1.0}).system
    found = gaussian.smooth(system)
    evidence, beliefs = right_digits(system, found)
    assert found.digits is not None
    assert found.digits.evidence <= evidence + 0.5
    assert found.digits.beliefs <= beliefs + 0.5
    assert found.digits.least >= 6
    assert "square roots" not in str(system) or prior > 1e3


@pytest.mark.slow
def test_the_plan_carries_the_form_into_the_trace() -> None:
    """Density and gradient of the marginal program on which covariances lose their digits."""
    data = {"y": 3.0 + 0.5 * np.arange(8.0) ** 2, "prior": 1e10}
    system = read(trend, data, {"scale": 1.3}).system
    assert system.structure.form == "square root"
    assert "square roots of covariances" in str(system)
    density = jax.jit(jax.value_and_grad(lambda scale: log_density(marginalize(trend), (), data, {"scale": scale})[0]))
    value, slope = density(1.3)
    prior = dist.LogNormal(0.0, 0.1).log_prob(1.3)
    np.testing.assert_allclose(value, gaussian.evidence(system).sum() + prior, rtol=1e-12)
    near, far = (density(1.3 + h)[0] - density(1.3 - h)[0] for h in (1e-3, 2e-3))
    np.testing.assert_allclose(slope, (8 * near - far) / 12e-3, rtol=1e-7)
