"""Are the autoregressions' predictives exact?  The dense evidence of all rows together, SciPy's Student t, and quadrature."""

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import logsumexp, multigammaln

from ppl_worldmodel.comparisons.autoregressions import FRACTIONS, reals

from ..agreement import assert_logs_close

NAN = np.nan
ACTIONS = np.array([0, 2, 2, 0, 1, 0, 1, 2, 0, 0, 1, 2])
TWO = (1.0, 0.1)
LOCATION, SCALE = np.array([3.0, -1.0]), np.array([2.0, 0.5])


def series(seed: int = 0, steps: int = 12, dim_y: int = 2) -> np.ndarray:
    """A stable vector autoregression of the first order, far from where the prior expects it."""
    rng = np.random.default_rng(seed)
    A, y = np.array([[0.8, 0.3], [-0.2, 0.5]])[:dim_y, :dim_y], np.zeros((steps, dim_y))
    for t in range(1, steps):
        y[t] = A @ y[t - 1] + 0.3 * rng.normal(size=dim_y)
    return y


def design(units: np.ndarray, order: int, actions: np.ndarray | None) -> np.ndarray:
    """The regressors, row by row."""
    rows = []
    for t in range(len(units)):
        past = [units[t - lag] if lag <= t else 0.0 * units[0] for lag in range(1, order + 1)]
        chosen = [] if actions is None else [float(actions[t] == action) for action in sorted(set(actions))]
        rows.append(np.concatenate([[1.0], *past, chosen]))
    return np.array(rows)


def dense_evidence(y: np.ndarray, order: int, fraction: float, actions: np.ndarray | None) -> float:
    """log p(y) at once: with B integrated out rows have covariance I + Z Z' / f^2 between them, and then S is, too."""
    units = (y - LOCATION[: y.shape[1]]) / SCALE[: y.shape[1]]
    (steps, dim_y), Z = units.shape, design(units, order, actions)
    between = np.eye(steps) + Z @ Z.T / fraction**2
    before, freedom = fraction**2 * np.eye(dim_y), dim_y + 2.0
    after = before + units.T @ np.linalg.solve(between, units)
    return (
        multigammaln((freedom + steps) / 2, dim_y)
        - multigammaln(freedom / 2, dim_y)
        - 0.5 * steps * dim_y * np.log(np.pi)
        - 0.5 * dim_y * np.linalg.slogdet(between)[1]
        + 0.5 * freedom * np.linalg.slogdet(before)[1]
        - 0.5 * (freedom + steps) * np.linalg.slogdet(after)[1]
        - steps * np.log(SCALE[:dim_y]).sum()
    )


@pytest.mark.parametrize("actions", [None, ACTIONS], ids=["no actions", "actions"])
@pytest.mark.parametrize("dim_y", [1, 2])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_the_sum_is_the_evidence_of_all_rows(order: int, dim_y: int, actions: np.ndarray | None) -> None:
    y = series(dim_y=dim_y)
    for fractions in ((1.0,), (0.1,), FRACTIONS):
        found = reals(
            y, order=order, location=LOCATION[:dim_y], scale=SCALE[:dim_y], actions=actions, fractions=fractions
        )
        each = [dense_evidence(y, order, fraction, actions) for fraction in fractions]
        assert_logs_close(found.sum(), logsumexp(each) - np.log(len(each)), f"evidence, {fractions}")


def test_independent_draws_are_one_big_student_t() -> None:
    y = series(dim_y=1)
    shape = (np.eye(len(y)) + np.ones((len(y), len(y)))) / 3.0
    joint = stats.multivariate_t(np.full(len(y), 3.0), 4.0 * shape, df=3.0)
    found = reals(y, order=0, location=LOCATION[:1], scale=SCALE[:1], fractions=(1.0,))
    assert_logs_close(found.sum(), joint.logpdf(y[:, 0]), "joint density")


