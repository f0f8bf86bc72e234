"""Connectivity of the possible paths of a finite state under single-site moves: an irreducibility proof for a Gibbs sampler.

A path is possible where its density is positive. A sampler that changes one site at a time reaches every possible path only if
each can be turned into each other through possible paths, one site after the other. Whether that is so is hard to decide in
general; here it is proven from a condition on windows of w positions, or it is left open. With the path outside of a window held:

    the possible values inside are connected by single changes, and among them is one for each value that the first position
    can take after what is before it.

Then any path can be made equal to any other from the first position to the last, one window after the other. Determinism breaks
the condition (a state that stays until it is reset, a counter), and so does a state to which no path returns.

Source: Robert & Casella (2004), Monte Carlo Statistical Methods, section 10.1.2 (a positive density is enough; a zero may not be).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int
from scipy.sparse.csgraph import connected_components

MOST = 1 << 14  # joint values of a window and what it touches on either side

# allowed[p, c, x]: may position p have value x after the `memory` values c before it, as digits of one number?
# Before the start of the path any values stand.
Allowed = Bool[np.ndarray, "path context value"]


def memory_of(allowed: Allowed) -> int:
    """How many values before a position its own depends on."""
    return round(np.log(allowed.shape[1]) / np.log(allowed.shape[2])) if allowed.shape[2] > 1 else 1


def possible(allowed: Allowed) -> Allowed:
    """The same, with only those values that stand on a path that is possible from its start to its end."""
    after = _following(allowed)
    ahead = np.ones((len(allowed) + 1, allowed.shape[1]), bool)  # can the path be carried on after these values?
    for p in range(len(allowed) - 1, -1, -1):
        ahead[p] = (allowed[p] & ahead[p + 1][after]).any(axis=-1)
    behind, kept = np.ones(allowed.shape[1], bool), np.empty_like(allowed)
    for p in range(len(allowed)):
        kept[p] = allowed[p] & behind[:, None] & ahead[p + 1][after]
        behind = np.zeros_like(behind)
        behind[after[kept[p]]] = True
    return kept


def connected(allowed: Allowed) -> bool:
    """Is it proven that single-site moves lead from each possible path to each other?  False means that it is not known."""
    kept = possible(allowed)
    if not kept[0].any():
        return False
    windows = [w for w in range(1, 5) if allowed.shape[1] ** 2 * allowed.shape[2] ** w <= MOST]
    return any(_window_connects(kept, window) for window in windows)


def a_path(allowed: Allowed, random: np.random.Generator) -> Int[np.ndarray, " path"]:
    """A possible path, each value drawn evenly from those that can follow. Raises ValueError where no path is possible."""
    kept = possible(allowed)
    after, context = _following(allowed), 0
    path = np.empty(len(kept), int)
    for p in range(len(kept)):
        values = np.flatnonzero(kept[p, context])
        if not values.size:
            raise ValueError("no path is possible")
        path[p] = random.choice(values)
        context = after[context, path[p]]
    return path


def _following(allowed: Allowed) -> Int[np.ndarray, "context value"]:
    """The values before the next position, as one number, after these and one more."""
    contexts, values = allowed.shape[1:]
    return (np.arange(contexts)[:, None] % (contexts // values if values > 1 else 1)) * values + np.arange(values)


def _window_connects(kept: Allowed, window: int) -> bool:
    """The condition of the module for windows of one size, at every position."""
    length, contexts, values = kept.shape
    beyond = np.zeros((contexts, values), bool)
    beyond[:, 0] = True  # after its end the path has one value
    reach = window + memory_of(kept)
    seen: dict[bytes, bool] = {}
    for p in range(length):
        around: Sequence[np.ndarray] = [kept[q] if q < length else beyond for q in range(p, p + reach)]
        key = b"".join(part.tobytes() for part in around)
        if key not in seen:
            seen[key] = _connects(around, contexts, values, window)
        if not seen[key]:
            return False
    return True


def _connects(around: Sequence[np.ndarray], contexts: int, values: int, window: int) -> bool:
    """The condition for one window; `around` are the pages of the positions in it and of those that it touches."""
    after = _following(around[0][None])
    valid, context = np.ones((contexts, 1), bool), np.arange(contexts)[:, None]
    for page in around:
        valid = (valid[..., None] & page[context]).reshape(contexts, -1)
        context = after[context].reshape(contexts, -1)
    inside = valid.reshape(contexts, values**window, -1)
    digits = np.indices((values,) * window).reshape(window, -1).T
    beside = (digits[:, None] != digits[None]).sum(axis=-1) == 1
    for before in range(contexts):
        follow = set(np.flatnonzero(around[0][before]))
        for some in np.unique(inside[before], axis=1).T:
            chosen = np.flatnonzero(some)
            if not chosen.size:
                continue
            if set(digits[chosen, 0]) != follow:
                return False
            if connected_components(beside[np.ix_(chosen, chosen)], directed=False)[0] > 1:
                return False
    return True
