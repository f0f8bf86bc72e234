"""Particle Gibbs with ancestor sampling: a missing value that is used later, beside a state that never moves, by enumeration."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan

from ppl_worldmodel import read
from ppl_worldmodel.infer.particle_gibbs import path_sampler
from ppl_worldmodel.program.finite.latent_values import layout

Y = np.array([0.0, 1.0, np.nan, 1.0, 0.0, 1.0])
FOLLOWS = np.array([[[0.8, 0.2], [0.4, 0.6]], [[0.55, 0.45], [0.1, 0.9]]])  # by state and last value
MIX = np.array([0.7, 0.3])


def two_lags(y):
    """What is missing at t is looked at by steps t + 1 and t + 2; the first state is the state of every step."""

    def step(carry, value):
        state, last, before = carry
        state = numpyro.sample("state", dist.Categorical(jnp.eye(2)[state]))
        table = jnp.asarray(FOLLOWS)[state]
        law = MIX[0] * table[last.astype(int)] + MIX[1] * table[before.astype(int)]
        value = numpyro.sample("y", dist.Categorical(law), obs=value)
        return (state, value, last), state

    start = numpyro.sample("start", dist.Categorical(jnp.array([0.5, 0.5])))
    return scan(step, (start, jnp.array(0.0), jnp.array(1.0)), y)[1]


def enumerated() -> np.ndarray:
    """p(state, missing value | y), (2, 2)."""
    joint = np.zeros((2, 2))
    for state, value in product(range(2), range(2)):
        full = [1, 0, *np.where(np.isnan(Y), value, Y).astype(int)]
        joint[state, value] = np.prod(
            [
                MIX @ [FOLLOWS[state, full[t - 1], full[t]], FOLLOWS[state, full[t - 2], full[t]]]
                for t in range(2, len(full))
            ]
        )
    return joint / joint.sum()


@pytest.mark.slow
def test_a_missing_value_that_is_used_later_and_a_state_that_never_moves() -> None:
    """Independent chains, few particles: a wrong weight of an ancestor would show at once."""
    data = {"y": Y}
    reading = read(two_lags, data, {})
    sample = path_sampler(
        reading, layout(reading).batch, num_warmup=50, num_samples=200, num_chains=80, num_particles=4
    )
    draws = jax.jit(lambda key: sample({}, data, jnp.ones(len(Y), bool), key))(jax.random.key(0))
    state, value = (np.asarray(draws.values[name]) for name in ("state", "y_unobserved"))
    assert (draws.dead < 0).all()
    assert (state == state[..., :1]).all()
    both = np.array([[(state[..., 2] == i) & (value[..., 2] == j) for j in range(2)] for i in range(2)])
    of_chains = both.mean(axis=-1)
    error = of_chains.std(axis=-1, ddof=1) / np.sqrt(of_chains.shape[-1])
    z = (of_chains.mean(axis=-1) - enumerated()) / error
    assert np.abs(z).max() < 4.0, z
    assert error.max() < 0.015
