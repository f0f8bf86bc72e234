"""Parameters that enter through the carry alone: the value before the first observation."""

import itertools
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan
from numpyro.infer.util import log_density
from scipy.special import logsumexp
from scipy.stats import norm

from ppl_worldmodel import marginalize, read
from ppl_worldmodel.exact import gaussian
from ppl_worldmodel.program.simulate import parameter_names

from ..agreement import assert_logs_close

T = np.array([[0.9, 0.1], [0.2, 0.8]])
R = np.array([0.2, -0.3, 0.04, -0.06, 0.5])


def regimes(r: Any) -> None:
    """A finite state, and an observation that looks back two steps."""
    r0, r1 = numpyro.sample("r0", dist.Normal(0.0, 0.1)), numpyro.sample("r1", dist.Normal(0.0, 0.2))
    start = numpyro.sample("start", dist.Categorical(jnp.array([0.3, 0.7])))

    def step(carry: Any, r: Any) -> Any:
        s, last, before = carry
        s = numpyro.sample("s", dist.Categorical(jnp.asarray(T)[s]))
        numpyro.sample("r", dist.Normal(0.1 * s + 0.6 * last - 0.3 * before, 0.2 + 0.1 * s), obs=r)
        return (s, r, last), None

    scan(step, (start, r0, r1), r)


def test_they_are_parameters_beside_a_finite_state() -> None:
    values = {"r0": 0.05, "r1": -0.2}
    assert set(parameter_names(regimes, {"r": R})) == {"r0", "r1"}
    density, _ = log_density(marginalize(regimes), (), {"r": R}, values)
    series = np.concatenate([[values["r1"], values["r0"]], R])
    paths = []
    for path in itertools.product((0, 1), repeat=len(R) + 1):
        total = np.log([0.3, 0.7][path[0]])
        for t, (old, s) in enumerate(itertools.pairwise(path)):
            mean = 0.1 * s + 0.6 * series[t + 1] - 0.3 * series[t]
            total += np.log(T[old, s]) + norm.logpdf(R[t], mean, 0.2 + 0.1 * s)
        paths.append(total)
    prior = norm.logpdf(values["r0"], 0.0, 0.1) + norm.logpdf(values["r1"], 0.0, 0.2)
    assert_logs_close(density, prior + logsumexp(paths), "log density")


def test_they_are_parameters_beside_a_gaussian_state() -> None:
    def model(r: Any) -> None:
        r0 = numpyro.sample("r0", dist.Normal(0.0, 0.1))

        def step(carry: Any, r: Any) -> Any:
            x, last = carry
            x = numpyro.sample("x", dist.Normal(0.8 * x, 0.5))
            numpyro.sample("r", dist.Normal(x + 0.6 * last, 0.3), obs=r)
            return (x, r), None

        scan(step, (numpyro.sample("x0", dist.Normal(0.0, 1.0)), r0), r)

    def without(y: Any) -> None:
        def step(x: Any, y: Any) -> Any:
            x = numpyro.sample("x", dist.Normal(0.8 * x, 0.5))
            numpyro.sample("y", dist.Normal(x, 0.3), obs=y)
            return x, None

        scan(step, numpyro.sample("x0", dist.Normal(0.0, 1.0)), y)

    found = read(model, {"r": R}, {"r0": 0.05}).system
    assert found.initial_mean.shape == (1,)
    expected = gaussian.evidence(read(without, {"y": R - 0.6 * np.array([0.05, *R[:-1]])}).system)
    assert_logs_close(gaussian.evidence(found), expected, "log predictive")


@pytest.mark.parametrize("damping", [0.5, 1.0])
def test_what_the_carry_goes_on_to_remember_is_a_state(damping: float) -> None:
    """A slope that fades is part of the state, though nothing random moves it."""

    def model(y: Any) -> None:
        def step(carry: Any, y: Any) -> Any:
            level, slope = carry
            level = numpyro.sample("level", dist.Normal(level + slope, 0.5))
            numpyro.sample("y", dist.Normal(level, 0.3), obs=y)
            return (level, damping * slope), None

        scan(step, (0.0, numpyro.sample("slope0", dist.Normal(0.0, 1.0))), y)

    assert read(model, {"y": R}).system.initial_mean.shape == (2,)
    assert parameter_names(model, {"y": R}) == ()
