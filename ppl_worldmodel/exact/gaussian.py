"""Exact inference in linear-Gaussian state-space models: Kalman filter, smoother and simulation smoother.

A missing component (NaN) of an observation is left out. A known initial state and singular noise are no special cases. For a
diffuse initial state see `exact.diffuse`.

Source: Anderson & Moore (1979), Optimal Filtering; Durbin & Koopman (2012), Time Series Analysis by State Space Methods,
sections 4.3 (filter), 4.9 (simulation smoother: Biometrika 2002) and 4.10 (missing observations).
"""

from dataclasses import replace
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ppl_worldmodel.exact import diffuse, kalman, square_root
from ppl_worldmodel.exact.arguments import takes
from ppl_worldmodel.exact.digits import (
    COPIES,
    ENOUGH,
    Answer,
    Digits,
    Moments,
    agreement,
    nudged,
    nudges,
    refuse,
    rounding,
    smoothed_without_inverse,
)
from ppl_worldmodel.exact.kalman import Belief, Corrected, Smoothed, predict
from ppl_worldmodel.exact.sequences import each_sequence
from ppl_worldmodel.exact.shapes import shapes
from ppl_worldmodel.exact.simulated_path import simulated_path
from ppl_worldmodel.exact.system import LinearGaussian, Structure

Question = Literal["evidence", "filter", "smooth"]

__all__ = [
    "Belief",
    "Beliefs",
    "Digits",
    "SmoothedBeliefs",
    "correct",
    "evidence",
    "filter",
    "log_evidence",
    "pairwise",
    "predict",
    "sample_paths",
    "settled",
    "smooth",
]


ALGORITHM = "Kalman filter and smoother"


class Beliefs(NamedTuple):
    """Means and covariances of p(x_t | y_1:t-1) (predicted) and p(x_t | y_1:t) (filtered); log p(y_t | y_1:t-1).

    digits  how many decimal digits can be relied on, at least six; None inside a trace of JAX, where values are not known
    """

    predicted: Float[Array, "time dim_x"]
    predicted_covariance: Float[Array, "time dim_x dim_x"]
    filtered: Float[Array, "time dim_x"]
    filtered_covariance: Float[Array, "time dim_x dim_x"]
    log_predictive: Float[Array, " time"]
    log_evidence: Float[Array, ""]
    digits: Digits | None = None

    def __repr__(self) -> str:
        return shapes(self)


class SmoothedBeliefs(NamedTuple):
    """Mean and covariance of p(x_t | y_1:T) (smoothed), beside the fields of `Beliefs`."""

    smoothed: Float[Array, "time dim_x"]
    smoothed_covariance: Float[Array, "time dim_x dim_x"]
    predicted: Float[Array, "time dim_x"]
    predicted_covariance: Float[Array, "time dim_x dim_x"]
    filtered: Float[Array, "time dim_x"]
    filtered_covariance: Float[Array, "time dim_x dim_x"]
    log_predictive: Float[Array, " time"]
    log_evidence: Float[Array, ""]
    digits: Digits | None = None

    def __repr__(self) -> str:
        return shapes(self)


class Found(NamedTuple):
    """The results of a pass over the series; `undetermined`: whether the observations never determine a diffuse first state."""

    predicted: Belief
    corrected: Corrected
    smoothed: Smoothed | None
    undetermined: Array
    digits: Digits | None = None


def correct(
    belief: Belief,
    observation: Float[Array, " dim_y"],
    C: Float[Array, "dim_y dim_x"],
    d: Float[Array, " dim_y"],
    R: Float[Array, "dim_y dim_y"],
) -> Belief:
    """p(x | y) for y = C x + d + N(0, R), one step, online. NaN components of the observation are left out."""
    corrected = kalman.correct(belief, observation, C, d, R)
    return Belief(corrected.mean, corrected.covariance)


@takes(LinearGaussian)
def filter(system: LinearGaussian) -> Beliefs:
    """p(x_t | y_1:t) for every t, with the predicted beliefs and the evidence. One forward pass.

    Raises DigitsLost, with the time step, where fewer than six decimal digits would be left of it.
    """
    predicted, corrected, _, _, digits = _pass(system, "filter")
    log_predictive = corrected.log_predictive
    filtered = (corrected.mean, corrected.covariance)
    return Beliefs(*predicted, *filtered, log_predictive, log_predictive.sum(axis=-1), digits)


