"""Random small systems for the tests of the verbs, and the beliefs of a finite one by listing all its paths."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp

from ppl_worldmodel.exact.system import FiniteState, LinearGaussian, Order, Structure

from ..references import dense, paths

FINITE_ORDERS: tuple[Order, ...] = ("transition first", "emission first", "both states")
GAUSSIAN_ORDERS: tuple[Order, ...] = ("transition first", "emission first")


def random_finite(seed: int, order: Order, varying: bool = False, states: int = 3, steps: int = 6) -> FiniteState:
    """Zeros in the transition and in the likelihood, one step with no data, one transition of 1e-9."""
    rng = np.random.default_rng(seed)
    transition = rng.dirichlet(np.ones(states), (steps, states))
    transition[:, 0, 1] = 0.0
    transition[:, 1, 0] = 1e-9
    transition /= transition.sum(-1, keepdims=True)
    likelihood = rng.uniform(0.05, 1.0, (steps, *(states,) * (2 if order == "both states" else 1)))
    likelihood[1, ..., 2] = 0.0
    likelihood[steps // 2] = 1.0
    with np.errstate(divide="ignore"):
        log_likelihood = np.log(likelihood)
    structure = Structure(order=order, varying=frozenset({"transition"} if varying else ()))
    chosen = transition if varying else transition[0]
    initial = rng.dirichlet(np.ones(states))
    return FiniteState(jnp.asarray(initial), jnp.asarray(chosen), jnp.asarray(log_likelihood), structure)


class Listed(NamedTuple):
    """All paths with their weights, and the sums of them; as in `references.paths`, for a system of arrays."""

    path: np.ndarray  # (path, time) of the states that emit
    log_joint: np.ndarray  # (path,), each path of emitting states once
    log_predictive: np.ndarray
    predicted: np.ndarray
    filtered: np.ndarray
    smoothed: np.ndarray
    pairwise: np.ndarray


def list_paths(system: FiniteState) -> Listed:
    """Beliefs by definition: the weight of every path s_0 ... s_T is a product, all else is a sum of weights."""
    order = system.structure.order
    initial, transition, log_likelihood = (np.asarray(array) for array in system[:3])
    steps, states = len(log_likelihood), len(initial)
    if transition.ndim == 2:
        transition = np.broadcast_to(transition, (steps, states, states))
    path = np.indices((states,) * (steps + 1)).reshape(steps + 1, -1)
    with np.errstate(divide="ignore"):
        log_prior = np.log(initial)[path[0]]
        log_prior = log_prior + sum(np.log(transition[t])[path[t], path[t + 1]] for t in range(steps))
    emitting = path[:-1] if order == "emission first" else path[1:]
    if order == "both states":
        emissions = [log_likelihood[t][path[t], path[t + 1]] for t in range(steps)]
    else:
        emissions = [log_likelihood[t][emitting[t]] for t in range(steps)]
    until = np.cumsum([log_prior, *emissions], axis=0)

    def beliefs(log_joint: np.ndarray) -> paths.Marginals:
        return paths.marginals(path.T, log_joint, num_states=states, emission_first=order == "emission first")

    prefixes = [beliefs(log_joint).single for log_joint in until]
    with np.errstate(invalid="ignore"):
        log_predictive = np.diff(logsumexp(until, axis=1))
    # The state that emits nothing is summed over, so that each path of the others has one weight.
    silent_last = order == "emission first"
    shaped = until[-1].reshape((states,) * (steps + 1))
    return Listed(
        np.indices((states,) * steps).reshape(steps, -1).T,
        logsumexp(shaped, axis=-1 if silent_last else 0).reshape(-1),
        log_predictive,
        np.array([prefixes[t][t] for t in range(steps)]),
        np.array([prefixes[t + 1][t] for t in range(steps)]),
        prefixes[-1],
        beliefs(until[-1]).pairwise,
    )


def random_gaussian(
    seed: int,
    order: Order,
    varying: str = "",
    dim_x: int = 3,
    dim_y: int = 2,
    steps: int = 7,
    singular: bool = False,
    gaps: bool = True,
) -> LinearGaussian:
    """`varying` names matrices that change in time; `singular`: a known first state and noise in one direction only."""
    rng = np.random.default_rng(seed)

    def covariances(size: int, rank: int) -> np.ndarray:
        root = rng.normal(size=(steps, size, rank))
        return root @ root.swapaxes(1, 2) + (0.5 * np.eye(size) if rank == size else 0.0)

    series = {
        "A": 0.7 * rng.normal(size=(steps, dim_x, dim_x)),
        "b": rng.normal(size=(steps, dim_x)),
        "Q": covariances(dim_x, 1 if singular else dim_x),
        "C": rng.normal(size=(steps, dim_y, dim_x)),
        "d": rng.normal(size=(steps, dim_y)),
        "R": covariances(dim_y, dim_y),
    }
    y = rng.normal(size=(steps, dim_y))
    if gaps:
        y[1, 0] = y[3] = y[steps - 1, -1] = np.nan
    chosen = {name: jnp.asarray(value if name in varying else value[0]) for name, value in series.items()}
    start = jnp.zeros((dim_x, dim_x)) if singular else jnp.asarray(covariances(dim_x, dim_x)[0])
    structure = Structure(order=order, varying=frozenset(varying))
    return LinearGaussian(
        jnp.asarray(rng.normal(size=dim_x)), start, **chosen, observations=jnp.asarray(y), structure=structure
    )


def textbook(system: LinearGaussian) -> dict[str, Any]:
    """The system's arrays by name, each with its leading time axis: what the oracles take."""
    steps, varying = len(system.observations), system.structure.varying
    matrices: dict[str, Any] = {
        name: np.asarray(value) if name in varying else np.tile(np.asarray(value), (steps, *(1,) * value.ndim))
        for name, value in system._asdict().items()
        if name in ("A", "b", "Q", "C", "d", "R")
    }
    start = {"initial_mean": system.initial_mean, "initial_covariance": system.initial_covariance}
    return {**matrices, **start, "emission_first": system.structure.order == "emission first"}


def condition_joint(system: LinearGaussian) -> dense.GaussianPosterior:
    """Beliefs by definition: all states and observations as one Gaussian vector, conditioned."""
    arguments = textbook(system)
    dim_x = len(arguments["initial_mean"])
    whole = dense.joint(**arguments)
    return dense.posterior(
        whole, np.asarray(system.observations), dim_x=dim_x, emission_first=arguments["emission_first"]
    )
