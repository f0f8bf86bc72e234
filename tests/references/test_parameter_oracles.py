"""Are the exact posteriors of parameters right: by hand, by identities, in closed form, and against each other?"""

from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import linalg, special, stats

from . import mixtures, quadrature
from .mixtures import Dirichlet, Gamma

both_orders = pytest.mark.parametrize("emission_first", [False, True])
START = [0.3, 0.7]
T2, O2 = np.array([[2.0, 1.0], [1.5, 3.0]]), np.array([[4.0, 1.0], [0.7, 2.5]])
ABSORBING = np.array([[2.0, 3.0], [0.0, 1.0]]), np.array([[4.0, 2.0], [0.0, 1.5]])  # two numbers are free
SHOWN = [0, 1, None, 1, 1]
VOLUMES = np.genfromtxt(Path(__file__).parents[2] / "models" / "data" / "nile.csv", delimiter=",", skip_header=1)[:, 1]


def assert_close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


def assert_within(found: Any, expected: Any, error: Any, rtol: float) -> None:
    """The oracle's own estimate of its error is honest, up to rounding, and of the size that was asked for."""
    assert (np.abs(np.subtract(found, expected)) <= error + 1e-13 * (1 + np.abs(expected))).all()
    assert np.max(error) < 10 * rtol  # in units of the posterior's width, near one here


def discrete(y: Any, T: Any = T2, O: Any = O2, **settings: Any) -> mixtures.Mixture:
    emission = O if isinstance(O, Gamma) else Dirichlet(O)
    return mixtures.mixture(y, **{"initial": START, "T": Dirichlet(T), "O": emission, **settings})


def test_one_and_two_steps_by_hand() -> None:
    found = discrete([1], emission_first=False)
    joint = {(0, 0): 0.2 * 0.2, (0, 1): 0.1 * 2.5 / 3.2, (1, 0): 0.7 / 3 * 0.2, (1, 1): 1.4 / 3 * 2.5 / 3.2}
    assert_close(found.log_joint, np.log([joint[tuple(path)] for path in found.path.tolist()]))
    early = discrete([1], emission_first=True)  # now the initial state emits, and the move is free
    assert_close(early.log_evidence, np.log(0.3 * 0.2 + 0.7 * 2.5 / 3.2))
    assert_close(mixtures.moments(early).T_mean, T2 / T2.sum(axis=1, keepdims=True))
    found = discrete([0, 1], [[2, 1], [1, 1]], [[1, 1], [1, 2]], initial=[1, 0])
    # Paths 000, 001, 010, 011: products of urn draws, such as (2/3)(1/2) * (3/4)(1/3) = 3/36 for 000.
    assert_close(np.exp(found.log_joint), np.array([3, 2, 1, 1, 0, 0, 0, 0]) / 36)
    # T[0, 0] has the means 4/5, 3/5, 1/2, 1/2 with the weights 3, 2, 1, 1 of 7.
    assert_close(mixtures.moments(found).T_mean[0], [23 / 35, 12 / 35])
    assert_close(found.smoothed, [[1, 0], [5 / 7, 2 / 7], [4 / 7, 3 / 7]])


