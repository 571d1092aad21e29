"""What accuracy costs in time, by library."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from replication.style import LINES, MARKERS, PALETTE, legend_above, new_figure, plain_log

Row = Mapping[str, Any]


def work_precision(panels: Mapping[str, Sequence[Row]]) -> Figure:
    """Median time against achieved error, a panel for each task, bars from quartile to quartile.

    A row maps `way`, `error` (relative) and `seconds` (of each round). Ways whose names begin with
    the same word share a colour.
    """
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    ways = list(dict.fromkeys(row["way"] for rows in panels.values() for row in rows))
    height = 0.9 + 2.3 * lines + 0.1 * len(ways)  # the last is the legend's
    figure, axes = new_figure(height, lines, columns, squeeze=False)
    for ax, (title, rows) in zip(axes.flat, panels.items(), strict=False):
        for way in ways:
            _draw(ax, [row for row in rows if row["way"] == way], _look(way, ways))
        ax.set(title=title, xlabel="relative error", xscale="log", yscale="log")
        plain_log(ax.yaxis)
        low, high = ax.get_xlim()
        if high < 100 * low:  # a power of ten or two would say too little
            plain_log(ax.xaxis)
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.grid()
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    for ax in axes[:, 0]:
        ax.set_ylabel("time (ms)")
    handles = [Line2D([], [], **_look(way, ways), label=way) for way in ways]
    legend_above(figure, handles, 2 if max(map(len, ways), default=0) > 20 else 3)
    return figure


def _draw(ax: Axes, rows: Sequence[Row], look: Mapping[str, Any]) -> None:
    if rows:
        errors = [row["error"] for row in rows]
        low, middle, high = (
            1e3 * np.array([np.quantile(row["seconds"], (0.25, 0.5, 0.75)) for row in rows]).T
        )
        ax.errorbar(errors, middle, (middle - low, high - middle), **look, capsize=2)


def _look(way: str, ways: Sequence[str]) -> dict[str, Any]:
    """A colour for the library, a marker for its way, hollow where it is not compiled."""
    libraries = list(dict.fromkeys(name.split()[0] for name in ways))
    library = way.split()[0]
    place = [name for name in ways if name.split()[0] == library].index(way)
    colour = PALETTE[libraries.index(library) % len(PALETTE)]
    compiled = "compiled" in way or library == "diffrax"
    return {
        "color": colour,
        "marker": MARKERS[(libraries.index(library) + 2 * place) % len(MARKERS)],
        "linestyle": LINES[place % len(LINES)],
        "mfc": colour if compiled else "none",
        "lw": 1.2,
        "ms": 5,
    }