@takes(LinearGaussian)
def evidence(system: LinearGaussian) -> Float[Array, "*sequence time"]:
    """log p(y_t | y_1:t-1) for every t, from the innovations; the sum is the log evidence.

    Raises DigitsLost, with the time step, where fewer than six decimal digits would be left of the sum.
    """
    return _pass(system, "evidence").corrected.log_predictive


def log_evidence(system: LinearGaussian) -> Float[Array, "*sequence"]:
    """log p(y_1:T), the sum of `evidence`."""
    return evidence(system).sum(axis=-1)


@takes(LinearGaussian)
def smooth(system: LinearGaussian) -> SmoothedBeliefs:
    """p(x_t | y_1:T) for every t. One forward and one backward pass (Rauch, Tung & Striebel 1965).

    Raises DigitsLost, with the time step, where fewer than six decimal digits would be left of it.
    """
    predicted, corrected, smoothed, _, digits = _pass(system, "smooth")
    assert smoothed is not None
    log_predictive = corrected.log_predictive
    filtered = (corrected.mean, corrected.covariance)
    return SmoothedBeliefs(
        smoothed.mean,
        smoothed.covariance,
        *predicted,
        *filtered,
        log_predictive,
        log_predictive.sum(axis=-1),
        digits,
    )


@takes(LinearGaussian)
def pairwise(system: LinearGaussian) -> Float[Array, "*sequence pair dim_x dim_x"]:
    """cov(x_t, x_t+1 | y_1:T) for t = 1 ... T-1; rows: x_t (Sarkka & Svensson 2023, section 12.2).

    Raises DigitsLost, with the time step, where fewer than six decimal digits of the smoothed beliefs would be left.
    """
    return _pairwise(settled(system, "smooth"))


@takes(LinearGaussian)
def sample_paths(system: LinearGaussian, key: Array, num_paths: int) -> Float[Array, "*sequence draw time dim_x"]:
    """Draws of x_1:T from p(x_1:T | y_1:T).

    By simulation smoothing (a simulated path, less its own smoothed mean, plus that of the data), or, in the square-root form, by
    backward sampling.
    Raises DigitsLost, with the time step, where fewer than six decimal digits of the smoothed beliefs would be left.
    """
    return _sample_paths(settled(system, "smooth"), key, num_paths)


def settled(system: LinearGaussian, question: Question = "evidence") -> LinearGaussian:
    """The system in the form in which a pass over it keeps six digits, at these (concrete) numbers.

    Raises DigitsLost, with the time step, where neither form does.
    """
    if _is_traced(system) or system.structure.form == "square root":
        return system
    if _checked(_plain(system), question)[1].least >= ENOUGH:
        return system
    system = in_square_root_form(system)
    _pass(system, question)
    return system


def keeps_digits(system: LinearGaussian) -> bool:
    """Does the log evidence of the covariance form keep six digits, at these (concrete) numbers?"""
    return _checked(_plain(system), "evidence")[1].least >= ENOUGH


def in_square_root_form(system: LinearGaussian) -> LinearGaussian:
    return system._replace(structure=replace(system.structure, form="square root"))


def _pass(system: LinearGaussian, question: Question) -> Found:
    """The results of a pass: inside a trace of JAX in the system's own form, else in the form that keeps its digits."""
    if _is_traced(system):
        return _run(system, question)
    system = _plain(system)
    if system.structure.form == "covariance":
        found, digits = _checked(system, question)
        if digits.least >= ENOUGH:
            return found._replace(digits=digits)
    found, digits = _checked(in_square_root_form(system), question)
    if not np.asarray(found.undetermined).any():  # else there is no evidence, and no digits of it
        refuse(digits, found.corrected.log_predictive)
    return found._replace(digits=digits)


def _is_traced(system: LinearGaussian) -> bool:
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(system))


def _plain(system: LinearGaussian) -> LinearGaussian:
    """The system without its names, so that one compilation serves all systems of the same shape."""
    kept = {name: getattr(system.structure, name) for name in ("order", "varying", "sequences", "form")}
    return system._replace(structure=Structure(**kept))


