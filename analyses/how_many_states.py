"""Number of hidden states, by evidence and leave-future-out scores: major earthquakes per year, and Old Faithful.

The question.  A hidden Markov model has to be told how many states it has. More of them always fit better; the evidence penalises
them, and leave-future-out scores measure whether they predict better. What do the two say about a century of earthquakes (1 to 5
regimes of a Poisson rate), and of 299 eruptions of a geyser (1 to 4 states behind long and short)?

The finding.  One state is out of the question for both series, by evidence. Three regimes of earthquakes are ahead of two by nine
nats, and cannot be told from four; two states of the geyser are ahead of three and four. The scores of some dozens of steps agree
in the order, but decide next to nothing: their standard errors say so. For the geyser a window of two eruptions is ahead of every
number of hidden states, by evidence: its memory is short. All of it takes about a quarter of an hour.

Kass & Raftery (1995), J. American Statistical Association 90, for the scale of evidence; Zucchini, MacDonald & Langrock (2016),
"Hidden Markov Models for Time Series", chapter 6, who choose three regimes for the earthquakes by AIC and BIC.
"""

import argparse
from functools import partial
from pathlib import Path

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from ppl_worldmodel import compare
from ppl_worldmodel.comparisons.paired_difference import difference
from ppl_worldmodel.models import earthquakes, old_faithful

BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#767676"
SERIES = {"earthquakes": (earthquakes, 5), "old_faithful": (old_faithful, 4)}


def main(
    out: str | Path = "out/how_many_states",
    most: int = 5,
    *,
    names: tuple[str, ...] = tuple(SERIES),
    fast: bool = False,
) -> Path:
    """Compare every number of states on each series; returns the path of the figure."""
    console, found = Console(), {}
    for name in names:
        module, largest = SERIES[name]
        numbers = range(1, min(most, largest) + 1)
        programs = {
            f"{number} state{'s'[: number > 1]}": partial(module.model, num_states=number) for number in numbers
        }
        compared = compare(programs, module.data(), jax.random.key(0), fast=fast, say=Console(stderr=True).print)
        scores = compared.tree["scores"].to_dataset()
        found[name] = scores.assign(pointwise=compared.tree["pointwise"]["lfo"])
        console.print(_table(name, scores))
        for criterion in ("by_evidence", "by_prediction"):
            console.print(f"{criterion.replace('_', ' ')}: {compared.tree.attrs[criterion]}")
        evidence = scores["evidence"].sel(model=list(programs)).values
        assert evidence[1:].max() > evidence[0] + np.log(20.0), "strong evidence against a single state"
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    _draw(found, folder / "how_many_states.svg")
    return folder / "how_many_states.svg"


def _table(name: str, scores: xr.Dataset) -> Table:
    table = Table(
        "model", "log evidence", "leave-future-out", "behind the best", "weight", title=name, title_justify="left"
    )
    for model in scores["model"].values:
        row = scores.sel(model=model)
        pairs = (("evidence", "evidence_error"), ("lfo", "lfo_error"), ("behind", "behind_error"))
        cells = [f"{row[value].item():.2f} +- {row[error].item():.2g}" for value, error in pairs]
        table.add_row(str(model), *cells, f"{row['weight'].item():.2f}")
    return table


def _draw(found: dict[str, xr.Dataset], path: Path) -> None:
    """Log evidence and score of each number of states, in nats behind the best of them, with two standard errors."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    for axes, (name, scores) in zip(figure.subplots(1, len(found), squeeze=False)[0], found.items(), strict=True):
        with_state = scores.isel(model=np.flatnonzero(scores["state"].values))
        with_state = with_state.isel(model=np.argsort([str(model) for model in with_state["model"].values]))
        at = np.arange(1, with_state.sizes["model"] + 1)
        evidence = with_state["evidence"].values
        best = int(with_state["lfo"].values.argmax())
        ahead, noise = with_state["pointwise"].values, with_state["lfo_noise"].values
        behind = [
            difference(each, ahead[best], monte_carlo=float(np.hypot(noise[i], noise[best])))
            for i, each in enumerate(ahead)
        ]
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.errorbar(
            at - 0.06,
            evidence - evidence.max(),
            2 * with_state["evidence_error"].values,
            color=BLUE,
            marker="o",
            label="log evidence",
        )
        axes.errorbar(
            at + 0.06, [each.total for each in behind], [2 * each.error * (i != best) for i, each in enumerate(behind)],
            color=VERMILION, marker="s", linestyle="--", capsize=3, label="leave-future-out score",
        )  # fmt: skip
        axes.set(xlabel="hidden states", ylabel="nats behind the best", xticks=at, title=name)
        axes.legend(frameon=False, loc="lower right")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    figure.savefig(path.with_suffix(".png"), dpi=130)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fast", action="store_true", help="a tenth of the draws")
    main(fast=parser.parse_args().fast)
