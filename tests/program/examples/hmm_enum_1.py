"""A hidden Markov chain in a plate of sequences, which emits several tones.

    x[t-1] --> x[t]
      |         |
      V         V
    y[t-1]     y[t]

Sequences of different lengths are padded to the longest, and a mask leaves out what lies beyond the end of each.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro import handlers
from numpyro.contrib.control_flow import scan

SOURCE = "NumPyro's gallery, 'Hidden Markov Models' (examples/hmm_enum.py), model_1"
STATUS = "read: finite"
FREE_DIM = -3
STATES = 3


def model(sequences: Any, lengths: Any) -> Array:
    num_sequences, _, num_tones = sequences.shape
    probs_x = numpyro.sample("probs_x", dist.Dirichlet(0.9 * jnp.eye(STATES) + 0.1).to_event(1))
    probs_y = numpyro.sample("probs_y", dist.Beta(0.1, 0.9).expand([STATES, num_tones]).to_event(2))

    def step(carry: Any, y: Any) -> Any:
        old, t = carry
        with (
            numpyro.plate("sequences", num_sequences, dim=-2),
            handlers.mask(mask=(t < lengths)[..., None]),
        ):
            x = numpyro.sample("x", dist.Categorical(probs_x[old]))
            with numpyro.plate("tones", num_tones, dim=-1):
                numpyro.sample("y", dist.Bernoulli(probs_y[x.squeeze(-1)]), obs=y)
        return (x, t + 1), x

    start = jnp.zeros((num_sequences, 1), int)
    return scan(step, (start, 0), jnp.swapaxes(sequences, 0, 1))[1]


def data() -> dict[str, Any]:
    """Two tones over four steps, of two pieces of which the second is two steps shorter."""
    return {
        "sequences": np.random.default_rng(1).integers(0, 2, (2, 4, 2)),
        "lengths": np.array([4, 2]),
    }


def log_masked_values() -> float:
    """Two masked steps of one site."""
    return 2 * float(np.log(STATES))
