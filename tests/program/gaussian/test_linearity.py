"""What must be affine in the state and what must not depend on it, of a step and of its start: refused with the line, or read."""

import re
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.contrib.control_flow import scan

from ppl_worldmodel import read
from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.exact import gaussian

from ...agreement import assert_logs_close
from ...references.quadratic import solve_program

Y = np.array([0.3, -1.0, 2.0, 0.5])


def stepping(step: Callable, start: Callable = lambda: numpyro.sample("x0", dist.Normal(0.0, 1.0))) -> Callable:
    return lambda y: scan(step, start(), y)[1]


def walk(x: Any, y: Any) -> Any:
    x = numpyro.sample("x", dist.Normal(x, 1.0))
    numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
    return x, x


def absolute(x: Any, y: Any) -> Any:
    x = numpyro.sample("x", dist.Normal(x, 1.0))
    numpyro.sample("y", dist.Normal(jnp.abs(x), 0.5), obs=y)
    return x, None


def spread_by_the_state(x: Any, y: Any) -> Any:
    x = numpyro.sample("x", dist.Normal(x, 1.0))
    numpyro.sample("y", dist.Normal(x, 5.0 + x), obs=y)
    return x, None


def masked_by_the_state(x: Any, y: Any) -> Any:
    x = numpyro.sample("x", dist.Normal(x, 1.0))
    with handlers.mask(mask=x < 3.0):
        numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
    return x, None


def residual_observed(x: Any, y: Any) -> Any:
    x = numpyro.sample("x", dist.Normal(x, 1.0))
    numpyro.sample("residual", dist.Normal(0.0, 1.0), obs=y - x)
    return x, None


def counts(x: Any, y: Any) -> Any:
    x = numpyro.sample("x", dist.Normal(x, 1.0))
    numpyro.sample("y", dist.StudentT(3.0, x), obs=y)
    return x, None


def switched_by_time(carry: Any, y: Any) -> Any:
    x, time = carry
    mean = jnp.where(time < 2, x, jnp.maximum(x, -20.0))
    x = numpyro.sample("x", dist.Normal(mean, 1.0))
    numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
    return (x, time + 1), None


def bent_link() -> Any:
    level = numpyro.sample("level", dist.Normal(0.0, 1.0))
    return numpyro.sample("x0", dist.Normal(jnp.maximum(level, -9.0), 1.0)) + level


def scaled_link() -> Any:
    level = numpyro.sample("level", dist.Normal(0.0, 1.0))
    return numpyro.sample("x0", dist.Normal(level, 5.0 + level)) + level


def bent_when_seen() -> Any:
    x0 = numpyro.sample("x0", dist.Normal(0.0, 1.0))
    numpyro.sample("y0", dist.Normal(jnp.clip(x0, -9.0, 9.0), 1.0), obs=0.5)
    return x0


# {name: (program, the refusal up to the file, the user's line)}
REFUSED: dict[str, tuple[Callable, str, str]] = {
    "sensor": (
        stepping(absolute),
        "the mean of site 'y' is not affine in the state: `abs`",
        'numpyro.sample("y", dist.Normal(jnp.abs(x), 0.5), obs=y)',
    ),
    "scale": (
        stepping(spread_by_the_state),
        "the covariance of site 'y' depends on the state",
        'numpyro.sample("y", dist.Normal(x, 5.0 + x), obs=y)',
    ),
    "mask": (
        stepping(masked_by_the_state),
        "what is masked of site 'y' depends on the state: a comparison with it (`lt`)",
        "with handlers.mask(mask=x < 3.0):",
    ),
    "observed value": (
        stepping(residual_observed),
        "the observed value of site 'residual' depends on the state",
        'numpyro.sample("residual", dist.Normal(0.0, 1.0), obs=y - x)',
    ),
    "family": (
        stepping(counts),
        "site 'y' is StudentT: beside a continuous state only Gaussian sites are read exactly",
        'numpyro.sample("y", dist.StudentT(3.0, x), obs=y)',
    ),
    "later step": (
        stepping(switched_by_time, lambda: (0.0, 0)),
        "the mean of site 'x' is not affine in the state: `max`",
        "mean = jnp.where(time < 2, x, jnp.maximum(x, -20.0))",
    ),
    "linked start": (
        stepping(walk, bent_link),
        "the mean of site 'x0' is not affine in the first state: `max`",
        'return numpyro.sample("x0", dist.Normal(jnp.maximum(level, -9.0), 1.0)) + level',
    ),
    "scale of a linked start": (
        stepping(walk, scaled_link),
        "the covariance of site 'x0' depends on the first state",
        'return numpyro.sample("x0", dist.Normal(level, 5.0 + level)) + level',
    ),
    "seen before the scan": (
        stepping(walk, bent_when_seen),
        "the mean of site 'y0' is not affine in the first state: `clip` (max)",
        'numpyro.sample("y0", dist.Normal(jnp.clip(x0, -9.0, 9.0), 1.0), obs=0.5)',
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_operation_and_the_line(name: str) -> None:
    program, reason, line = REFUSED[name]
    with pytest.raises(NotExactlySolvable) as caught:
        read(program, {"y": Y})
    first = str(caught.value).splitlines()[0]
    assert re.fullmatch(re.escape(reason) + r", test_linearity.py:\d+ \(`" + re.escape(line) + r"`\)", first), first


def test_sequences_that_are_observed_together_are_one_system() -> None:
    def step(x: Any, y: Any) -> Any:
        with numpyro.plate("series", 2):
            x = numpyro.sample("x", dist.Normal(0.9 * x, 1.0))
        numpyro.sample("y", dist.Normal(x.sum(), 1.0), obs=y)
        return x, x

    def model(y: Any) -> Any:
        return scan(step, jnp.array([0.5, -0.2]), y)[1]

    system = read(model, {"y": Y}).system
    assert system.structure.sequences == 0
    expected = solve_program(model, {"y": Y}, {}, ("x",))
    assert_logs_close(gaussian.evidence(system).sum(), expected.log_evidence, "log evidence")


def test_a_state_that_is_rounded_is_said() -> None:
    def step(x: Any, y: Any) -> Any:
        x = numpyro.sample("x", dist.Normal(x.astype(jnp.float32), 1.0))
        numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
        return x, x

    lines = repr(read(stepping(step), {"y": Y}).system).splitlines()
    assert any(
        re.search(r"rounded .* fewer digits.*: test_linearity.py:\d+ \(`x = numpyro.sample", line) for line in lines
    )
    assert not any("rounded" in line for line in repr(read(stepping(walk), {"y": Y}).system).splitlines())
