"""Simulation-based calibration of faulty posteriors: which faults it finds, and in which quantity.

The question.  A controlled hidden Markov model draws its data; a faulty copy of it is fitted by Gibbs sampling or NUTS. Two
hundred data sets of sixty steps each; where do the true values rank among the posterior draws?

The finding.  The right program passes, and each of five faults is seen: T transposed, the rows of O swapped, the prior of T
dropped, an action that takes effect one step late, and observations that are skipped. Skipped observations are the instructive
fault: the posterior given the other half of the data is a right posterior, so that every parameter ranks uniformly and calibration
by parameters alone cannot find it. The log likelihood of all data finds it: it is too low in every draw (Modrak et al. 2023,
Bayesian Analysis, section 3: data-dependent test quantities).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import numpyro
import numpyro.distributions as dist
import xarray as xr
from arviz_stats.ecdf_utils import ecdf_pit
from numpyro.contrib.control_flow import scan
from rich.console import Console
from rich.table import Table

from ppl_worldmodel.studies.calibrate import calibrate

STEPS = 60
ACTIONS = np.random.default_rng(0).integers(0, 2, STEPS)
PRIOR = jnp.array([[[8.0, 2.0], [6.0, 4.0]], [[2.0, 8.0], [1.0, 9.0]]])  # of T[action, state]
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#c9c9c9"


def program(
    *, prior: Any = PRIOR, transpose: bool = False, swap: bool = False, late: bool = False, skip: bool = False
) -> Callable:
    """The model, with T and O learned; or a faulty copy of it."""

    def model(actions: Any = ACTIONS, observations: Any = None) -> None:
        T = numpyro.sample("T", dist.Dirichlet(jnp.asarray(prior)).to_event(2))
        O = numpyro.sample("O", dist.Dirichlet(jnp.array([[12.0, 4.0], [3.0, 13.0]])).to_event(1))
        move = jnp.swapaxes(T, 1, 2) / jnp.swapaxes(T, 1, 2).sum(axis=-1, keepdims=True) if transpose else T
        emit = O[::-1] if swap else O

        def step(state: Any, inputs: Any) -> Any:
            action, seen, observation = inputs
            state = numpyro.sample("state", dist.Categorical(move[action, state]))
            with numpyro.handlers.mask(mask=seen):
                numpyro.sample("observation", dist.Categorical(emit[state]), obs=observation)
            return state, None

        taken = jnp.roll(jnp.asarray(actions), 1) if late else jnp.asarray(actions)
        seen = jnp.arange(STEPS) % 2 == 1 if skip else jnp.ones(STEPS, bool)
        initial = numpyro.sample("initial_state", dist.Categorical(jnp.array([0.5, 0.5])))
        scan(step, initial, (taken, seen, observations))

    return model


FITTED = {
    "the right program": {},
    "T transposed": {"transpose": True},
    "rows of O swapped": {"swap": True},
    "prior of T dropped": {"prior": jnp.ones((2, 2, 2))},
    "action one step late": {"late": True},
    "every other observation skipped": {"skip": True},
}


def main(out: Path = Path("out"), replications: int = 200, fitted: tuple[str, ...] = tuple(FITTED)) -> Path:
    """Calibrate each program and draw the ranks of the worst quantity and of the log likelihood; returns the figure."""
    found = {
        name: calibrate(
            program(), replications=replications, fitted=program(**FITTED[name]) if FITTED[name] else None, **_engine(name)
        )
        for name in fitted
    }  # fmt: skip
    table = Table("fitted", "verdict", "joint p", "worst quantity", "its p", "parameters alone, smallest p")
    for name, result in found.items():
        p = result["p"].to_series()
        own = p[[quantity.startswith(("T", "O")) for quantity in p.index]]
        row = (
            result.attrs["verdict"],
            f"{result.attrs['joint_p']:.2g}",
            p.idxmin(),
            f"{p.min():.2g}",
            f"{own.min():.2g}",
        )
        table.add_row(name, *map(str, row))
    Console().print(table)
    if "the right program" in found and replications >= 100:
        assert all((r.attrs["verdict"] == "agrees") == (name == "the right program") for name, r in found.items())
    out.mkdir(parents=True, exist_ok=True)
    path = out / "faults_and_ranks.png"
    _draw(found, path)
    return path


def _engine(name: str) -> dict[str, Any]:
    """Gibbs, except for a T whose transpose must be normalised: its full conditional is not a Dirichlet distribution."""
    if name == "T transposed":
        return {"engine": "nuts", "num_warmup": 300, "num_samples": 300}
    return {"engine": "gibbs", "num_warmup": 20, "num_samples": 120}


def _draw(found: dict[str, xr.Dataset], path: Path) -> None:
    figure, grid = plt.subplots(
        2, len(found), figsize=(2.3 * len(found), 4.2), sharex=True, sharey=True, layout="constrained", squeeze=False
    )
    for column, (name, result) in zip(grid.T, found.items(), strict=True):
        p = result["p"].to_series()
        worst = str(p[[quantity.startswith(("T", "O")) for quantity in p.index]].idxmin())
        for axes, quantity in zip(column, (worst, "log likelihood"), strict=True):
            at, ecdf, low, high = ecdf_pit(result["rank"].sel(quantity=quantity).values, 0.99, 1000)
            outside = bool(((ecdf < low) | (ecdf > high)).any())
            axes.fill_between(at, low - at, high - at, color=GREY, linewidth=0)
            axes.plot(at, ecdf - at, color=VERMILION if outside else BLUE)
            axes.set_title(f"{name}\n{quantity}" if axes is column[0] else quantity, fontsize=8)
            axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("fractional rank of the true value", fontsize=9)
    figure.supylabel("ECDF minus uniform; grey: 99 % band", fontsize=9)
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main()
