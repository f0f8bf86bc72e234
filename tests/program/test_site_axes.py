"""Programs observed after the scan: particles and Gibbs against the exact beliefs, simulated series, and the names of axes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from numpyro.contrib.control_flow import scan

from ppl_worldmodel import exact_engine, gibbs, read, smc
from ppl_worldmodel.checks import beliefs as belief_check
from ppl_worldmodel.program.simulate import as_data, simulate, simulate_series

P = jnp.array([[0.9, 0.1], [0.2, 0.8]])
N = 6


def walk(y: Any = None, num_steps: int = N) -> None:
    s = numpyro.sample("s", dist.HalfNormal(1.0))

    def step(x: Any, _: Any) -> Any:
        x = numpyro.sample("x", dist.Normal(0.8 * x, 1.0))
        return x, x

    states = scan(step, 0.0, None, length=num_steps if y is None else len(y))[1]
    numpyro.sample("y", dist.Normal(states, s), obs=y)
    numpyro.sample("next", dist.Normal(0.8 * states[-1], 1.0))


def chains(counts: Any = None, num_steps: int = N) -> None:
    """Two series side by side, in the rows of what is observed."""
    rate = numpyro.sample("rate", dist.HalfNormal(1.0))

    def step(z: Any, _: Any) -> Any:
        with numpyro.plate("series", 2):
            z = numpyro.sample("z", dist.Categorical(P[z]))
        return z, z

    states = scan(step, jnp.zeros(2, int), None, length=num_steps if counts is None else counts.shape[1])[1]
    numpyro.sample("seen", dist.Poisson(0.3 + 2.0 * rate * states.T), obs=counts)


class Case(NamedTuple):
    model: Callable
    parameters: dict[str, float]
    data: dict[str, np.ndarray]
    site: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]


GAUSSIAN = Case(walk, {"s": 0.7}, {"y": np.array([1.0, 0.0, 2.0, np.nan, 3.0, 0.5])}, "y", ("time",), (N,))
FINITE = Case(
    chains, {"rate": 1.1}, {"counts": np.array([[0, 0, 2, 1, 3, 0], [4, 3, 0, 0, 0, 1]])}, "seen",
    ("seen_dim_0", "time"), (N, 2),
)  # fmt: skip
CASES = pytest.mark.parametrize("case", [GAUSSIAN, FINITE], ids=lambda case: case.model.__name__)


def exact(case: Case) -> xr.DataTree:
    return exact_engine()(read(case.model, case.data, case.parameters), jax.random.key(0))


@pytest.mark.slow
@CASES
def test_particles(case: Case) -> None:
    expected = exact(case)
    found = smc(num_particles=500)(read(case.model, case.data, case.parameters, exactly=False), jax.random.key(1))
    apart = found.attrs["log_evidence"] - expected.attrs["log_evidence"]
    assert abs(apart) < 4.0 * found.attrs["log_evidence_mcse"]
    assert {row.verdict for row in belief_check.findings(found, expected)} == {"agrees"}
    for tree in (found, expected):
        assert tree["observed_data"][case.site].dims == case.dims


@pytest.mark.slow
def test_gibbs() -> None:
    found = gibbs(num_samples=2000)(read(FINITE.model, FINITE.data, FINITE.parameters), jax.random.key(2))
    assert {row.verdict for row in belief_check.findings(found, exact(FINITE))} == {"agrees"}
    assert found["observed_data"]["seen"].dims == FINITE.dims


@CASES
def test_simulated(case: Case) -> None:
    key = jax.random.key(3)
    sites = simulate(case.model, case.parameters, key, num_steps=N)
    (argument,) = case.data
    data = as_data(case.model, sites, {"num_steps": N})
    np.testing.assert_array_equal(data[argument], sites[case.site])
    series = simulate_series(case.model, case.parameters, key, num_steps=N)
    assert case.site in series
    assert "next" not in series
    assert series[case.site].shape == case.shape
