"""A carry that is computed: beside the sampled x it holds a fading sum of all x so far, which is what is seen.

    x' = phi x + noise,   mu' = beta mu + x',   y' = mu' + noise

The start is seen as well, by a site in front of the scan.
"""

from typing import Any

import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro.contrib.control_flow import scan

SOURCE = "NumPyro's test suite (test/contrib/test_control_flow.py), test_scan"
STATUS = "read: linear-Gaussian"
PHI, BETA, Q, R = 0.8, 0.5, 1.0, 0.7


def model(y_0: Any, y: Any) -> tuple[Array, Array]:
    def step(carry: Any, y: Any) -> Any:
        x, mu = carry
        x = numpyro.sample("x", dist.Normal(PHI * x, Q))
        mu = BETA * mu + x
        y = numpyro.sample("y", dist.Normal(mu, R), obs=y)
        numpyro.deterministic("y2", y * 2)
        return (x, mu), (x, mu)

    mu_0 = x_0 = numpyro.sample("x_0", dist.Normal(0, Q))
    numpyro.sample("y_0", dist.Normal(mu_0, R), obs=y_0)
    return scan(step, (x_0, mu_0), y)[1]


def data() -> dict[str, Any]:
    """The observation of the start, and five more."""
    rng = np.random.default_rng(8)
    return {"y_0": 1.3, "y": rng.normal(size=5).cumsum()}
