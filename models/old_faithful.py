"""Eruptions of the Old Faithful geyser, August 1985, long or short: a hidden Markov model of two states.

A short eruption is always followed by a long one, a long one by either. A Markov chain of the eruptions
themselves says that much but remembers one eruption only; with a hidden state behind each eruption the
whole past counts. An observation is 1 for an eruption of more than 3 minutes and 0 for a shorter one; time
is counted in eruptions, which are about 70 minutes apart.

    T ------------------------+-------------------+
                              v                   v
    initial_state -------> state[0] ----------> state[1] ------> ...
                              |                   |
    long_probability ----> long[0]             long[1]           ...

A step moves first and observes after, so `initial_state` emits nothing. The prior of `long_probability`
names the states: in the first an eruption is rather short, Beta(2, 4), and in the last it is long almost
surely, Beta(9, 1). Two states are enough for the references; with more of them the two counts of the beta
distribution go from the first state's to the last one's in equal steps, so that states next to each other
are told apart less well the more there are, and a single state gets the middle, Beta(5.5, 2.5). The rows of
T are uniform, Dirichlet(1, 1) for two states: whether states alternate or persist is left to the data.

References

1. Azzalini, A. and Bowman, A. W. (1990), "A look at some data on the Old Faithful geyser", Applied
   Statistics 39(3).
2. Zucchini, W., MacDonald, I. L. and Langrock, R. (2016), "Hidden Markov Models for Time Series: An
   Introduction Using R", 2nd edition, Chapman and Hall/CRC: the chapter on Old Faithful fits this model by
   maximum likelihood.
"""

from importlib.resources import files

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro.contrib.control_flow import scan


def model(observations: Array | np.ndarray | None = None, num_steps: int = 299, num_states: int = 2) -> None:
    """Long and short eruptions whose odds are those of the geyser's hidden state.

    `observations` (time,) holds 1 (long) or 0 (short); None simulates `num_steps` of them. `num_states` is the
    number of hidden states.
    """
    place = jnp.linspace(0.0, 1.0, num_states) if num_states > 1 else jnp.array([0.5])
    T = numpyro.sample("T", dist.Dirichlet(jnp.ones((num_states, num_states))).to_event(1))
    long_prior = dist.Beta(2.0 + 7.0 * place, 4.0 - 3.0 * place)
    long_probability = numpyro.sample("long_probability", long_prior.to_event(1))

    def step(state: Array, long: Array | None) -> tuple[Array, None]:
        state = numpyro.sample("state", dist.Categorical(T[state]))
        numpyro.sample("long", dist.Bernoulli(long_probability[state]), obs=long)
        return state, None

    initial = numpyro.sample("initial_state", dist.Categorical(jnp.full(num_states, 1 / num_states)))
    scan(step, initial, observations, length=num_steps if observations is None else len(observations))


columns = {"observations": "long"}


def data() -> dict[str, np.ndarray]:
    """Long (1) or short (0), the 299 eruptions in order, as `observations` (time,)."""
    with (files(__package__ or "ppl_worldmodel.models") / "data" / "old_faithful.csv").open() as file:
        table = np.genfromtxt(file, delimiter=",", names=True)
    return {"observations": table[columns["observations"]].astype(int)}


truth = None

coords = {"state": ["mostly short", "long"], "time": range(1, 300)}

units = {"time": "number of the eruption"}
