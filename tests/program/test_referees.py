"""Systems read off small programs, against libraries that other people wrote and that are given arrays, not programs.

What each library's own precision allows:
    hmmlearn     works in logarithms, in double precision
    statsmodels  double precision, once its shortcut to the steady state is switched off (tolerance = 0)
    dynamax      raises probabilities to 1e-15 of a step's best, and adds 1e-9 to the diagonal of each matrix that it solves with
hmmlearn and dynamax cannot be installed beside every Python and JAX that this package runs on: their tests are skipped then.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan
from scipy.stats import multivariate_normal
from statsmodels.tsa.statespace.kalman_smoother import KalmanSmoother
from statsmodels.tsa.statespace.sarimax import SARIMAX
from statsmodels.tsa.statespace.structural import UnobservedComponents

from ppl_worldmodel import read
from ppl_worldmodel.exact import finite, gaussian
from ppl_worldmodel.exact.system import FiniteState, LinearGaussian

# dynamax brings TensorFlow Probability, which reads what JAX has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

TOLERANCE = {"hmmlearn": 1e-11, "statsmodels": 1e-11, "dynamax hmm": 1e-12, "dynamax lgssm": 1e-8}
STEPS = 12
rng = np.random.default_rng(0)
START = np.array([0.5, 0.0, 0.5])
T = np.array([[0.8, 0.15, 0.05], [0.1, 0.6, 0.3], [0.0, 0.3, 0.7]])
O = np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.4, 0.4, 0.1], [0.05, 0.05, 0.1, 0.8]])
MEANS = np.array([[0.0, 1.0], [2.0, -1.0], [-1.0, 0.5]])
COVARIANCES = np.array([[[1.0, 0.3], [0.3, 0.5]], [[0.4, -0.1], [-0.1, 1.0]], [[2.0, 0.0], [0.0, 0.3]]])
COUNTS, HEIGHTS, PUSH = rng.integers(0, 4, STEPS), rng.normal(size=(STEPS, 2)), rng.normal(size=STEPS)
LEVELS = rng.normal(size=STEPS).cumsum()


def close(found: Any, expected: Any, library: str) -> None:
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE[library], atol=TOLERANCE[library])


def hidden(transition: Callable, emission: Callable, y: Any, push: Any) -> FiniteState:
    """The first state emits, then moves."""

    def model(y: Any, push: Any) -> None:
        def step(state: Any, inputs: Any) -> Any:
            y, push = inputs
            numpyro.sample("y", emission(state), obs=y)
            return numpyro.sample("state", transition(state, push)), None

        scan(step, numpyro.sample("first", dist.Categorical(jnp.asarray(START))), (y, push))

    system = read(model, {"y": y, "push": push}).system
    assert isinstance(system, FiniteState)
    return system


def plain(state: Any, push: Any) -> dist.Distribution:
    return dist.Categorical(jnp.asarray(T)[state])


def pushed(state: Any, push: Any) -> dist.Distribution:
    return dist.Categorical(logits=jnp.log(0.2 + jnp.asarray(T)[state]) + push * jnp.arange(3.0))


def category(state: Any) -> dist.Distribution:
    return dist.Categorical(jnp.asarray(O)[state])


def vector(state: Any) -> dist.Distribution:
    return dist.MultivariateNormal(jnp.asarray(MEANS)[state], jnp.asarray(COVARIANCES)[state])


@pytest.mark.parametrize("kind", ["CategoricalHMM", "GaussianHMM"])
def test_hmmlearn(kind: str) -> None:
    """Evidence, smoothed states and the most likely path; its beliefs given a prefix end in the filtered one."""
    hmm = pytest.importorskip("hmmlearn.hmm")
    if kind == "CategoricalHMM":
        theirs, y = hmm.CategoricalHMM(n_components=3, n_features=4), COUNTS[:, None]
        theirs.emissionprob_ = O
        system = hidden(plain, category, COUNTS, PUSH)
    else:
        theirs, y = hmm.GaussianHMM(n_components=3, covariance_type="full"), HEIGHTS
        theirs.means_, theirs.covars_ = MEANS, COVARIANCES
        system = hidden(plain, vector, HEIGHTS, PUSH)
    theirs.startprob_, theirs.transmat_ = START, T
    ours, path = finite.smooth(system), finite.most_likely_path(system)
    close(ours.log_evidence, theirs.score(y), "hmmlearn")
    close(ours.smoothed, theirs.predict_proba(y), "hmmlearn")
    prefixes = range(1, STEPS + 1)
    close(ours.filtered, [theirs.predict_proba(y[:t])[-1] for t in prefixes], "hmmlearn")
    close(ours.log_predictive.cumsum(), [theirs.score(y[:t]) for t in prefixes], "hmmlearn")
    np.testing.assert_array_equal(path, theirs.decode(y)[1])


@pytest.mark.parametrize("transition", [plain, pushed])
def test_dynamax_finite(transition: Callable) -> None:
    """Evidence and all three beliefs, with one transition matrix and with one for each step."""
    hmm = pytest.importorskip("dynamax.hidden_markov_model")
    states = jnp.arange(3)
    moves = jnp.stack([jnp.stack([transition(s, push).probs for s in states]) for push in PUSH[:-1]])
    log_likelihood = multivariate_normal_rows(HEIGHTS)
    theirs = hmm.hmm_smoother(jnp.asarray(START), moves, log_likelihood)
    ours = finite.smooth(hidden(transition, vector, HEIGHTS, PUSH))
    close(ours.log_evidence, theirs.marginal_loglik, "dynamax hmm")
    for kind in ("predicted", "filtered", "smoothed"):
        close(getattr(ours, kind), getattr(theirs, f"{kind}_probs"), "dynamax hmm")


def multivariate_normal_rows(y: np.ndarray) -> jax.Array:
    """log p(y_t | s), (time, state), by SciPy."""
    states = zip(MEANS, COVARIANCES, strict=True)
    return jnp.asarray(np.stack([multivariate_normal.logpdf(y, *moments) for moments in states], axis=-1))


A, Q = np.array([[0.9, 0.2], [-0.3, 0.7]]), np.array([[0.5, 0.1], [0.1, 0.3]])
C, R = np.array([[1.0, 0.5], [0.3, -1.0]]), np.diag([0.6, 1.2])
M0, P0 = np.array([1.0, -0.5]), np.array([[2.0, 0.4], [0.4, 1.0]])
DRIFT, OFFSET = np.array([0.2, -0.1]), np.array([0.0, 1.0])


def vectors(y: Any) -> None:
    """A two-dimensional state that emits two numbers with independent noise, then moves."""

    def step(x: Any, y: Any) -> Any:
        seen = jnp.asarray(C) @ x + OFFSET
        numpyro.sample("a", dist.Normal(seen[0], jnp.sqrt(R[0, 0])), obs=y[0])
        numpyro.sample("b", dist.Normal(seen[1], jnp.sqrt(R[1, 1])), obs=y[1])
        return numpyro.sample("x", dist.MultivariateNormal(jnp.asarray(A) @ x + DRIFT, jnp.asarray(Q))), None

    scan(step, numpyro.sample("x0", dist.MultivariateNormal(jnp.asarray(M0), jnp.asarray(P0))), y)


def read_gaussian(model: Callable, **data: Any) -> gaussian.SmoothedBeliefs:
    system = read(model, data).system
    assert isinstance(system, LinearGaussian)
    return gaussian.smooth(system)


def test_dynamax_gaussian() -> None:
    lgssm = pytest.importorskip("dynamax.linear_gaussian_ssm")
    none = jnp.zeros((2, 0))
    parameters = lgssm.ParamsLGSSM(
        lgssm.ParamsLGSSMInitial(jnp.asarray(M0), jnp.asarray(P0)),
        lgssm.ParamsLGSSMDynamics(jnp.asarray(A), jnp.asarray(DRIFT), none, jnp.asarray(Q)),
        lgssm.ParamsLGSSMEmissions(jnp.asarray(C), jnp.asarray(OFFSET), none, jnp.asarray(R)),
    )
    theirs = lgssm.lgssm_smoother(parameters, jnp.asarray(HEIGHTS))
    ours = read_gaussian(vectors, y=HEIGHTS)
    close(ours.log_evidence, theirs.marginal_loglik, "dynamax lgssm")
    for kind in ("filtered", "smoothed"):
        close(getattr(ours, kind), getattr(theirs, f"{kind}_means"), "dynamax lgssm")
        close(getattr(ours, f"{kind}_covariance"), getattr(theirs, f"{kind}_covariances"), "dynamax lgssm")


def assert_statsmodels(ours: Any, theirs: Any, first: int = 0, components: slice = slice(None), q: int = 0) -> None:
    """The beliefs from step `first` on (the predicted one after it) and the evidence.

    q    number of states that start diffuse. The density of a diffuse state is one here, so that the evidence is the limit of
         log p(y) + q/2 log(2 pi k) for a start of variance k; Durbin and Koopman, and statsmodels, leave out q/2 log(2 pi).
    """
    close(ours.log_evidence, theirs.llf + q / 2 * np.log(2 * np.pi), "statsmodels")
    for kind, start in (("predicted", first + (q > 0)), ("filtered", first), ("smoothed", 0)):
        mean = getattr(theirs, f"{kind}_state")[components, :STEPS].T
        covariance = getattr(theirs, f"{kind}_state_cov")[components, components, :STEPS].transpose(2, 0, 1)
        close(getattr(ours, kind)[start:, components], mean[start:], "statsmodels")
        close(getattr(ours, f"{kind}_covariance")[start:, components, components], covariance[start:], "statsmodels")


@pytest.mark.parametrize("gaps", [False, True])
def test_statsmodels_vectors_partly_missing(gaps: bool) -> None:
    y = HEIGHTS.copy()
    if gaps:
        y[[0, 4], 0] = y[[4, 7, 11], 1] = np.nan
    theirs = KalmanSmoother(k_endog=2, k_states=2, k_posdef=2, tolerance=0)
    theirs.bind(y)
    theirs["design"], theirs["obs_cov"], theirs["obs_intercept"] = C, R, OFFSET[:, None]
    theirs["transition"], theirs["state_cov"], theirs["state_intercept"] = A, Q, DRIFT[:, None]
    theirs["selection"] = np.eye(2)
    theirs.initialize_known(M0, P0)
    assert_statsmodels(read_gaussian(vectors, y=y), theirs.smooth())


def level(start: Callable, emission_first: bool) -> Callable:
    """The local level model: a random walk of variance 0.4, seen with variance 1.5."""

    def model(y: Any) -> None:
        def step(old: Any, y: Any) -> Any:
            new = numpyro.sample("level", dist.Normal(old, jnp.sqrt(0.4)))
            numpyro.sample("y", dist.Normal(old if emission_first else new, jnp.sqrt(1.5)), obs=y)
            return new, None

        scan(step, start(), y)

    return model


def known_start() -> Any:
    return numpyro.sample("level0", dist.Normal(0.5, 2.0))


def diffuse(name: str = "level0") -> Any:
    return numpyro.sample(name, dist.ImproperUniform(dist.constraints.real, (), ()))


@pytest.mark.slow
@pytest.mark.parametrize("missing", [[], [0], [3, 4, 11]])
@pytest.mark.parametrize("emission_first", [False, True])
def test_statsmodels_local_level(emission_first: bool, missing: list[int]) -> None:
    y = LEVELS.copy()
    y[missing] = np.nan
    theirs = UnobservedComponents(y, "llevel", loglikelihood_burn=0)
    theirs.ssm.tolerance = 0
    theirs.ssm.initialize_known(np.array([0.5]), np.array([[4.0 + (0.0 if emission_first else 0.4)]]))
    ours = read_gaussian(level(known_start, emission_first), y=y)
    assert_statsmodels(ours, theirs.smooth([1.5, 0.4]))


@pytest.mark.slow
@pytest.mark.parametrize("missing", [[], [0], [3, 4, 11]])
@pytest.mark.parametrize("emission_first", [False, True])
def test_statsmodels_local_level_with_a_diffuse_start(emission_first: bool, missing: list[int]) -> None:
    y = LEVELS.copy()
    y[missing] = np.nan
    theirs = UnobservedComponents(y, "llevel", use_exact_diffuse=True, loglikelihood_burn=0)
    theirs.ssm.tolerance = 0
    first = int(np.argmax(~np.isnan(y)))
    ours = read_gaussian(level(diffuse, emission_first), y=y)
    assert_statsmodels(ours, theirs.smooth([1.5, 0.4]), first=first, q=1)


def trend(y: Any) -> None:
    """The local linear trend: a level that moves by a slope, both random walks, both with a diffuse start."""

    def step(carry: Any, y: Any) -> Any:
        old, slope = carry
        numpyro.sample("y", dist.Normal(old, jnp.sqrt(1.5)), obs=y)
        new = numpyro.sample("level", dist.Normal(old + slope, jnp.sqrt(0.4)))
        return (new, numpyro.sample("slope", dist.Normal(slope, jnp.sqrt(0.2)))), None

    scan(step, (diffuse("level0"), diffuse("slope0")), y)


@pytest.mark.slow
@pytest.mark.parametrize("missing", [[], [1, 5]])
def test_statsmodels_trend_with_a_diffuse_start(missing: list[int]) -> None:
    """Two observations determine the two states; the smoothed beliefs of the steps before them are proper too."""
    y = LEVELS.copy()
    y[missing] = np.nan
    theirs = UnobservedComponents(y, "lltrend", use_exact_diffuse=True, loglikelihood_burn=0)
    theirs.ssm.tolerance = 0
    first = int(np.flatnonzero(~np.isnan(y))[1])
    assert_statsmodels(read_gaussian(trend, y=y), theirs.smooth([1.5, 0.4, 0.2]), first=first, q=2)


def second_order(y: Any) -> None:
    """An autoregression of order two, seen with noise; its state before the last comes along as a site of its own."""

    def step(carry: Any, y: Any) -> Any:
        old, older = carry
        new = numpyro.sample("x", dist.Normal(0.6 * old - 0.3 * older, jnp.sqrt(0.8)))
        last = numpyro.sample("last", dist.Delta(old))
        numpyro.sample("y", dist.Normal(new, jnp.sqrt(0.5)), obs=y)
        return (new, last), None

    scan(step, (numpyro.sample("x0", dist.Normal(1.0, 1.5)), numpyro.sample("last0", dist.Normal(-1.0, 0.5))), y)


@pytest.mark.parametrize("missing", [[], [0, 5, 6]])
def test_statsmodels_autoregression_of_order_two(missing: list[int]) -> None:
    """Its state is x_t and -0.3 x_t-1, at t = 1 a linear image of the two initial states and of the first noise."""
    y = LEVELS.copy()
    y[missing] = np.nan
    image, noise = np.array([[0.6, -0.3], [-0.3, 0.0]]), np.diag([0.8, 0.0])
    mean, covariance = image @ [1.0, -1.0], image @ np.diag([2.25, 0.25]) @ image.T + noise
    theirs = SARIMAX(y, order=(2, 0, 0), measurement_error=True)
    theirs.ssm.tolerance = 0
    theirs.ssm.initialize_known(mean, covariance)
    assert_statsmodels(read_gaussian(second_order, y=y), theirs.smooth([0.6, -0.3, 0.5, 0.8]), components=slice(0, 1))
