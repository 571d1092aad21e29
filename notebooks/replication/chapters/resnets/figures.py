"""Figure 1 of the paper, and the convergence of the methods."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from replication.style import GREY, PALETTE, legend_above, look_of, mark, new_figure, note


def depth_against_state(
    residual: Mapping[str, Any], ode: Mapping[str, Any], *, limits: tuple[float, float]
) -> Figure:
    """Figure 1: hidden states along the depth of a residual network beside an ODE network.

    Each network is a mapping of `paths`, one (depths, states) pair of sequences per input;
    `evaluated` (n, 2), the (depth, state) pairs at which f was called; and the arrows of its
    field: `arrow_depth`, `arrow_state` and `arrow_slope`, of equal shapes.
    """
    figure, axes = new_figure(4.7, 1, 2, sharey=True, sharex=True)
    panels = zip(axes, (residual, ode), ("Residual network", "ODE network"), strict=True)
    for ax, network, title in panels:
        _draw_field(ax, network)
        for depths, states in network["paths"]:
            ax.plot(states, depths, color=PALETTE[0], lw=1.5)
        depths, states = np.asarray(network["evaluated"]).T
        ax.plot(states, depths, "o", color=PALETTE[1], ms=3, zorder=3)
        ax.set(title=title, xlabel="hidden state h", xlim=limits)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes[0].set_ylabel("depth t")
    handles = [
        Line2D([], [], color=PALETTE[0], label="hidden state"),
        mark("o", PALETTE[1], "f evaluated", size=5),
        mark(r"$\rightarrow$", GREY, "field f", size=13),
    ]
    legend_above(figure, handles, 3)
    return figure


def _draw_field(ax: Axes, network: Mapping[str, Any]) -> None:
    """Arrows of equal length along (1, f), pinned where the field was sampled."""
    slope = np.asarray(network["arrow_slope"])
    length = np.hypot(slope, 1.0)
    ax.quiver(
        network["arrow_state"],
        network["arrow_depth"],
        slope / length,
        1 / length,
        color=GREY,
        alpha=0.5,
        scale=22,
        width=0.005,
    )


def error_against_step(curves: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Global error against step size on logarithmic axes, with a line of the fitted order.

    Each curve maps `step` and `error` (equal lengths, largest step first; the same steps for all)
    and `order`, its fitted slope.
    """
    figure, ax = new_figure(4.6)
    for index, (name, curve) in enumerate(curves.items()):
        look = {**look_of(index), "linestyle": "-"}
        step, error = np.asarray(curve["step"]), np.asarray(curve["error"])
        ax.loglog(step, error, **look)
        guide = error[-1] * (step / step[-1]) ** curve["order"]
        ax.loglog(step, guide, color=GREY, lw=0.9, ls="--", zorder=1)
        label = f"{name}, slope {curve['order']:.2f}"
        note(ax, label, (step[-1], error[-1]), (-9, 0), color=look["color"], fontsize=10)
    room = (step[-1] / step[0]) ** 0.65
    ax.set(xlabel="step size h (units of time)", ylabel="error at the end point")
    ax.set_xlim(step[-1] * room, step[0] * 1.25)
    ax.xaxis.set_major_locator(FixedLocator(step.tolist()))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(_fraction)
    ax.grid(axis="y")
    return figure


def work_and_precision(
    adaptive: Mapping[str, Mapping[str, Any]], fixed: Mapping[str, Mapping[str, Any]]
) -> Figure:
    """Achieved error against the tolerance asked for, and against the evaluations it cost.

    Adaptive curves map `tolerance`, `error` and `nfe`; fixed-step ones `error` and `nfe`.
    """
    figure, (left, right) = new_figure(4.4, 1, 2, sharey=True)
    looks = {name: {**look_of(index), "linestyle": "-"} for index, name in enumerate(fixed)}
    for name, curve in fixed.items():
        right.loglog(curve["nfe"], curve["error"], **{**looks[name], "linestyle": ":"}, mfc="none")
    for name, curve in adaptive.items():
        left.loglog(curve["tolerance"], curve["error"], **looks[name])
        right.loglog(curve["nfe"], curve["error"], **looks[name])
        asked = curve["tolerance"]
    left.loglog(asked, asked, color=GREY, lw=1, ls="--")
    note(left, "error = tolerance", (asked[len(asked) // 2],) * 2, (7, -7), ha="left")
    left.set(xlabel="tolerance asked for", ylabel="error at the end point")
    right.set(xlabel="evaluations of f")
    for ax in (left, right):
        ax.grid(axis="y")
    handles = [Line2D([], [], **look, label=name) for name, look in looks.items()]
    handles += [Line2D([], [], ls="", label=" ")] * (len(handles) % 2)  # the kinds get a column
    handles.append(Line2D([], [], color=GREY, marker="o", label="adaptive"))
    handles.append(Line2D([], [], color=GREY, marker="o", ls=":", mfc="none", label="fixed step"))
    legend_above(figure, handles, len(handles) // 2)
    return figure


def _fraction(value: float, _: int) -> str:
    """A step size as the fraction it was chosen as: 0.25 is 1/4."""
    return f"{value:g}" if value >= 1 else f"1/{round(1 / value)}"
