"""Chains start at the densest of their own prior draws; flat densities and observations that are missing are no obstacle."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan

from ppl_worldmodel import read, svi
from ppl_worldmodel.errors import DataError, NotExactlySolvable
from ppl_worldmodel.infer.initial_values import densest_of_prior

KEY = jax.random.key(0)


def steep() -> None:
    """A density that overflows for most of the prior's draws, and a scale whose density is known on the unconstrained line."""
    x = numpyro.sample("x", dist.Normal(0.0, 5.0))
    numpyro.sample("scale", dist.HalfNormal(1.0))
    numpyro.factor("far", jnp.where(jnp.abs(x) > 4.0, jnp.nan, -1e6 * (x - 3.0) ** 2))


def test_each_chain_starts_at_the_densest_of_its_own_draws() -> None:
    starts = densest_of_prior(steep, KEY, num_chains=4)
    assert {name: values.shape for name, values in starts.items()} == {"x": (4,), "scale": (4,)}
    x = np.asarray(starts["x"])
    # A draw lies between 1.5 and 4 with probability 0.17: none of a hundred does in one case of a hundred million.
    assert (np.abs(x - 3.0) < 1.5).all()
    assert len(set(x.tolist())) == 4
    alone = densest_of_prior(steep, KEY, num_chains=1, tried=3)
    assert alone["x"].shape == ()


def test_no_place_to_start_from() -> None:
    def impossible() -> None:
        numpyro.sample("x", dist.Normal(0.0, 1.0))
        numpyro.factor("never", -jnp.inf)

    with pytest.raises(DataError, match="not finite at any of 8 draws from its prior"):
        densest_of_prior(impossible, KEY, num_chains=2, tried=8)


def flat(y: Any) -> None:
    mean = numpyro.sample("mean", dist.ImproperUniform(dist.constraints.real, (), ()))

    def step(x: Any, y: Any) -> Any:
        x = numpyro.sample("x", dist.Normal(0.5 * x, 1.0))
        numpyro.sample("y", dist.Normal(x + mean, 1.0), obs=y)
        return x, None

    scan(step, 0.0, y)


@pytest.mark.slow
def test_a_flat_parameter_and_a_missing_observation() -> None:
    y = np.random.default_rng(0).normal(size=6)
    y[3] = np.nan
    assert dict(read(flat, {"y": y}).system.structure.about)["observation"].endswith("1 missing")
    with pytest.raises(NotExactlySolvable, match="the density of 'mean' is flat"):
        svi(num_steps=5, num_samples=5)(read(flat, {"y": y}), KEY)
