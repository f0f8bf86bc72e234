"""Slow oracle of planning: every policy tree evaluated in every state, and the optimal value by recursion over beliefs.

Shares no code with the package.
"""

from itertools import product
from typing import Any

import numpy as np

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]  # T[a, s, s'], O[a, s', o], R[a, s]


def trees(arrays: Arrays, horizon: int, discount: float) -> list[list[float]]:
    """The value in each state of every policy tree of this depth: |A|^((|O|^h - 1) / (|O| - 1)) of them."""
    T, O, R = arrays
    actions, states, seen = O.shape
    if horizon == 0:
        return [[0.0] * states]
    below = trees(arrays, horizon - 1, discount)
    found = []
    for a in range(actions):
        for branches in product(below, repeat=seen):
            values = []
            for s in range(states):
                total = R[a, s]
                for t in range(states):
                    for o in range(seen):
                        total += discount * T[a, s, t] * O[a, t, o] * branches[o][t]
                values.append(total)
            found.append(values)
    return found


def optimal_value(arrays: Arrays, belief: Any, horizon: int, discount: float) -> float:
    """The value of acting optimally for so many steps from a belief, by Bayes' rule after every action and observation."""
    T, O, R = arrays
    actions, states, seen = O.shape
    if horizon == 0:
        return 0.0
    best = -np.inf
    for a in range(actions):
        value = sum(belief[s] * R[a, s] for s in range(states))
        for o in range(seen):
            joint = [sum(belief[s] * T[a, s, t] for s in range(states)) * O[a, t, o] for t in range(states)]
            chance = sum(joint)
            if chance > 0.0:
                after = [each / chance for each in joint]
                value += discount * chance * optimal_value(arrays, after, horizon - 1, discount)
        best = max(best, value)
    return best
