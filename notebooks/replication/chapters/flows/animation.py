"""Points that move, as a piece of a page that needs nothing from the network."""

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path
from string import Template

import numpy as np
from matplotlib.colors import hsv_to_rgb, to_hex

from replication.style import new_figure

SIDE = 600  # pixels of a square
PAGE = Template(Path(__file__).with_name("moving_points.html").read_text(encoding="utf-8"))


def moving_points(
    paths: Mapping[str, np.ndarray], reach: float, *, alt: str, name: str = "moving-points"
) -> str:
    """HTML that shows, under each title, paths (times, n, 2) at equal times from 0 to 1.

    It stands still until it is asked to play, and is a picture of the end on paper and without
    scripts. A point's colour is the direction in which it lay at the first time, seen from 0.
    """
    first, *others = paths.values()
    if any(path.shape != first.shape for path in others):
        raise ValueError(f"paths differ in shape: {[path.shape for path in paths.values()]}")
    scale = np.array([SIDE, -SIDE]) / (2 * reach)  # the rows of a canvas run downwards
    pixels = [np.rint(SIDE / 2 + path * scale).astype(int).tolist() for path in paths.values()]
    canvases = [
        f'<figure><canvas width="{SIDE}" height="{SIDE}"></canvas>'
        f"<figcaption>{title}</figcaption></figure>"
        for title in paths
    ]
    return PAGE.substitute(
        name=name,
        alt=alt,
        side=SIDE,
        canvases="".join(canvases),
        paths=json.dumps(pixels, separators=(",", ":")),
        colours=json.dumps(_colours(first[0])),
        still=base64.b64encode(still(paths, reach)).decode(),
    )


def still(paths: Mapping[str, np.ndarray], reach: float) -> bytes:
    """A PNG of where the points start, are halfway, and end: a row for each title."""
    figure, axes = new_figure(2.2 * len(paths), len(paths), 3, squeeze=False)
    for row, (title, path) in zip(axes, paths.items(), strict=True):
        for ax, part in zip(row, (0.0, 0.5, 1.0), strict=True):
            at = round(part * (len(path) - 1))
            ax.scatter(*path[at].T, s=3, color=_colours(path[0]), lw=0)
            ax.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[], aspect="equal")
            ax.set_title(f"{title}, t = {part:g}", fontsize=9)
            ax.spines[:].set_visible(True)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return buffer.getvalue()


def _colours(points: np.ndarray) -> list[str]:
    """A hue for each direction, of middling brightness so that it reads on any page."""
    turn = np.arctan2(points[:, 1], points[:, 0]) / (2 * np.pi) % 1
    return [to_hex(tuple(hsv_to_rgb((hue, 0.75, 0.8)))) for hue in turn]
