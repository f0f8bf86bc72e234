"""Fisher information that a series holds about each parameter, beside the prior, at given values.

The exact score s_t of a step has mean zero, given the history, at the true values. I = sum_t s_t s_t' therefore estimates the
information without bias and without second derivatives. Its inverse is the covariance that the data alone leave; the derivative of
the parameters' own entries with respect to z carries it over to them. Directions in which I vanishes are not identified near these
values, however long the series.

Every coordinate is measured in units of its prior spread, so that sizes compare: along a direction of information 4 the data are as
good as a prior half as wide.

Source: White (1982), Econometrica 50 (outer product of gradients); Cappe, Moulines & Ryden (2005), Inference in Hidden Markov
Models, chapter 12; Rothenberg (1971), Econometrica 39, theorem 1 (rank and local identification).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ppl_worldmodel.identifiability.fisher_scores import Slopes

RANK = 1e-8  # of the largest singular value: smaller ones are rounding errors
OPEN = 1e-12  # share of an entry's variance that may lie in directions without information
LEARNED = 0.5  # the data alone leave less than half of the prior's standard deviation
NOT_AT_ALL = 0.99  # of the prior's standard deviation is left when data and prior are put together
ALONE = 10.0  # prior standard deviations: if the data leave more, they do not determine an entry on its own


class Information(NamedTuple):
    """What the data say about the coordinates z, and about the entries of the parameters.

    strength    eigenvalues of I with each coordinate in its prior spread, in falling order; `rank` of them are not zero
    directions  what a move of one prior spread along each does to the entries, in their (linearised) prior spread: from -1 to 1
    prior_sd    of the entries; infinite where the prior is improper
    data_sd     that the data alone leave; infinite where they leave the entry open
    expected_sd  that data and prior together are expected to leave; left: the same as a share of the prior's, both linearised
    """

    labels: list[str]
    strength: Float[np.ndarray, " size"]
    rank: int
    directions: Float[np.ndarray, "size entry"]
    prior_sd: Float[np.ndarray, " entry"]
    data_sd: Float[np.ndarray, " entry"]
    expected_sd: Float[np.ndarray, " entry"]
    left: Float[np.ndarray, " entry"]

    @property
    def ratio(self) -> Float[np.ndarray, " entry"]:
        """What the data alone leave, in standard deviations of the prior."""
        return self.data_sd / self.prior_sd

    @property
    def verdicts(self) -> list[str]:
        """For each entry: learned, weakly, only in combination (with others that the prior has to fix), not at all."""
        return [_verdict(ratio, left) for ratio, left in zip(self.ratio, self.left, strict=True)]


def information(slopes: Slopes) -> Information:
    """The information in the scores of a program's one-step terms."""
    size = slopes.scores.shape[1]
    _, singular, axes = np.linalg.svd(np.linalg.qr(slopes.scores * slopes.spread, mode="r"), full_matrices=True)
    singular = np.append(singular, np.zeros(size - singular.size))
    known = singular > RANK * singular.max(initial=0.0)
    moves = (slopes.moves * slopes.spread) @ axes.T  # of the entries, along each direction
    variance = (moves**2).sum(axis=1)
    safe = np.where(variance > 0, variance, 1.0)
    determined = (moves**2)[:, ~known].sum(axis=1) <= OPEN * variance
    data_variance = (moves[:, known] ** 2 / singular[known] ** 2).sum(axis=1)
    expected = np.sqrt((moves**2 / (1.0 + singular**2)).sum(axis=1))
    return Information(
        labels=slopes.labels,
        strength=singular**2,
        rank=int(known.sum()),
        directions=(moves / np.sqrt(safe)[:, None]).T,
        prior_sd=np.nan_to_num(slopes.prior.std(axis=0, ddof=1), nan=np.inf),
        data_sd=np.where(determined, np.sqrt(data_variance), np.inf),
        expected_sd=expected,
        left=expected / np.sqrt(safe),
    )


def least_known(found: Information, *, most: int = 4) -> str:
    """The direction about which the data say least, in words: which entries move, and how well the data alone know it."""
    size = len(found.strength)
    move, strength = found.directions[-1], found.strength[-1] if found.rank == size else 0.0
    named: list[int] = []
    for entry in np.argsort(-np.round(np.abs(move), 6), kind="stable"):
        tried = found.directions[:, [*named, int(entry)]]
        # The last entry of a row that sums to one follows from the others.
        follows = np.linalg.matrix_rank(tried, tol=1e-6) < tried.shape[1]
        if len(named) < most and abs(move[entry]) >= 0.4 * np.abs(move).max() and not follows:
            named.append(int(entry))
    turn = np.sign(move[named[0]])
    words = [f"{found.labels[i]} {'up' if turn * move[i] > 0 else 'down'}" for i in named]
    together = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]} together"
    if not strength:
        return f"{together}: the data do not say anything about this"
    return f"{together}: the data alone know this to {1.0 / np.sqrt(strength):.2g} times the prior's spread"


def _verdict(ratio: float, left: float) -> str:
    if ratio < LEARNED:
        return "learned"
    if left > NOT_AT_ALL:
        return "not at all"
    return "weakly" if ratio < ALONE else "only in combination"
