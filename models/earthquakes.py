"""Major earthquakes in the world per year, 1900-2006: a Poisson hidden Markov model, whose rate switches.

The variance of the counts is 2.7 times their mean, where a single Poisson rate would make the two equal,
and a busy year tends to follow a busy year. Both come out of a few regimes, each with its own rate, that
the world stays in for years. The observed series is the number of earthquakes of magnitude 7 or greater;
rates are in earthquakes per year, time is in years.

    T ------------------------+-------------------+
                              v                   v
    initial_state -------> state[0] ----------> state[1] ------> ...
                              |                   |
    rate ----------------> count[0]            count[1]          ...

A step moves first and counts after: `initial_state` is the regime of 1899 and emits nothing. It is uniform;
the references start from the stationary distribution of T, or estimate the first regime.

The likelihood is the same whatever the numbers of the regimes, so the prior has to fix them. The prior means
of the rates increase with the number of the regime, 40 k / (K + 1) for k = 1 ... K (10, 20 and 30 a year
for three regimes), each with a standard deviation of 3 a year: wide enough for a century of data to move
them, narrow enough that two regimes do not exchange names (for neighbours in three regimes a prior chance
of about 1 in 100, and far less once the data are in). The rows of T expect a regime to last: 8 prior counts
of staying against 1 for each other regime.

References

1. Zucchini, W., MacDonald, I. L. and Langrock, R. (2016), "Hidden Markov Models for Time Series: An
   Introduction Using R", 2nd edition, Chapman and Hall/CRC: the data are table 1.1, the hidden Markov
   models chapters 1 to 3.
2. Earthquake catalogue of the United States Geological Survey.
"""

from importlib.resources import files

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro.contrib.control_flow import scan


def model(observations: Array | np.ndarray | None = None, num_steps: int = 107, num_states: int = 3) -> None:
    """Poisson counts whose rate is that of the year's hidden regime.

    `observations` (time,) are counts per year; None simulates `num_steps` of them. `num_states` is the number
    of regimes.
    """
    prior_mean, prior_sd = 40.0 * jnp.arange(1, num_states + 1) / (num_states + 1), 3.0
    T = numpyro.sample("T", dist.Dirichlet(1.0 + 7.0 * jnp.eye(num_states)).to_event(1))
    rate = numpyro.sample("rate", dist.Gamma((prior_mean / prior_sd) ** 2, prior_mean / prior_sd**2).to_event(1))

    def step(state: Array, count: Array | None) -> tuple[Array, None]:
        state = numpyro.sample("state", dist.Categorical(T[state]))
        numpyro.sample("count", dist.Poisson(rate[state]), obs=count)
        return state, None

    initial = numpyro.sample("initial_state", dist.Categorical(jnp.full(num_states, 1 / num_states)))
    scan(step, initial, observations, length=num_steps if observations is None else len(observations))


columns = {"observations": "count"}


def data() -> dict[str, np.ndarray]:
    """The counts of the 107 years, as `observations` (time,)."""
    with (files(__package__ or "ppl_worldmodel.models") / "data" / "earthquakes.csv").open() as file:
        table = np.genfromtxt(file, delimiter=",", names=True, dtype=int)
    return {"observations": table[columns["observations"]]}


truth = None

coords = {"state": ["calm", "normal", "restless"], "time": range(1900, 2007)}

units = {"time": "year", "count": "earthquakes per year"}
