"""Embedding of figures in a page: inline SVG, or webp in a data URI if dense; nothing is loaded from elsewhere.

Figures are drawn on their own canvas, without pyplot: whatever a notebook has open stays as it is.
"""

import base64
import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

WIDTH = 4.7  # inches: at half the page, and at the full width of a telephone, the letters are of readable size
DENSE = 3000  # points above which an image is smaller than lines
MOST_PANELS = 8
GREY = "#6b6b6b"

STYLE: dict[str, Any] = {
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana"],
    "font.size": 8.0,
    "text.parse_math": False,  # a dollar sign in a label is a dollar sign
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.7,
    "axes.titlesize": 8.0,
    "axes.titlelocation": "left",
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": "#222222",
    "ytick.labelcolor": "#222222",
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "legend.handlelength": 1.6,
    "legend.borderaxespad": 0.2,
    "lines.linewidth": 1.2,
    "svg.fonttype": "none",
    "svg.hashsalt": "ppl_worldmodel",
}


class Picture(NamedTuple):
    """A figure as it stands in the page: its markup, and a caption that says what it shows."""

    html: Markup
    caption: str


@contextmanager
def style() -> Iterator[None]:
    """The house style, for as long as a figure is drawn."""
    with mpl.rc_context(rc=STYLE):  # type: ignore[arg-type]  # names of settings are strings
        yield


def sheet(rows: int = 1, height: float = 2.3, *, share_y: bool = False) -> tuple[Figure, list[Axes]]:
    """An empty figure with `rows` axes above each other on one time axis; `height` in inches is that of the whole."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 1, sharex=True, sharey=share_y, squeeze=False)[:, 0]
    return figure, list(axes)


def picture(figure: Figure, caption: str, *, dense: bool = False) -> Picture:
    """A figure with its caption, which is its text for those who do not see it, too; `dense` ones as an image."""
    return Picture(webp(figure, caption) if dense else svg(figure, caption), caption)


def svg(figure: Figure, alt: str) -> Markup:
    """The figure as an <svg> element that scales with the page."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = file.getvalue()
    text = text[text.index("<svg") :].strip()
    head, body = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    # Several figures stand in one page, so that each needs names of its own.
    prefix = f"f{hashlib.sha256((alt + body).encode()).hexdigest()[:10]}-"
    body = re.sub(r'\bid="', f'id="{prefix}', body)
    body = re.sub(r"url\(#", f"url(#{prefix}", body)
    body = re.sub(r'href="#', f'href="#{prefix}', body)
    view = box.group(0) if box else ""
    return Markup(f'<svg {view} role="img" aria-label="{escape(alt)}">{body}')


def webp(figure: Figure, alt: str, dpi: int = 200) -> Markup:
    """The figure as an <img> element with the picture inside."""
    file = io.BytesIO()
    figure.savefig(file, format="webp", dpi=dpi)
    data = base64.b64encode(file.getvalue()).decode()
    width, height = (round(side * dpi) for side in figure.get_size_inches())
    return Markup(f'<img src="data:image/webp;base64,{data}" width="{width}" height="{height}" alt="{escape(alt)}">')
