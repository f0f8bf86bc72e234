"""Benchmark of exact inference: log likelihood, gradient and smoother, beside other libraries, as ratios of times.

Every row is one question on one series (or many), asked of this package and of each peer that is installed, in turn, several times:
the least time of each counts, since the machine may be shared. Compiled before, in float64. The answers are compared, too. A ratio
above one: this package is faster. Peers: dynamax (`pip install -e '.[referees]'`), hmmlearn, statsmodels.

    python analyses/benchmarks/exact_inference.py [--steps 100000] [--repeats 7]    writes out/exact_inference.csv
"""

import argparse
import importlib.util
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from ppl_worldmodel.exact import FiniteState, LinearGaussian, Structure, finite, gaussian

OURS = "ppl_worldmodel"


class Row(NamedTuple):
    """A question: its name, and for each library a function without arguments that answers it."""

    question: str
    answers: dict[str, Callable[[], Any]]


def compiled(function: Callable, *arguments: Any) -> Callable[[], Any]:
    """The function on its arguments, compiled; the result is waited for."""
    quick = jax.jit(function)
    return lambda: jax.block_until_ready(quick(*arguments))


def hidden_markov(states: int, steps: int) -> Iterator[Row]:
    """One series of Gaussian-like log likelihoods under a random transition."""
    rng = np.random.default_rng(states)
    initial, T = jnp.full(states, 1.0 / states), jnp.array(rng.dirichlet(np.ones(states), states))
    log_likelihood = jnp.array(2.0 * rng.normal(size=(steps, states)))
    system = FiniteState(initial, T, log_likelihood)
    value: dict[str, Callable] = {OURS: compiled(finite.log_evidence, system)}
    gradient: dict[str, Callable] = {OURS: compiled(lambda s: jax.grad(finite.log_evidence)(s)[:3], system)}
    smoother: dict[str, Callable] = {OURS: compiled(lambda s: finite.smooth(s).smoothed, system)}
    if importlib.util.find_spec("dynamax"):
        from dynamax.hidden_markov_model import hmm_filter, hmm_smoother

        def of_peer(initial: Any, T: Any, log_likelihood: Any) -> Any:
            return hmm_filter(initial @ T, T, log_likelihood).marginal_loglik

        arrays = initial, T, log_likelihood
        value["dynamax"] = compiled(of_peer, *arrays)
        gradient["dynamax"] = compiled(jax.grad(of_peer, (0, 1, 2)), *arrays)
        smoother["dynamax"] = compiled(lambda a, b, c: hmm_smoother(a @ b, b, c).smoothed_probs, *arrays)
    if importlib.util.find_spec("hmmlearn"):
        from hmmlearn import _hmmc

        start, matrix, likelihood = np.asarray(initial @ T), np.asarray(T), np.asarray(log_likelihood)
        value["hmmlearn"] = lambda: _hmmc.forward_log(start, matrix, likelihood)[0]
    name = f"HMM, K = {states}, T = {steps:,}"
    yield Row(f"{name}: log likelihood", value)
    yield Row(f"{name}: gradient", gradient)
    yield Row(f"{name}: smoother", smoother)


def many_hidden_markov(series: int, states: int, steps: int) -> Iterator[Row]:
    """Many short series with one transition."""
    rng = np.random.default_rng(series)
    initial, T = jnp.full(states, 1.0 / states), jnp.array(rng.dirichlet(np.ones(states), states))
    log_likelihood = jnp.array(2.0 * rng.normal(size=(series, steps, states)))

    def ours(initial: Any, T: Any, log_likelihood: Any) -> Any:
        each = (jnp.broadcast_to(array, (series, *array.shape)) for array in (initial, T))
        return finite.log_evidence(FiniteState(*each, log_likelihood, Structure(sequences=series))).sum()

    arrays = initial, T, log_likelihood
    value: dict[str, Callable] = {OURS: compiled(ours, *arrays)}
    gradient: dict[str, Callable] = {OURS: compiled(jax.grad(ours, (0, 1, 2)), *arrays)}
    if importlib.util.find_spec("dynamax"):
        from dynamax.hidden_markov_model import hmm_filter

        def of_peer(initial: Any, T: Any, log_likelihood: Any) -> Any:
            return jax.vmap(lambda l: hmm_filter(initial @ T, T, l).marginal_loglik)(log_likelihood).sum()

        value["dynamax"] = compiled(of_peer, *arrays)
        gradient["dynamax"] = compiled(jax.grad(of_peer, (0, 1, 2)), *arrays)
    name = f"{series:,} HMMs, K = {states}, T = {steps}"
    yield Row(f"{name}: log likelihood", value)
    yield Row(f"{name}: gradient", gradient)


