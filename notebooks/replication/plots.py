"""What the figures of several chapters draw alike; only figures import it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from replication.style import GREY, Estimate, draw_estimate, legend_above, level_of, look_of


def line_of(index: int) -> dict[str, Any]:
    """The look of the curve with this number, without marks."""
    return {**look_of(index), "marker": ""}


def legend(figure: Figure, columns: int, **words: Any) -> None:
    """A legend above of all that is labelled in the axes, each label once, guides last."""
    handles: dict[str, Any] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    curves_first = sorted(handles.values(), key=lambda h: not isinstance(h, ErrorbarContainer))
    legend_above(figure, curves_first, columns, **words)


def medians(ax: Axes, x: Sequence[float], seeds: Any, **look: Any) -> None:
    """The median of the seeds, rows as long as x, with bars from least to largest."""
    values = np.asarray(seeds, float)
    middle = np.median(values, 0)
    ends = (middle - values.min(0), values.max(0) - middle)
    ax.errorbar(x, middle, ends, elinewidth=1, **look)


def estimates(
    ax: Axes, places: Sequence[object], rows: Mapping[str, Sequence[Estimate]], names: Sequence[str]
) -> None:
    """An estimate of each row at each place, those of other ``names`` beside it; a log axis.

    A row has the look of its place in ``names``.
    """
    for name, row in rows.items():
        index = names.index(name)
        look = look_of(index)
        at = np.arange(len(places)) + 0.16 * (index - (len(names) - 1) / 2)
        ax.plot(at, [one["mean"] for one in row], color=look["color"], lw=1, alpha=0.5)
        for place, one in zip(at, row, strict=True):
            draw_estimate(ax, place, one, upright=True, aside=0.06, look=look)
        ax.plot([], [], look["marker"], color=look["color"], ms=8, label=name)
    ax.set(xticks=range(len(places)), xticklabels=places, xlim=(-0.5, len(places) - 0.5))
    ax.set_yscale("log")
    few_ticks(ax.yaxis)
    ax.grid(axis="y")


def few_ticks(axis: Any) -> None:
    """A few plain numbers on a logarithmic axis, however short it is."""
    low, high = axis.get_view_interval()
    short = (1, 1.5, 2, 3, 5, 7) if high < 10 * low else (1, 2, 5)
    axis.set_major_locator(LogLocator(subs=short if high < 200 * low else (1,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def guide(ax: Axes, ends: Any, label: str, slope: float = 1.0, line: str = "--") -> None:
    """The grey line on which one axis is ``slope`` times the other."""
    ends = np.asarray(ends, float)
    ax.plot(ends, slope * ends, ls=line, color=GREY, lw=1.2, zorder=1, label=label)


def shaded_path(ax: Axes, path: np.ndarray, width: Any) -> tuple[Any, Any]:
    """A path (times, 2) from violet to orange, and these two colours; a width, or one a time."""
    shades = [level_of(i, len(path))["color"] for i in range(len(path))]
    pieces = list(np.stack((path[:-1], path[1:]), 1))
    ax.add_collection(LineCollection(pieces, colors=shades, linewidths=width, capstyle="round"))
    ax.autoscale_view()
    return shades[0], shades[-1]