def direct(y: Any, T: np.ndarray, O: np.ndarray, emission_first: bool, cut: float | None = None) -> list[Any]:
    """Evidence, mean, covariance, smoothed beliefs: Gauss-Jacobi rules over the free numbers of T and O, two states.

    They are exact, all is polynomial. With `cut`, the integral over the first number (integer prior) ends there.
    """

    def rule(a: float, b: float, cut: float | None) -> tuple[np.ndarray, np.ndarray]:
        if min(a, b) == 0:
            return np.array([float(b == 0)]), np.ones(1)
        x, weight = special.roots_jacobi(9, b - 1, a - 1) if cut is None else special.roots_legendre(9)
        at = (1 + x) / 2 * (cut or 1)
        return at, weight / weight.sum() * (1 if cut is None else cut * stats.beta.pdf(at, a, b))

    rules = [rule(*row, cut if i == 0 else None) for i, row in enumerate([*T, *O])]
    axes = [grid.ravel() for grid in np.meshgrid(*(rule[0] for rule in rules), indexing="ij")]
    weight = np.prod(np.meshgrid(*(rule[1] for rule in rules), indexing="ij"), axis=0).ravel()
    theta = np.stack([part for axis in axes for part in (axis, 1 - axis)], axis=1)  # (point, entry)
    moves, emissions = theta[:, :4].reshape(-1, 2, 2), theta[:, 4:].reshape(-1, 2, 2)
    ahead, back, steps = [np.tile(START, (len(theta), 1))], [np.ones((len(theta), 2))], []
    for seen in y:
        emission = np.ones((len(theta), 2)) if seen is None else emissions[:, :, seen]
        steps.append(moves * (emission[:, :, None] if emission_first else emission[:, None, :]))
        ahead.append(np.einsum("pi,pij->pj", ahead[-1], steps[-1]))
    for step in reversed(steps):
        back.append(np.einsum("pij,pj->pi", step, back[-1]))
    joint = weight * ahead[-1].sum(axis=1)
    mean = joint @ theta / joint.sum()
    covariance = (theta.T * joint) @ theta / joint.sum() - np.outer(mean, mean)
    smoothed = np.array([weight @ (a * b) for a, b in zip(ahead, back[::-1], strict=True)]) / joint.sum()
    return [joint.sum(), mean, covariance, smoothed]


@both_orders
@pytest.mark.parametrize(("T", "O"), [(T2, O2), ABSORBING])
def test_mixture_equals_direct_integration(T: np.ndarray, O: np.ndarray, emission_first: bool) -> None:
    found = discrete(SHOWN, T, O, emission_first=emission_first)
    moments = mixtures.moments(found)
    ours = [np.exp(found.log_evidence), moments.mean, moments.covariance, found.smoothed]
    for one, other in zip(ours, direct(SHOWN, T, O, emission_first), strict=True):
        assert_close(one, other)
    assert_close([moments.T_variance.ravel(), moments.O_variance.ravel()], np.diag(moments.covariance).reshape(2, 4))
    other_order, other_gap = (
        direct(SHOWN, T, O, not emission_first),
        direct([0, None, None, 1, 1], T, O, emission_first),
    )
    for fault in (other_order, other_gap):
        assert abs(found.log_evidence - np.log(fault[0])) > 1e-4


def test_distribution_function_equals_direct_integration() -> None:
    found, cuts = discrete(SHOWN), np.array([0.2, 0.5, 0.9])
    cdf = mixtures.cdf(found, "T", (0, 0), cuts)
    assert_close(cdf * np.exp(found.log_evidence), [direct(SHOWN, T2, O2, False, cut)[0] for cut in cuts])
    assert_close(1 - mixtures.cdf(found, "T", (0, 1), 1 - cuts), cdf)
    for entry, steps in (((1, 0), [1, 1, 1]), ((1, 1), [0, 0, 1])):  # these two are known to be 0 and 1
        assert_close(mixtures.cdf(discrete(SHOWN, *ABSORBING), "T", entry, [0, 1 - 1e-9, 1]), steps)


@both_orders
def test_evidence_sums_to_one_and_sums_out_what_is_missing(emission_first: bool) -> None:
    T, O = np.array([T2, T2.T]), np.array([O2, O2 + 1])

    def evidence(y: Any, actions: Any = (1, 0, 0, 1)) -> float:
        return float(np.exp(discrete(y, T, O, actions=actions, emission_first=emission_first).log_evidence))

    assert_close(sum(evidence(y) for y in product(range(2), repeat=4)), 1)
    for t, missing in product(range(4), (None, -1, np.nan)):
        gap, zero, one = ([0, 1, 1, 0][:t] + [value] + [0, 1, 1, 0][t + 1 :] for value in (missing, 0, 1))
        assert_close(evidence(gap), evidence(zero) + evidence(one))
    assert abs(np.log(evidence([0, 1, 1, 0], [0, 0, 1, 1]) / evidence([0, 1, 1, 0]))) > 1e-3  # actions matter


