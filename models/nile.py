"""Annual flow of the Nile at Aswan, 1871-1970: the local level model, a random walk seen through noise.

It is the simplest linear-Gaussian state space model: the level makes a random walk, and each year's volume
is the level plus an independent disturbance. Two standard deviations are learned, and their ratio alone
decides how many years the filter averages over. In these data the level falls around 1899, of which the
model knows nothing. Volumes, levels and both scales are in 10^8 m^3; time is in years.

    level_scale -------------------+--------------------+
                                   v                    v
    initial_level ------------> level[0] ----------> level[1] ------> ...
         |                         |                    |
    volume[0]                  volume[1]            volume[2]         ...
         ^                         ^                    ^
    observation_scale -------------+--------------------+

A step observes first and moves after, as in the textbooks: volume[0], of 1871, comes from `initial_level`
itself, and the last value of `level` is that of the year after the data end. The reference starts with an
infinitely wide distribution of the first level; here it is a normal one, wide compared with all the data.

References

1. Durbin, J. and Koopman, S. J. (2012), "Time Series Analysis by State Space Methods", 2nd edition, Oxford
   University Press, chapter 2; its section 2.2.5 has the Nile. Maximum likelihood there: 122.9 for the
   observation, 38.3 for the level.
2. Cobb, G. W. (1978), "The problem of the Nile: conditional solution to a changepoint problem", Biometrika
   65(2).
"""

from importlib.resources import files

import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro.contrib.control_flow import scan


def model(observations: Array | np.ndarray | None = None, num_steps: int = 100) -> None:
    """A level that makes a random walk, and a noisy measurement of it every year.

    `observations` (time,) are volumes in 10^8 m^3; None simulates `num_steps` of them.
    """
    level_scale = numpyro.sample("level_scale", dist.HalfNormal(100.0))
    observation_scale = numpyro.sample("observation_scale", dist.HalfNormal(200.0))

    def step(level: Array, volume: Array | None) -> tuple[Array, None]:
        numpyro.sample("volume", dist.Normal(level, observation_scale), obs=volume)
        level = numpyro.sample("level", dist.Normal(level, level_scale))
        return level, None

    initial = numpyro.sample("initial_level", dist.Normal(1000.0, 500.0))
    scan(step, initial, observations, length=num_steps if observations is None else len(observations))


columns = {"observations": "volume"}


def data() -> dict[str, np.ndarray]:
    """The hundred annual volumes, in 10^8 m^3, as `observations` (time,)."""
    with (files(__package__ or "ppl_worldmodel.models") / "data" / "nile.csv").open() as file:
        return {"observations": np.genfromtxt(file, delimiter=",", names=True)[columns["observations"]]}


truth = None

coords = {"dim": ["level (10^8 m^3)"], "time": range(1871, 1971)}

units = {"time": "year", "volume": "10^8 m^3"}
