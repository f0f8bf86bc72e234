"""What is the exact posterior of T and O of a finite-state program, and how does one draw from it without a chain?

Given a path s_0, ..., s_n of states, the parameters are conjugate: every row of T or O that has a Dirichlet(a) prior
keeps one, Dirichlet(a + counts of the path), and is summed out in closed form (Polya's urn),

    p(path, y) = p(s_0) * product over rows of  G(sum a) / G(sum (a + c)) * product of G(a + c) / G(a),  G the gamma function,

so the posterior is a finite mixture with one component for every path. Everything below is a sum over all paths.
Poisson rates with gamma priors are conjugate too. The order "transition first" moves before it emits: s_0 emits nothing
and y_t comes from s_t, t = 1..n. With `emission_first`, y_t comes from s_(t-1), and s_n emits nothing.

Source: Fruehwirth-Schnatter, S. (2006), "Finite Mixture and Markov Switching Models", Springer, sections 2.3 and 11.5.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import linalg, special

CHUNK = 2**17  # paths looked at at once
LIMIT = 2**22  # paths at most


class Dirichlet(NamedTuple):
    """Rows that are distributions. A concentration of zero is an entry that is impossible, whatever is seen."""

    concentration: Float[np.ndarray, "... outcome"]

    def given(self, counts: np.ndarray) -> "Dirichlet":
        """The posterior after counts (..., outcome)."""
        return Dirichlet(self.concentration + counts)

    def log_marginal(self, counts: np.ndarray) -> np.ndarray:
        """log p(data | path) of each path, nats, from counts (path, *rows, outcome)."""
        a, after = np.asarray(self.concentration), self.given(counts).concentration
        rows = special.gammaln(a.sum(axis=-1)) - special.gammaln(after.sum(axis=-1))
        entries = special.gammaln(np.where(after > 0, after, 1)) - special.gammaln(np.where(a > 0, a, 1))
        entries = np.where((a == 0) & (counts > 0), -np.inf, entries)
        return _flat(rows).sum(axis=1) + _flat(entries).sum(axis=1)

    def mean(self) -> np.ndarray:
        return self.concentration / self.concentration.sum(axis=-1, keepdims=True)

    def covariance(self, weight: np.ndarray) -> np.ndarray:
        """Covariances (entry, entry) within each of the stacked posteriors, averaged with weight (path,)."""
        outcomes = self.concentration.shape[-1]
        rows = self.concentration.reshape(len(weight), -1, outcomes).swapaxes(0, 1)  # (row, path, outcome)
        total = rows.sum(axis=-1, keepdims=True)
        mean = rows / total
        scaled = mean * weight[:, None] / (total + 1)
        blocks = -scaled.swapaxes(1, 2) @ mean + np.eye(outcomes) * scaled.sum(axis=1)[:, None]
        return linalg.block_diag(*blocks)

    def cdf(self, entry: tuple[int, ...], points: np.ndarray) -> np.ndarray:
        """p(entry <= point) (path, point): a beta distribution, or a constant 0 or 1."""
        row = self.concentration[(slice(None), *entry[:-1])]
        one = row[:, entry[-1], None]
        rest = row.sum(axis=-1)[:, None] - one
        inside = special.betainc(np.where(one > 0, one, 1), np.where(rest > 0, rest, 1), np.clip(points, 0, 1))
        return np.where(one == 0, points >= 0, np.where(rest <= 0, points >= 1, inside))

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """One draw of each row; gamma variables in logarithms, since those of a small shape underflow."""
        a = np.where(self.concentration > 0, self.concentration, 1)
        log_gamma = np.log(rng.standard_gamma(a + 1)) - rng.standard_exponential(a.shape) / a
        return special.softmax(np.where(self.concentration > 0, log_gamma, -np.inf), axis=-1)


class Gamma(NamedTuple):
    """Rates of Poisson counts, one for each state; a path gives (visits, sum of the counts) for each of them."""

    shape: Float[np.ndarray, "... state"]
    rate: Float[np.ndarray, "... state"]

    def given(self, sums: np.ndarray) -> "Gamma":
        """The posterior after sums (..., state, 2)."""
        return Gamma(self.shape + sums[..., 1], self.rate + sums[..., 0])

    def log_marginal(self, sums: np.ndarray) -> np.ndarray:
        """log p(data | path) of each path (path,), nats, up to the factorials of the counts."""
        prior, after = (
            np.multiply(g.shape, np.log(g.rate)) - special.gammaln(g.shape) for g in (self, self.given(sums))
        )
        return (prior - after).sum(axis=-1)

    def mean(self) -> np.ndarray:
        return self.shape / self.rate

    def covariance(self, weight: np.ndarray) -> np.ndarray:
        return np.diag(weight @ (self.shape / self.rate**2))

    def cdf(self, entry: tuple[int, ...], points: np.ndarray) -> np.ndarray:
        shape, rate = (value[(slice(None), *entry)][:, None] for value in self)
        return special.gammainc(shape, rate * np.maximum(points, 0))

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        return rng.standard_gamma(self.shape) / self.rate


class Mixture(NamedTuple):
    """The posterior as a mixture over paths, and what needs no more than the weights of the paths."""

    T: Dirichlet  # the prior
    O: Dirichlet | Gamma  # the prior
    path: Int[np.ndarray, "path time+1"]
    T_counts: Int[np.ndarray, "path ..."]  # moves of each path, in the shape of T
    O_counts: Int[np.ndarray, "path ..."]  # emissions of each path in the shape of O; (path, state, 2) for Gamma
    log_joint: Float[np.ndarray, " path"]  # log p(path, y), nats, the parameters integrated out
    log_evidence: float  # log p(y), nats; -inf for data that are impossible
    weight: Float[np.ndarray, " path"]  # p(path | y); NaN for data that are impossible
    smoothed: Float[np.ndarray, "time+1 state"]  # p(s_t | y), t = 0..n


class Moments(NamedTuple):
    """Posterior moments of the entries; `mean` and `covariance` stack those of T, then those of O, in C order."""

    T_mean: np.ndarray
    T_variance: np.ndarray
    O_mean: np.ndarray
    O_variance: np.ndarray
    mean: Float[np.ndarray, " entry"]
    covariance: Float[np.ndarray, "entry entry"]


class Draws(NamedTuple):
    """Independent draws from p(T, O, path | y)."""

    T: Float[np.ndarray, "draw ..."]
    O: Float[np.ndarray, "draw ..."]
    path: Int[np.ndarray, "draw time+1"]


def mixture(
    observations: Any,
    *,
    initial: Any,
    T: Dirichlet,
    O: Dirichlet | Gamma,
    actions: Any = None,
    emission_first: bool = False,
) -> Mixture:
    """Enumerate all state paths of a series with the parameters summed out.

    `observations` (time,) are integers, None or -1 where one is missing; `initial` (state,) is the distribution of s_0.
    T has rows [s, s'], O rows [s, o]; with `actions` (time,) they have [a, s, s'] and [a, s, o], action t being that of
    step t. Rates (`Gamma`) have no action axis. Raises ValueError for input that does not fit, or too many paths.
    """
    y = np.array([-1 if value is None else value for value in observations], dtype=float)
    y, initial = np.where(np.isnan(y), -1, y).astype(int), np.asarray(initial, dtype=float)
    T = Dirichlet(np.asarray(T.concentration, dtype=float))
    O = type(O)(*(np.asarray(part, dtype=float) for part in O))
    taken = np.zeros(len(y), int) if actions is None else np.asarray(actions)
    _check(y, initial, T, O, taken, with_actions=actions is not None)

    sizes = [len(initial)] * (len(y) + 1)
    if (total := len(initial) ** len(sizes)) > LIMIT:
        raise ValueError(
            f"{len(initial)} states and {len(y)} steps have {total} paths, more than {LIMIT}: shorten the series"
        )
    path = np.stack(np.unravel_index(np.arange(total), sizes), axis=1).astype(np.int8)
    T_counts = np.zeros((total, *T.concentration.shape), np.int32)
    O_counts = np.zeros((total, *O[0].shape) + ((2,) if isinstance(O, Gamma) else ()), np.int32)
    every = np.arange(total)
    for t, (seen, action) in enumerate(zip(y, taken, strict=True)):
        a = () if actions is None else (action,)
        old, new = path[:, t], path[:, t + 1]
        T_counts[(every, *a, old, new)] += 1
        emitting = old if emission_first else new
        if seen >= 0 and isinstance(O, Gamma):
            O_counts[every, emitting] += [1, seen]
        elif seen >= 0:
            O_counts[(every, *a, emitting, seen)] += 1

    factorials = special.gammaln(y[y >= 0] + 1).sum() if isinstance(O, Gamma) else 0.0
    with np.errstate(divide="ignore", invalid="ignore"):  # an initial state or data that are impossible
        log_joint = np.log(initial)[path[:, 0]] - factorials
        for part in _chunks(total):
            log_joint[part] += T.log_marginal(T_counts[part]) + O.log_marginal(O_counts[part])
        log_evidence = special.logsumexp(log_joint)
        weight = np.exp(log_joint - log_evidence)
    smoothed = np.stack([np.bincount(states, weight, len(initial)) for states in path.T])
    return Mixture(T, O, path, T_counts, O_counts, log_joint, float(log_evidence), weight, smoothed)


def moments(found: Mixture) -> Moments:
    """Means, variances and covariances of all entries of T and O under p(T, O | y), by the law of total covariance."""

    def means(part: slice) -> np.ndarray:
        return np.concatenate([_flat(posterior.mean()) for posterior in _given(found, part)], axis=1)

    parts = list(_chunks(len(found.weight)))
    mean = np.sum([found.weight[part] @ means(part) for part in parts], axis=0)
    split = found.T.concentration.size
    covariance = np.zeros((len(mean), len(mean)))
    for part in parts:
        away, weight = means(part) - mean, found.weight[part]
        T, O = (posterior.covariance(weight) for posterior in _given(found, part))
        covariance[:split, :split] += T
        covariance[split:, split:] += O
        covariance += (away * weight[:, None]).T @ away
    shaped = [
        values[where].reshape(prior[0].shape)
        for prior, where in ((found.T, slice(split)), (found.O, slice(split, None)))
        for values in (mean, np.diag(covariance))
    ]
    return Moments(*shaped, mean, covariance)


def cdf(found: Mixture, name: str, entry: tuple[int, ...], points: Any) -> Float[np.ndarray, " point"]:
    """p(entry <= point | y) of one entry of T or O (`name`) at points (point,): a mixture of betas, or of gammas."""
    points = np.asarray(points, dtype=float)
    prior, counts = getattr(found, name), getattr(found, f"{name}_counts")
    # Few paths differ in what this entry depends on: its row of counts, or the two sums of its rate.
    row = counts[(slice(None), *(entry if isinstance(prior, Gamma) else entry[:-1]))]
    _, first, which = np.unique(row, axis=0, return_index=True, return_inverse=True)
    weight = np.bincount(which.ravel(), found.weight)
    return weight @ prior.given(counts[first]).cdf(entry, points)


def draw(found: Mixture, num: int, rng: np.random.Generator) -> Draws:
    """Draw a path with its weight, then T and O given the path, `num` times: independent draws, no chain.

    Raises ValueError where the data are impossible.
    """
    if not np.isfinite(found.log_evidence):
        raise ValueError("the data have probability zero under the model: there is no posterior to draw from")
    chosen = rng.choice(len(found.weight), size=num, p=found.weight / found.weight.sum())
    T, O = (posterior.draw(rng) for posterior in _given(found, chosen))
    return Draws(T, O, found.path[chosen])


def _given(found: Mixture, part: Any) -> tuple[Dirichlet, Dirichlet | Gamma]:
    """The posteriors of T and O given each of some paths."""
    return found.T.given(found.T_counts[part]), found.O.given(found.O_counts[part])


def _chunks(total: int) -> Iterator[slice]:
    return (slice(start, start + CHUNK) for start in range(0, total, CHUNK))


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1)


def _check(
    y: np.ndarray, initial: np.ndarray, T: Dirichlet, O: Dirichlet | Gamma, actions: np.ndarray, *, with_actions: bool
) -> None:
    """Shapes and ranges of what `mixture` is given. Raises ValueError."""
    K = len(initial)
    if not np.isclose(initial.sum(), 1, atol=1e-12) or (initial < 0).any():
        raise ValueError(
            f"the initial distribution {initial} is none: its entries are to be positive and to sum to one"
        )
    for name, prior in (("T", T), ("O", O)):
        rate, lowest = isinstance(prior, Gamma), min(part.min() for part in prior)
        lead = prior[0].shape[: 2 if with_actions and not rate else 1]
        if lead[-1:] != (K,) or prior[0].ndim != len(lead) + (not rate):
            raise ValueError(
                f"{name} has shape {prior[0].shape}, which does not fit {K} states (actions: {with_actions})"
            )
        if lowest < 0 or (lowest == 0 if rate else (prior[0].sum(axis=-1) == 0).any()):
            raise ValueError(f"{name} needs a positive prior in every row and no negative entry; given: {prior}")
    if T.concentration.shape[-1] != K:
        raise ValueError(f"T has rows of {T.concentration.shape[-1]} entries for {K} states")
    top = np.inf if isinstance(O, Gamma) else O.concentration.shape[-1]
    if ((y < -1) | (y >= top)).any():
        raise ValueError(f"observations are to be 0, 1, ... below {top}, or None or -1 where missing; given: {y}")
    if len(actions) != len(y) or (with_actions and not np.isin(actions, range(len(T.concentration))).all()):
        raise ValueError(f"actions are to be one for each of {len(y)} steps, each with a row of T; given: {actions}")
