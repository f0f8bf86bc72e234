"""Belief against window of history: a filter against windows of the last 0, 1, 2, 3, 4 observations.

The question.  A window of history is the simplest state: the last k observations, and a table of what followed them. A belief keeps
two numbers here and has seen the whole past. How many nats a step does the belief gain over every window, and how long a series
does a window need to learn what it can?

The finding.  A longer window knows more and learns slower: it has 3^(k+1) entries to fill. With a few hundred steps the window of
one observation is best, with a few thousand that of two, with ten thousand that of three; none of them reaches the belief, whose
advantage over the best window shrinks but stays (0.06 nats a step after 500 steps, 0.013 after 20 000). The belief at the true
parameters passes the test of sufficiency; the belief of a chain that moves faster than the true one does not.

Littman, Sutton & Singh (2001), "Predictive Representations of State", NIPS 14, for windows as states; the windows are conjugate
Markov chains with Dirichlet priors, and their predictive probabilities are exact.
"""

from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from ppl_worldmodel import read, simulate
from ppl_worldmodel.comparisons.baselines import baselines
from ppl_worldmodel.comparisons.paired_difference import difference
from ppl_worldmodel.comparisons.sufficiency import sufficiency
from ppl_worldmodel.exact import finite
from ppl_worldmodel.models import three_state

ORDERS = (0, 1, 2, 3, 4)
COLOURS = ("#767676", "#56B4E9", "#0072B2", "#009E73", "#D55E00")


def main(out: str | Path = "out/belief_or_window", num_steps: int = 20_000, seed: int = 0) -> Path:
    """Score the belief and the windows on one long simulated series; returns the path of the figure."""
    truth = three_state.truth
    series = np.asarray(simulate(three_state.model, truth, jax.random.key(seed), num_steps=num_steps)["observation"])
    system = read(three_state.model, {"observations": series}, truth).system
    belief = np.asarray(finite.filter(system).log_predictive)
    windows = baselines(series, kind="categorical", orders=ORDERS, num_symbols=3)

    lengths = np.unique(np.geomspace(50, num_steps, 9).astype(int))
    lost = {name: np.cumsum(belief - terms)[lengths - 1] / lengths for name, terms in windows.items()}
    best = [min(lost, key=lambda name: lost[name][i]) for i in range(lengths.size)]
    heading = "nats a step by which a window of so many observations is behind the belief"
    table = Table("steps", *map(str, ORDERS), "best", title=heading, title_justify="left")
    for i, length in enumerate(lengths):
        table.add_row(f"{length:,}", *(f"{lost[name][i]:.4f}" for name in windows), str(list(windows).index(best[i])))
    Console().print(table)

    orders = [list(windows).index(name) for name in best]
    assert orders[-1] > min(orders[1:]), "a longer series pays for a longer window"
    half = num_steps // 2
    for name, terms in windows.items():
        late = difference(belief[half:], terms[half:])
        assert late.total > 2 * late.error, f"the belief predicts better than the {name}, in the second half, too"

    right = sufficiency(system, series)
    faster = read(three_state.model, {"observations": series}, truth | {"T": 0.5 * truth["T"] + 0.5 / 3}).system
    wrong = sufficiency(faster, series)
    Console().print(
        f"sufficient? the belief at the truth: p = {right.p:.2g}; of a chain that moves too fast: p = {wrong.p:.2g}"
    )
    assert right.p > 1e-3 > wrong.p
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    _draw(lengths, lost, folder / "belief_or_window.svg")
    return folder / "belief_or_window.svg"


def _draw(lengths: np.ndarray, lost: dict[str, np.ndarray], path: Path) -> None:
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    for (name, values), colour, marker in zip(lost.items(), COLOURS, "osD^v", strict=True):
        axes.plot(lengths, values, color=colour, marker=marker, markersize=4, label=name)
    axes.set(xscale="log", xlabel="time steps", ylabel="nats a step behind the belief")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    figure.savefig(path.with_suffix(".png"), dpi=130)


if __name__ == "__main__":
    main()