def kalman(dim_x: int, dim_y: int, steps: int) -> Iterator[Row]:
    """One series of a stationary system."""
    rng = np.random.default_rng(dim_x)
    A = rng.normal(size=(dim_x, dim_x))
    A *= 0.95 / np.abs(np.linalg.eigvals(A)).max()
    C, Q, R = rng.normal(size=(dim_y, dim_x)), 0.3 * np.eye(dim_x), 0.5 * np.eye(dim_y)
    y = rng.normal(size=(steps, dim_y))
    arrays = [jnp.array(each) for each in (A, C, Q, R, y)]

    def system(A: Any, C: Any, Q: Any, R: Any, y: Any) -> LinearGaussian:
        b, d, order = jnp.zeros(dim_x), jnp.zeros(dim_y), Structure(order="emission first")
        return LinearGaussian(b, jnp.eye(dim_x), A, b, Q, C, d, R, y, order)

    def ours(*arrays: Any) -> Any:
        return gaussian.log_evidence(system(*arrays))

    value: dict[str, Callable] = {OURS: compiled(ours, *arrays)}
    gradient: dict[str, Callable] = {OURS: compiled(jax.grad(ours, (0, 1)), *arrays)}
    smoother: dict[str, Callable] = {OURS: compiled(lambda *arrays: gaussian.smooth(system(*arrays)).smoothed, *arrays)}
    if importlib.util.find_spec("dynamax"):
        from dynamax.linear_gaussian_ssm import lgssm_filter, lgssm_smoother
        from dynamax.linear_gaussian_ssm.inference import make_lgssm_params

        def parameters(A: Any, C: Any, Q: Any, R: Any) -> Any:
            return make_lgssm_params(jnp.zeros(dim_x), jnp.eye(dim_x), A, Q, C, R)

        def of_peer(A: Any, C: Any, Q: Any, R: Any, y: Any) -> Any:
            return lgssm_filter(parameters(A, C, Q, R), y).marginal_loglik

        value["dynamax"] = compiled(of_peer, *arrays)
        gradient["dynamax"] = compiled(jax.grad(of_peer, (0, 1)), *arrays)
        smoother["dynamax"] = compiled(
            lambda *arrays: lgssm_smoother(parameters(*arrays[:4]), arrays[4]).smoothed_means, *arrays
        )
    if importlib.util.find_spec("statsmodels"):
        from statsmodels.tsa.statespace.kalman_smoother import KalmanSmoother

        peer = KalmanSmoother(k_endog=dim_y, k_states=dim_x)
        peer.bind(y)
        peer["design"], peer["transition"], peer["state_cov"], peer["obs_cov"] = C, A, Q, R
        peer["selection"] = np.eye(dim_x)
        peer.initialize_known(np.zeros(dim_x), np.eye(dim_x))
        value["statsmodels"] = lambda: peer.loglike()
        smoother["statsmodels"] = lambda: peer.smooth().smoothed_state.T
    name = f"Kalman, n, m = {dim_x}, {dim_y}, T = {steps:,}"
    yield Row(f"{name}: log likelihood", value)
    yield Row(f"{name}: gradient", gradient)
    yield Row(f"{name}: smoother", smoother)


def measured(row: Row, repeats: int) -> list[dict[str, Any]]:
    """Least and median time of each library, in milliseconds, and the largest difference of its answer from ours."""
    answers = {name: [np.asarray(leaf) for leaf in jax.tree.leaves(answer())] for name, answer in row.answers.items()}
    times: dict[str, list[float]] = {name: [] for name in row.answers}
    for _ in range(repeats):
        for name, answer in row.answers.items():
            started = time.perf_counter()
            answer()
            times[name].append(1e3 * (time.perf_counter() - started))
    found = []
    for name, each in times.items():
        apart = [
            float(np.abs(one - other).max() / np.abs(other).max())
            for one, other in zip(answers[OURS], answers[name], strict=True)
        ]
        found.append(
            {"question": row.question, "library": name, "least_ms": min(each), "median_ms": float(np.median(each)),
             "ratio": min(each) / min(times[OURS]), "apart": max(apart)}
        )  # fmt: skip
    return found


def main(steps: int = 100_000, repeats: int = 7, out: str | Path = "out") -> Path:
    """Measure every row; returns the path of the CSV."""
    jax.config.update("jax_enable_x64", True)
    rows = [row for states in (2, 8, 64) for row in hidden_markov(states, steps)]
    rows += many_hidden_markov(1000, 8, 100)
    rows += [row for dims in ((1, 1), (2, 1), (4, 2)) for row in kalman(*dims, steps)]
    found: list[dict[str, Any]] = []
    table = Table(
        "question", "library", "least ms", "median ms", "times ours", "apart", title="Exact inference, side by side"
    )
    for row in rows:
        for each in measured(row, repeats):
            found.append(each)
            numbers = (f"{each[name]:.4g}" for name in ("least_ms", "median_ms", "ratio"))
            table.add_row(
                each["question"] if each["library"] == OURS else "", each["library"], *numbers, f"{each['apart']:.0e}"
            )
    path = Path(out) / "exact_inference.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(found).to_csv(path, index=False)
    Console(width=120).print(table)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure exact inference beside other libraries.")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=7)
    chosen = parser.parse_args()
    main(chosen.steps, chosen.repeats)
