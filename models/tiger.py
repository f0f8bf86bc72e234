"""The tiger problem, a POMDP: a tiger is behind one of two doors; listen, at a price, until you open the other.

One door hides a tiger, the other a prize. Listening costs 1 and tells the right side 85 times in 100.
Opening the tiger's door costs 100, the other pays 10; either way the tiger is then put behind a door drawn
at random and a new round begins, and what is heard at that moment says nothing. Rewards are in the units of
the problem's authors; time in steps.

    action[t] --------+---------------------+
                      v                     v
    state[t-1] --> state[t] ---------> observation[t] <--- accuracy
        |
        +--> reward[t] <--- action[t]

A step acts, moves, then observes: action[t] is taken in state[t-1], earns reward[t] = R[action[t],
state[t-1]], leads to state[t], and state[t] together with action[t] emits observation[t]. T[a, s, s'], O[a,
s', o] and R[a, s] are constants of the rules, except for one number that is learned: the `accuracy` of
listening.

actions: 0 listen, 1 open the left door, 2 open the right door. States: 0 tiger left, 1 tiger right.
Observations: 0 growl on the left, 1 growl on the right. The prior of `accuracy` prefers values above 0.5: an
accuracy of 0.15 would be as informative as one of 0.85, with left and right exchanged.

References

1. Cassandra, A. R., Kaelbling, L. P. and Littman, M. L. (1994), "Acting optimally in partially observable
   stochastic domains", Proceedings of AAAI-94: where the problem was first set.
2. Kaelbling, L. P., Littman, M. L. and Cassandra, A. R. (1998), "Planning and acting in partially
   observable stochastic domains", Artificial Intelligence 101, section 5: the tiger problem and its optimal
   policies.
"""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro.contrib.control_flow import scan


def model(
    observations: Array | np.ndarray | None = None,
    actions: Array | np.ndarray | None = None,
    num_steps: int = 50,
) -> None:
    """Where the tiger is, what is heard and what is earned, given what was done.

    `observations` (time,) holds 0 or 1, `actions` (time,) holds 0, 1 or 2; both have the same length. Without
    actions the agent listens always; without observations they are simulated, as many as there are actions
    or, without these, `num_steps`.
    """
    given = observations if observations is not None else actions
    length = num_steps if given is None else len(given)
    if actions is None:
        actions = jnp.zeros(length, dtype=int)

    stay, reset, no_news = jnp.eye(2), jnp.full((2, 2), 0.5), jnp.full((2, 2), 0.5)
    accuracy = numpyro.sample("accuracy", dist.Beta(8.0, 2.0))
    hear = jnp.stack([jnp.stack([accuracy, 1 - accuracy]), jnp.stack([1 - accuracy, accuracy])])

    T = jnp.stack([stay, reset, reset])
    O = jnp.stack([hear, no_news, no_news])
    R = jnp.array([[-1.0, -1.0], [-100.0, 10.0], [10.0, -100.0]])

    def step(state: Array, inputs: tuple[Array | None, Array]) -> tuple[Array, None]:
        observation, action = inputs
        numpyro.deterministic("reward", R[action, state])
        state = numpyro.sample("state", dist.Categorical(T[action, state]))
        numpyro.sample("observation", dist.Categorical(O[action, state]), obs=observation)
        return state, None

    initial = numpyro.sample("initial_state", dist.Categorical(jnp.array([0.5, 0.5])))
    scan(step, initial, (observations, actions), length=length)


def simulation_inputs(num_steps: int = 50) -> dict[str, np.ndarray]:
    """Actions for a simulation: listen three times, open a door, and so on, left and right door in turn."""
    return {"actions": np.resize(np.array([0, 0, 0, 1, 0, 0, 0, 2]), num_steps)}


data = None

truth = {"accuracy": np.array(0.85)}

coords = {
    "state": ["tiger left", "tiger right"],
    "action": ["listen", "open left", "open right"],
    "obs": ["growl left", "growl right"],
}