def test_posteriors_average_to_the_prior() -> None:
    T, O = np.array([[2.0, 1, 0], [0, 1.5, 1], [1, 1, 0.5]]), np.array([[3.0, 0, 1], [1, 0.3, 1], [0, 2, 2]])
    prior = mixtures.moments(discrete([], T, O, initial=[0.5, 0.5, 0]))
    mean, second = np.zeros(18), np.zeros((18, 18))
    for y in product(range(3), repeat=3):
        found = discrete(y, T, O, initial=[0.5, 0.5, 0])
        moments, evidence = mixtures.moments(found), np.exp(found.log_evidence)
        mean += evidence * moments.mean
        second += evidence * (moments.covariance + np.outer(moments.mean, moments.mean))
    assert_close(mean, np.concatenate([Dirichlet(T).mean().ravel(), Dirichlet(O).mean().ravel()]))
    assert_close(second - np.outer(mean, mean), prior.covariance)


@both_orders
def test_poisson_rates_by_urns(emission_first: bool) -> None:
    shape, rate, counts, actions = [20.0, 3.0], [2.0, 0.5], [11, None, 4, 8], [0, 1, 1, 0]
    T = np.array([T2, T2.T])
    found = discrete(counts, T, Gamma(np.array(shape), np.array(rate)), actions=actions, emission_first=emission_first)
    joint, means = [], []
    for path in found.path.tolist():  # one draw after the other: urns of moves, negative binomials of counts
        urns, a, b, p = T.copy(), list(shape), list(rate), START[path[0]]
        for t, (count, action) in enumerate(zip(counts, actions, strict=True)):
            p *= urns[action, path[t], path[t + 1]] / urns[action, path[t]].sum()
            urns[action, path[t], path[t + 1]] += 1
            state = path[t] if emission_first else path[t + 1]
            if count is not None:
                p *= stats.nbinom.pmf(count, a[state], b[state] / (b[state] + 1))
                a[state], b[state] = a[state] + count, b[state] + 1
        joint.append(p)
        means.append(np.array(a) / b)
    assert_close(found.log_joint, np.log(joint))
    assert_close(mixtures.moments(found).O_mean, np.array(joint) @ means / sum(joint))


def standard_errors_off(sample: np.ndarray, exact: Any) -> float:
    """The greatest difference of a mean over draws from its exact value, in standard errors."""
    error = sample.std(axis=0, ddof=1) / np.sqrt(len(sample))
    return float(np.max(abs(sample.mean(axis=0) - exact) / np.where(error > 0, error, 1e-12)))


@pytest.mark.parametrize(("y", "O"), [(SHOWN, O2), ([0, 1, None, 5, 4], Gamma(np.array([3.0, 8]), np.array([2.0, 2])))])
def test_draws_are_from_the_mixture(y: Any, O: Any) -> None:
    found = discrete(y, O=O)
    moments, draws = mixtures.moments(found), mixtures.draw(found, 40_000, np.random.default_rng(1))
    away = np.concatenate([draws.T.reshape(-1, 4), draws.O.reshape(40_000, -1)], axis=1) - moments.mean
    assert standard_errors_off(away, 0) < 5
    assert standard_errors_off(away[:, :, None] * away[:, None, :], moments.covariance) < 5
    assert standard_errors_off(draws.path, found.smoothed[:, 1]) < 5
    # Paths and parameters belong together: the mean of T[0, 0] where the last state is 0.
    together = found.weight @ (found.T.given(found.T_counts).mean()[:, 0, 0] * (found.path[:, -1] == 0))
    assert standard_errors_off(draws.T[:, 0, 0] * (draws.path[:, -1] == 0), together) < 5
    assert standard_errors_off(draws.T[:, 0, 0] * (np.roll(draws.path, 1, axis=0)[:, -1] == 0), together) > 5  # a fault
    for name, entry in (("T", (0, 0)), ("O", (1,) if isinstance(O, Gamma) else (1, 0))):
        values = getattr(draws, name)[(slice(None), *entry)]
        assert stats.kstest(values, lambda x, at=(name, entry): mixtures.cdf(found, *at, x)).pvalue > 1e-4


