"""Figure 1 of the paper, and the convergence of the methods."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from replication.plots import guide, legend
from replication.style import GREY, PALETTE, look_of, new_figure

METHODS = ("euler", "midpoint", "bosh3", "rk4", "dopri5")  # each has one look in all figures


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
        for depths, states in network["paths"]:
            ax.plot(states, depths, color=PALETTE[0], lw=1.5, label="hidden state")
        depths, states = np.asarray(network["evaluated"]).T
        ax.plot(states, depths, "o", color=PALETTE[1], ms=3, zorder=3, label="f evaluated")
        # Along (1, f), all of one length, pinned where the field was sampled.
        slope = np.asarray(network["arrow_slope"])
        arrows = slope / np.hypot(slope, 1.0), 1 / np.hypot(slope, 1.0)
        places = network["arrow_state"], network["arrow_depth"]
        ax.quiver(*places, *arrows, color=GREY, alpha=0.5, scale=22, width=0.005)
        ax.plot([], [], color=GREY, ls="", marker=r"$\rightarrow$", ms=13, label="field f")
        ax.set(title=title, xlabel="hidden state h", xlim=limits)
    axes[0].set_ylabel("depth t")
    legend(figure, 3)
    return figure


def error_against_step(curves: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Global error against step size on logarithmic axes, with a line of the fitted order.

    Each curve maps `step` and `error` (equal lengths, largest step first) and `order`, its fitted
    slope.
    """
    figure, ax = new_figure(4.6)
    for name, curve in curves.items():
        look = _look(name)
        step, error = np.asarray(curve["step"]), np.asarray(curve["error"])
        ax.loglog(step, error, **look, label=f"{name}, slope {curve['order']:.2f}")
        fitted = error[-1] * (step / step[-1]) ** curve["order"]
        ax.loglog(step, fitted, color=GREY, lw=0.9, ls="--", zorder=1)
    ax.set(xlabel="step size h (units of time)", ylabel="error at the end point")
    ax.xaxis.set_major_locator(FixedLocator(max((c["step"] for c in curves.values()), key=len)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda h, _: f"{h:g}" if h >= 1 else f"1/{round(1 / h)}")
    ax.grid(axis="y")
    legend(figure, 3)
    return figure


def work_and_precision(
    adaptive: Mapping[str, Mapping[str, Any]], fixed: Mapping[str, Mapping[str, Any]]
) -> Figure:
    """Achieved error against the tolerance asked for, and against the evaluations it cost.

    Adaptive curves map `tolerance`, `error` and `nfe`; fixed-step ones `error` and `nfe`.
    """
    figure, (left, right) = new_figure(4.4, 1, 2, sharey=True)
    looks = {name: _look(name) for name in fixed}
    for name, curve in fixed.items():
        right.loglog(curve["nfe"], curve["error"], **{**looks[name], "linestyle": ":"}, mfc="none")
        right.plot([], [], **looks[name], label=name)
    for name, curve in adaptive.items():
        left.loglog(curve["tolerance"], curve["error"], **looks[name])
        right.loglog(curve["nfe"], curve["error"], **looks[name])
        guide(left, curve["tolerance"], "error = tolerance")
    right.plot([], [], color=GREY, marker="o", label="adaptive")
    right.plot([], [], color=GREY, marker="o", ls=":", mfc="none", label="fixed step")
    left.set(xlabel="tolerance asked for", ylabel="error at the end point")
    right.set(xlabel="evaluations of f")
    for ax in (left, right):
        ax.grid(axis="y")
    legend(figure, 4)
    return figure


def _look(method: str) -> dict[str, Any]:
    return {**look_of(METHODS.index(method)), "linestyle": "-"}
