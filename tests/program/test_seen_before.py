"""What is observed before the scan, and what depends on what among the first state's sites."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan
from numpyro.infer.util import log_density
from scipy.stats import norm

from ppl_worldmodel import marginalize, read
from ppl_worldmodel.exact import finite, gaussian

from ..agreement import assert_logs_close, assert_means_close, assert_probabilities_close

Y = np.array([0.3, -1.0, 2.0, 0.5])
T = jnp.array([[0.9, 0.1], [0.2, 0.8]])


def gaussian_program(start: Any) -> Any:
    def model(y: Any) -> None:
        def step(x: Any, y: Any) -> Any:
            x = numpyro.sample("x", dist.Normal(0.9 * x, 0.4))
            numpyro.sample("y", dist.Normal(x, 0.7), obs=y)
            return x, None

        scan(step, start(), y)

    return model


def finite_program(start: Any) -> Any:
    def model(y: Any) -> None:
        def step(s: Any, y: Any) -> Any:
            s = numpyro.sample("s", dist.Categorical(T[s]))
            numpyro.sample("y", dist.Normal(s, 0.7), obs=y)
            return s, None

        scan(step, start(), y)

    return model


@pytest.mark.slow
def test_a_gaussian_first_state_that_was_observed() -> None:
    """Bayes' rule by hand: prior precision 1/4, noise precision 4."""

    def observed() -> Any:
        x0 = numpyro.sample("x0", dist.Normal(0.0, 2.0))
        numpyro.sample("y0", dist.Normal(x0, 0.5), obs=1.3)
        return x0

    precision = 0.25 + 4.0
    updated = dist.Normal(4.0 * 1.3 / precision, precision**-0.5)
    found = gaussian.smooth(read(gaussian_program(observed), {"y": Y}).system)
    expected = gaussian.smooth(read(gaussian_program(lambda: numpyro.sample("x0", updated)), {"y": Y}).system)
    assert_logs_close(found.log_evidence, expected.log_evidence + norm.logpdf(1.3, 0.0, 4.25**0.5), "log evidence")
    assert_means_close(found.smoothed, expected.smoothed, expected.smoothed_covariance, "smoothed")
    density, _ = log_density(marginalize(gaussian_program(observed)), (), {"y": Y}, {})
    assert_logs_close(density, found.log_evidence, "log density of the marginal")


@pytest.mark.slow
@pytest.mark.parametrize("seen", [0, 1])
def test_a_finite_first_state_that_was_observed(seen: int) -> None:
    prior, likelihood = np.array([0.3, 0.7]), np.array([[0.9, 0.1], [0.4, 0.6]])

    def observed() -> Any:
        s0 = numpyro.sample("s0", dist.Categorical(jnp.asarray(prior)))
        numpyro.sample("y0", dist.Categorical(jnp.asarray(likelihood)[s0]), obs=seen)
        return s0

    joint = prior * likelihood[:, seen]
    updated = dist.Categorical(jnp.asarray(joint / joint.sum()))
    found = finite.smooth(read(finite_program(observed), {"y": Y}).system)
    expected = finite.smooth(read(finite_program(lambda: numpyro.sample("s0", updated)), {"y": Y}).system)
    assert_logs_close(found.log_evidence, expected.log_evidence + np.log(joint.sum()), "log evidence")
    assert_probabilities_close(found.smoothed, expected.smoothed, "smoothed")
    density, _ = log_density(marginalize(finite_program(observed)), (), {"y": Y}, {})
    assert_logs_close(density, found.log_evidence, "log density of the marginal")


def test_a_start_that_the_step_looks_at_is_a_parameter() -> None:
    """The mean to which the state returns is where it starts, too: it cannot be integrated out with the state."""

    def model(y: Any) -> None:
        mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))

        def step(x: Any, y: Any) -> Any:
            x = numpyro.sample("x", dist.Normal(mean + 0.5 * (x - mean), 1.0))
            numpyro.sample("y", dist.Normal(x, 0.7), obs=y)
            return x, None

        scan(step, mean, y)

    system = read(model, {"y": Y}, {"mean": 2.0}).system
    assert (system.structure.initials, float(system.initial_mean[0])) == ((), 2.0)
    np.testing.assert_allclose(system.b, 1.0)


def test_the_same_array_may_start_two_leaves() -> None:
    """(start, start), of which the step hands one on: a shift register, not a running constant."""

    def model(y: Any) -> None:
        def step(carry: Any, y: Any) -> Any:
            s, s1 = carry
            new = numpyro.sample("s", dist.Categorical(T[(s + s1) % 2]))
            numpyro.sample("y", dist.Normal(new, 0.7), obs=y)
            return (new, s), None

        start = numpyro.sample("s0", dist.Categorical(jnp.array([0.3, 0.7])))
        scan(step, (start, start), y)

    system = read(model, {"y": Y}).system
    assert system.structure.labels == ((0, 0), (0, 1), (1, 0), (1, 1))
    assert_probabilities_close(system.initial, [0.3, 0.0, 0.0, 0.7], "initial")
