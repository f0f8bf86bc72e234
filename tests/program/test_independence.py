"""Sequences of a plate: independence proven element by element, and a coupling that is switched on late."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan

from ppl_worldmodel import read
from ppl_worldmodel.exact import finite, gaussian

from ..agreement import assert_logs_close
from ..references.enumeration import enumerate_program

P = jnp.array([[0.9, 0.1], [0.2, 0.8]])
Y = np.array([[0.3, 1.5], [2.2, -0.4], [0.1, 0.7], [1.0, 1.1]])
SWITCH = np.array([0.0, 0.0, 1.0, 1.0])


def finite_program(mix: Callable) -> Callable:
    def model(y: Any, switch: Any) -> Any:
        def step(z: Any, inputs: Any) -> Any:
            y, on = inputs
            with numpyro.plate("series", 2):
                z = numpyro.sample("z", dist.Categorical(P[z]))
                numpyro.sample("y", dist.Normal(z + mix(z, on), 0.7), obs=y)
            return z, z

        return scan(step, jnp.zeros(2, int), (y, switch))[1]

    return model


def gaussian_program(mix: Callable) -> Callable:
    def model(y: Any, switch: Any) -> None:
        def step(x: Any, inputs: Any) -> Any:
            y, on = inputs
            with numpyro.plate("series", 2):
                x = numpyro.sample("x", dist.Normal(0.8 * x, 1.0))
                numpyro.sample("y", dist.Normal(x + mix(x, on), 0.7), obs=y)
            return x, None

        scan(step, jnp.zeros(2), (y, switch))

    return model


def LATE(x: Any, on: Any) -> Any:
    return on * x[::-1]


def NEVER(x: Any, on: Any) -> Any:
    return on * x


def HARMLESS(x: Any, on: Any) -> Any:
    return on * (x - x[::-1] + x[::-1]) * 0.5 + 0.0 * x.sum()


@pytest.mark.parametrize(
    ("mix", "sequences"), [(LATE, 0), (NEVER, 2), (HARMLESS, 2)], ids=["late", "never", "harmless"]
)
def test_a_finite_coupling_that_an_input_switches_on(mix: Callable, sequences: int) -> None:
    data = {"y": Y, "switch": SWITCH}
    system = read(finite_program(mix), data).system
    assert system.structure.sequences == sequences
    assert ("as far as was tried" in repr(system)) == (mix is HARMLESS)
    listed = enumerate_program(finite_program(mix), data, {}, {"z": np.arange(2)})
    assert_logs_close(finite.evidence(system).sum(), listed.log_evidence, "log evidence")


@pytest.mark.slow
def test_a_gaussian_coupling_that_an_input_switches_on() -> None:
    data = {"y": Y, "switch": SWITCH}
    together = read(gaussian_program(LATE), data).system
    assert together.structure.sequences == 0
    apart = read(gaussian_program(NEVER), data).system
    assert (apart.structure.sequences, "as far as was tried" in repr(apart)) == (2, False)

    def vector(y: Any, switch: Any) -> None:
        def step(x: Any, inputs: Any) -> Any:
            y, on = inputs
            x = numpyro.sample("x", dist.MultivariateNormal(0.8 * x, jnp.eye(2)))
            C = jnp.eye(2) + on * jnp.eye(2)[::-1]
            numpyro.sample("y", dist.MultivariateNormal(C @ x, 0.49 * jnp.eye(2)), obs=y)
            return x, None

        scan(step, jnp.zeros(2), (y, switch))

    assert_logs_close(gaussian.evidence(together), gaussian.evidence(read(vector, data).system), "log predictive")
