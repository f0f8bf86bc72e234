"""A value that is no whole number is refused wherever a discrete distribution is observed, with its site, step and value."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.contrib.control_flow import scan

from ppl_worldmodel import read, smc
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.program.whole_numbers import first_fraction

P = jnp.array([[0.9, 0.1], [0.2, 0.8]])
EMITTED = jnp.array([[0.5, 0.2, 0.2, 0.1], [0.1, 0.2, 0.2, 0.5]])


def chain(observe: Callable[[Any, Any], Any]) -> Callable:
    def model(y: Any) -> None:
        def step(z: Any, y: Any) -> Any:
            z = numpyro.sample("z", dist.Categorical(P[z]))
            observe(z, y)
            return z, None

        scan(step, 0, y)

    return model


def category(z: Any, y: Any) -> None:
    numpyro.sample("y", dist.Categorical(EMITTED[z]), obs=y)


def from_minus_one(z: Any, y: Any) -> None:
    """A support that contains what stands for a missing value elsewhere."""
    numpyro.sample("y", dist.DiscreteUniform(-1, 2 + z), obs=y)


def masked(z: Any, y: Any) -> None:
    with handlers.mask(mask=y != 1.7):
        numpyro.sample("y", dist.Categorical(EMITTED[z]), obs=y)


def after(y: Any) -> None:
    def step(z: Any, _: Any) -> Any:
        z = numpyro.sample("z", dist.Categorical(P[z]))
        return z, z

    states = scan(step, 0, None, length=y.shape[1])[1]
    numpyro.sample("y", dist.Poisson(1.0 + states), obs=y)


def before(first: Any, y: Any) -> None:
    z = numpyro.sample("z_0", dist.Categorical(P[0]))
    numpyro.sample("first", dist.Poisson(1.0 + z), obs=first)

    def step(z: Any, y: Any) -> Any:
        z = numpyro.sample("z", dist.Categorical(P[z]))
        numpyro.sample("y", dist.Normal(z, 1.0), obs=y)
        return z, None

    scan(step, z, y)


BROKEN = np.array([0.0, np.nan, 1.7, 1.0])
WHOLE = np.array([0.0, np.nan, 2.0, 1.0])


@pytest.mark.parametrize("observe", [category, from_minus_one])
@pytest.mark.parametrize("gap", [np.nan, 1.0])
def test_a_fraction_in_the_step(observe: Callable, gap: float) -> None:
    y = np.where(np.isnan(BROKEN), gap, BROKEN)
    with pytest.raises(DataError, match=r"site 'y' at time step 2 \(from 0\) is 1.7: expected a whole number"):
        read(chain(observe), {"y": y})
    assert first_fraction(chain(observe), {"y": np.where(np.isnan(WHOLE), gap, WHOLE)}) is None


def test_the_particle_filter_refuses_it_too() -> None:
    with pytest.raises(DataError, match=r"'y' at time step 2 .* is 1.7: expected a whole number"):
        smc()(read(chain(category), {"y": BROKEN}, {}, exactly=False), jax.random.key(0))


def test_a_fraction_after_the_scan() -> None:
    with pytest.raises(DataError, match=r"'y' at time step 1 \(from 0\), entry \[0\] is 0.5: expected a whole number"):
        read(after, {"y": np.array([[1.0, 0.5, 3.0]])})


def test_a_fraction_before_the_scan() -> None:
    y = np.array([0.3, 0.5])
    with pytest.raises(DataError, match=r"of site 'first' is 2.5: expected a whole number"):
        read(before, {"first": 2.5, "y": y})
    assert first_fraction(before, {"first": 2.0, "y": y}) is None


def test_what_is_masked_may_be_anything() -> None:
    assert first_fraction(chain(masked), {"y": BROKEN}) is None
    assert first_fraction(chain(category), {"y": BROKEN}) == ("y", 2, (), 1.7)
