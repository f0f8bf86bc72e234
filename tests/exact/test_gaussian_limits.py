"""Does `exact.gaussian` hold where others break: known first states, singular noise, stiff systems, very long series?"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ppl_worldmodel.exact import gaussian
from ppl_worldmodel.exact.system import LinearGaussian, Order, Structure

from ..agreement import assert_covariances_close, assert_logs_close, assert_means_close
from ..references import rational
from .systems import GAUSSIAN_ORDERS, condition_joint, random_gaussian, textbook

stiff = pytest.mark.parametrize(("prior", "noise"), [(1e2, 1e-2), (1e6, 1e-4), (1e8, 1e-4), (1e6, 1e-6), (1e8, 1e-6)])
both_orders = pytest.mark.parametrize("order", GAUSSIAN_ORDERS)
one_of_them_slow = pytest.mark.parametrize(
    "order", ["transition first", pytest.param("emission first", marks=pytest.mark.slow)]
)


def trend(order: Order, *, prior: float, noise: float, dim_y: int = 1) -> LinearGaussian:
    """Level and slope; variances of the prior and of the noise, in the measurement and in the slope (Q is singular)."""
    rng, steps = np.random.default_rng(0), 12
    y = 3.0 + 0.5 * np.arange(steps)[:, None] + np.sqrt(noise) * rng.normal(size=(steps, dim_y))
    y[4] = np.nan
    push = jnp.array([[0.5], [1.0]])
    return LinearGaussian(
        jnp.zeros(2),
        prior * jnp.eye(2),
        jnp.array([[1.0, 1.0], [0.0, 1.0]]),
        jnp.zeros(2),
        noise * push @ push.T,
        jnp.array([[1.0, 0.0], [1.0, 0.3]])[:dim_y],
        jnp.zeros(dim_y),
        noise * jnp.eye(dim_y),
        jnp.asarray(y),
        Structure(order=order),
    )


def level(order: Order, *, prior: float, noise: float) -> LinearGaussian:
    """Only the level of `trend`."""
    system, one = trend(order, prior=prior, noise=noise), jnp.ones((1, 1))
    start = {"initial_mean": jnp.zeros(1), "initial_covariance": prior * one}
    return system._replace(**start, A=one, b=jnp.zeros(1), Q=noise * one, C=one)


def assert_equals_exact_arithmetic(system: LinearGaussian, rtol: float) -> None:
    found = gaussian.filter(system)
    expected = rational.kalman_filter(np.asarray(system.observations), **textbook(system))
    assert_logs_close(found.log_predictive, expected.log_predictive, "log predictive", rtol)
    assert_logs_close(found.log_evidence, expected.log_evidence, "log evidence", rtol)
    for kind in ("predicted", "filtered"):
        mean = rational.floats(getattr(expected, f"{kind}_mean"))
        covariance = rational.floats(getattr(expected, f"{kind}_covariance"))
        assert_means_close(getattr(found, kind), mean, covariance, f"{kind} mean", rtol)
        found_covariance = getattr(found, f"{kind}_covariance")
        assert_covariances_close(found_covariance, covariance, covariance, covariance, f"{kind} covariance", rtol)


@both_orders
@stiff
def test_a_stiff_system_seen_whole_equals_exact_arithmetic(order: Order, prior: float, noise: float) -> None:
    """Each step measures as many components as the state has."""
    assert_equals_exact_arithmetic(level(order, prior=prior, noise=noise), rtol=1e-10)
    assert_equals_exact_arithmetic(trend(order, prior=prior, noise=noise, dim_y=2), rtol=1e-10)


@both_orders
@stiff
def test_a_stiff_system_seen_in_part_loses_the_digits_of_its_stiffness(
    order: Order, prior: float, noise: float
) -> None:
    """The slope is seen only through the level: what one covariance matrix holds spans `prior` down to `noise`.

    Its entries are rounded to 2^-52 of the largest, so 2^-52 prior / noise is what can be had. Measured: at most 0.06 of
    that in the log predictive (8.5e-4 nats at 1e8 and 1e-6), 0.4 of it in a covariance.
    """
    assert_equals_exact_arithmetic(trend(order, prior=prior, noise=noise), rtol=max(1e-10, 2.0**-52 * prior / noise))


def smooth_exactly(system: LinearGaussian) -> tuple[np.ndarray, np.ndarray]:
    """Means and covariances of the smoother of Rauch, Tung & Striebel (1965), in fractions."""
    arguments = textbook(system)
    forward = rational.kalman_filter(np.asarray(system.observations), **arguments)
    A = rational.exact(arguments["A"][0])
    means, covariances = [forward.filtered_mean[-1]], [forward.filtered_covariance[-1]]
    for t in reversed(range(len(system.observations) - 1)):
        ahead = rational.multiply(forward.filtered_covariance[t], rational.transpose(A))
        gain = rational.multiply(ahead, rational.invert(forward.predicted_covariance[t + 1])[0])
        surprise = [m - p for m, p in zip(means[0], forward.predicted_mean[t + 1], strict=True)]
        shift = rational.apply(gain, surprise)
        change = rational.add(covariances[0], forward.predicted_covariance[t + 1], sign=-1)
        change = rational.multiply(rational.multiply(gain, change), rational.transpose(gain))
        means.insert(0, [m + s for m, s in zip(forward.filtered_mean[t], shift, strict=True)])
        covariances.insert(0, rational.add(forward.filtered_covariance[t], change))
    return np.array(rational.floats(means)), np.array(rational.floats(covariances))


@both_orders
@stiff
def test_the_smoother_of_a_stiff_system_seen_whole(order: Order, prior: float, noise: float) -> None:
    for system in (level(order, prior=prior, noise=noise), trend(order, prior=prior, noise=noise, dim_y=2)):
        found, (mean, covariance) = gaussian.smooth(system), smooth_exactly(system)
        assert_means_close(found.smoothed, mean, covariance, "smoothed mean")
        assert_covariances_close(found.smoothed_covariance, covariance, covariance, covariance, "smoothed covariance")


@pytest.mark.slow
@both_orders
@stiff
def test_the_smoother_of_a_stiff_system_seen_in_part(order: Order, prior: float, noise: float) -> None:
    """Once two steps have pinned level and slope down, the smoother loses what the filter loses, and no more."""
    system, rtol = trend(order, prior=prior, noise=noise), max(1e-10, 2.0**-52 * prior / noise)
    found, (mean, covariance) = gaussian.smooth(system), smooth_exactly(system)
    assert_means_close(found.smoothed, mean, covariance, "smoothed mean", rtol)
    late = covariance[2:]
    assert_covariances_close(found.smoothed_covariance[2:], late, late, late, "smoothed covariance", rtol)


@one_of_them_slow
def test_the_first_smoothed_variances_of_a_stiff_system_seen_in_part(order: Order) -> None:
    """A slope not seen yet has the filtered variance `prior`; P - P N P would be off by several hundred times its size here.

    To two digits: the gain back from the next step inverts a covariance whose condition number is 1e10 (measured: 0.2 %).
    """
    system = trend(order, prior=1e6, noise=1e-4)
    _, covariance = smooth_exactly(system)
    found = gaussian.smooth(system).smoothed_covariance
    assert_covariances_close(found, covariance, covariance, covariance, "smoothed covariance", rtol=1e-2)


@one_of_them_slow
def test_a_known_first_state_stays_known(order: Order) -> None:
    system = random_gaussian(0, order, singular=True)
    start = system._replace(Q=jnp.zeros((3, 3)))
    found = gaussian.smooth(start)
    assert not np.asarray(found.smoothed_covariance).any()
    mean = np.asarray(start.initial_mean)
    for t in range(7):
        if order == "transition first" or t > 0:
            mean = np.asarray(start.A) @ mean + np.asarray(start.b)
        np.testing.assert_allclose(found.smoothed[t], mean, rtol=1e-13)
    paths = gaussian.sample_paths(start, jax.random.key(0), 3)
    np.testing.assert_allclose(paths, np.broadcast_to(found.smoothed, (3, 7, 3)), rtol=1e-10, atol=1e-10)


def test_a_shift_register_remembers_exactly() -> None:
    """The state (x_t, x_t-1): the second half of a smoothed belief is the first half of the one before."""
    system = LinearGaussian(
        jnp.zeros(2),
        jnp.zeros((2, 2)),
        jnp.array([[0.7, 0.2], [1.0, 0.0]]),
        jnp.zeros(2),
        jnp.diag(jnp.array([0.3, 0.0])),
        jnp.array([[1.0, 0.0]]),
        jnp.zeros(1),
        jnp.array([[0.5]]),
        jnp.asarray(np.random.default_rng(0).normal(size=(8, 1))),
    )
    found, expected = gaussian.smooth(system), condition_joint(system)
    assert_means_close(found.smoothed, expected.smoothed_mean, expected.smoothed_covariance, "mean")
    np.testing.assert_allclose(found.smoothed[1:, 1], found.smoothed[:-1, 0], rtol=1e-12)
    np.testing.assert_allclose(found.smoothed_covariance[1:, 1, 1], found.smoothed_covariance[:-1, 0, 0], rtol=1e-12)


@pytest.mark.parametrize(
    ("order", "dim_y"), [("transition first", 1), pytest.param("emission first", 2, marks=pytest.mark.slow)]
)
def test_gradients_are_those_of_finite_differences_at_a_known_start(order: Order, dim_y: int) -> None:
    """P0 = 0, a singular Q, missing components."""
    base = random_gaussian(3, order, dim_y=dim_y, singular=True)

    def system(angles: jax.Array) -> LinearGaussian:
        return base._replace(A=base.A.at[0, 0].set(angles[0]), Q=base.Q * angles[1] ** 2, R=base.R * jnp.exp(angles[2]))

    quantities = ("evidence", "filtered", "smoothed", "variance")
    step, angles = 1e-3, jnp.array([0.4, 0.9, -0.2])

    @jax.jit
    def values(angles: jax.Array) -> jax.Array:
        found = gaussian.smooth(system(angles))
        return jnp.stack(
            [found.log_evidence, found.filtered[2, 0], found.smoothed[3, 1], found.smoothed_covariance[2, 0, 0]]
        )

    found = np.asarray(jax.jit(jax.jacrev(values))(angles))
    for i in range(3):
        shift = jnp.zeros(3).at[i].set(step)
        at = {k: np.asarray(values(angles + k * shift)) for k in (-3, -2, -1, 1, 2, 3)}
        near, mid, far = at[1] - at[-1], at[2] - at[-2], at[3] - at[-3]
        slope = (45 * near - 9 * mid + far) / (60 * step)  # sixth order
        np.testing.assert_allclose(found[:, i], slope, rtol=1e-6, err_msg=f"{quantities} by angle {i}")
    assert np.abs(found).min() > 1e-5, "the test must have something to measure"


@one_of_them_slow
def test_gradients_of_the_smoother_where_directions_are_alike(order: Order) -> None:
    """Two independent equal walks: every covariance has equal eigenvalues, whose eigenvectors have no derivative."""
    base = random_gaussian(0, order, dim_x=2, dim_y=2, gaps=False)._replace(A=jnp.eye(2), C=jnp.eye(2), R=jnp.eye(2))

    @jax.jit
    def value(q: jax.Array) -> jax.Array:
        found = gaussian.smooth(base._replace(Q=q * jnp.eye(2), initial_covariance=3.0 * jnp.eye(2)))
        return jnp.stack([found.smoothed[2, 0], found.smoothed_covariance[2, 0, 0], found.smoothed[0, 1]])

    slope = (value(jnp.array(0.3 + 1e-5)) - value(jnp.array(0.3 - 1e-5))) / 2e-5
    np.testing.assert_allclose(jax.jacrev(value)(jnp.array(0.3)), slope, rtol=1e-6)


@both_orders
def test_the_gradient_in_a_missing_observation_is_zero(order: Order) -> None:
    system = random_gaussian(0, order)
    gradient = jax.grad(lambda y: gaussian.evidence(system._replace(observations=y)).sum())(system.observations)
    missing = np.isnan(system.observations)
    assert not np.asarray(gradient)[missing].any()
    assert np.isfinite(gradient).all()
    assert np.asarray(gradient)[~missing].all()


def test_an_outlier_is_improbable_and_not_impossible() -> None:
    system = trend("transition first", prior=1.0, noise=1e-2)
    found = gaussian.filter(system._replace(observations=system.observations.at[7, 0].set(1e8)))
    assert np.isfinite(found.log_predictive).all()
    assert found.log_predictive[7] < -1e15
    assert np.isfinite(found.filtered).all()


@both_orders
def test_a_hundred_thousand_steps(order: Order) -> None:
    """A local level, against the scalar recursions of Durbin & Koopman (2012), section 2.2, in a plain loop."""
    rng, steps, level, noise = np.random.default_rng(0), 100_000, 0.3, 2.0
    y = np.cumsum(np.sqrt(level) * rng.normal(size=steps)) + np.sqrt(noise) * rng.normal(size=steps)
    y[::17] = np.nan
    one = jnp.ones((1, 1))
    system = LinearGaussian(
        jnp.zeros(1), 100.0 * one, one, jnp.zeros(1), level * one, one, jnp.zeros(1), noise * one,
        jnp.asarray(y[:, None]), Structure(order=order),
    )  # fmt: skip
    found = gaussian.smooth(system)
    mean, variance, terms = 0.0, 100.0 + (level if order == "transition first" else 0.0), np.zeros(steps)
    filtered = np.empty((steps, 2))
    for t, value in enumerate(y.tolist()):
        if value == value:
            S = variance + noise
            terms[t] = -0.5 * (np.log(2 * np.pi * S) + (value - mean) ** 2 / S)
            mean, variance = mean + variance / S * (value - mean), variance * noise / S
        filtered[t] = mean, variance
        variance += level
    smoothed = filtered.copy()
    for t in reversed(range(steps - 1)):
        gain = filtered[t, 1] / (filtered[t, 1] + level)
        smoothed[t, 0] += gain * (smoothed[t + 1, 0] - filtered[t, 0])
        smoothed[t, 1] += gain**2 * (smoothed[t + 1, 1] - filtered[t, 1] - level)
    assert_logs_close(found.log_predictive, terms, "log predictive")
    assert_logs_close(found.log_evidence, terms.sum(), "log evidence")
    for kind, expected in (("filtered", filtered), ("smoothed", smoothed)):
        covariance = expected[:, 1, None, None]
        assert_means_close(getattr(found, kind), expected[:, :1], covariance, kind)
        np.testing.assert_allclose(getattr(found, f"{kind}_covariance"), covariance, rtol=1e-10)
