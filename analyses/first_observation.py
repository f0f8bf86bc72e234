"""The cost of ignoring the first observation: how wrong the filter's beliefs are, and for how long.

The question.  A short script for the two-state system draws a state and an observation at t = 0, sets the
belief at t = 0 to (0.5, 0.5), and applies

    b_t(s')  proportional to  O[s', o_t] * sum_s T[s, s'] b_t-1(s)        for t = 1, 2, ...

The recursion is right. But o_0 was drawn and never conditioned on: the belief at t = 0 is the prediction,
not yet corrected, and is taken for the filter. How far off are the beliefs, and does it matter later?

The finding.  At t = 0 the belief is off by 0.227 after a 0 and by 0.278 after a 1. Then the error fades: by
more than a third per step on average, so that its mean is below 0.001 after twelve steps. The observations
do not repair it: a correction adds the same number to the log odds of both beliefs, right and wrong, and
leaves their distance in log odds as it was; it is the prediction that forgets. For this T, a step of prediction
shrinks that distance to 0.8 of itself or less, whatever is observed:

    |log odds of the right belief - log odds of the wrong one|  at t   <=   0.8^t * its value at t = 0
    error  <=  tanh(distance in log odds / 4)

The constant is Birkhoff's coefficient of contraction, tanh(log(T00 T11 / (T01 T10)) / 4). It is below one
because T has no zero; with T the identity, the distance would never shrink.

Birkhoff (1957), Transactions of the American Mathematical Society 85, for the contraction; Le Gland and
Oudjane (2004), Annals of Applied Probability 14(1), for filters that forget their start.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from ppl_worldmodel import read, simulate
from ppl_worldmodel.exact import finite
from ppl_worldmodel.exact.system import FiniteState
from ppl_worldmodel.models import two_state_pomdp

BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#767676"


def belief_without_the_first(transition: Array, log_likelihood: Array) -> Array:
    """The script's beliefs (time, state): uniform at t = 0, then predict and correct once per step."""

    def step(belief: Array, likelihood: Array) -> tuple[Array, Array]:
        belief = finite.correct(finite.predict(belief, transition), likelihood)
        return belief, belief

    uniform = jnp.array([0.5, 0.5])
    _, later = jax.lax.scan(step, uniform, jnp.exp(log_likelihood[1:]))
    return jnp.concatenate([uniform[None], later])


def log_odds(belief: np.ndarray) -> np.ndarray:
    return np.log(belief[..., 1]) - np.log(belief[..., 0])


def main(
    out: str | Path = "out/first_observation", num_sequences: int = 2000, num_steps: int = 30, seed: int = 0
) -> Path:
    """Compare the two beliefs over `num_sequences` simulated series; returns the path of the figure."""
    model, truth = two_state_pomdp.model, two_state_pomdp.truth
    keys = jax.random.split(jax.random.key(seed), num_sequences)
    observations = jax.vmap(lambda key: simulate(model, truth, key, num_steps=num_steps)["observation"])(keys)

    # What an observation says about the state does not depend on when it comes: read all as one, then cut.
    system = read(model, {"observations": observations.reshape(-1)}, truth).system
    assert isinstance(system, FiniteState)
    log_likelihoods = system.log_likelihood.reshape(num_sequences, num_steps, -1)

    def both_beliefs(log_likelihood: Array) -> tuple[Array, Array]:
        series = system._replace(log_likelihood=log_likelihood)
        return finite.filter(series).filtered, belief_without_the_first(system.transition, log_likelihood)

    right, wrong = (np.asarray(belief) for belief in jax.jit(jax.vmap(both_beliefs))(log_likelihoods))

    # The script does what a filter does when the first observation is missing. It was not missing.
    series_with_gap = observations[0].astype(float).at[0].set(jnp.nan)
    gap = read(model, {"observations": series_with_gap}, truth).system
    np.testing.assert_allclose(finite.filter(gap).filtered, wrong[0], rtol=1e-10)

    # Total variation between two beliefs over two states is the difference in the probability of either.
    error = np.abs(right - wrong)[..., 1]
    O = truth["O"]
    start_error = np.abs(O[1] / O.sum(axis=0) - 0.5)[np.asarray(observations[:, 0])]
    np.testing.assert_allclose(error[:, 0], start_error, rtol=1e-10)

    T = truth["T"]
    contraction = np.tanh(np.log(T[0, 0] * T[1, 1] / (T[0, 1] * T[1, 0])) / 4)
    distance = np.abs(log_odds(right) - log_odds(wrong))
    bound = contraction ** np.arange(num_steps) * distance[:, :1]
    # Both log odds carry rounding errors, which matter once the distance is as small as they are.
    assert np.all(distance <= bound + 1e-12), "a step of prediction contracts the distance in log odds"
    error_bound = np.tanh(bound / 4)
    assert np.all(error <= error_bound + 1e-12), "a distance in log odds bounds the distance of the beliefs"

    mean_error = error.mean(axis=0)
    per_step = (mean_error[-1] / mean_error[0]) ** (1 / (num_steps - 1))
    assert per_step < contraction, "on average the filter forgets faster than the bound asks"

    _print_table(error, error_bound, contraction, per_step)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    _draw(np.asarray(observations[0]), right[0], wrong[0], error, error_bound, folder / "first_observation.svg")
    return folder / "first_observation.svg"


def _print_table(error: np.ndarray, error_bound: np.ndarray, contraction: float, per_step: float) -> None:
    num_sequences, num_steps = error.shape
    table = Table(title=f"Error of the belief, {num_sequences} series", title_justify="left")
    for heading in ("t", "mean", "worst", "at most"):
        table.add_column(heading, justify="right")
    for t in [t for t in (0, 1, 2, 3, 5, 10, 15, 20, 30, 50) if t < num_steps]:
        values = error[:, t].mean(), error[:, t].max(), error_bound[:, t].max()
        table.add_row(str(t), *(f"{value:.6f}" for value in values))
    Console().print(table)
    Console().print(f"per step the mean error shrinks to {per_step:.2f} of itself; the bound says {contraction:.2f}")


def _draw(
    observations: np.ndarray,
    right: np.ndarray,
    wrong: np.ndarray,
    error: np.ndarray,
    error_bound: np.ndarray,
    path: Path,
) -> None:
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    series, fading = figure.subplots(1, 2)
    time = np.arange(len(observations))

    series.plot(time, right[:, 1], color=BLUE, marker="o", markersize=4, label="all observations")
    series.plot(
        time,
        wrong[:, 1],
        color=VERMILION,
        marker="s",
        markersize=4,
        linestyle="--",
        label="first one ignored",
    )
    ticks = np.where(observations == 1, 1.06, -0.06)
    series.scatter(time, ticks, color=GREY, marker="|", s=40, label="observation (1 above, 0 below)")
    series.set(xlabel="time step", ylabel="probability of state 1", ylim=(-0.1, 1.5), yticks=[0, 0.5, 1])
    series.set_title("One series")
    series.legend(loc="upper right", frameon=False, fontsize="small")

    fading.semilogy(time, error_bound.max(axis=0), color=GREY, linestyle=":", label="bound")
    fading.semilogy(time, error.max(axis=0), color=VERMILION, linestyle="--", label="worst series")
    fading.semilogy(time, error.mean(axis=0), color=BLUE, label="mean")
    fading.set(title=f"{len(error)} series", xlabel="time step", ylabel="error of the belief (total variation)")
    fading.legend(frameon=False, fontsize="small")

    for axes in (series, fading):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


if __name__ == "__main__":
    main()