def test_draws_keep_zeros_and_small_concentrations() -> None:
    found = discrete(SHOWN, np.array([[1e-3, 1e-3], [0, 1]]), O2)
    draws = mixtures.draw(found, 2000, np.random.default_rng(2))
    assert_close(draws.T.sum(axis=-1), 1)
    assert standard_errors_off(draws.T, mixtures.moments(found).T_mean) < 5  # exact where there is no spread
    impossible = discrete([1, 0], *ABSORBING, initial=[0, 1])  # state 1 never shows a 0
    assert impossible.log_evidence == -np.inf
    with pytest.raises(ValueError, match="probability zero"):
        mixtures.draw(impossible, 1, np.random.default_rng(0))


def test_mixture_refuses() -> None:
    refused: dict[str, dict[str, Any]] = {
        "below 2": {"y": [0, 2]},
        "shorten": {"y": [0] * 22},
        "sum to one": {"initial": [0.5, 0.6]},
        "rows of 3": {"T": np.ones((2, 3))},
        "every row": {"T": np.array([[1.0, 1.0], [0.0, 0.0]])},
        "does not fit": {"O": np.ones((2, 2, 2))},
        "actions are": {"actions": [0, 2], "T": np.ones((2, 2, 2)), "O": np.ones((2, 2, 2))},
    }
    for message, changes in refused.items():
        with pytest.raises(ValueError, match=message):
            discrete(**{"y": [0, 1], **changes})


def test_quadrature_of_a_poisson_rate() -> None:
    counts, prior, after = np.array([3, 5, 1]), stats.gamma(2, scale=1 / 0.5), stats.gamma(11, scale=1 / 3.5)

    def log_density(theta: np.ndarray) -> np.ndarray:
        return prior.logpdf(theta[:, 0]) + stats.poisson.logpmf(counts, theta).sum(axis=1)

    for transform in (quadrature.positive(), quadrature.softplus(), quadrature.between(0, 60)):  # 60 is far out
        found = quadrature.integrate_posterior(log_density, [transform], start=[1.0])
        evidence = log_density(np.array([[2.0]]))[0] - after.logpdf(2.0)  # at any point
        assert_close([found.log_evidence, found.mean[0], found.covariance[0, 0]], [evidence, after.mean(), after.var()])
        below = quadrature.marginal(log_density, [transform], start=[1.0], parameter=0, cuts=[1.0, 3.0, 9.0])
        assert_close(below.cdf, after.cdf([1.0, 3.0, 9.0]))


