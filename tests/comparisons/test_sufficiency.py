"""Is the test of a belief's sufficiency right in size, and does it find beliefs that are not sufficient?

Systems and series are made by hand in NumPy; the verdicts over many series are compared with binomial bounds.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ppl_worldmodel.comparisons.sufficiency import sufficiency
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.exact import FiniteState, LinearGaussian, Structure

T = np.array([[0.9, 0.1], [0.1, 0.9]])
O = np.array([[0.8, 0.2], [0.3, 0.7]])
LEVEL, FIRST = 0.05, Structure(order="emission first")


def symbols(rng: np.random.Generator, steps: int) -> np.ndarray:
    """What two sticky states show."""
    state, seen = rng.integers(2), np.zeros(steps, int)
    for t in range(steps):
        state = rng.choice(2, p=T[state])
        seen[t] = rng.choice(2, p=O[state])
    return seen


def finite(seen: np.ndarray, transition: np.ndarray = T) -> FiniteState:
    return FiniteState(jnp.array([0.5, 0.5]), jnp.asarray(transition), jnp.asarray(np.log(O[:, seen].T)))


def level(rng: np.random.Generator, steps: int) -> np.ndarray:
    """An AR(1) of coefficient 0.9, seen through noise."""
    x, y = rng.normal(0.0, np.sqrt(1 / (1 - 0.81))), np.zeros(steps)
    for t in range(steps):
        y[t] = x + rng.normal()
        x = 0.9 * x + rng.normal()
    return y


def gaussian(y: np.ndarray, a: float = 0.9) -> LinearGaussian:
    one, zero = jnp.ones((1, 1)), jnp.zeros(1)
    start = one / (1 - 0.81)
    return LinearGaussian(zero, start, a * one, zero, one, one, zero, one, jnp.asarray(y)[:, None], FIRST)


def p_values(make: str, number: int, steps: int, wrong: object = None) -> np.ndarray:
    rng = np.random.default_rng(17)
    found = []
    for _ in range(number):
        series = symbols(rng, steps) if make == "finite" else level(rng, steps)
        build = finite if make == "finite" else gaussian
        found.append(sufficiency(build(series) if wrong is None else build(series, wrong), series).p)
    return np.array(found)


@pytest.mark.slow
@pytest.mark.parametrize("make", ["finite", "gaussian"])
def test_a_sufficient_belief_is_rarely_called_insufficient(make: str) -> None:
    number = 200
    found = p_values(make, number, 500)
    assert stats.kstest(found, "uniform").pvalue > 1e-3
    assert (found < LEVEL).sum() <= stats.binom.ppf(0.999, number, LEVEL)


@pytest.mark.slow
@pytest.mark.parametrize(("make", "wrong"), [("finite", np.array([[0.6, 0.4], [0.4, 0.6]])), ("gaussian", 0.5)])
def test_a_belief_that_forgets_too_fast_is_found(make: str, wrong: object) -> None:
    assert (p_values(make, 20, 1500, wrong) < 1e-3).all()


def test_a_short_series_is_refused() -> None:
    series = symbols(np.random.default_rng(0), 10)
    with pytest.raises(DataError, match="only 10 steps"):
        sufficiency(finite(series), series)
