"""Does the particle filter answer where nothing exact does: counts of a Gaussian state, against a fine grid?  What is refused?"""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan
from scipy import stats

from ppl_worldmodel import read
from ppl_worldmodel.errors import DataError, WorldModelError
from ppl_worldmodel.infer.smc import smc

from .test_smc import GAP, KEY, SIX, scores


def counts(y, emission_first=False):
    """Counts whose log rate is an AR(1); the first log rate is that of a Gamma, so that neither read nor Gaussian it is."""
    rho = numpyro.sample("rho", dist.Uniform(0.0, 1.0))
    rate = numpyro.sample("rate", dist.Gamma(3.0, 2.0))

    def step(x, y):
        if emission_first:
            numpyro.sample("y", dist.Poisson(jnp.exp(x)), obs=y)
        x = numpyro.sample("x", dist.Normal(rho * x + 0.2, 0.5))
        if not emission_first:
            numpyro.sample("y", dist.Poisson(jnp.exp(x)), obs=y)
        return x, None

    scan(step, jnp.log(rate), y)


def on_a_grid(y: np.ndarray, rho: float, emission_first: bool) -> tuple[dict[str, np.ndarray], float]:
    """The same beliefs about the state after the step, by sums over a fine grid."""
    grid = np.linspace(-9.0, 7.0, 1601)
    width = grid[1] - grid[0]
    move = stats.norm.pdf(grid[None, :], rho * grid[:, None] + 0.2, 0.5) * width
    belief = stats.gamma.pdf(np.exp(grid), 3.0, scale=0.5) * np.exp(grid)
    log_evidence, found = np.log(belief.sum() * width), {"predicted": [], "filtered": []}
    belief = belief / belief.sum()
    for value in y:
        seen = np.ones_like(grid) if np.isnan(value) else stats.poisson.pmf(value, np.exp(grid))
        before = belief @ move
        joint = belief * seen if emission_first else before * seen
        log_evidence += np.log(joint.sum())
        joint = joint / joint.sum()
        found["predicted"].append(before)
        belief = joint @ move if emission_first else joint
        found["filtered"].append(belief)
    exact = {}
    for kind, each in found.items():
        mean = np.array([p @ grid for p in each])
        exact[kind] = mean[:, None]
        exact[f"{kind}_covariance"] = (np.array([p @ grid**2 for p in each]) - mean**2)[:, None, None]
    return exact, float(log_evidence)


@pytest.mark.slow
@pytest.mark.parametrize("emission_first", [False, True])
def test_counts_of_a_gaussian_state_are_those_on_a_grid(emission_first: bool) -> None:
    y = np.array([2.0, 0.0, GAP, 5.0, 3.0, 9.0])
    exact, log_evidence = on_a_grid(y, 0.8, emission_first)
    reading = read(counts, {"y": y, "emission_first": emission_first}, {"rho": 0.8}, exactly=False)
    found = smc(num_particles=2000, num_replicates=32)(reading, KEY)
    assert np.abs(scores(found, exact)).max() < 5.0
    assert abs(found.attrs["log_evidence"] - log_evidence) < 4.0 * found.attrs["log_evidence_mcse"] < 0.2


@pytest.mark.slow
def test_what_cannot_be_filtered_is_refused() -> None:
    def flat(y):
        def step(x, y):
            x = numpyro.sample("x", dist.Normal(x, 1.0))
            numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
            return x, None

        scan(step, numpyro.sample("start", dist.ImproperUniform(dist.constraints.real, (), ())), y)

    with pytest.raises(WorldModelError, match="cannot draw the first state from 'start'"):
        smc()(read(flat, {"y": SIX}, {}, exactly=False), KEY)
    with pytest.raises(DataError, match=r"parameter 'rho' .* is missing"):
        smc()(read(counts, {"y": np.arange(6)}, {}, exactly=False), KEY)
    with pytest.raises(DataError, match=r"has no parameter 'roh': did you mean 'rho'\?"):
        smc()(read(counts, {"y": np.arange(6)}, {"rho": 0.5, "roh": 0.5}, exactly=False), KEY)
    with pytest.raises(DataError, match=r"'rho' is 1\.5: expected a value of the kind Interval"):
        smc()(read(counts, {"y": np.arange(6)}, {"rho": 1.5}, exactly=False), KEY)
    with pytest.raises(WorldModelError, match="num_particles=0"):
        smc(num_particles=0)
