"""Tracking with a nearly constant velocity: an object moves in the plane, and its noisy position is reported.

There is one report a second. The velocity is constant except for white noise of acceleration, integrated
over the second between two reports. The velocity is never measured, but the positions tell it, the better
the longer the track; the covariance of the belief says how well.

    acceleration_scale ------------+------------------+
                                   v                  v
    initial_state ------------> state[0] ---------> state[1] ------> ...
                                   |                  |
    observation_scale -----> position[0]         position[1]         ...

A step moves first and measures after, so `initial_state` emits nothing. The state is (x, y, x velocity, y
velocity), in m and m/s. `position` is (x, y) in m. `observation_scale` is a standard deviation in m.
`acceleration_scale` is the square root of the spectral density of the acceleration, in m/s^(3/2): in one
second each velocity changes by `acceleration_scale` m/s (one standard deviation). The noise acts all through
the second, so that position and velocity both get noise of their own, and Q is not singular. In the other
usual model, one acceleration held for the whole step, it is.

References

1. Bar-Shalom, Y., Li, X.-R. and Kirubarajan, T. (2001), "Estimation with Applications to Tracking and
   Navigation", Wiley, chapter 6: section 6.2 has A and Q as they are here, section 6.3 the singular model.
2. Sarkka, S. and Svensson, L. (2023), "Bayesian Filtering and Smoothing", 2nd edition, Cambridge University
   Press, chapter 4, on discretising this equation, and chapter 6, on filtering it.
"""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro.contrib.control_flow import scan

SECONDS_PER_STEP = 1.0


def model(observations: Array | np.ndarray | None = None, num_steps: int = 50) -> None:
    """Nearly constant velocity in the plane, and noisy positions.

    `observations` (time, 2) are positions in m; None simulates `num_steps` of them.
    """
    acceleration_scale = numpyro.sample("acceleration_scale", dist.LogNormal(0.0, 1.0))
    observation_scale = numpyro.sample("observation_scale", dist.LogNormal(1.0, 1.0))

    h, plane = (
        SECONDS_PER_STEP,
        jnp.eye(2),
    )  # the two axes obey the same system independently: hence kron
    A = jnp.kron(jnp.array([[1.0, h], [0.0, 1.0]]), plane)
    Q = acceleration_scale**2 * jnp.kron(jnp.array([[h**3 / 3, h**2 / 2], [h**2 / 2, h]]), plane)
    C = jnp.kron(jnp.array([[1.0, 0.0]]), plane)
    R = observation_scale**2 * plane

    def step(state: Array, position: Array | None) -> tuple[Array, None]:
        state = numpyro.sample("state", dist.MultivariateNormal(A @ state, covariance_matrix=Q))
        numpyro.sample("position", dist.MultivariateNormal(C @ state, covariance_matrix=R), obs=position)
        return state, None

    initial_covariance = jnp.diag(jnp.array([20.0, 20.0, 5.0, 5.0]) ** 2)
    initial = numpyro.sample("initial_state", dist.MultivariateNormal(jnp.zeros(4), initial_covariance))
    scan(step, initial, observations, length=num_steps if observations is None else len(observations))


data = None

truth = {"acceleration_scale": np.array(0.5), "observation_scale": np.array(3.0)}

coords = {"dim": ["x (m)", "y (m)", "x velocity (m/s)", "y velocity (m/s)"]}

units = {"position": "m"}
