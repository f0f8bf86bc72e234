"""Rank plot, by ArviZ, of every entry of a parameter: chains that draw from one distribution have uniform ranks."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from arviz_plots import plot_rank

from ppl_worldmodel.reports.figures.embedding import WIDTH, Picture, picture, style
from ppl_worldmodel.reports.figures.styles import Look
from ppl_worldmodel.reports.parameters import entries

MOST = 18
DRAWS = 1000  # of each chain: the time of ArviZ's test grows with the square of their number


def ranks(name: str, draws: np.ndarray, look: Look, rhat: float) -> Picture:
    """Differences between the distribution of each chain's ranks and the uniform, one line a chain.

    draws   of one parameter, with the leading axes (chain, draw)
    rhat    the largest R-hat of its entries, for the caption
    """
    every = entries(name, draws[:, :: -(-draws.shape[1] // DRAWS)])
    chosen = {label: (("chain", "draw"), values) for label, values in list(every.items())[:MOST]}
    coords = {"chain": np.arange(draws.shape[0]), "draw": np.arange(len(next(iter(every.values()))[0]))}
    columns = 2 if len(chosen) in (2, 4) else min(len(chosen), 3)
    height = 0.5 + 1.3 * -(-len(chosen) // columns)
    with style(), plt.ioff():
        # ArviZ's test of uniformity needs independent draws: of good chains with autocorrelation 0.6 it rejects two in five at
        # the level of 1 %, and one in forty once they are thinned.
        collection = plot_rank(
            xr.DataTree.from_dict({"posterior": xr.Dataset(chosen, coords)}),
            backend="matplotlib",
            thin=True,
            col_wrap=columns,
            aes={"color": ["chain"]},
            color=_shades(look.colour, draws.shape[0]),
            visuals={"xlabel": False, "title": {"size": 8}, "remove_axis": False},
            figure_kwargs={"figsize": (WIDTH, height), "layout": "constrained"},
        )
        figure = collection.viz["figure"].item()
        plt.close(figure)
        figure.supxlabel("fractional rank among all chains", fontsize=8)
        figure.supylabel("ECDF minus uniform", fontsize=8)
        caption = (
            f"{name}: ranks of {look.name}'s {draws.shape[0]} chains (thinned to nearly independent draws, at most {DRAWS:,} of "
            f"each), one shade a chain; the largest R-hat is {rhat:.3f}. Chains that agree stay near zero. p: ArviZ's test of each "
            "entry alone, which is not a finding."
        )
        caption += f" The first {MOST} of {len(every)} entries are shown." if len(every) > MOST else ""
        return picture(figure, caption, dense=True)


def _shades(colour: str, chains: int) -> list[str]:
    """Shades of one colour, from dark to light."""
    base = np.array(mpl.colors.to_rgb(colour))
    light = np.linspace(-0.45, 0.55, chains)[:, None]
    shades = np.where(light < 0, base * (1.0 + light), base + (1.0 - base) * light)
    return [mpl.colors.to_hex(tuple(shade)) for shade in shades]
