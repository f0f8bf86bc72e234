"""The form of a pass over a linear-Gaussian series that keeps six digits: covariances, or else their square roots.

The digits of a pass are measured, at concrete numbers, by passes over perturbed copies (`exact.digits`). Inside a trace of JAX a
system stays in its own form, which `settled` chooses before.
"""

from dataclasses import replace
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ppl_worldmodel.exact import diffuse, kalman, square_root
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
from ppl_worldmodel.exact.kalman import Belief, Corrected, Smoothed
from ppl_worldmodel.exact.system import LinearGaussian, Structure

Question = Literal["evidence", "filter", "smooth"]


class Found(NamedTuple):
    """The results of a pass over the series; `undetermined`: whether the observations never determine a diffuse first state."""

    predicted: Belief
    corrected: Corrected
    smoothed: Smoothed | None
    undetermined: Array
    digits: Digits | None = None


def settled(system: LinearGaussian, question: Question = "evidence") -> LinearGaussian:
    """The system in the form in which a pass over it keeps six digits, at these (concrete) numbers.

    Raises DigitsLost, with the time step, where neither form does.
    """
    if _is_traced(system) or system.structure.form == "square root":
        return system
    if _checked(_plain(system), question)[1].least >= ENOUGH:
        return system
    system = in_square_root_form(system)
    run_pass(system, question)
    return system


def keeps_digits(system: LinearGaussian) -> bool:
    """Does the log evidence of the covariance form keep six digits, at these (concrete) numbers?"""
    return _checked(_plain(system), "evidence")[1].least >= ENOUGH


def in_square_root_form(system: LinearGaussian) -> LinearGaussian:
    return system._replace(structure=replace(system.structure, form="square root"))


def run_pass(system: LinearGaussian, question: Question) -> Found:
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
        return one_run(system, question, off)
    one = replace(system.structure, sequences=0)
    return jax.vmap(lambda own, off: one_run(own._replace(structure=one), question, off))(system, off)


def one_run(system: LinearGaussian, question: Question, off: LinearGaussian | Belief | None = None) -> Found:
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
