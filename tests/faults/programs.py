"""Which programs carry the faults?  Four shipped models at parameters without symmetry, and four small programs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.contrib.control_flow import scan

from ppl_worldmodel.models import earthquakes, nile, tiger, tracker, two_state_pomdp
from ppl_worldmodel.program.simulate import simulate

from .runs import Case


class Setup(NamedTuple):
    """A program at parameters, what it takes besides the observations, and the site whose simulated values these are."""

    model: Callable
    parameters: dict[str, Any]
    inputs: dict[str, Any]
    site: str
    simulation: dict[str, Any] = {}  # noqa: RUF012  (never written to)


def machine(observations=None, actions=None):
    """Three conditions of a machine; to run it wears it down, to service it mends it."""
    T = numpyro.sample("T", dist.Dirichlet(jnp.ones((2, 3, 3))).to_event(2))
    O = numpyro.sample("O", dist.Dirichlet(jnp.ones((3, 3))).to_event(1))

    def step(state, inputs):
        action, seen = inputs
        state = numpyro.sample("state", dist.Categorical(T[action, state]))
        numpyro.sample("seen", dist.Categorical(O[state]), obs=seen)
        return state, None

    start = numpyro.sample("start", dist.Categorical(jnp.array([0.6, 0.3, 0.1])))
    scan(step, start, (actions, observations))


def letters(observations=None, prior_T=None, prior_O=None, num_steps=10):
    """Two states that show one of two letters; the Dirichlet priors are inputs."""
    T = numpyro.sample("T", dist.Dirichlet(prior_T).to_event(1))
    O = numpyro.sample("O", dist.Dirichlet(prior_O).to_event(1))

    def step(state, seen):
        state = numpyro.sample("state", dist.Categorical(T[state]))
        numpyro.sample("seen", dist.Categorical(O[state]), obs=seen)
        return state, None

    start = numpyro.sample("start", dist.Categorical(jnp.array([0.5, 0.5])))
    scan(step, start, observations, length=num_steps)


def regimes(observations=None, prior_T=None, shape=None, per=None, num_steps=10):
    """Two regimes of Poisson counts; the Dirichlet and gamma priors are inputs."""
    T = numpyro.sample("T", dist.Dirichlet(prior_T).to_event(1))
    rate = numpyro.sample("rate", dist.Gamma(shape, per).to_event(1))

    def step(state, count):
        state = numpyro.sample("state", dist.Categorical(T[state]))
        numpyro.sample("count", dist.Poisson(rate[state]), obs=count)
        return state, None

    start = numpyro.sample("start", dist.Categorical(jnp.array([0.5, 0.5])))
    scan(step, start, observations, length=num_steps)


def autoregression(observations=None, num_steps=30):
    """A strongly coupled state: x' = rho x + noise, seen through noise of the same size."""
    rho = numpyro.sample("rho", dist.Uniform(-1.0, 1.0))

    def step(x, y):
        x = numpyro.sample("state", dist.Normal(rho * x, 0.3))
        numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
        return x, None

    scan(step, numpyro.sample("start", dist.Normal(0.0, 1.0)), observations, length=num_steps)


STEPS = 20
STICKY = np.array([[4.0, 1.0], [1.0, 4.0]])
SERVICED = np.array([0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0])
MACHINE = {
    "T": np.array(
        [[[0.7, 0.25, 0.05], [0.02, 0.68, 0.3], [0.01, 0.04, 0.95]], [[0.9, 0.08, 0.02], [0.7, 0.25, 0.05], [0.5, 0.3, 0.2]]]
    ),
    "O": np.array([[0.7, 0.2, 0.1], [0.2, 0.6, 0.2], [0.05, 0.15, 0.8]]),
}  # fmt: skip

SETUPS = {
    "two_state_pomdp": Setup(
        two_state_pomdp.model, {"T": np.array([[0.9, 0.1], [0.3, 0.7]]), "O": np.array([[0.8, 0.2], [0.3, 0.7]])}, {},
        "observation", {"num_steps": STEPS},
    ),
    "earthquakes": Setup(
        earthquakes.model,
        {"T": np.array([[0.8, 0.15, 0.05], [0.05, 0.8, 0.15], [0.3, 0.1, 0.6]]), "rate": np.array([13.0, 19.0, 29.0])}, {},
        "count", {"num_steps": STEPS},
    ),
    "tiger": Setup(tiger.model, {"accuracy": np.array(0.7)}, tiger.simulation_inputs(STEPS), "observation"),
    "machine": Setup(machine, MACHINE, {"actions": SERVICED}, "seen"),
    "sticky": Setup(
        two_state_pomdp.model, {"T": np.array([[0.99, 0.01], [0.02, 0.98]]), "O": np.array([[0.8, 0.2], [0.3, 0.7]])}, {},
        "observation", {"num_steps": STEPS},
    ),
    "letters": Setup(
        letters, {"T": np.array([[0.9, 0.1], [0.2, 0.8]]), "O": np.array([[0.8, 0.2], [0.3, 0.7]])},
        {"prior_T": STICKY, "prior_O": np.array([[12.0, 4.0], [4.0, 12.0]])}, "seen",
    ),
    "regimes": Setup(
        regimes, {"T": np.array([[0.9, 0.1], [0.2, 0.8]]), "rate": np.array([3.0, 8.0])},
        {"prior_T": STICKY, "shape": np.array([9.0, 32.0]), "per": np.array([3.0, 4.0])}, "count",
    ),
    "autoregression": Setup(autoregression, {"rho": np.array(0.98)}, {}, "y", {"num_steps": 30}),
    "nile": Setup(
        nile.model, {"level_scale": np.array(38.0), "observation_scale": np.array(123.0)}, {}, "volume", {"num_steps": 40}
    ),
    "stiff nile": Setup(
        nile.model, {"level_scale": np.array(30.0), "observation_scale": np.array(0.01)}, {}, "volume", {"num_steps": 2000}
    ),
    "stiff tracker": Setup(
        tracker.model, {"acceleration_scale": np.array(0.5), "observation_scale": np.array(0.01)}, {}, "position",
        {"num_steps": 1000},
    ),
}  # fmt: skip


def cases(name: str, seeds: range) -> list[Case]:
    """Data sets simulated from the program at its parameters, one for each seed."""
    setup = SETUPS[name]
    keys = jax.vmap(jax.random.key)(jnp.array(seeds))

    def run(key):
        return simulate(setup.model, setup.parameters, key, **setup.inputs, **setup.simulation)[setup.site]

    series = np.asarray(jax.jit(jax.vmap(run))(keys), float)
    return [Case(setup.parameters, {"observations": each, **setup.inputs}) for each in series]
