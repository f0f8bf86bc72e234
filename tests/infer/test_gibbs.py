"""Is the single-site Gibbs sampler right?  Its conditionals against the log density, its draws against all paths listed."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan
from numpyro.infer.util import log_density

from ppl_worldmodel import gibbs, read
from ppl_worldmodel.infer.single_site import _log_density_of_steps
from ppl_worldmodel.program.finite.latent_values import layout

from ..references import paths

T = jnp.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]])
RATE = jnp.array([1.0, 4.0, 9.0])


def transition_first(observations=None, num_steps=6):
    def step(state, observation):
        state = numpyro.sample("state", dist.Categorical(T[state]))
        numpyro.sample("count", dist.Poisson(RATE[state]), obs=observation)
        return state, None

    start = numpyro.sample("start", dist.Categorical(jnp.array([0.5, 0.3, 0.2])))
    scan(step, start, observations, length=num_steps)


def emission_first(observations=None, num_steps=6):
    def step(state, observation):
        numpyro.sample("count", dist.Poisson(RATE[state]), obs=observation)
        return numpyro.sample("state", dist.Categorical(T[state])), None

    start = numpyro.sample("start", dist.Categorical(jnp.array([0.5, 0.3, 0.2])))
    scan(step, start, observations, length=num_steps)


COUNTS = np.array([2.0, 5.0, 8.0, 1.0, 0.0, 11.0])
WITH_A_GAP = np.array([2.0, 5.0, np.nan, 1.0, 0.0, 11.0])


@pytest.mark.slow
@pytest.mark.parametrize("model", [transition_first, emission_first])
def test_terms_of_the_steps_sum_to_the_log_density(model) -> None:
    reading = read(model, {"observations": COUNTS}, {})
    found = layout(reading)
    for seed in range(3):
        path = jax.random.randint(jax.random.key(seed), (7,), 0, 3)
        terms = _log_density_of_steps(reading.program({}), found, path, 6)
        whole, _ = log_density(model, (), {"observations": COUNTS}, {"start": path[0], "state": path[1:]})
        np.testing.assert_allclose(terms.sum(), whole, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("observations", [COUNTS, WITH_A_GAP], ids=["complete", "with a gap"])
@pytest.mark.parametrize("model", [transition_first, emission_first])
def test_draws_agree_with_the_listed_paths(model, observations) -> None:
    reference = paths.enumerate_paths(
        model, {"observations": observations}, {}, observed={"count": observations}, state_site="state", initial_site="start",
        num_states=3, num_steps=6, emission_first=model is emission_first,
    )  # fmt: skip
    engine = gibbs(num_samples=4000, num_warmup=200, prefixes=[1, 4])
    reading = read(model, {"observations": observations}, {})
    beliefs = engine(reading, jax.random.key(1))["beliefs"].to_dataset()
    for kind, exact in (("smoothed", reference.smoothed), ("filtered", reference.filtered)):
        asked = np.isfinite(beliefs[kind].values).all(axis=-1)
        exact = np.asarray(exact)[asked]
        ess = np.where(np.isfinite(beliefs[f"{kind}_ess"].values[asked]), beliefs[f"{kind}_ess"].values[asked], 1000)
        error = np.sqrt(exact * (1 - exact) / ess) + 1e-4
        z = (beliefs[kind].values[asked] - exact) / error
        assert np.abs(z).max() < 5.0, (kind, z)
