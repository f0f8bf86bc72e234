"""Are statements that NumPyro or JAX would answer with a riddle told in words, as errors of the program?"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan

from ppl_worldmodel import read
from ppl_worldmodel.errors import DataError

Y = np.array([0.3, -0.2, 0.5])


def walk(x: Any, y: Any) -> Any:
    x = numpyro.sample("x", dist.Normal(x, 1.0))
    numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
    return x, None


def first() -> Any:
    return numpyro.sample("x0", dist.Normal(0.0, 1.0))


def twice(x: Any, y: Any) -> Any:
    x, _ = walk(x, y)
    numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
    return x, None


def two_starts(y: Any) -> None:
    numpyro.sample("x0", dist.Normal(0.0, 1.0))
    scan(walk, first(), y)


def from_text(y: Any) -> None:
    scan(walk, "text", y)


def named(name: Any) -> Callable[[Any, Any], Any]:
    def step(x: Any, y: Any) -> Any:
        numpyro.sample(name, dist.Normal(x, 1.0), obs=y)
        return walk(x, y)

    return step


def returning(carry: Any, output: Any) -> Callable[[Any, Any], Any]:
    def step(x: Any, y: Any) -> Any:
        x, _ = walk(x, y)
        return (x if carry is None else carry), output

    return step


def a_vector(x: Any, y: Any) -> Any:
    x = numpyro.sample("x", dist.MultivariateNormal(jnp.zeros(1) + x, jnp.eye(1)))[0]
    numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
    numpyro.sample("z", dist.MultivariateNormal(jnp.zeros(1), jnp.eye(1)), obs=y)
    return x, None


def of(step: Any, *, inputs: Any = None, **settings: Any) -> Callable[[Any], None]:
    def model(y: Any) -> None:
        scan(step, first(), y if inputs is None else inputs, **settings)

    return model


WRONG = {
    "two sites of the step": (of(twice), r"two sites of the step are named 'y': give each a name of its own"),
    "two sites before it": (two_starts, r"two sites before the scan are named 'x0'"),
    "a name in the step": (of(named(True)), r"numpyro\.sample in the step is named True: expected text"),
    "no step": (of(np), r"first argument of scan is a module: expected the step, a function of carry and inputs"),
    "a step of one argument": (
        of(len),
        r"cannot be called with its two arguments, .*: len\(\) takes exactly one argument",
    ),
    "length": (
        of(walk, length=np.array([3, 3])),
        r"argument `length` of scan is array\(\[3, 3\]\): expected a whole number",
    ),
    "a module as the length": (
        of(walk, length=np),
        r"argument `length` of scan is <module 'numpy'.*: expected a whole number of steps",
    ),
    "an endless length": (
        of(walk, length=np.inf),
        r"argument `length` of scan is inf: expected a whole number of steps",
    ),
    "no steps": (of(walk, inputs=np.zeros(0)), r"the scan over time has no steps"),
    "reverse": (of(walk, reverse=np.zeros(3)), r"argument `reverse` of scan is a ndarray: expected True or False"),
    "text in the carry": (from_text, r"the scan is given 'text' as a part of its first carry or its inputs"),
    "a carry": (
        of(returning(len, None)),
        r"returns <built-in function len> as a part of its new carry: expected numbers",
    ),
    "an output": (of(returning(None, np)), r"returns <module 'numpy'.* as a part of its output: expected numbers"),
    "a density": (
        of(a_vector),
        r"the density of a MultivariateNormal with arguments loc of shape .* cannot be computed",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_it_is_told_in_words(name: str) -> None:
    model, expected = WRONG[name]
    with pytest.raises(DataError, match=expected):
        read(model, {"y": jnp.asarray(Y)})


def test_the_right_program_is_read() -> None:
    assert read(of(walk), {"y": Y}).system is not None
