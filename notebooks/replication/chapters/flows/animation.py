"""Points that move, as a piece of a page that needs nothing from the network."""

import base64
import io
import json
from collections.abc import Mapping
from string import Template

import numpy as np
from matplotlib.colors import hsv_to_rgb, to_hex

from replication.style import new_figure

SIDE = 600  # pixels of a square
PAGE = Template("""\
<div class="moving-points" id="$name" role="group" aria-label="$alt">
<div class="stage" hidden>$canvases</div>
<div class="controls" hidden><button type="button">&#9654; play</button>
<input type="range" min="0" max="1" step="any" value="1" aria-label="time">
<output></output></div>
<img alt="$alt" src="data:image/png;base64,$still">
<style>
#$name > div { display: flex; gap: .7rem; justify-content: center; flex-wrap: wrap; }
#$name > [hidden] { display: none; }
#$name figure { margin: 0; text-align: center; } #$name canvas { width: 300px; height: 300px; }
#$name figcaption { color: inherit; font-weight: 400; }
.cell_output .text_html:has(#$name) { background: none !important; color: inherit !important; }
@media screen { #$name > div:not([hidden]) ~ img { display: none; } }
@media print { #$name > div { display: none; } }
</style>
<script>
(() => {
const root = document.getElementById("$name"), paths = $paths, colours = $colours;
const [button, bar, time] = ["button", "input", "output"].map(tag => root.querySelector(tag));
const pens = [...root.querySelectorAll("canvas")].map(canvas => canvas.getContext("2d"));
function draw() {
  const frames = paths[0], at = bar.value * (frames.length - 1);
  const k = Math.min(Math.floor(at), frames.length - 2), w = at - k;
  pens.forEach((pen, i) => {
    pen.clearRect(0, 0, $side, $side);
    colours.forEach((colour, point) => {
      const [from, to] = [paths[i][k][point], paths[i][k + 1][point]];
      pen.fillStyle = colour;
      pen.beginPath();
      pen.arc(...[0, 1].map(d => (1 - w) * from[d] + w * to[d]), 4, 0, 7);
      pen.fill();
    });
  });
  time.textContent = "t = " + (+bar.value).toFixed(2);
}
let before = 0;  // when the last frame was shown; 0 while nothing moves
function stop() { before = 0; button.textContent = "\\u25b6 play"; }
function tick(now) {
  if (!before) return;
  bar.value = +bar.value + (now - before) / 4000;
  before = now;
  draw();
  if (bar.value < 1) requestAnimationFrame(tick); else stop();
}
button.onclick = () => {
  if (before) return stop();
  if (bar.value == 1) bar.value = 0;
  before = performance.now();
  button.textContent = "\\u25a0 stop";
  requestAnimationFrame(tick);
};
bar.oninput = () => { stop(); draw(); };
for (const part of root.querySelectorAll("[hidden]")) part.hidden = false;
draw();
})();
</script></div>
""")


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
