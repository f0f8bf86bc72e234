"""Heat maps of a parameter such as T or O, cell by cell: true, learned, difference.

Both colour maps are perceptually even. The sequential one is cividis (Nunez, Anderton & Renslow 2018, PLoS ONE 13), which looks the
same to the colour-blind; that of differences is the one of Moreland (2009, Advances in Visual Computing 5876), grey at zero.
"""

from collections.abc import Sequence
from textwrap import fill
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.reports.figures.embedding import WIDTH, Picture, picture, style
from ppl_worldmodel.reports.names import MINUS, number

SEQUENTIAL, DIVERGING = colormaps["cividis"], colormaps["coolwarm"]
SIDE_BY_SIDE = 3  # columns up to which the panels stand next to each other; wider ones stand above each other
NUMBERED = 12  # columns up to which the cells have room for numbers
ACTIONS = 4  # matrices that are shown, at most
ONE_LINE = 0.56  # inches that an interval takes
SMALL = 7.0  # points
CHARACTER = 0.065  # inches that a character of a label takes
Labels = tuple[Sequence[str], Sequence[str]]


class _Map(NamedTuple):
    """One panel: numbers with their colours, and what stands in each cell."""

    title: str
    values: np.ndarray
    colours: Any
    scale: Normalize
    texts: list[list[list[str]]]


def heat_map(
    name: str,
    draws: Float[np.ndarray, "chain draw *shape"],
    truth: Any = None,
    labels: Labels | None = None,
) -> Picture:
    """A parameter as a heat map: posterior mean with 90 % intervals, beside the truth and the difference where a truth is known.

    draws   shape: (action, row, column), each action with panels of its own; (row, column); or a vector, a map of one row
    labels  of rows and columns; None: their numbers
    Raises DataError for a parameter of no or of more than three axes, and for a truth of another shape.
    """
    shape = draws.shape[2:]
    if not 1 <= len(shape) <= 3:
        raise DataError(
            f"'{name}' has the shape {shape}: a map has rows and columns, and actions at most; draw a forest instead"
        )
    true = None if truth is None else np.asarray(truth, float)
    if true is not None and true.shape != shape:
        raise DataError(f"the truth of '{name}' has shape {true.shape}, its draws {shape}: give the truth as drawn")
    full = (1,) * (3 - len(shape)) + shape
    low, high = np.quantile(draws, [0.05, 0.95], axis=(0, 1))
    mean, low, high = (each.reshape(full) for each in (draws.mean(axis=(0, 1)), low, high))
    true = None if true is None else true.reshape(full)
    panels_below = true is not None and full[2] > SIDE_BY_SIDE
    across = 3 if true is not None and not panels_below else 1
    scales, room = _scales(mean, true, float((high - low).max()) / 2.0), (WIDTH - 0.5) / full[2] / across
    panels = [
        panel._replace(title=f"{panel.title}, action {a}" if full[0] > 1 else panel.title)
        for a in range(min(full[0], ACTIONS))
        for panel in _maps(mean[a], low[a], high[a], None if true is None else true[a], scales, room)
    ]
    down = len(panels) // across
    height = down * (0.42 + full[1] * (0.47 if full[2] <= NUMBERED else 0.2)) + 0.25
    with style():
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasAgg(figure)
        for i, (axes, panel) in enumerate(zip(figure.subplots(down, across, squeeze=False).flat, panels, strict=True)):
            _draw(axes, panel, labels, room)
            axes.tick_params(labelleft=i % across == 0)
        return picture(figure, _caption(name, full, len(shape), true is not None, scales[0]))


def map_labels(values: xr.DataArray) -> Labels:
    """What the rows and the columns of a parameter (chain, draw, ...) are called: by its coordinates, else by their numbers."""
    rows, columns = ("", *values.dims[2:])[-2:]
    named = [
        [str(each) for each in (values[axis].values if axis in values.coords else range(values.sizes.get(axis, 1)))]
        for axis in (rows, columns)
    ]
    return named[0], named[1]


