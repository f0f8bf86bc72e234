"""Recovery of T and O, and the rate at which they are learned: three states, from 50 to 50 000 observations.

The question.  The posterior of T and O given a simulated series, after its states were given the names of the truth: how far is it
from the truth, row by row in total variation, do its 90 % intervals cover, and does it contract as the theory says?

What is shown.  For each length a table of the errors, of how many intervals cover, and of the share of draws whose names are not
clear. Asserted are that the error falls with the length and that, from the second length on, standard deviations fall with its
square root: the slope of the logarithms is -1/2 within two standard errors. The longest series takes nearly all of the half hour
that this runs, and keeps a quarter of the draws: its R-hat says that they are few.

Bickel, Ritov & Ryden (1998), Annals of Statistics 26, for the rate; Stephens (2000), J. Royal Statistical
Society B 62, for the names.
"""

from pathlib import Path

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from ppl_worldmodel import gibbs, read, simulate
from ppl_worldmodel.comparisons.fit import fit
from ppl_worldmodel.files.writing import write_whole
from ppl_worldmodel.identifiability.recovery import contraction, recovery
from ppl_worldmodel.models import three_state
from ppl_worldmodel.reports.figures.recovery import heat_map

LENGTHS = (50, 500, 5000, 50_000)
SHOWN = 5000


def main(
    out: str | Path = "out/learned_T_and_O", lengths: tuple[int, ...] = LENGTHS, draws: int = 1000, seed: int = 0
) -> Path:
    """Learn T and O from series of each length; returns the path of a map of true, learned and difference."""
    truth, folder, console = three_state.truth, Path(out), Console()
    table = Table("steps", "row", "error (TV)", "error of a draw", "intervals that cover", "names unclear", "R-hat")
    widths, errors = [], []
    for length in lengths:
        key_data, key = jax.random.split(jax.random.fold_in(jax.random.key(seed), length))
        series = simulate(three_state.model, truth, key_data, num_steps=length)["observation"]
        kept = draws if length <= SHOWN else draws // 4  # the beliefs of every draw are in memory at once
        engine = gibbs(num_warmup=draws // 2, num_samples=kept)
        reading = read(three_state.model, {"observations": np.asarray(series)})
        learned = fit(reading, key, engine=engine, reference=truth).result
        found, named = recovery(learned, truth), learned["alignment"].attrs
        for i, row in enumerate(found["row"].values):
            first = i == 0
            table.add_row(
                f"{length:,}" if first else "", str(row), f"{float(found['error'][i]):.3f}", f"{float(found['spread'][i]):.3f}",
                f"{found.attrs['covered']} of {found.attrs['of']}" if first else "",
                f"{100 * float(named['unclear']):.1f} %" if first else "", f"{float(named['rhat_after']):.3f}" if first else "",
            )  # fmt: skip
        widths.append(found["sd"].values)
        errors.append(float(found["error"].mean()))
        if length == min(lengths, key=lambda each: abs(each - SHOWN)):
            picture = heat_map("T", learned["posterior"]["T"].values, truth["T"], (three_state.coords["state"],) * 2)
    console.print(table)
    rate = contraction(np.array(widths)[1:], np.array(lengths)[1:]) if len(lengths) > 3 else None
    if rate is not None:
        console.print(f"standard deviations fall with the length to the power {rate.slope:.2f} +- {2 * rate.error:.2f}")
        assert rate.expected, "the posterior contracts with the square root of the length"
    assert errors[-1] < errors[0], "more data, less error"
    path = folder / "T.svg"
    write_whole(path, lambda temporary: temporary.write_text(_standing_alone(str(picture.html)), encoding="utf-8"))
    return path


def _standing_alone(markup: str) -> str:
    """The figure of a page as a file."""
    return markup.replace(
        "<svg ", '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" ', 1
    )


if __name__ == "__main__":
    main()
