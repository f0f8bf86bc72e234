"""Calibration plot: the ECDF of the ranks minus the uniform one, with ArviZ's simultaneous bands, one panel a quantity."""

from pathlib import Path

import matplotlib.pyplot as plt
import xarray as xr
from arviz_stats.ecdf_utils import ecdf_pit

from ppl_worldmodel.files.writing import write_whole
from ppl_worldmodel.reports.figures.embedding import WIDTH, style

BAND, SIMULATIONS = 0.99, 1000
INSIDE, OUTSIDE = "#0067a5", "#b02a1a"


def save_calibration(result: xr.Dataset, path: Path, title: str) -> Path:
    """Draw the fractional ranks of `calibrate` into a PNG file.

    Each panel alone stays inside its band with probability 0.99 if the engine is calibrated; one that leaves it is red.
    """
    quantities = [str(name) for name in result["quantity"].values]
    columns = min(4, len(quantities))
    rows = -(-len(quantities) // columns)
    with style(), plt.ioff():
        figure, grid = plt.subplots(
            rows, columns, figsize=(1.5 * WIDTH, 0.8 + 1.4 * rows), layout="constrained", sharex=True, sharey=True,
            squeeze=False,
        )  # fmt: skip
        for name, axes in zip(quantities, grid.flat, strict=False):
            at, found, low, high = ecdf_pit(result["rank"].sel(quantity=name).values, BAND, SIMULATIONS)
            out = bool(((found < low) | (found > high)).any())
            axes.fill_between(at, low - at, high - at, color="#c9c9c9", linewidth=0)
            axes.plot(at, found - at, color=OUTSIDE if out else INSIDE, linewidth=1.1)
            axes.set_title(f"{name}   p = {float(result['p'].sel(quantity=name)):.2g}", fontsize=8)
        for axes in grid.flat[len(quantities) :]:
            axes.remove()
        figure.suptitle(title, fontsize=10, x=0.01, ha="left")
        figure.supxlabel("fractional rank of the true value among posterior draws", fontsize=8)
        figure.supylabel(f"ECDF minus uniform; grey: {100 * BAND:.0f} % band", fontsize=8)
        write_whole(path, lambda temporary: figure.savefig(temporary, format="png", dpi=150))
        plt.close(figure)
    return path
