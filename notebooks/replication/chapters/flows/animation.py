"""Points that move, as a piece of a page that needs nothing from the network."""

import base64
import io
import json
from collections.abc import Mapping
from string import Template

import numpy as np
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure

from replication.style import GREY

STEPS = 65_535  # the places in [-reach, reach] that a coordinate is rounded to
PAGE = Template("""\
<div class="moving-points" id="$name" role="group" aria-label="$alt">
<div class="stage" hidden>$canvases</div>
<div class="controls" hidden><button type="button">&#9654; play</button>
<input type="range" min="0" max="1000" value="1000" aria-label="time">
<output>t = 1.00</output></div>
<img class="still" alt="$alt" src="data:image/png;base64,$still">
<style>
#$name .stage { display: flex; gap: 1rem; justify-content: center; flex-wrap: wrap; }
#$name figure { margin: 0; text-align: center; } #$name canvas { width: 300px; height: 300px; }
#$name .controls { display: flex; gap: .7rem; justify-content: center; align-items: center; }
#$name [hidden] { display: none; }
#$name figcaption { color: inherit; font-weight: 400; }
.cell_output .text_html:has(#$name) { background: none !important; color: inherit !important; }
@media print { #$name .stage, #$name .controls { display: none !important; }
#$name .still { display: block !important; } }
</style>
<script>
(() => {
const data = $data, root = document.getElementById("$name");
const bar = root.querySelector("input"), said = root.querySelector("output");
const button = root.querySelector("button"), sets = [...root.querySelectorAll("canvas")];
const views = sets.map((canvas, i) => {
  const bytes = Uint8Array.from(atob(data.paths[i]), c => c.charCodeAt(0));
  return [canvas.getContext("2d"), new Uint16Array(bytes.buffer)];
});
function draw(t) {
  const at = t * (data.frames - 1), k = Math.min(Math.floor(at), data.frames - 2), w = at - k;
  for (const [pen, path] of views) {
    pen.clearRect(0, 0, 600, 600);
    for (let i = 0; i < data.points; i++) {
      const a = 2 * (k * data.points + i), b = a + 2 * data.points;
      const x = (1 - w) * path[a] + w * path[b], y = (1 - w) * path[a + 1] + w * path[b + 1];
      pen.fillStyle = data.colours[i];
      pen.beginPath();
      pen.arc(x / $steps * 600, 600 - y / $steps * 600, 4, 0, 7);
      pen.fill();
    }
  }
  said.textContent = "t = " + t.toFixed(2);
}
let timer = 0;
function stop() { cancelAnimationFrame(timer); timer = 0; button.textContent = "\\u25b6 play"; }
function play() {
  const start = performance.now() - (bar.value < 1000 ? bar.value * $duration / 1000 : 0);
  const tick = now => {
    const t = Math.min(1, Math.max(0, (now - start) / $duration));
    bar.value = 1000 * t; draw(t);
    if (t < 1) timer = requestAnimationFrame(tick); else stop();
  };
  button.textContent = "\\u25a0 stop"; timer = requestAnimationFrame(tick);
}
button.onclick = () => timer ? stop() : play();
bar.oninput = () => { stop(); draw(bar.value / 1000); };
for (const part of root.querySelectorAll(".stage, .controls")) part.hidden = false;
root.querySelector(".still").style.display = "none";
draw(1);
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
    times, points, _ = next(iter(paths.values())).shape
    if any(path.shape != (times, points, 2) for path in paths.values()):
        raise ValueError(f"paths differ in shape: {[path.shape for path in paths.values()]}")
    first = next(iter(paths.values()))[0]
    colours = _colours(first)
    rounded = [
        np.rint(np.clip((path / reach + 1) / 2, 0, 1) * STEPS).astype("<u2")
        for path in paths.values()
    ]
    data = {
        "frames": times,
        "points": points,
        "paths": [base64.b64encode(path.tobytes()).decode() for path in rounded],
        "colours": ["#" + bytes((255 * c).astype("u1")).hex() for c in colours],
    }
    canvases = [
        '<figure><canvas width="600" height="600"></canvas>'
        f"<figcaption>{title}</figcaption></figure>"
        for title in paths
    ]
    return PAGE.substitute(
        name=name,
        alt=alt,
        data=json.dumps(data, separators=(",", ":")),
        canvases="".join(canvases),
        still=base64.b64encode(still(paths, reach)).decode(),
        steps=STEPS,
        duration=4000,
    )


def still(paths: Mapping[str, np.ndarray], reach: float) -> bytes:
    """A PNG of where the points start, are halfway, and end: a row for each title."""
    figure = Figure(figsize=(6.4, 2.2 * len(paths)), dpi=130, facecolor="none")
    figure.set_layout_engine("constrained")
    axes = figure.subplots(len(paths), 3, squeeze=False)
    for row, (title, path) in zip(axes, paths.items(), strict=True):
        colours = _colours(path[0])
        for ax, part in zip(row, (0.0, 0.5, 1.0), strict=True):
            at = round(part * (len(path) - 1))
            ax.scatter(*path[at].T, s=3, color=colours, lw=0)
            ax.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[], aspect="equal")
            ax.set_title(f"{title}, t = {part:g}", color=GREY, fontsize=9)
            ax.patch.set_alpha(0)
            ax.spines[:].set_color(GREY)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _colours(points: np.ndarray) -> np.ndarray:
    """A hue for each direction, of middling brightness so that it reads on any page."""
    turn = np.arctan2(points[:, 1], points[:, 0]) / (2 * np.pi) % 1
    return hsv_to_rgb(np.stack((turn, np.full_like(turn, 0.75), np.full_like(turn, 0.8)), -1))