def _checked(system: LinearGaussian, question: Question) -> tuple[Found, Digits]:
    """The results of a pass, and their reliable digits, from passes over perturbed copies."""
    if system.structure.form == "square root":
        still = jax.tree.map(jnp.zeros_like, system)
        found = _run(system, question, still)
        copies = [_run(system, question, nudges(system, seed)) for seed in range(COPIES)]
    else:
        found = _run(system, question, jax.tree.map(jnp.zeros_like, rounding(system, 0)))
        copies = [_by_other_means(nudged(system, seed), question, rounding(system, seed)) for seed in range(COPIES)]
    answers, series = [_answer(each, question) for each in (found, *copies)], system.structure.sequences
    if not series:
        return found, agreement(answers[0], answers[1:], system.diffuse is not None)
    each = []
    for n in range(series):
        first, *others = jax.tree.map(lambda leaf, n=n: leaf[n], answers)
        each.append(agreement(first, others, system.diffuse is not None))
    return found, jax.tree.map(lambda *parts: np.stack(parts), *each)


@partial(jax.jit, static_argnames="question")
def _run(system: LinearGaussian, question: Question, off: LinearGaussian | Belief | None = None) -> Found:
    """The results of a pass, with its inputs (square-root form) or its beliefs (covariance form) perturbed by `off`."""
    if not system.structure.sequences:
        return _one_run(system, question, off)
    one = replace(system.structure, sequences=0)
    return jax.vmap(lambda own, off: _one_run(own._replace(structure=one), question, off))(system, off)


def _one_run(system: LinearGaussian, question: Question, off: LinearGaussian | Belief | None = None) -> Found:
    if system.structure.form == "square root":
        assert not isinstance(off, Belief)
        return _with_factor(system, Found(*square_root.beliefs(system, question == "smooth", off)))
    assert not isinstance(off, LinearGaussian)
    predicted, corrected = kalman.forward(system, off) if system.diffuse is None else diffuse.forward(system, off)
    past = None
    if question == "smooth":
        past = (
            kalman.backward(system, predicted, corrected) if system.diffuse is None else diffuse.smoothed(system, off)
        )
    return _with_factor(system, Found(predicted, corrected, past, jnp.zeros((), bool)))


def _by_other_means(system: LinearGaussian, question: Question, off: Belief) -> Found:
    """The results of a pass, with a smoothing algorithm that is independent of the pass's own, where there is one."""
    if question != "smooth" or system.diffuse is not None:
        return _run(system, question, off)
    found = _run(system, "filter", off)
    return found._replace(smoothed=_without_inverse(system, found.predicted, found.corrected))


@jax.jit
def _without_inverse(system: LinearGaussian, predicted: Belief, corrected: Corrected) -> Smoothed:
    smoother = jax.vmap(smoothed_without_inverse) if system.structure.sequences else smoothed_without_inverse
    return Smoothed(*smoother(system, predicted, corrected), gain=jnp.zeros(()))


def _answer(found: Found, question: Question) -> Answer:
    log_predictive = np.asarray(found.corrected.log_predictive)
    if question == "evidence":
        return Answer(log_predictive, (), None)
    past = None if found.smoothed is None else Moments(*map(np.asarray, found.smoothed[:2]))
    beliefs = Moments(*map(np.asarray, found.predicted)), Moments(*map(np.asarray, found.corrected[:2]))
    return Answer(log_predictive, beliefs, past)


def _with_factor(system: LinearGaussian, found: Found) -> Found:
    if system.log_factor is None:
        return found
    log_predictive = found.corrected.log_predictive + system.log_factor
    return found._replace(corrected=found.corrected._replace(log_predictive=log_predictive))


@jax.jit
@each_sequence
def _pairwise(system: LinearGaussian) -> Array:
    if system.diffuse is not None and system.structure.form == "covariance":
        return diffuse.pairwise(system)
    smoothed = _one_run(system, "smooth").smoothed
    assert smoothed is not None
    return smoothed.gain @ smoothed.covariance[1:]


@partial(jax.jit, static_argnames="num_paths")
@each_sequence
def _sample_paths(system: LinearGaussian, key: Array, num_paths: int) -> Array:
    if system.structure.form == "square root":
        return square_root.sample(*square_root.forward(system), key, num_paths)
    key, key_start = jax.random.split(key)
    start, known = diffuse.starts(system, key_start, num_paths)

    def past(of_start: LinearGaussian) -> Array:
        return kalman.backward(of_start, *kalman.forward(of_start)).mean

    def one(key: Array, mean: Array) -> Array:
        of_start = known._replace(initial_mean=mean)
        states, observations = simulated_path(of_start, key)
        observations = jnp.where(jnp.isnan(system.observations), jnp.nan, observations)
        simulated = past(of_start._replace(observations=observations))
        return past(of_start) + states - simulated

    return jax.vmap(one)(jax.random.split(key, num_paths), start)
