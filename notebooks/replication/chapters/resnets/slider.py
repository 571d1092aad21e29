"""A tolerance to turn, as a piece of a page that needs nothing from the network."""

import base64
import io
import json
from collections.abc import Iterable
from pathlib import Path
from string import Template

import numpy as np
from torch import Tensor, nn

from odenet import Solution
from odenet.solvers.loop import Trajectory
from replication.style import GREY, PALETTE, new_figure

PAGE = Template(Path(__file__).with_name("slider.html").read_text(encoding="utf-8"))
SOLVER = Path(__file__).with_name("adaptive.js").read_text(encoding="utf-8")
TOLERANCES = [1.0, *(float(f"{digit}e-{place}") for place in range(1, 10) for digit in (5, 2, 1))]
MARGIN = 0.25  # around the exact path, in its units
LINE, DOTS, SUN = PALETTE[0], PALETTE[1], PALETTE[4]


def tolerance_slider(
    net: nn.Sequential,
    exact: Solution,
    shown: Solution,
    tolerance: float,
    *,
    alt: str,
    name: str = "tolerance-slider",
) -> str:
    """HTML that solves dy/dt = net(y) in the plane at a tolerance that the reader chooses.

    `exact` is what it is compared with, at the times that are drawn. `shown` is the solution at
    `tolerance`, one of `TOLERANCES`, with its steps: it stands there at first, and as a picture on
    paper and without scripts. The sun is at 0.
    """
    if tolerance not in TOLERANCES:
        raise ValueError(f"tolerance must be one of {TOLERANCES}, got {tolerance}")
    (left, low), (right, high) = _corners(exact)
    first, last = exact.ys[0].tolist(), exact.ys[-1].tolist()
    return PAGE.substitute(
        name=name,
        alt=alt,
        solver=SOLVER,
        box=f"{left:.2f} {-high:.2f} {right - left:.2f} {high - low:.2f}",
        exact="M" + "L".join(f"{x:.3f} {-y:.3f}" for x, y in exact.ys.tolist()),
        goal=_ring(*last),
        layers=json.dumps(layers(net), separators=(",", ":")),
        tolerances=json.dumps(TOLERANCES),
        first=TOLERANCES.index(tolerance),
        **{"start": exact.ts[0], "end": exact.ts[-1], "y0": first, "y1": last},
        **{"grey": GREY, "line": LINE, "dots": DOTS, "sun": SUN},
        still=base64.b64encode(still(exact, shown, tolerance)).decode(),
    )


def layers(net: Iterable[nn.Module]) -> list[list[list]]:
    """The weight and the bias of each affine map of a network, between which there is a tanh."""
    parts = list(net)
    for index, part in enumerate(parts):
        if not isinstance(part, nn.Tanh if index % 2 else nn.Linear):
            raise ValueError(f"a network for the page alternates Linear and Tanh, got {parts}")
    affine = [part for part in parts if isinstance(part, nn.Linear)]
    return [[part.weight.tolist(), part.bias.tolist()] for part in affine]


def still(exact: Solution, shown: Solution, tolerance: float) -> bytes:
    """An SVG of the solution at one tolerance, its steps, and the exact path."""
    figure, ax = new_figure(4.2)
    (left, low), (right, high) = _corners(exact)
    if not isinstance(shown.trajectory, Trajectory):
        raise ValueError("the solution that is shown needs its steps: solve(..., dense=True)")
    ends = np.array([shown.ys[0].tolist(), *(step.y1.tolist() for step in shown.trajectory.steps)])
    ax.plot(*_columns(exact.ys), ls=":", color=GREY, lw=1.5)
    ax.plot(*_columns(shown(exact.ts)), color=LINE, lw=2)
    ax.plot(*ends.T, "o", color=DOTS, ms=5)
    ax.plot(*ends[-1], "o", color=DOTS, ms=8)
    ax.plot(*_columns(exact.ys[-1:]), "o", color=GREY, mfc="none", ms=11, mew=1.5)
    ax.plot(0, 0, "o", color=SUN, ms=14)
    cost, error = shown.stats.forward, float((shown.ys[-1] - exact.ys[-1]).norm())
    ax.set_title(
        f"tolerance {tolerance:g}: {cost.nfe} evaluations, {cost.accepted} steps accepted, "
        f"{cost.rejected} rejected, error {error:.1g} at the end",
        fontsize=9,
    )
    ax.set(xlim=(left, right), ylim=(low, high), aspect="equal")
    ax.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _corners(exact: Solution) -> tuple[list[float], list[float]]:
    low, high = exact.ys.min(0).values - MARGIN, exact.ys.max(0).values + MARGIN
    return low.tolist(), high.tolist()


def _columns(ys: Tensor) -> np.ndarray:
    return ys.detach().numpy().T


def _ring(x: float, y: float, radius: float = 0.05) -> str:
    """The path of a circle."""
    half = f"a{radius} {radius} 0 0 0"
    return f"M{x - radius:.3f} {-y:.3f}{half} {2 * radius} 0{half} {-2 * radius} 0"
