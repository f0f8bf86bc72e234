"""A hidden Markov model with label switching: three states to which neither the data nor the prior gives names.

Each state is sticky: it persists in nine steps of ten, and shows mostly a symbol of its own. To the data it
does not matter which of them is called A. It does not matter to the prior either: the
rows of O share one uniform distribution, and every row of T expects its state to last, 8 prior counts of
staying against 1 of each move (`move_counts`). Nothing here has a unit; time is counted in steps.

    T ------------------------+-------------------+
                              v                   v
    initial_state -------> state[0] ----------> state[1] ------> ...
                              |                   |
    O -------------------> observation[0]      observation[1]    ...

A step moves first and observes after, so `initial_state`, which is uniform, emits nothing. T[s, s'] = p(s' |
s) and O[s, o] = p(o | s); each row is a distribution.

Exchange the names of two states, that is two rows and the same two columns of T and two rows of O: neither
likelihood nor prior changes. The posterior of K states therefore has K! mirror images, 6 for three, and in
each of them T and O are equally right. Averages over all of them are worthless until the draws are
relabelled: every row of O is the same, and so is every diagonal entry of T. A chain that keeps to one image
has seen a sixth of the posterior, and two chains in different ones do not agree, although neither is wrong.
Quantities that mention no state, such as the evidence or the next observation, need no names. The models
`two_state_pomdp` and `earthquakes` avoid all this by a prior that names their states.

`num_states` is free, from a single state (every observation is drawn from the same O, and T is the number
one) to more of them than the data can tell apart.

References

1. Rabiner, L. R. (1989), "A tutorial on hidden Markov models and selected applications in speech
   recognition", Proceedings of the IEEE 77(2), section II: the model.
2. Stephens, M. (2000), "Dealing with label switching in mixture models", Journal of the Royal Statistical
   Society B 62(4): why averages fail, and relabelling by minimising a loss.
3. Fruhwirth-Schnatter, S. (2001), "Markov chain Monte Carlo estimation of classical and dynamic switching
   and mixture models", Journal of the American Statistical Association 96: a sampler that visits every
   image, for switching models such as this one.
4. Jasra, A., Holmes, C. C. and Stephens, D. A. (2005), "Markov chain Monte Carlo methods and the label
   switching problem in Bayesian mixture modeling", Statistical Science 20(1): a review.
5. Rousseau, J. and Mengersen, K. (2011), "Asymptotic behaviour of the posterior distribution in overfitted
   mixture models", Journal of the Royal Statistical Society B 73(5): small prior counts empty superfluous
   states, large ones do not.
"""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro.contrib.control_flow import scan


def model(
    observations: Array | np.ndarray | None = None,
    num_steps: int = 100,
    num_states: int = 3,
    num_obs: int = 3,
    move_counts: float = 1.0,
) -> None:
    """A hidden Markov chain of `num_states` states and the symbols that it shows, with a prior that names no state.

    `observations` (time,) holds 0 ... `num_obs` - 1; None simulates `num_steps` of them.
    `move_counts` are the prior counts of each move from one state to another; those of staying are 8.
    """
    counts = jnp.where(jnp.eye(num_states) == 1.0, 8.0, move_counts)
    T = numpyro.sample("T", dist.Dirichlet(counts).to_event(1))
    O = numpyro.sample("O", dist.Dirichlet(jnp.ones((num_states, num_obs))).to_event(1))

    def step(state: Array, observation: Array | None) -> tuple[Array, None]:
        state = numpyro.sample("state", dist.Categorical(T[state]))
        numpyro.sample("observation", dist.Categorical(O[state]), obs=observation)
        return state, None

    initial = numpyro.sample("initial_state", dist.Categorical(jnp.full(num_states, 1 / num_states)))
    scan(step, initial, observations, length=num_steps if observations is None else len(observations))


data = None

truth = {
    "T": np.array([[0.92, 0.06, 0.02], [0.03, 0.90, 0.07], [0.06, 0.04, 0.90]]),
    "O": np.array([[0.85, 0.10, 0.05], [0.10, 0.80, 0.10], [0.05, 0.05, 0.90]]),
}

coords = {"state": ["A", "B", "C"], "obs": [0, 1, 2]}
