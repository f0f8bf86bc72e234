"""Programs and data that do not fit are told in words: whose fault it is, where, and what to do."""

import importlib
import operator
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan
from scipy.stats import multivariate_normal

from ppl_worldmodel import read
from ppl_worldmodel.errors import FAULT, DataError, ProgramError, ReadingFault
from ppl_worldmodel.exact import gaussian
from ppl_worldmodel.failure import told

Y = np.array([0.3, -0.2, 0.5])


def stepping(step: Callable) -> Callable:
    return lambda y: scan(step, 0.0, y) and None


def walk(x: Any, y: Any) -> Any:
    x = numpyro.sample("x", dist.Normal(x, 1.0))
    numpyro.sample("y", dist.Normal(x, 0.5), obs=y)
    return x, None


def alone(x: Any, y: Any) -> Any:
    return walk(x, y)[0]


def nothing(x: Any, y: Any) -> Any:
    walk(x, y)


def three(x: Any, y: Any) -> Any:
    return (*walk(x, y), y)


def more(x: Any, y: Any) -> Any:
    return (walk(x, y)[0], y), None


def longer(x: Any, y: Any) -> Any:
    return walk(x, y)[0] * jnp.ones(2), None


def a_module(x: Any, y: Any) -> Any:
    numpyro.sample("y", dist.Normal(walk(x, None)[0], 0.5), obs=numpyro)
    return x, None


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (nothing, "returns one thing, NoneType: a step returns two things"),
        (three, "returns 3 things"),
        (more, r"returns a carry of structure .* but was given .*: return the same"),
        (longer, r"returns a carry of shape \(2,\) .* but was given \(\)"),
    ],
)
def test_what_a_step_returns(step: Callable, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(stepping(step), {"y": Y})


def test_what_is_observed() -> None:
    def observed(value: Any) -> Callable:
        def step(x: Any, y: Any) -> Any:
            x = numpyro.sample("x", dist.Normal(x, 1.0))
            numpyro.sample("y", dist.Normal(x * jnp.ones(2), 0.5).to_event(1), obs=value)
            return x, None

        return stepping(step)

    with pytest.raises(DataError, match="site 'y' is observed as <module 'numpyro'"):
        read(observed(numpyro), {"y": Y})
    with pytest.raises(DataError, match=r"observation of site 'y' has shape \(3,\), and its distribution \(2,\)"):
        read(observed(jnp.ones(3)), {"y": Y})
    with pytest.raises(DataError, match="expected a leading time axis"):
        read(stepping(walk), {"y": 0.5})


def test_several_observations_of_one_mean() -> None:
    """Without a plate: NumPyro broadcasts the distribution to the observations."""
    y = np.array([[0.3, 0.1], [-0.2, 0.4]])
    time = np.arange(1, 3)
    states = np.minimum.outer(time, time)
    covariance = np.kron(states, np.ones((2, 2))) + 0.25 * np.eye(4)
    right = multivariate_normal.logpdf(y.ravel(), cov=covariance)
    np.testing.assert_allclose(gaussian.filter(read(stepping(walk), {"y": y}).system).log_evidence, right, rtol=1e-10)


def test_an_exception_inside_of_the_program_names_its_line() -> None:
    def step(x: Any, y: Any) -> Any:
        x = numpyro.sample("x", dist.Normal(x, undefined))  # type: ignore[name-defined]  # noqa: F821
        return x, None

    with pytest.raises(
        ProgramError, match=r"test_faulty_calls.py' fails at line \d+ .*NameError: .*'undefined'"
    ) as caught:
        read(stepping(step), {"y": Y})
    assert isinstance(caught.value.__cause__, NameError)


def test_an_exception_inside_of_a_reading_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("ppl_worldmodel.program.examine"), "take_apart", operator.truediv)
    with pytest.raises(
        ReadingFault, match=r"a fault of ours, not of your program: TypeError: unsupported operand.*\nwhere .*\nreport"
    ) as caught:
        read(stepping(walk), {"y": Y})
    assert told(caught.value) == (FAULT, str(caught.value))
