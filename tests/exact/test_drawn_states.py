"""Do drawn states have the probabilities that they should, and are impossible ones never drawn?"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from ppl_worldmodel.exact.drawn_states import drawn

ALMOST_ONE = 1.0 - 2.0**-53


def test_frequencies_are_the_probabilities() -> None:
    log_weights = jnp.array([-1.0, -jnp.inf, 0.5, -3.0, 0.0]) - 700.0
    u = jax.random.uniform(jax.random.key(4), (100_000,))
    states = np.asarray(drawn(jnp.broadcast_to(log_weights, (100_000, 5)), u))
    expected = np.exp(np.asarray(log_weights) + 700.0)
    possible = expected > 0
    counts = np.bincount(states, minlength=5)
    assert counts[1] == 0
    assert chisquare(counts[possible], 100_000 * expected[possible] / expected.sum()).pvalue > 1e-4
    # Of other probabilities they are not.
    assert chisquare(counts[possible], np.full(4, 25_000)).pvalue < 1e-10


@pytest.mark.parametrize("u", [0.0, 1e-300, 0.5, ALMOST_ONE])
def test_an_impossible_state_is_never_drawn(u: float) -> None:
    random = np.random.default_rng(2)
    log_weights = np.where(random.random((200, 9)) < 0.5, -np.inf, random.normal(size=(200, 9)))
    log_weights[np.arange(200), random.integers(9, size=200)] = 0.0
    states = np.asarray(drawn(jnp.asarray(log_weights), jnp.full(200, u)))
    assert np.isfinite(log_weights[np.arange(200), states]).all()
    first, last = (np.isfinite(log_weights[:, ::way]).argmax(axis=1) for way in (1, -1))
    if u in (0.0, ALMOST_ONE):
        np.testing.assert_array_equal(states, first if u == 0.0 else 8 - last)
