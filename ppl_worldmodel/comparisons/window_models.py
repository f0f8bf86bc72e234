"""Window models in closed form: Markov chains on symbols and Poisson rates for counts, given the last observations.

The context of a step is its action, where there are actions, and the last `order` observations. Each context has a distribution of
its own for the next observation, with a conjugate prior, so that the one-step predictive is a ratio of counts (all parameters
integrated out) and the sum of its logarithms the exact log evidence. There is no hidden state. A missing observation is not
predicted and counts for nothing; inside a context it is a symbol of its own, and so is the time before the series starts.

Source: for symbols, the Dirichlet prior of a Markov chain's rows: Strelioff, Crutchfield & Hubler (2007), Physical Review E 76,
and its concentration of 1/2: Krichevsky & Trofimov (1981), IEEE Trans. Information Theory 27; for counts, the negative binomial
predictive of a Poisson rate with a Gamma prior: Gelman et al. (2013), Bayesian Data Analysis, section 2.6.
"""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

MISSING, BEFORE = -1, -2  # symbols that only a context has


def symbols(
    observed: Float[np.ndarray, " time"],
    *,
    order: int,
    num_symbols: int,
    actions: Int[np.ndarray, " time"] | None = None,
    concentration: float = 0.5,
) -> Float[np.ndarray, " time"]:
    """log p(y_t | y_1:t-1, actions), in nats, of a Markov chain on the symbols 0 ... num_symbols - 1; 0 where one is missing.

    order          how many observations a context holds; 0: independent draws
    concentration  of the Dirichlet prior of each context, per symbol; 1/2 is Jeffreys'
    """
    coded = np.where(np.isnan(observed), MISSING, observed).astype(int)
    seen: dict[tuple[int, ...], np.ndarray] = defaultdict(lambda: np.full(num_symbols, concentration))
    log_predictive = np.zeros(len(coded))
    for t, context in enumerate(_contexts(_past(coded, order), actions, len(coded))):
        if coded[t] != MISSING:
            log_predictive[t] = np.log(seen[context][coded[t]] / seen[context].sum())
            seen[context][coded[t]] += 1.0
    return log_predictive


def counts(
    observed: Float[np.ndarray, " time"],
    *,
    order: int,
    location: float,
    scale: float,
    actions: Int[np.ndarray, " time"] | None = None,
) -> Float[np.ndarray, " time"]:
    """log p(y_t | y_1:t-1, actions), in nats, of Poisson counts with a rate for each context; 0 where one is missing.

    A context says of each of the last `order` counts whether it lies above the mean of all counts so far. It depends on the past
    alone, so that the product of the predictives is the density of the series.

    location, scale  mean and standard deviation of the Gamma prior of each rate
    """
    present = ~np.isnan(observed)
    so_far = np.cumsum(np.where(present, observed, 0.0)) / np.maximum(np.cumsum(present), 1)
    mean = np.concatenate([[0.0], so_far[:-1]])
    past = _past(np.where(present, observed, MISSING), order)
    levels = [np.where(lagged < 0, lagged, lagged > mean).astype(int) for lagged in past]

    prior = (location / scale) ** 2, location / scale**2
    posterior: dict[tuple[int, ...], tuple[float, float]] = defaultdict(lambda: prior)
    shape, rate = np.ones(len(observed)), np.ones(len(observed))
    for t, context in enumerate(_contexts(levels, actions, len(observed))):
        shape[t], rate[t] = posterior[context]
        if present[t]:
            posterior[context] = shape[t] + observed[t], rate[t] + 1.0
    log_predictive = stats.nbinom.logpmf(np.where(present, observed, 0.0), shape, rate / (rate + 1.0))
    return np.where(present, log_predictive, 0.0)


def _past(series: np.ndarray, order: int) -> list[np.ndarray]:
    """The series one, two, ... `order` steps ago, BEFORE where that is before its start."""
    early = np.concatenate([np.full(order, BEFORE), series])
    return [early[order - lag : order - lag + len(series)] for lag in range(1, order + 1)]


def _contexts(past: list[np.ndarray], actions: np.ndarray | None, steps: int) -> Iterable[tuple[int, ...]]:
    """The context of each step; for independent draws the action alone, or nothing."""
    columns = past if actions is None else [actions, *past]
    return zip(*(column.tolist() for column in columns), strict=True) if columns else iter([()] * steps)
