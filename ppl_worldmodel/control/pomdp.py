"""POMDP: a finite decision problem as arrays.

In state s the agent takes action a and earns R[a, s] on average; the state moves to s' with probability T[a, s, s'], and the agent
sees o with probability O[a, s', o]. The belief moves by `exact.finite.predict` with T[a], then `correct` with O[a, :, o].

Source: Kaelbling, Littman & Cassandra (1998), Artificial Intelligence 101, section 3.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ppl_worldmodel.errors import DataError

ROUNDING = 1e-8


class Pomdp(NamedTuple):
    """initial      p(s) before the first action
    transition   T[a, s, s'] = p(s' | s, a)
    observation  O[a, s', o] = p(o | s', a)
    reward       R[a, s], the mean of what is earned by action a in state s
    states, actions, observations  their labels
    about        lines that say what was read
    """

    initial: Float[np.ndarray, " state"]
    transition: Float[np.ndarray, "action state state"]
    observation: Float[np.ndarray, "action state seen"]
    reward: Float[np.ndarray, "action state"]
    states: tuple[Any, ...] = ()
    actions: tuple[Any, ...] = ()
    observations: tuple[Any, ...] = ()
    about: tuple[str, ...] = ()

    def __repr__(self) -> str:
        actions, states, seen = self.observation.shape
        said = f"POMDP: {states} states, {actions} actions, {seen} observations"
        labels = [
            f"  {name:<13}{', '.join(map(str, some))}"
            for name, some in (("states", self.states), ("actions", self.actions), ("observations", self.observations))
            if some
        ]
        return "\n".join([said, *labels, *(f"  {line}" for line in self.about)])


def checked(problem: Pomdp) -> Pomdp:
    """The problem; DataError, naming the row, where shapes do not fit or a row is no distribution."""
    actions, states = np.shape(problem.reward) if np.ndim(problem.reward) == 2 else (0, 0)
    shapes = {
        "initial": (states,), "transition": (actions, states, states),
        "observation": (actions, states, np.shape(problem.observation)[-1]),
    }  # fmt: skip
    if not actions or not states:
        raise DataError(f"the reward of a POMDP has shape {np.shape(problem.reward)}: expected (action, state)")
    if not np.isfinite(problem.reward).all():
        raise DataError("the reward of a POMDP is not finite everywhere: give a number for each action and state")
    for name, shape in shapes.items():
        value = np.asarray(getattr(problem, name))
        if value.shape != shape:
            raise DataError(
                f"the {name} of a POMDP has shape {value.shape}, expected {shape} beside the reward {(actions, states)}"
            )
        total = value.sum(axis=-1)
        wrong = ~(np.abs(total - 1.0) <= ROUNDING) | (value < 0.0).any(axis=-1)
        if wrong.any():
            at = np.unravel_index(int(wrong.argmax()), wrong.shape)
            raise DataError(
                f"{name}{list(map(int, at)) if at else ''} is no distribution: it sums to {total[at]:.6g}; its entries must be at "
                "least zero, and together they must be one"
            )
    return problem
