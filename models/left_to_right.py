"""A left-to-right (Bakis) hidden Markov model: a machine wears out from new to worn to failing, as its vibration shows.

In every phase the machine either stays or goes on to the next one; it skips none, returns to none, and never
leaves the last. T has therefore a single number to learn for each phase but the last, the probability to
`stay`, and zeros everywhere else. They are structural zeros: no data can move them, and a path that goes
back is impossible, not unlikely.

    stay --> T --------------------+--------------------+
                                   v                    v
    initial_state ------------> state[0] ----------> state[1] ------> ...
         |                         |                    |
    vibration[0]              vibration[1]         vibration[2]       ...
         ^                         ^                    ^
    level -------------------------+--------------------+

A step measures first and moves after, as in the textbooks: vibration[0] is that of the new machine, whose
`initial_state` is 0 with certainty. T[s, s'] = p(s' | s), for the three phases

    stay[0]   1 - stay[0]   0
    0         stay[1]       1 - stay[1]
    0         0             1

Time is in days. `vibration` is the level of the vibration velocity in dB re 1 nm/s (120 dB is 1 mm/s), with
the standard deviation of 3 dB that the maker of the sensor states; `level` is its mean in each phase. The
prior of `stay`, Beta(18, 2), expects a phase to last 19 days, and in nine cases of ten between 4 and 53.

The zeros name the phases: the first one is 0, whatever the levels are, so there is no label switching. But
data on T are few: each phase is left once in the life of a machine, if at all.
Given the days of the changes, the posterior of each `stay` is its prior with as many counts of staying as
there were such days and one count of leaving.

References

1. Bakis, R. (1976), "Continuous speech recognition via centisecond acoustic states", Journal of the
   Acoustical Society of America 59(S1): where the structure comes from.
2. Rabiner, L. R. (1989), "A tutorial on hidden Markov models and selected applications in speech
   recognition", Proceedings of the IEEE 77(2), section IV: types of hidden Markov models, left-to-right
   among them, and why zeros of T stay zeros when it is learned.
"""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro.contrib.control_flow import scan

SENSOR_SCALE = 3.0


def model(observations: Array | np.ndarray | None = None, num_steps: int = 60) -> None:
    """Three phases of wear in their order, and the vibration in each.

    `observations` (time,) are levels in dB; None simulates `num_steps` of them.
    """
    stay = numpyro.sample("stay", dist.Beta(jnp.full(2, 18.0), jnp.full(2, 2.0)).to_event(1))
    level = numpyro.sample("level", dist.Normal(jnp.array([120.0, 128.0, 136.0]), 5.0).to_event(1))
    T = jnp.diag(jnp.append(stay, 1.0)) + jnp.diag(1.0 - stay, k=1)

    def step(state: Array, vibration: Array | None) -> tuple[Array, None]:
        numpyro.sample("vibration", dist.Normal(level[state], SENSOR_SCALE), obs=vibration)
        state = numpyro.sample("state", dist.Categorical(T[state]))
        return state, None

    initial = numpyro.sample("initial_state", dist.Categorical(jnp.array([1.0, 0.0, 0.0])))
    scan(step, initial, observations, length=num_steps if observations is None else len(observations))


data = None

truth = {"stay": np.array([0.95, 0.92]), "level": np.array([118.0, 126.0, 137.0])}

coords = {"state": ["new", "worn", "failing"]}

units = {"time": "day", "vibration": "dB"}