def by_scipy(y: np.ndarray, t: int, fraction: float) -> float:
    """log p(y_t | y_1:t-1) of what is seen at t, order 1: from the rows that are whole, and SciPy's multivariate Student t."""
    units = (y - LOCATION) / SCALE
    Z = np.column_stack([np.ones(len(y)), np.vstack([np.zeros(2), np.nan_to_num(units[:-1])])])
    kept = ~np.isnan(y[:t]).any(axis=1)
    rows, z = units[:t][kept], Z[:t][kept]
    precision = fraction**2 * np.eye(3) + z.T @ z
    B = np.linalg.solve(precision, z.T @ rows)
    scatter = fraction**2 * np.eye(2) + (rows - z @ B).T @ (rows - z @ B) + fraction**2 * B.T @ B
    freedom = 3.0 + kept.sum()
    shape = scatter * (1.0 + Z[t] @ np.linalg.solve(precision, Z[t])) / freedom
    seen = ~np.isnan(y[t])
    centre = LOCATION + SCALE * (Z[t] @ B)
    spread = np.diag(SCALE) @ shape @ np.diag(SCALE)
    return float(stats.multivariate_t(centre[seen], spread[np.ix_(seen, seen)], df=freedom).logpdf(y[t][seen]))


def test_rows_seen_in_part() -> None:
    y = series()
    y[3, 0] = y[4, 1] = y[6] = y[0, 1] = y[9, 0] = NAN
    for fraction in (1.0, 0.1):
        found = reals(y, order=1, location=LOCATION, scale=SCALE, fractions=(fraction,))
        expected = [0.0 if t == 6 else by_scipy(y, t, fraction) for t in range(len(y))]
        assert_logs_close(found, expected, "one step ahead")


def test_a_missing_component_is_integrated_out() -> None:
    y, last = series(), 7

    def density(value: float) -> float:
        filled = y[: last + 1].copy()
        filled[last, 1] = value
        return float(np.exp(reals(filled, order=1, location=LOCATION, scale=SCALE, fractions=TWO)[-1]))

    total = integrate.quad(density, -np.inf, np.inf)[0]
    y[last, 1] = NAN
    found = reals(y[: last + 1], order=1, location=LOCATION, scale=SCALE, fractions=TWO)[-1]
    np.testing.assert_allclose(found, np.log(total), rtol=1e-7)


def test_the_next_value_integrates_to_one() -> None:
    y = series(dim_y=1)[:7]
    y[4] = NAN

    def density(value: float) -> float:
        y[6] = value
        return float(np.exp(reals(y, order=1, location=LOCATION[:1], scale=SCALE[:1], fractions=TWO)[-1]))

    np.testing.assert_allclose(integrate.quad(density, -np.inf, np.inf)[0], 1.0, rtol=1e-7)


def test_units_only_shift_the_density() -> None:
    y, factor = series(), np.array([100.0, 1e-3])
    one = reals(y, order=2, location=LOCATION, scale=SCALE)
    other = reals(y * factor + 5.0, order=2, location=LOCATION * factor + 5.0, scale=SCALE * factor)
    assert_logs_close(other + np.log(factor).sum(), one, "in other units")


def test_small_noise_far_from_the_prior_loses_no_digits() -> None:
    """The last row of a long smooth series: its evidence by exact sums is that of the dense formula in longer numbers."""
    rng = np.random.default_rng(1)
    y = np.cumsum(1e-3 * rng.normal(size=(120, 1)), axis=0) + 10.0
    found = reals(y, order=1, location=LOCATION[:1], scale=SCALE[:1])
    each = [dense_evidence(y, 1, fraction, None) for fraction in FRACTIONS]
    np.testing.assert_allclose(found.sum(), logsumexp(each) - np.log(len(each)), rtol=1e-9)


def test_more_of_the_past_pays_where_it_tells_more_and_only_there() -> None:
    rng = np.random.default_rng(2)
    shocks, y = rng.normal(size=2000), np.zeros(2000)
    for t in range(2, 2000):
        y[t] = 1.2 * y[t - 1] - 0.6 * y[t - 2] + shocks[t]
    for values, best in ((y, 2), (shocks, 0)):
        found = [
            reals(values[:, None], order=k, location=np.zeros(1), scale=np.array([2.0])).sum() for k in (0, 1, 2, 3)
        ]
        assert int(np.argmax(found)) == best