def _maps(mean: Any, low: Any, high: Any, true: Any, scales: tuple[Normalize, Normalize], room: float) -> list[_Map]:
    """The panels of one matrix; room: inches that a cell is wide."""
    texts = [
        [[_short(m), *_interval(a, b, room)] for m, a, b in zip(*rows, strict=True)]
        for rows in zip(mean, low, high, strict=True)
    ]
    learned = _Map("learned", mean, SEQUENTIAL, scales[0], texts)
    if true is None:
        return [learned]
    given = [[[_short(value)] for value in row] for row in true]
    away, inside = mean - true, (low <= true) & (true <= high)
    marks = [
        [[_signed(d), "" if ok else "outside"] for d, ok in zip(*rows, strict=True)]
        for rows in zip(away, inside, strict=True)
    ]
    return [
        _Map("true", true, SEQUENTIAL, scales[0], given),
        learned,
        _Map("learned \N{MINUS SIGN} true", away, DIVERGING, scales[1], marks),
    ]


def _scales(mean: np.ndarray, true: np.ndarray | None, half: float) -> tuple[Normalize, Normalize]:
    """The scale of the values, from 0 to 1 where they may be probabilities, and that of the differences, even around zero.

    half  of the widest interval: differences that are small beside it are pale
    """
    both = mean if true is None else np.concatenate([mean, true])
    low, high = float(both.min()), float(both.max())
    if low >= 0.0 and high <= 1.0 and both.shape[-1] <= NUMBERED:
        low, high = 0.0, 1.0
    if low == high:
        low, high = low - 0.5, high + 0.5
    far = 0.0 if true is None else max(half, float(np.abs(mean - true).max()))
    return Normalize(low, high), Normalize(-(far or 1.0), far or 1.0)


def _draw(axes: Axes, panel: _Map, labels: Labels | None, room: float) -> None:
    """One panel; the text is white where a cell is dark. room: inches that a cell is wide."""
    count, columns = panel.values.shape
    axes.pcolormesh(panel.values, cmap=panel.colours, norm=panel.scale, edgecolors="white", linewidth=1.5)
    axes.set_title(panel.title)
    axes.set(xlim=(0, columns), ylim=(count, 0))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    names = labels if labels is not None else ([str(i) for i in range(count)], [str(j) for j in range(columns)])
    step = max(1, -(-columns // 24))
    across = [
        fill(names[1][j], max(1, int(step * room / CHARACTER)), break_long_words=False) for j in range(0, columns, step)
    ]
    axes.set_xticks(np.arange(0, columns, step) + 0.5, across)
    axes.set_yticks(np.arange(count) + 0.5, names[0] if count > 1 else [""])
    if columns > NUMBERED:
        return
    for (i, j), value in np.ndenumerate(panel.values):
        red, green, blue, _ = panel.colours(panel.scale(value))
        ink = "white" if 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.45 else "#111111"
        lines = [line for line in panel.texts[i][j] if line]
        for k, line in enumerate(lines):
            place = i + 0.5 + (k - (len(lines) - 1) / 2) * 0.27
            size = 8.0 if k == 0 else SMALL
            axes.text(j + 0.5, place, line, ha="center", va="center", color=ink, fontsize=size)


def _interval(low: float, high: float, width: float) -> list[str]:
    """The interval in as many lines as it takes."""
    one = f"{_short(low)}\N{EN DASH}{_short(high)}"
    return [one] if width >= ONE_LINE * len(one) / 9 else [f"{_short(low)}\N{EN DASH}", _short(high)]


def _short(value: float) -> str:
    """Two digits behind the point below ten, three digits in all above."""
    shown = f"{value:.2f}" if abs(value) < 10 else number(value)
    return shown.lstrip("-") if float(shown.replace(",", "").replace(MINUS, "-")) == 0 else shown.replace("-", MINUS)


def _signed(value: float) -> str:
    """The same with its sign."""
    shown = _short(value)
    return shown if shown.startswith(MINUS) or shown == "0.00" else f"+{shown}"


def _caption(name: str, full: tuple[int, ...], axes: int, known: bool, scale: Normalize) -> str:
    """What the figure shows."""
    told = f"{name}: {'true values, posterior means and their difference' if known else 'posterior means'}"
    told += ", one cell for each entry" if axes == 1 else "; rows: the first index, columns: the second"
    if axes == 3:
        told = told.replace("first", "middle").replace("second", "last")
    if full[2] > NUMBERED:
        told += f"; from {_short(float(scale.vmin or 0.0))} (dark) to {_short(float(scale.vmax or 0.0))} (light)"
    else:
        told += "; below a mean its 90 % interval"
        told += "; outside: it misses the truth" if known else ""
    return f"{told}. The first {ACTIONS} of {full[0]} actions are shown." if full[0] > ACTIONS else f"{told}."