def line(theta: np.ndarray, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Log density of y = X b + noise of variance v: v is inverse gamma (6, 2), b is normal (0, 4 v I)."""
    b, v, powers = theta[:, :-1], theta[:, -1], (X.shape[0] + X.shape[1]) / 2 + 7
    squares = ((y - b @ X.T) ** 2).sum(axis=1) + (b**2).sum(axis=1) / 4
    with np.errstate(all="ignore"):
        found = 6 * np.log(2) - special.gammaln(6) - powers * np.log(v) - (2 + squares / 2) / v
    return (
        np.where(np.isnan(found), -np.inf, found) - len(y) / 2 * np.log(2 * np.pi) - X.shape[1] / 2 * np.log(8 * np.pi)
    )


@pytest.mark.parametrize(("dim", "rtol"), [(1, 1e-10), (2, 1e-6)])
def test_quadrature_of_a_normal_inverse_gamma(dim: int, rtol: float) -> None:
    X = np.arange(6.0)[:, None] ** np.arange(dim)
    y, scale = X @ np.full(dim, 0.8) + np.sin(5.0 * np.arange(6)), 4 * X @ X.T + np.eye(6)
    precision = X.T @ X + np.eye(dim) / 4
    mean, a, b = np.linalg.solve(precision, X.T @ y), 6 + 3, 2 + y @ np.linalg.solve(scale, y) / 2
    transforms = [quadrature.real()] * dim + [quadrature.positive()]
    log_density, settings = partial(line, X=X, y=y), {"start": [0.8] * dim + [0.3], "rtol": rtol}
    found = quadrature.integrate_posterior(log_density, transforms, **settings)
    evidence = stats.multivariate_t(np.zeros(6), scale * 2 / 6, df=12).logpdf(y)
    covariance = linalg.block_diag(np.linalg.inv(precision) * b / (a - 1), stats.invgamma(a, scale=b).var())
    assert_within(found.log_evidence, evidence, found.log_evidence_error, rtol)
    assert_within(found.mean, [*mean, b / (a - 1)], found.mean_error, rtol)
    assert_within(found.covariance, covariance, found.covariance_error, rtol)
    laws = [stats.t(2 * a, mean[0], np.sqrt(b / a / precision[0, 0])), stats.invgamma(a, scale=b)]
    for parameter, law in enumerate(laws if dim == 1 else []):
        settings |= {"parameter": parameter, "cuts": law.ppf([0.01, 0.4, 0.95])}
        below = quadrature.marginal(log_density, transforms, **settings)
        assert_within(below.cdf, [0.01, 0.4, 0.95], below.error, rtol)


def nile(theta: np.ndarray, emission_first: bool = True) -> np.ndarray:
    """The annual flow of the Nile, with the priors of the shipped model."""
    settings = {"initial_mean": 1000.0, "initial_scale": 500.0}
    log_prior = stats.halfnorm.logpdf(theta[:, 0], scale=100.0) + stats.halfnorm.logpdf(theta[:, 1], scale=200.0)
    return log_prior + quadrature.local_level(VOLUMES, *theta.T, emission_first=emission_first, **settings)


@both_orders
def test_local_level_equals_the_dense_normal(emission_first: bool) -> None:
    theta, y, times = np.array([[40.0, 120.0], [5.0, 300.0]]), VOLUMES.copy(), np.arange(100) + (not emission_first)
    y[[0, 30, 31]] = np.nan
    kept = ~np.isnan(y)
    found = quadrature.local_level(y, *theta.T, initial_mean=900.0, initial_scale=50.0, emission_first=emission_first)
    for level, noise, log_likelihood in zip(*theta.T, found, strict=True):
        covariance = 50.0**2 + level**2 * np.minimum.outer(times, times) + noise**2 * np.eye(100)
        dense = stats.multivariate_normal.logpdf(y[kept], np.full(kept.sum(), 900.0), covariance[np.ix_(kept, kept)])
        assert_close(log_likelihood, dense)


@pytest.mark.slow
def test_nile_by_two_transformations() -> None:
    ways = [[quadrature.positive()] * 2, [quadrature.softplus()] * 2]
    one, two = (quadrature.integrate_posterior(nile, way, start=[40.0, 120.0]) for way in ways)
    assert abs(one.log_evidence - two.log_evidence) <= one.log_evidence_error + two.log_evidence_error < 1e-9
    assert (abs(one.mean - two.mean) <= one.mean_error + two.mean_error).all()
    assert (abs(one.covariance - two.covariance) <= one.covariance_error + two.covariance_error).all()
    other = quadrature.integrate_posterior(lambda theta: nile(theta, False), ways[0], start=[40.0, 120.0])
    assert abs(other.log_evidence - one.log_evidence) > 1e-6  # a fault: the other order
    for parameter, cuts in enumerate(([25.0, 60.0], [100.0, 130.0])):
        settings: dict[str, Any] = {"start": [40.0, 120.0], "parameter": parameter, "cuts": cuts}
        first, second = (quadrature.marginal(nile, way, **settings) for way in ways)
        assert (abs(first.cdf - second.cdf) <= first.error + second.error).all()


def test_quadrature_finds_both_peaks_and_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def peaks(theta: np.ndarray) -> np.ndarray:
        return np.logaddexp(np.log(0.3) + stats.norm.logpdf(theta, -3), np.log(0.7) + stats.norm.logpdf(theta, 4))[:, 0]

    real, start = [quadrature.real()], [-3.0]  # the smaller peak is the centre
    found = quadrature.integrate_posterior(peaks, real, start=start)
    assert_close([found.log_evidence, found.mean[0], found.covariance[0, 0]], [0, 1.9, 1 + 0.21 * 49])
    with pytest.raises(ValueError, match="no peak"):
        quadrature.integrate_posterior(lambda theta: theta[:, 0], real, start=start)
    with pytest.raises(ValueError, match="NaN at"):
        quadrature.integrate_posterior(lambda theta: np.where(theta[:, 0] > 5, np.nan, peaks(theta)), real, start=start)
    monkeypatch.setattr(quadrature, "LIMIT", 3)
    with pytest.raises(RuntimeError, match="stopped at"):
        quadrature.integrate_posterior(peaks, real, start=start)
