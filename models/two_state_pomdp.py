"""A two-state hidden Markov model (a POMDP without actions): two sticky states seen through an ambiguous sensor.

It is the smallest system in which a belief is useful. The state persists in nine steps of ten. The sensor is
poor: state 0 shows a 0 four times in five, but state 1 still shows one three times in ten. A single
observation therefore settles little, and a run of them settles much, which is what a filter is for. Nothing
here has a unit; time is counted in steps.

    T ------------------------+-------------------+
                              v                   v
    initial_state -------> state[0] ----------> state[1] ------> ...
                              |                   |
    O -------------------> observation[0]      observation[1]    ...

A step moves first and observes after, so `initial_state` emits nothing and `state[t]` is the state that
emits `observation[t]`. T[s, s'] = p(s' | s) and O[s, o] = p(o | s); each row is a distribution.

The likelihood is the same if the two states exchange names. The priors are what names them: the rows of O
expect state 0 to show mostly 0 and state 1 mostly 1 (the prior gives the reverse about one chance in 700),
the rows of T expect the state to stay. With a flat prior the posterior has two mirror images and the
averages of T and O are worthless.

References

1. Kaelbling, L. P., Littman, M. L. and Cassandra, A. R. (1998), "Planning and acting in partially
   observable stochastic domains", Artificial Intelligence 101, section 3: T, O and the belief update.
2. Rabiner, L. R. (1989), "A tutorial on hidden Markov models and selected applications in speech
   recognition", Proceedings of the IEEE 77(2), section II: without actions this is a hidden Markov model.
3. Stephens, M. (2000), "Dealing with label switching in mixture models", Journal of the Royal Statistical
   Society B 62(4): why the names of hidden states need a prior.
"""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro.contrib.control_flow import scan


def model(observations: Array | np.ndarray | None = None, num_steps: int = 50) -> None:
    """A two-state hidden Markov chain and what a noisy sensor shows of it.

    `observations` (time,) holds 0 or 1; None simulates `num_steps` of them.
    """
    T = numpyro.sample("T", dist.Dirichlet(jnp.array([[8.0, 2.0], [2.0, 8.0]])).to_event(1))
    O = numpyro.sample("O", dist.Dirichlet(jnp.array([[12.0, 4.0], [4.0, 12.0]])).to_event(1))

    def step(state: Array, observation: Array | None) -> tuple[Array, None]:
        state = numpyro.sample("state", dist.Categorical(T[state]))
        numpyro.sample("observation", dist.Categorical(O[state]), obs=observation)
        return state, None

    initial = numpyro.sample("initial_state", dist.Categorical(jnp.array([0.5, 0.5])))
    scan(step, initial, observations, length=num_steps if observations is None else len(observations))


data = None

truth = {"T": np.array([[0.9, 0.1], [0.1, 0.9]]), "O": np.array([[0.8, 0.2], [0.3, 0.7]])}

coords = {"state": ["mostly 0", "mostly 1"], "obs": [0, 1]}
