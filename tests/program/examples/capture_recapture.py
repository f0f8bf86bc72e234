"""Is an animal that is not seen again dead, or was it missed?  The Cormack-Jolly-Seber model of capture and recapture.

    z[t-1] --> z[t]      alive; once dead, always dead
                |
                V
               y[t]      seen at occasion t

Before an animal is first caught, a mask leaves it out: its observations, and its state as well.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro import handlers
from numpyro.contrib.control_flow import scan

SOURCE = "NumPyro's gallery, 'CJS Capture-Recapture Model for Ecological Data' (examples/capture_recapture.py), model_1"
STATUS = "read: finite"
FREE_DIM = -2


def model(seen: Any) -> Array:
    num_animals = len(seen)
    survival = numpyro.sample("survival", dist.Uniform(0.0, 1.0))
    recapture = numpyro.sample("recapture", dist.Uniform(0.0, 1.0))

    def step(carry: Any, y: Any) -> Any:
        caught, z = carry
        with numpyro.plate("animals", num_animals, dim=-1), handlers.mask(mask=caught):
            alive = dist.util.clamp_probs(caught * survival * z + (1 - caught))
            z = numpyro.sample("z", dist.Bernoulli(alive), infer={"enumerate": "parallel"})
            numpyro.sample("y", dist.Bernoulli(dist.util.clamp_probs(recapture * z)), obs=y)
        return (caught | y.astype(bool), z), z

    start = (seen[:, 0].astype(bool), jnp.ones(num_animals, int))
    return scan(step, start, jnp.swapaxes(seen[:, 1:], 0, 1))[1]


def data() -> dict[str, Any]:
    """Three animals on five occasions, first caught on the first, on the third, and on the last but one."""
    return {"seen": np.array([[1, 0, 1, 0, 0], [0, 0, 1, 0, 1], [0, 0, 0, 1, 0]])}


def log_masked_values() -> float:
    """The first occasion has no state; from then on to its first capture an animal is left out: for 0, 2 and 3 steps."""
    return 5 * float(np.log(2))
