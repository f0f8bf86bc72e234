"""Two hidden chains, of which one drives the other (a dynamic Bayesian network).

    w[t-1] --> w[t]
               /  |
              V   |
    x[t-1] --> x[t]      y[t] sees both

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
from numpyro.ops.indexing import Vindex

SOURCE = "NumPyro's gallery, 'Hidden Markov Models' (examples/hmm_enum.py), model_4"
STATUS = "read: finite"
FREE_DIM = -3
STATES = 2


def model(sequences: Any, lengths: Any) -> tuple[Array, Array]:
    num_sequences, _, num_tones = sequences.shape
    rows = dist.Dirichlet(0.9 * jnp.eye(STATES) + 0.1)
    probs_w = numpyro.sample("probs_w", rows.to_event(1))
    probs_x = numpyro.sample("probs_x", rows.expand_by([STATES]).to_event(2))
    probs_y = numpyro.sample("probs_y", dist.Beta(0.1, 0.9).expand([STATES, STATES, num_tones]).to_event(3))

    def step(carry: Any, y: Any) -> Any:
        w, x, t = carry
        with (
            numpyro.plate("sequences", num_sequences, dim=-2),
            handlers.mask(mask=(t < lengths)[..., None]),
        ):
            w = numpyro.sample("w", dist.Categorical(probs_w[w]))
            x = numpyro.sample("x", dist.Categorical(Vindex(probs_x)[w, x]))
            with numpyro.plate("tones", num_tones, dim=-1) as tones:
                numpyro.sample("y", dist.Bernoulli(probs_y[w, x, tones]), obs=y)
        return (w, x, t + 1), (w, x)

    start = jnp.zeros((num_sequences, 1), int)
    return scan(step, (start, start, 0), jnp.swapaxes(sequences, 0, 1))[1]


def data() -> dict[str, Any]:
    """Two tones over four steps, of two pieces of which the second is two steps shorter."""
    return {
        "sequences": np.random.default_rng(4).integers(0, 2, (2, 4, 2)),
        "lengths": np.array([4, 2]),
    }


def log_masked_values() -> float:
    """Two masked steps of two sites."""
    return 2 * float(np.log(STATES * STATES))
