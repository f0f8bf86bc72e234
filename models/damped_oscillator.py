"""A damped oscillator driven by noise: a tower sways in the wind, and its position is reported twice a second.

A receiver on its roof reports how far it is from rest. Left alone it would swing to and fro with one
frequency, a little less each time; the wind keeps it going. Nobody measures frequency or damping; both are
learned from the positions, and the matrix A with them.

    frequency, damping ------------+------------------+
                                   v                  v
    initial_state ------------> state[0] ---------> state[1] ------> ...
                                   |                  |
    observation_scale -----> position[0]         position[1]         ...

A step moves first and measures after, so `initial_state` emits nothing. The state is the position x and the
velocity in the units of a position, u = (dx/dt + damping x) / omega with omega = 2 pi frequency: in these
two, both in cm, the equation of the oscillator is

    dx/dt = -damping x + omega u,    du/dt = -damping u - omega x

whose solution turns (x, u) about the origin and shrinks it. A is that solution after the time h between two
reports, exactly: a rotation by omega h times exp(-damping h), with the eigenvalues exp((-damping +- i omega)
h). `frequency` is in Hz, `damping` in 1/s. White noise that pushes x and u alike stays so when it is
integrated over a step, Q = process_scale^2 I; both scales are standard deviations in cm.

Reports every h seconds cannot tell a frequency f from its aliases 1/h - f and 1/h + f: they turn the state
to the same position. Below the Nyquist frequency, 1/(2 h) = 1 Hz, each rotation has one frequency, and the
prior stays well below: uniform from 0.1 to 0.4 Hz, which by the rule of 46 Hz over the height in m is a
tower of 460 to 115 m. Negative frequencies are the same with the sign of u changed.

References

1. Harvey, A. C. (1989), "Forecasting, Structural Time Series Models and the Kalman Filter", Cambridge
   University Press, chapter 2: this system as the stochastic cycle of a time series.
2. Ellis, B. R. (1980), "An assessment of the accuracy of predicting the fundamental natural frequencies of
   buildings", Proceedings of the Institution of Civil Engineers 69(3): frequency and height.
3. Sarkka, S. and Solin, A. (2019), "Applied Stochastic Differential Equations", Cambridge University Press,
   chapter 6: linear equations, and their exact discretisation.
"""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro.contrib.control_flow import scan

SECONDS_PER_STEP = 0.5


def model(observations: Array | np.ndarray | None = None, num_steps: int = 100) -> None:
    """A damped oscillator under random pushes, and noisy positions.

    `observations` (time,) are positions in cm; None simulates `num_steps` of them.
    """
    h = SECONDS_PER_STEP
    frequency = numpyro.sample("frequency", dist.Uniform(0.1, 0.4))
    damping = numpyro.sample("damping", dist.LogNormal(-3.0, 1.0))
    process_scale = numpyro.sample("process_scale", dist.LogNormal(0.0, 1.0))
    observation_scale = numpyro.sample("observation_scale", dist.LogNormal(0.0, 1.0))

    angle = 2 * jnp.pi * frequency * h
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    A = jnp.exp(-damping * h) * jnp.array([[cos, sin], [-sin, cos]])
    Q = process_scale**2 * jnp.eye(2)

    def step(state: Array, position: Array | None) -> tuple[Array, None]:
        state = numpyro.sample("state", dist.MultivariateNormal(A @ state, covariance_matrix=Q))
        numpyro.sample("position", dist.Normal(state[0], observation_scale), obs=position)
        return state, None

    initial = numpyro.sample("initial_state", dist.MultivariateNormal(jnp.zeros(2), 25.0 * jnp.eye(2)))
    scan(step, initial, observations, length=num_steps if observations is None else len(observations))


data = None

truth = {
    "frequency": np.array(0.2),
    "damping": np.array(0.05),
    "process_scale": np.array(0.5),
    "observation_scale": np.array(1.0),
}

coords = {"dim": ["position (cm)", "scaled velocity (cm)"]}

units = {"position": "cm"}
