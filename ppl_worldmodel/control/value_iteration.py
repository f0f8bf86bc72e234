"""Value iteration over alpha vectors: the exact value of acting optimally for some steps, as a function of the belief.

    V_h(b) = max over alpha in Gamma_h of sum_s b(s) alpha(s)
    Gamma_h = prune of the union over actions a of R[a] + discount * (sum over observations o of Gamma_a,o)
    Gamma_a,o = {sum_s' T[a, s, s'] O[a, s', o] alpha(s') : alpha in Gamma_h-1}

The sums over observations are pruned one by one (incremental pruning), each by linear programs.

Source: Smallwood & Sondik (1973), Operations Research 21; Cassandra, Littman & Zhang (1997), UAI (incremental pruning); White
(1991), Annals of Operations Research 32 (Lark's linear programs).
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linprog

from ppl_worldmodel.control.pomdp import Pomdp, checked
from ppl_worldmodel.errors import DataError

TOLERANCE = (
    1e-10  # relative: an alpha vector that is better by less, at its best belief, is dropped; the linear programs' own
)


class Stage(NamedTuple):
    """The optimal policy with so many steps to go.

    alphas   the value of each policy tree in each state
    actions  its first action
    next     after each observation, the tree of the stage before (with a step less to go) that it goes on with
    """

    alphas: Float[np.ndarray, "tree state"]
    actions: Int[np.ndarray, " tree"]
    next: Int[np.ndarray, "tree seen"]

    def value(self, belief: Any) -> Float[np.ndarray, "*beliefs"]:
        """The optimal value at a belief, (*beliefs, state)."""
        return np.asarray((np.asarray(belief) @ self.alphas.T).max(axis=-1))

    def action(self, belief: Any) -> Int[np.ndarray, "*beliefs"]:
        """The optimal first action at a belief, (*beliefs, state)."""
        return np.asarray(self.actions[(np.asarray(belief) @ self.alphas.T).argmax(axis=-1)])


def value_iteration(problem: Pomdp, horizon: int, *, discount: float = 1.0) -> list[Stage]:
    """The optimal policies with 1, 2, ..., `horizon` steps to go.

    discount  of a reward one step later, in (0, 1]
    The number of alpha vectors, and with it the time, can grow doubly exponentially with the horizon.
    """
    checked(problem)
    if horizon < 1:
        raise DataError(f"the horizon is {horizon}: expected at least one step")
    if not 0.0 < discount <= 1.0:
        raise DataError(f"the discount is {discount}: expected a number above 0 and at most 1")
    before = Stage(np.zeros((1, problem.initial.size)), np.zeros(1, int), np.zeros((1, 0), int))
    stages = []
    for _ in range(horizon):
        before = backup(problem, before, discount)
        stages.append(before)
    return stages


def backup(problem: Pomdp, before: Stage, discount: float) -> Stage:
    """The stage with a step more to go."""
    T, O, R = problem.transition, problem.observation, problem.reward
    actions, _, seen = O.shape
    parts = []
    for a in range(actions):
        # The sum so far, and the choices that made it: (tree, state) and (tree, observation).
        alphas, choices = R[a][None], np.zeros((1, 0), int)
        for o in range(seen):
            each = discount * (before.alphas * O[a, :, o]) @ T[a].T
            kept = undominated(each)
            sums = (alphas[:, None] + each[kept]).reshape(-1, alphas.shape[1])
            chosen = np.concatenate(
                [np.repeat(choices, len(kept), axis=0), np.tile(kept, len(alphas))[:, None]], axis=1
            )
            kept = undominated(sums)
            alphas, choices = sums[kept], chosen[kept]
        parts.append(Stage(alphas, np.full(len(alphas), a), choices))
    together = Stage(*(np.concatenate(some) for some in zip(*parts, strict=True)))
    kept = undominated(together.alphas)
    return Stage(*(some[kept] for some in together))


def undominated(alphas: Float[np.ndarray, "tree state"]) -> Int[np.ndarray, " kept"]:
    """The numbers of the alpha vectors that are the best ones at some belief, each once, in their order."""
    alphas = alphas / max(float(np.abs(alphas).max()), 1e-300)
    rest = _not_below_another(alphas)
    kept: list[int] = []
    for state in range(alphas.shape[1]):  # the best at each corner of the simplex
        best = max(rest, key=lambda i: tuple(np.roll(alphas[i], -state)))
        if best not in kept:
            kept.append(best)
    rest = [i for i in rest if i not in kept]
    while rest:
        belief = _witness(alphas[rest[-1]], alphas[kept])
        if belief is None:
            rest.pop()
            continue
        values = alphas[rest] @ belief
        ties = [i for i, value in zip(rest, values, strict=True) if value >= values.max() - 1e-15 * abs(values.max())]
        best = max(ties, key=lambda i: tuple(alphas[i]))
        kept.append(best)
        rest.remove(best)
    return np.array(sorted(kept))


def _not_below_another(alphas: np.ndarray) -> list[int]:
    """The vectors of which no other is at least as large in every state; of equal ones the first."""
    kept: list[int] = []
    for i, alpha in enumerate(alphas):
        above = (alphas >= alpha - TOLERANCE).all(axis=1)
        above[i] = False
        equal = above & (np.abs(alphas - alpha) <= TOLERANCE).all(axis=1)
        if not (above & ~equal).any() and not equal[:i].any():
            kept.append(i)
    return kept


def _witness(alpha: np.ndarray, others: np.ndarray) -> np.ndarray | None:
    """A belief at which this vector is above all others, by linear programming; None where there is none.

    maximise d over beliefs b with b (alpha - other) >= d for every other
    """
    states = alpha.size
    found = linprog(
        np.r_[np.zeros(states), -1.0],
        A_ub=np.c_[others - alpha, np.ones(len(others))],
        b_ub=np.zeros(len(others)),
        A_eq=np.r_[np.ones(states), 0.0][None],
        b_eq=[1.0],
        bounds=[(0.0, 1.0)] * states + [(None, None)],
        method="highs",
        options={"primal_feasibility_tolerance": TOLERANCE, "dual_feasibility_tolerance": TOLERANCE},
    )
    if found.status != 0:
        raise ArithmeticError(f"the linear program of a belief ended with: {found.message}")
    return found.x[:states] if found.x[-1] > TOLERANCE else None
