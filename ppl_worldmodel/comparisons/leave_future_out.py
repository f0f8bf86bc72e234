"""Leave-future-out cross-validation: exact scores of the filter's predictive distributions, by importance weights.

The score of time t is log p(y_t, ..., y_t+h-1 | y_1:t-1): the filter's one-step terms, exact at given parameters, averaged over the
posterior of the parameters given the past alone. That posterior is not sampled anew at every t. Draws given y_1:n serve the times
around n, weighted by the terms of the steps in between (divided out where t is before n), as long as the weights' Pareto k-hat is
small enough; then a new sample is taken in the middle of the steps that are left. No score uses its own future: later observations
that the draws have seen are divided out exactly.

Source: Burkner, Gabry & Vehtari (2020), J. Statistical Computation and Simulation 90, sections 2.3 and 2.4; PSIS: Vehtari et al.
(2024), J. Machine Learning Research 25.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import arviz_stats  # noqa: F401  (registers the accessor `.azstats`)
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int
from numpyro.infer import MCMC, NUTS, init_to_sample
from scipy.special import logsumexp

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.infer.psis import psis
from ppl_worldmodel.program.coordinates import coordinates
from ppl_worldmodel.program.marginalize import FACTOR, with_factor
from ppl_worldmodel.program.reading import Reading
from ppl_worldmodel.program.system import log_predictive

# Above one half the weights have no variance, and a standard error of their average means nothing. Scores from draws of a normal
# mean, later observations divided out, were off by 1.1 standard errors (root mean square) up to k-hat 0.5, by 2.5 from 0.6 to 0.7.
PARETO_K = 0.5

# log p(y_t | y_1:t-1, parameters) of each draw
Terms = Float[np.ndarray, "chain draw time"]
Refit = Callable[[int], Terms]


class Scores(NamedTuple):
    """elpd      the score of each time step (time,), in nats; NaN where it is not scored
    error     its Monte Carlo standard error
    pareto_k  of the weights at that step; 0 where the draws were used as they are
    seen      how many observations its draws have seen; 0 where it is not scored
    first     the first time step that is scored (counted from 0); horizon: how many steps ahead
    """

    elpd: Float[np.ndarray, " time"]
    error: Float[np.ndarray, " time"]
    pareto_k: Float[np.ndarray, " time"]
    seen: Int[np.ndarray, " time"]
    first: int
    horizon: int

    @property
    def total(self) -> float:
        return float(np.nansum(self.elpd))

    @property
    def total_error(self) -> float:
        """Upper bound of the total's Monte Carlo standard error: errors of steps that share a sample are added."""
        samples = [n for n in np.unique(self.seen) if n]
        return float(np.sqrt(sum(np.nansum(self.error[self.seen == n]) ** 2 for n in samples)))


def leave_future_out(
    refit: Refit, num_steps: int, *, first: int, horizon: int = 1, whole: Terms | None = None, most_k: float = PARETO_K
) -> Scores:
    """Scores of the steps from `first` on.

    refit  number of observations n -> the terms of draws given y_1:n
    whole  the terms of draws given the whole series, if there are any: they are used first
    Raises DataError unless 1 <= first <= num_steps - horizon.
    """
    check_first(first, num_steps, horizon)
    elpd, error, pareto_k = (np.full(num_steps, np.nan) for _ in range(3))
    seen = np.zeros(num_steps, int)

    def serves(terms: Terms, n: int, t: int) -> bool:
        """Score step t from draws that have seen n observations, if their weights are good."""
        between = terms[..., min(n, t) : max(n, t)].sum(axis=-1)
        log_weight, k = psis(between if t >= n else -between)
        if k > most_k:
            return False
        pareto_k[t], seen[t] = k, n
        elpd[t], error[t] = _averaged(log_weight, terms[..., t : t + horizon].sum(axis=-1))
        return True

    last = num_steps - horizon
    if whole is not None:
        while last >= first and serves(whole, num_steps, last):
            last -= 1
    left = [(first, last)]
    while left:
        low, high = left.pop()
        if low > high:
            continue
        n = round(np.sqrt(low * high))  # the more observations the draws have seen, the more steps they serve
        terms = refit(n)
        a = next((t for t in range(n - 1, low - 1, -1) if not serves(terms, n, t)), low - 1)
        b = next((t for t in range(n, high + 1) if not serves(terms, n, t)), high + 1)
        left += [(low, a), (b, high)]
    return Scores(elpd, error, pareto_k, seen, first, horizon)


def default_first(num_steps: int) -> int:
    """The default first step to score: a fifth of the series, and ten steps at least, come before it."""
    return max(min(10, num_steps - 1), num_steps // 5)


def check_first(first: int, num_steps: int, horizon: int) -> None:
    """Raise DataError unless there is a past to learn from and a future to score."""
    if not 1 <= first <= num_steps - horizon:
        raise DataError(
            f"scores {horizon} steps ahead from step {first} on do not fit a series of {num_steps} steps: give a first step "
            f"from 1 to {num_steps - horizon}"
        )


def refitted(
    reading: Reading,
    key: Array,
    *,
    num_warmup: int = 400,
    num_samples: int = 500,
    num_chains: int = 4,
) -> Refit:
    """A sampler (NUTS) of the posterior given the first n observations, compiled once for all n.

    A program without parameters has one draw, the same for every n.
    """

    space = coordinates(reading)

    @jax.jit
    def terms(z: Array) -> Array:
        return jax.lax.map(lambda each: space.density(each).terms, z, batch_size=100)

    if space.size == 0:
        return lambda n: np.asarray(terms(jnp.zeros((1, 0))))[None]

    def past(keep: Array) -> None:
        def first(system: Any) -> Array:
            return jnp.where(keep, log_predictive(system), 0.0)

        with_factor(reading, FACTOR, first)()

    steps = np.arange(jax.eval_shape(space.density, jnp.zeros(space.size)).terms.shape[0])

    @jax.jit
    def sampled(key: Array, keep: Array) -> Array:
        mcmc = MCMC(
            NUTS(past, init_strategy=init_to_sample), num_warmup=num_warmup, num_samples=num_samples, num_chains=num_chains,
            chain_method="vectorized", progress_bar=False,
        )  # fmt: skip
        mcmc.run(key, keep)
        draws = mcmc.get_samples()
        return terms(jax.vmap(space.unconstrain)({name: draws[name] for name in space.names}))

    def refit(n: int) -> np.ndarray:
        found = sampled(jax.random.fold_in(key, n), jnp.asarray(steps < n))
        return np.asarray(found).reshape(num_chains, num_samples, -1)

    return refit


def _averaged(log_weight: np.ndarray, log_value: np.ndarray) -> tuple[float, float]:
    """log of the weighted mean of exp(log_value), and its standard error (delta method, effective number of draws)."""
    total = float(logsumexp(log_weight + log_value))
    if log_value.size == 1:
        return total, 0.0
    weight, value = np.exp(log_weight), np.exp(log_value - total)
    part = weight * (value - 1.0)
    if not part.any():
        return total, 0.0
    ess = float(xr.DataArray(part, dims=("chain", "draw")).azstats.ess(method="mean"))
    return total, float(np.sqrt((part**2).sum() * part.size / min(ess, part.size)))
