"""The one style of the book's figures, and what its plots share.

Figures measure and fit nothing: arrays come in, a matplotlib `Figure` goes out. The style is made
for transparent SVG on white and on dark pages: axes and text are mid-grey, colours are colour-blind
safe, and whatever a colour tells is also told by a marker or a line style.

An *estimate* is a mapping with `mean`, `low`, `high` and `values` (one value per seed); `low` and
`high` are None where there is no interval.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

GREY = "#777777"  # as in book.mplstyle
# Okabe and Ito's colours that stand out from a white page as well as from a dark one.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
WIDTH = 6.4  # inches: 614 px on the page, so that 11 pt text stays legible on a phone
Estimate = Mapping[str, Any]


def use() -> None:
    """Every figure drawn afterwards in this process has the style of the book."""
    matplotlib.style.use(Path(__file__).with_name("book.mplstyle"))


def new_figure(height: float, rows: int = 1, columns: int = 1, **layout: Any) -> tuple[Figure, Any]:
    figure = Figure(figsize=(WIDTH, height))
    return figure, figure.subplots(rows, columns, **layout)


def look_of(index: int) -> dict[str, Any]:
    """The colour, marker and line style of the curve with this number."""
    return {
        "color": PALETTE[index % len(PALETTE)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": LINES[index % len(LINES)],
    }


def level_of(index: int, count: int) -> dict[str, Any]:
    """The colour and marker of one of `count` ordered levels, from violet to orange."""
    colour = matplotlib.colormaps["plasma"](0.34 + 0.44 * index / max(count - 1, 1))
    marker = MARKERS[index % len(MARKERS)]
    return {"color": colour, "marker": marker, "linestyle": "", "mec": GREY, "mew": 0.4}


def draw_estimate(
    ax: Axes, place: float, estimate: Estimate, *, upright: bool, aside: float, look: Mapping
) -> None:
    """Mean (filled) and 95% interval (bar) of an estimate at `place`, its seeds beside them."""

    def points(along: Any, value: Any) -> tuple[Any, Any]:
        return (along, value) if upright else (value, along)

    color = look["color"]
    values = estimate.get("values") or []
    if len(values) > 1:
        beside = np.full(len(values), place + aside)
        ax.plot(*points(beside, values), "o", ms=4, mfc="none", mec=color, mew=1)
    if estimate["low"] is not None:
        ends = [estimate["low"], estimate["high"]]
        ax.plot(*points([place, place], ends), color=color, lw=3, alpha=0.55, solid_capstyle="butt")
    ax.plot(*points(place, estimate["mean"]), look["marker"], color=color, ms=8)


def mark(marker: str, color: str, label: str, size: float = 8) -> Line2D:
    return Line2D([], [], ls="", marker=marker, ms=size, color=color, label=label)


def legend_above(figure: Figure, handles: Sequence[Line2D], columns: int, **words: Any) -> None:
    """A legend over the whole figure, where it can cover no data."""
    place = {"loc": "outside upper center", "ncols": columns, "columnspacing": 1.4}
    figure.legend(handles=handles, **{**place, **words})


def note(ax: Axes, text: str, at: Any, offset: tuple[int, int], **words: Any) -> None:
    """Words that end `offset` points from the data point `at`, or start there if so aligned."""
    ends = {"ha": "right", "va": "center", "fontsize": 9}
    ax.annotate(text, at, offset, textcoords="offset points", **{**ends, **words})


def plain_log(axis: Any) -> None:
    """Ticks of a logarithmic axis at 1, 2 and 5, written as plain numbers."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(ScalarFormatter())
    axis.set_minor_formatter(NullFormatter())
