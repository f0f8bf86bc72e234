"""Complete-data log likelihood: the joint density of one path of states and the data; and posterior draws of such a path.

A path has the state that emits at every time step. Its `start` is the state before the first move, if that move comes before the
first observation; else it is the first state.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import multivariate_normal
from jaxtyping import Array

from ppl_worldmodel.exact import finite, gaussian, kalman
from ppl_worldmodel.exact.drawn_states import drawn
from ppl_worldmodel.exact.kalman import Belief
from ppl_worldmodel.exact.simulated_path import root
from ppl_worldmodel.exact.system import FiniteState, LinearGaussian


class Path(NamedTuple):
    """start   the state before the first move: whole number, or (dim_x,)
    states  the states that emit the observations, (time,) or (time, dim_x); several series have a first axis `sequence`
    """

    start: Array
    states: Array


def sample_path(system: Any, key: Array) -> Path:
    """One draw of the path given all observations: forward filtering and backward sampling, or the simulation smoother."""
    key_states, key_start = jax.random.split(key)
    verbs: Any = finite if isinstance(system, FiniteState) else gaussian
    states = verbs.sample_paths(system, key_states, 1)
    draw: Any = _finite_start if isinstance(system, FiniteState) else _gaussian_start
    count = system.structure.sequences
    if not count:
        return Path(draw(system, states[0], key_start), states[0])
    one = replace(system.structure, sequences=0)
    keys = jax.random.split(key_start, count)
    start = jax.vmap(lambda own, path, key: draw(own._replace(structure=one), path[0], key))(system, states, keys)
    return Path(start, states[:, 0])


def log_joint(system: Any, path: Path) -> Array:
    """log p(path, observations), of all series together.

    The state noise of a Gaussian system must have a density: its covariance Q must not be singular. A known first state (its
    covariance is zero) adds nothing.
    """
    density: Any = _finite if isinstance(system, FiniteState) else _gaussian
    if not system.structure.sequences:
        return density(system, path)
    one = replace(system.structure, sequences=0)
    return jax.vmap(lambda own, path: density(own._replace(structure=one), path))(system, path).sum()


def no_density(system: Any) -> str:
    """Why a path of the states has no density; empty where it has one."""
    if isinstance(system, FiniteState):
        return ""
    if system.diffuse is not None:
        return "its first state is diffuse; give it a proper prior"
    smallest = np.linalg.eigvalsh(np.asarray(system.Q))[..., 0]
    if np.any(smallest <= 1e-12 * np.abs(np.asarray(system.Q)).max()):
        return "the noise of its state is singular, so that a path of the states has no density"
    return ""


def _finite_start(system: FiniteState, states: Array, key: Array) -> Array:
    order = system.structure.order
    if order == "emission first":
        return states[0]
    transition = system.transition[0] if "transition" in system.structure.varying else system.transition
    logits = finite.log(system.initial) + finite.log(transition[:, states[0]])
    if order == "both states":
        logits = logits + system.log_likelihood[0][:, states[0]]
    return drawn(logits, jax.random.uniform(key))


def _gaussian_start(system: LinearGaussian, states: Array, key: Array) -> Array:
    if system.structure.order == "emission first":
        return states[0]
    A, b, Q = (matrices[0] for matrices in _each(system, "AbQ"))
    prior = Belief(system.initial_mean, system.initial_covariance)
    mean, covariance, _ = kalman.correct(prior, states[0], A, b, Q)
    return mean + root(covariance) @ jax.random.normal(key, mean.shape)


def _finite(system: FiniteState, path: Path) -> Array:
    order, varying = system.structure.order, "transition" in system.structure.varying
    steps = jnp.arange(path.states.shape[0])
    log_move = finite.log(system.transition)
    if order == "emission first":
        moves = (path.states[:-1], path.states[1:])
        total = log_move[steps[:-1], *moves] if varying else log_move[moves]
        return (
            total.sum() + finite.log(system.initial)[path.states[0]] + system.log_likelihood[steps, path.states].sum()
        )
    moves = (jnp.concatenate([path.start[None], path.states[:-1]]), path.states)
    total = log_move[steps, *moves] if varying else log_move[moves]
    seen = system.log_likelihood[(steps, *moves) if order == "both states" else (steps, path.states)]
    return total.sum() + finite.log(system.initial)[path.start] + seen.sum()


def _gaussian(system: LinearGaussian, path: Path) -> Array:
    A, b, Q, C, d, R = _each(system, "AbQCdR")
    if system.structure.order == "emission first":
        old, new = path.states[:-1], path.states[1:]
        A, b, Q = A[:-1], b[:-1], Q[:-1]
    else:
        old, new = jnp.concatenate([path.start[None], path.states[:-1]]), path.states
    moves = jax.vmap(multivariate_normal.logpdf)(new, jnp.einsum("tij,tj->ti", A, old) + b, Q)
    certain = jnp.zeros_like(Q[0])
    emitted = jax.vmap(lambda x, *seen: kalman.correct(Belief(x, certain), *seen).log_predictive)(
        path.states, system.observations, C, d, R
    )
    covariance = system.initial_covariance
    known = ~jnp.any(covariance)
    safe = jnp.where(known, jnp.eye(covariance.shape[-1]), covariance)
    first = jnp.where(known, 0.0, multivariate_normal.logpdf(path.start, system.initial_mean, safe))
    factor = jnp.zeros(()) if system.log_factor is None else jnp.asarray(system.log_factor)
    return jnp.sum(jnp.asarray(moves)) + jnp.sum(emitted) + first + jnp.sum(factor)


def _each(system: LinearGaussian, names: str) -> list[Array]:
    """Arrays of the system, one for each time step."""
    steps, varying = system.observations.shape[0], system.structure.varying
    return [kalman.each_step(getattr(system, name), name in varying, steps) for name in names]
