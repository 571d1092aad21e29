"""The figures draw what they are given, in one style that reads on light and on dark pages."""

import io
import json
import math
import re
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from replication import style, tables
from replication.benchmarks import speed_page
from replication.chapters.adjoint import figures as gradients
from replication.chapters.after import figures as after
from replication.chapters.flows import animation
from replication.chapters.flows import figures as flows
from replication.chapters.mnist import figures as accuracy
from replication.chapters.nfe import figures as cost
from replication.chapters.poisson import figures as poisson
from replication.chapters.resnets import figures as depth
from replication.chapters.spirals import figures as forecasts
from replication.chapters.verdicts import figures as verdicts

pytestmark = pytest.mark.slow  # the file as a whole

SEVERAL = {"mean": 0.5, "low": 0.2, "high": 0.8, "n": 3, "values": [0.4, 0.5, 0.6]}
SINGLE = {"mean": 0.5, "low": None, "high": None, "n": 1, "values": [0.5]}
SPIRAL = forecasts.Drawn(np.ones((4, 2)), np.ones((3, 2)), np.ones((2, 2)), np.ones((2, 2)), "best")
LINES = np.stack([np.eye(4)[:, :2], -np.eye(4)[:, :2]])
TIMES = np.arange(4.0)
GRID = np.meshgrid(np.arange(3.0), np.arange(2.0))


def network():
    field = {"arrow_depth": GRID[0], "arrow_state": GRID[1], "arrow_slope": GRID[0]}
    return {"paths": [([0, 1], [2, 3])], "evaluated": [(0.0, 2.0), (0.5, 2.4)], **field}


def sweep_row(tolerance=1e-3, **more):
    row = {"tolerance": tolerance, "nfe": 20, "seconds": 0.1}
    return {**row, "error": 1e-4, "there_and_back": 2e-3, **more}


def pulled_row(way="VODE", tolerance=1e-3, forward=20, pulled=26):
    return {"way": way, "tolerance": tolerance, "nfe_forward": forward, "nfe_backward": pulled}


def learned():
    """A course with the end of epoch 1 and a step within it."""
    numbers = {("nfe", 1e-3): [26, 20, 20], ("batches", "nfe"): [np.nan, np.nan, 21]}
    numbers |= {("rms", name): [1.0, 2.0, 1.5] for name in ("state", "slope", "quotient")}
    return pd.DataFrame(numbers, index=[0.0, 0.5, 1.0])


LOGGED = [(0, 26), (1, 20.2), (160, 26.2)]  # a public log


def line_row(**more):
    ways = [[(0.0, -1.0), (1.0, 0.5)], [(0.0, 1.0), (0.5, 1.2), (1.0, 2.0)]]
    return {"inputs": [-1.0, 0.0, 1.0], "nfe": [20, 14, 26], "ways": ways, **more}


PRINTED = {1e-3: {"nfe": (32, 42), "backward": (13, 21), "error": (6e-5, 6e-4), "time": (0.2, 0.4)}}


def claim(verdict="supported", value=0.1, accept=(-math.inf, 0.2), printed=None, **ends):
    place = {"id": "parity", "number": "C3", "where": "Table 1", "verdict": verdict}
    ends = {"low": None, "high": None, **ends}
    return {**place, "value": value, "accept": accept, "printed": printed, **ends}


def curve(**more):
    return {"step": [1, 0.5], "error": [0.1, 0.01], "order": 3.3, "nfe": [8, 16], **more}


def integrals(t):
    pair = [[at, -at] for at in t]
    return {"t": t, "state": pair, "adjoint": pair, "gradient": pair}


def gradient_rows(way="Adjoint", **more):
    """Two seeds at two tolerances."""
    parts = {"y0": 1e-2, "theta": 1e-3, "t0": 1e-4, "t1": 1e-5, "error": 1e-2, "drift": 1e-1}
    cases = [(at, factor) for at in (1e-2, 1e-4) for factor in (1, 3)]
    return [
        {"way": way, "tolerance": at, **{k: x * at * factor for k, x in parts.items()}, **more}
        for at, factor in cases
    ]


def scale_rows(way):
    rows = [(1.0, 20, 0.1), (1e5, 300, 0.01)]
    return [{"way": way, "scale": s, "nfe_backward": n, "error": e} for s, n, e in rows]


def kept_rows(along):
    rows = [(14, 3e6, 4e6), (26, 6e6, 7e6)]
    return [{"rule": "adjoint", along: at, "kept": k, "peak": p} for at, k, p in rows]


def timed_row(task, way="odenet", gradient=False):
    seconds = [0.001, 0.002, 0.003, 0.004, 0.005]
    return {"task": task, "outputs": 1, "gradient": gradient, "way": way, "seconds": seconds}


OBSERVED = {"t": [1.0, 2.0], "state": [[1, -1], [2, -2]]}
AUTOGRAD = {"adjoint": [0.5, 0.6], "gradient": [0.7, 0.8]}
IMAGE = np.arange(4.0).reshape(2, 2)
UNLABELLED = {"spirals", "morph", "forest", "densities", "along_the_way"}  # pictures, no axes
UNLABELLED |= {
    "latent_paths",
    "ratios",
    "roll_out",
}  # one label for all panels; pictures beside the axes
PLOTS = {
    "three_integrals": lambda: gradients.three_integrals(
        [integrals([2.0, 1.0]), integrals([1.0, 0.0])], OBSERVED, AUTOGRAD
    ),
    "error_against_tolerance": lambda: gradients.error_against_tolerance(
        [*gradient_rows("Backprop"), *gradient_rows()]
    ),
    "against_scale": lambda: gradients.against_scale(
        {"small": scale_rows("Adjoint"), "MNIST": scale_rows("torchdiffeq")}
    ),
    "bytes_kept": lambda: gradients.bytes_kept(kept_rows("nfe"), kept_rows("outputs"), 2e5),
    "drift_against_tolerance": lambda: gradients.drift_against_tolerance(
        {"decay": [*gradient_rows(), *gradient_rows("Checkpoint", drift=None)]}, {"ours": "Adjoint"}
    ),
    "gap_against_tolerance": lambda: gradients.gap_against_tolerance(
        {"ReLU": [{"tolerance": at, "gap": 2 * at} for at in (1e-2, 1e-2, 1e-4, 1e-4)]}
    ),
    "error_by_field": lambda: gradients.error_by_field(
        {"decay": gradient_rows(), "MNIST": gradient_rows("Checkpoint")}
    ),
    "depth_against_state": lambda: depth.depth_against_state(network(), network(), limits=(-4, 4)),
    "error_against_step": lambda: depth.error_against_step({"euler": curve(), "rk4": curve()}),
    "work_and_precision": lambda: depth.work_and_precision(
        {"rk4": curve(tolerance=[0.1, 0.01])}, {"euler": curve(), "rk4": curve()}
    ),
    "classification_errors": lambda: accuracy.classification_errors(
        ["none", "ResNet"], [SINGLE, SEVERAL], [None, 0.41]
    ),
    "learning_curves": lambda: accuracy.learning_curves(
        [1, 2], {"none": [[3.0, 1.0]], "ResNet": [[2.0, 0.8], [2.2, 0.7]]}
    ),
    "evaluations_by_epoch": lambda: cost.evaluations_by_epoch(
        [0, 1],
        {1e-3: [[14, 20], [14, 26]], 1e-5: [[20, 32], [26, 32]]},
        {1e-3: [[0.1, 0.2]], 1e-5: [[1e-4, 2e-4]]},
        [(0, 7), (8, 11)],
    ),
    "evaluations_while_learning": lambda: cost.evaluations_while_learning(
        [learned()], [learned() * 2], [LOGGED], [(0, 7), (8, 11)]
    ),
    "evaluations_by_quotient": lambda: cost.evaluations_by_quotient(
        [learned(), learned()], {"Adam": [learned() * 2]}, 1e-3
    ),
    "cost_by_tolerance": lambda: cost.cost_by_tolerance(
        [sweep_row(), sweep_row(1.0, seconds=0.05)], [{"0.001": 0.5, "1": 0.7}], PRINTED
    ),
    "backward_against_forward": lambda: cost.backward_against_forward(
        [pulled_row(), pulled_row("DOPRI5", 1e-1)], [pulled_row(forward=47)], PRINTED
    ),
    "ways_compared": lambda: cost.ways_compared(
        [0.1, 0.01],
        {
            "one": {"ratio": [[1, 2], [2, 4]], "gradient_error": [[0.1, 0.01], [0.2, 0.01]]},
            "other": {"ratio": [[1, 1]], "gradient_error": [[0.1, 0.02]]},
        },
    ),
    "evaluations_by_input": lambda: cost.evaluations_by_input(
        {"cube": [line_row(), line_row()], "step": [line_row()]}
    ),
    "spirals": lambda: forecasts.spirals(
        "30 points", [SPIRAL, replace(SPIRAL, window=np.ones((0, 2))), SPIRAL]
    ),
    "latent_paths": lambda: forecasts.latent_paths({"seed 0": (LINES, np.array([1, -1]))}),
    "morph": lambda: forecasts.morph(LINES[[0, 1, 0]], [-1, 0, 1], [-1.5, 0, 1.5]),
    "turning": lambda: forecasts.turning({"smooth": [([-1, 0, 1], [-1.5, 0, 1.5])]}),
    "roll_out": lambda: forecasts.roll_out(
        {"RNN": LINES[0]}, LINES[1], TIMES, {"RNN": [TIMES + 1], "truth": [TIMES + 2]}
    ),
    "rate_over_events": lambda: poisson.rate_over_events(
        TIMES, [TIMES, TIMES + 1], [TIMES, TIMES], np.array([0.5, 2.5])
    ),
    "rate_recovered": lambda: poisson.rate_recovered(TIMES, [TIMES, TIMES + 2], TIMES),
    "path_and_rate": lambda: poisson.path_and_rate(
        TIMES,
        {"z": LINES[0], "rate": TIMES},
        [{"z": LINES[1], "rate": TIMES + 1}],
        LINES[0, 1:3],
        np.array([0.5, 2.5]),
    ),
    "latent_path": lambda: poisson.latent_path(LINES[0], LINES[0, 1:2], TIMES + 1),
    "densities": lambda: flows.densities(
        [("target", "target"), ("K = 2", "planar")], {"U1": [IMAGE, 2 * IMAGE]}, 4.0
    ),
    "along_the_way": lambda: flows.along_the_way(
        ["5%", "data"],
        [("circles", "continuous", [IMAGE, IMAGE]), ("samples", "planar", [LINES[0], LINES[1]])],
        4.0,
    ),
    "by_size": lambda: flows.by_size(
        [2, 8], {"U1": {"one": [SEVERAL, SINGLE], "other": [SINGLE] * 2}}, "nats"
    ),
    "by_time": lambda: flows.by_time(
        {"U1": [{"size": 2, "continuous": (1.0, 0.1), "planar": [(0.1, 0.5), (1.0, 0.2)]}]}, "nats"
    ),
    "learning": lambda: flows.learning(
        {"U1": {"one": ([0, 1], [[1.0, 0.1], [2.0, 0.3]])}}, ("step", "nats")
    ),
    "estimate_and_width": lambda: flows.estimate_and_width(
        [1, 4],
        [[0.4, 0.2], [0.5, 0.3]],
        [{"units": n, "forward": n / 1e5, "both": n / 1e4} for n in (64, 256)],
        [{"units": n, "seconds": n / 1e3} for n in (64, 256)],
    ),
    "ratios": lambda: forecasts.ratios(
        [30, 100], {"both told": {"log": [SEVERAL, SINGLE], "arch": [SINGLE] * 2}}, [2, 1]
    ),
    "paths": lambda: after.paths(
        [np.ones((3, 2, 1)), np.ones((3, 2, 2))],
        [np.ones((3, 2, 2)), np.ones((3, 2, 3))],
        {"line": [1, -1], "ring": [1, -1]},
    ),
    "evaluations": lambda: after.evaluations(
        {"line": [[{"step": [0, 25], "nfe": [20, 80]}], [{"step": [0, 25], "nfe": [20, 44]}]]}
    ),
    "errors_by_steps": lambda: after.errors_by_steps(
        pd.DataFrame(
            [
                {"training": training, "seed": seed, "solver": solver, "error": 3.0 + seed}
                for training in ("Euler, 1", "dopri5")
                for seed in (0, 1)
                for solver in ("Euler, 1", "exact")
            ]
        )
    ),
    "cost_and_loss": lambda: after.cost_and_loss(
        {"flow": pd.DataFrame({"penalty": [0.0, 0.1], "nfe": [56, 38], "loss": [1.6, 1.7]})},
        {"flow": "nats"},
    ),
    "likelihood_by_time": lambda: after.likelihood_by_time(
        {"moons": {"one": [([0, 1, 2], [3.0, 0.2, 0.1])], "other": [([0, 2, 4], [3.0, 0.1, 0.1])]}}
    ),
    "times": lambda: speed_page.drawn(
        speed_page.by_key([timed_row(name, way) for name in "abc" for way in ("odenet", "SciPy")])
    ),
    "against_paper": lambda: verdicts.against_paper(
        [claim(printed=0.1), claim("inconclusive", 2.0, printed=4, low=-1, high=5)]
    ),
    "forest": lambda: verdicts.forest([claim(), claim("not run", None), claim("stale", 3.0)]),
}


@pytest.fixture(autouse=True, scope="module")
def book_style():
    style.use()


@cache
def plot(name: str) -> Figure:
    return PLOTS[name]()


def svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["densities", "by_size", "bytes_kept"])
def test_the_same_arrays_give_the_same_svg(name):
    assert svg(PLOTS[name]()) == svg(PLOTS[name]())


@pytest.mark.parametrize("name", PLOTS)
def test_the_page_shows_through_and_every_axis_says_what_it_shows(name):
    figure = plot(name)
    svg(figure)
    for part in (figure, *figure.axes):
        assert part.patch.get_facecolor()[3] == 0
    if name in UNLABELLED:
        return
    # A neighbour that shares the axis may carry its label.
    for ax in figure.axes:
        assert any(one.get_xlabel() for one in ax.get_shared_x_axes().get_siblings(ax))
    first = figure.axes[0]
    assert first.get_ylabel() or [label.get_text() for label in first.get_yticklabels()]


def luminance(colour: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return float(np.dot((0.2126, 0.7152, 0.0722), linear))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("page", ["#ffffff", "#121212"])
def test_colours_stand_out_from_light_and_dark_pages(page):
    assert contrast(style.GREY, page) > 4
    assert min(contrast(colour, page) for colour in style.PALETTE) > 2


def lines(ax):
    """Those with data; the others are entries of the legend."""
    return [line for line in ax.lines if len(line.get_xydata())]


def points(ax, marker):
    return [line.get_xydata() for line in lines(ax) if line.get_marker() == marker]


def test_dots_are_the_evaluations_with_depth_upwards():
    left, right = plot("depth_against_state").axes
    for ax in (left, right):
        (dots,) = points(ax, "o")
        assert dots.tolist() == [[2.0, 0.0], [2.4, 0.5]]


def test_a_single_seed_has_no_interval_and_no_seed_marks():
    figure = accuracy.classification_errors(["none"], [SINGLE], [None])
    assert [line.get_xydata().tolist() for line in lines(figure.axes[0])] == [[[0.5, 0.0]]]


def test_interval_seeds_and_paper_are_drawn_at_their_values():
    figure = accuracy.classification_errors(["ResNet"], [SEVERAL], [0.41])
    seeds, bar, mean, paper = (line.get_xdata() for line in lines(figure.axes[0]))
    assert seeds.tolist() == SEVERAL["values"]
    assert (list(bar), list(mean), list(paper)) == ([0.2, 0.8], [0.5], [0.41])


def test_each_pair_of_models_has_a_panel_with_its_families_the_paper_and_the_line_at_one():
    ax, empty = plot("ratios").axes
    assert ax.get_title(loc="left") == "both told" and not empty.lines
    assert ax.get_legend_handles_labels()[1] == ["log", "arch", "paper"]
    assert [line.tolist() for line in points(ax, "_")] == [[[0, 2], [1, 1]]]
    assert [0.4, 0.5, 0.6] in [list(line.get_ydata()) for line in lines(ax)]
    assert list(ax.lines[-1].get_ydata()) == [1, 1]


def test_a_roll_out_lies_over_the_truth_and_each_training_has_its_radius():
    curve, radius = plot("roll_out").axes
    assert [line.get_xydata().tolist() for line in curve.lines] == [
        LINES[1].tolist(),
        LINES[0].tolist(),
    ]
    assert [line.get_ydata().tolist() for line in radius.lines] == [[1, 2, 3, 4], [2, 3, 4, 5]]
    assert len({line.get_color() for line in radius.lines}) == 2


def test_every_training_has_a_panel_of_its_latent_paths():
    seeds = {f"seed {i}": (LINES, np.array([1, -1])) for i in range(7)}
    axes = forecasts.latent_paths(seeds).axes
    assert [ax.get_title(loc="left") for ax in axes] == [*seeds, "", ""]


def test_curves_stand_two_in_a_row_under_their_titles_and_the_start_is_marked():
    figure = plot("spirals")
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["best", "best", "best", ""]
    assert figure.get_suptitle() == "30 points"
    assert [points(ax, "s")[0].tolist() for ax in figure.axes[:3]] == [[[1, 1]]] * 3
    assert [len(lines(ax)) for ax in figure.axes] == [5, 4, 5, 0]


def test_directions_differ_in_mark_and_line_too():
    (ax,) = plot("latent_paths").axes
    ways = {line.get_linestyle() for line in ax.lines if line.get_marker() in ("None", "")}
    assert len(ways) == 2
    assert [points(ax, mark)[0].tolist() for mark in "os"] == [[[1, 0]], [[-1, 0]]]


def test_each_decoded_curve_begins_at_its_dot_and_says_how_it_turns():
    axes = plot("morph").axes
    assert [points(ax, "o")[0].tolist() for ax in axes[:3]] == [[[1, 0]], [[-1, 0]], [[1, 0]]]
    assert [ax.get_title(loc="left") for ax in axes[:1]] == ["$z$ = \u22121.0\n\u22121.5 turns"]


def test_strokes_are_the_events_below_the_lowest_rate():
    above, below = plot("rate_over_events").axes
    (strokes,) = points(above, "|")
    assert strokes[:, 0].tolist() == [0.5, 2.5] and (strokes[:, 1] < 0).all()
    (stairs,) = below.patches
    assert stairs.get_data().values.tolist() == [0, 1, 2]
    assert stairs.get_data().edges.tolist() == [0, 0.5, 2.5, 3]


def test_the_thick_line_is_the_mean_over_the_seeds():
    (ax,) = plot("rate_recovered").axes
    assert [list(line.get_ydata()) for line in lines(ax)][1] == (TIMES + 1).tolist()


def test_a_fit_stands_beside_the_truth_the_observations_and_the_events():
    above, below = plot("path_and_rate").axes
    (observed,), (strokes,) = points(above, "."), points(below, "|")
    assert observed.tolist() == LINES[0, 1:3].tolist()
    assert strokes[:, 0].tolist() == [0.5, 2.5] and (strokes[:, 1] < 0).all()
    fit, truth, _ = (line.get_ydata().tolist() for line in lines(below))
    assert (truth, fit) == (TIMES.tolist(), (TIMES + 1).tolist())


def test_the_adjoint_jumps_where_there_is_an_observation_and_ends_at_autograd():
    state, adjoint, gradient = plot("three_integrals").axes
    jumps = [(arrow.xyann, arrow.xy) for arrow in adjoint.texts]
    # From zero at the last observation, then from where the last piece ended.
    assert jumps == [((2, 0), (2, 2)), ((2, 0), (2, -2)), ((1, 1), (1, 1)), ((1, -1), (1, -1))]
    for ax, name in ((adjoint, "adjoint"), (gradient, "gradient")):
        assert [end.tolist() for (end,) in points(ax, "X")] == [[0, y] for y in AUTOGRAD[name]]
    assert len(points(state, "o")) == 2


def test_a_curve_is_the_median_of_its_seeds_and_a_bar_spans_them():
    (ax,) = plot("drift_against_tolerance").axes
    assert ax.get_title("left") == "ours"
    assert ax.lines[0].get_ydata().tolist() == pytest.approx([2e-5, 2e-3])
    bars = [bar[:, 1].tolist() for bar in ax.collections[0].get_segments()]
    assert bars == [pytest.approx([1e-5, 3e-5]), pytest.approx([1e-3, 3e-3])]


def test_the_line_of_the_tolerance_is_where_both_axes_agree():
    for ax in plot("error_against_tolerance").axes:
        line = ax.lines[-1]
        assert line.get_xydata().tolist() == [[1e-4, 1e-4], [1e-2, 1e-2]]


def test_bytes_are_drawn_in_megabytes_filled_between_the_passes_and_hollow_at_the_peak():
    left, _ = plot("bytes_kept").axes
    kept, peak, evaluation = (line.get_ydata() for line in lines(left))
    assert (kept.tolist(), peak.tolist(), set(evaluation)) == ([3, 6], [4, 7], {0.2})
    assert left.lines[0].get_markerfacecolor() != left.lines[1].get_markerfacecolor() == "none"


def test_time_is_drawn_relative_to_the_longest():
    _, seconds, _, _ = plot("cost_by_tolerance").axes
    drawn = {line.get_ydata()[0] for line in lines(seconds) if line.get_marker() in style.MARKERS}
    assert drawn == {1.0, 0.5}


def test_what_is_published_is_drawn_faint_behind_the_same_curve():
    first, _ = plot("evaluations_while_learning").axes
    own, faint = (line for line in lines(first) if line.get_label() == "tolerance 1e-3")
    assert own.get_xydata().tolist() == [[0, 26], [0.5, 20], [1, 20]]
    assert faint.get_ydata().tolist() == [52, 40, 40] and faint.get_alpha() == 0.35
    assert faint.get_color() == own.get_color() and faint.get_zorder() < own.get_zorder()


def test_the_curves_of_the_paper_and_of_others_are_drawn_to_their_ends():
    _, after = plot("evaluations_while_learning").axes
    ends = {line.get_label(): line.get_xydata()[-1].tolist() for line in lines(after)}
    assert ends["logs of others, 1e-3"] == [160, 26.2] and after.get_xlim() == (1, 160)
    at, nfe = ends["the paper's curve"]
    assert 7.5 < at <= 8 and 10.5 < nfe <= 11


def test_counts_at_the_start_and_at_the_end_are_written_beside_the_curve():
    figure = cost.evaluations_while_learning([learned(), learned() * 2], [], [LOGGED], [(0, 7)])
    assert [text.get_text() for ax in figure.axes for text in ax.texts] == ["39"]
    longer = learned().set_axis([0, 1, 2])
    figure = cost.evaluations_while_learning([longer], [], [LOGGED], [(0, 7)])
    assert [text.get_text() for ax in figure.axes for text in ax.texts] == ["26", "20"]


def test_a_training_of_less_than_an_epoch_leaves_both_panels_their_room():
    short, paper = learned().loc[:0.5], [(0, 7), (120, 16)]
    figure = cost.evaluations_while_learning([short], [], [LOGGED], paper)
    svg(figure)
    left, right = (ax.get_position().width for ax in figure.axes)
    assert left > 0.2 and right > 0.3


def test_an_untrained_network_is_a_hollow_mark_at_its_quotient():
    left, right = plot("evaluations_by_quotient").axes
    trained, untrained = lines(left)[:2]
    assert trained.get_xydata().tolist() == [[2, 20], [1.5, 20]]
    assert untrained.get_xydata().tolist() == [[1, 26]] and untrained.get_mfc() == "none"
    names = [text.get_text() for text in right.get_legend().get_texts()]
    assert names == ["recipe", "Adam"]
    low, high = left.get_xlim()
    assert high / low > 2.9


def boxes(ax):
    return [patch.get_bbox().extents.tolist() for patch in ax.patches]


def test_what_the_paper_prints_is_a_box_around_its_marks():
    error, seconds, back, _ = plot("cost_by_tolerance").axes
    assert boxes(error) == [pytest.approx([32, 6e-5, 42, 6e-4])]
    assert boxes(seconds) == [pytest.approx([32, 0.2, 42, 0.4])]
    assert boxes(back) == []
    clean, leaky = plot("backward_against_forward").axes
    assert boxes(clean) == [] and boxes(leaky) == [pytest.approx([32, 13, 42, 21])]


def test_counts_and_lines_of_equality_and_half_are_drawn_at_their_values():
    clean, leaky = plot("backward_against_forward").axes
    marks = [line.get_xydata().tolist() for line in lines(leaky) if line.get_marker() == "o"]
    assert marks == [[[47, 26]]]
    for ax in (clean, leaky):
        slopes = [
            y / x
            for line in lines(ax)
            for x, y in line.get_xydata()
            if line.get_marker() == "None" and line.get_alpha() is None
        ]
        assert sorted(slopes) == pytest.approx([0.5, 0.5, 1, 1])


def test_ways_of_inputs_have_a_dot_at_each_evaluation_with_time_upwards():
    left = plot("evaluations_by_input").axes[0]
    dots = np.concatenate(points(left, "o"))
    assert sorted(map(tuple, dots.tolist())) == [
        *((-1.0, 0.0), (0.5, 1.0), (1.0, 0.0), (1.2, 0.5), (2.0, 1.0))
    ]


@pytest.mark.parametrize("count", [1, 8, 11])
def test_every_digit_is_shown_with_what_it_was_taken_for(count):
    images = np.random.default_rng(0).random((count, 28, 28))
    figure = accuracy.digits(images, [3] * count, [5] * count, [0.25] * count)
    shown = [ax for ax in figure.axes if ax.images]
    assert len(shown) == count
    assert [ax.get_title(loc="center") for ax in shown] == ["3 → 5\n0.2"] * count
    assert np.array_equal(shown[-1].images[0].get_array(), images[-1])


def test_a_claim_that_was_not_run_says_so_and_has_no_mark():
    (ax,) = verdicts.forest([claim("not run", None)]).axes
    assert [text.get_text() for text in ax.texts] == ["not run"]
    assert not ax.lines


@pytest.mark.parametrize("value", [-3.0, 0.2, 7.0])
@pytest.mark.parametrize("accept", [(-math.inf, 0.2), (0.2, math.inf), (0.1, 0.2)])
def test_value_and_edges_of_the_band_are_in_view(value, accept):
    (ax,) = verdicts.forest([claim(value=value, accept=accept)]).axes
    low, high = ax.get_xlim()
    assert all(low < x < high for x in (value, *accept) if math.isfinite(x))


def test_a_claim_is_drawn_in_units_of_what_the_paper_prints():
    row = claim("supported", 1.0, (0.4, 2.0), printed=0.5, low=0.5, high=2.0)
    (ax,) = verdicts.against_paper([row]).axes
    band, interval, mean, paper = (list(line.get_xdata()) for line in ax.lines)
    assert (band, interval, mean) == ([0.8, 4.0], [1.0, 4.0], [2.0])
    assert paper == [1, 1] and ax.get_xscale() == "log"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["parity  C3"]


@pytest.mark.parametrize("value", [-3.0, 0.0, 1e-9, 0.3, 500.0, 1e9])
def test_whatever_was_measured_is_in_view_beside_the_paper(value):
    (ax,) = verdicts.against_paper([claim(value=value, printed=2.0, low=-1.0, high=1e12)]).axes
    low, high = ax.get_xlim()
    assert 1e-3 <= low < 1 < high <= 1e3
    assert all(low <= x <= high for line in ax.lines for x in line.get_xdata())


@pytest.mark.parametrize("draw", [verdicts.against_paper, verdicts.forest])
def test_no_claim_at_all_is_said(draw):
    (ax,) = draw([]).axes
    assert [text.get_text() for text in ax.texts] == ["nothing was measured yet"]


def test_a_table_aligns_its_columns_and_leaves_none_empty():
    assert tables.table({"model": ["a", "b"], "error": [1.5, None]}).splitlines() == [
        "| model | error |",
        "| :-- | --: |",
        "| a | 1.5 |",
        "| b |  |",
    ]


def test_a_number_does_not_break_in_the_head_of_a_table():
    head, *_ = tables.table({"well-known, 1e-05": ["1e-05"]}).splitlines()
    assert head == "| well-known, 1e\N{NON-BREAKING HYPHEN}05 |"


def test_a_table_refuses_columns_of_unequal_length():
    with pytest.raises(ValueError):
        tables.table({"model": ["a", "b"], "error": [1.5]})


def test_an_interval_is_shown_only_where_there_is_one():
    assert tables.interval(SEVERAL, 2) == "0.50 [0.20, 0.80]"
    assert tables.interval(SINGLE, 1) == "0.5"
    assert tables.interval({"mean": 0.5, "low": 0.5, "high": 0.5}, 2) == "0.50"


def test_densities_of_a_row_share_the_targets_highest_value():
    (target,), (flow,) = (ax.images for ax in plot("densities").axes)
    assert target.get_clim() == flow.get_clim() == (0, 3)
    assert np.asarray(target.to_rgba([0.0]))[0, 3] == 0  # where there is nothing, the page


def test_learning_is_the_median_of_the_seeds():
    (ax,) = plot("learning").axes
    assert ax.lines[0].get_ydata().tolist() == [1.5, 0.2]


def moving(points=20):
    paths = np.random.default_rng(0).normal(size=(5, points, 2))
    return {"two circles": paths, "two moons": paths + 1}


def test_moving_points_need_no_network_and_have_a_still_for_print():
    page = animation.moving_points(moving(), 4.0, alt="Points that move")
    code = re.sub(r'paths = [^;]*|base64,[^"]*', "", page)
    assert not re.search(r"https?:|@import|fetch|<link|import\(", code)
    assert page.count("<canvas") == 2 and 'alt="Points that move"' in page
    assert "@media print" in page and "data:image/png;base64," in page
    assert "autoplay" not in page and "button.onclick" in page


def test_moving_points_are_rounded_to_a_pixel_of_the_canvas():
    paths = moving()["two circles"]
    page = animation.moving_points({"one": paths}, 4.0, alt="")
    (pixels,) = json.loads(re.search(r"paths = (\[.*?\]\]\]\])", page)[1])
    x, y = np.moveaxis(np.array(pixels), -1, 0) * 8 / animation.SIDE - 4
    assert np.abs(np.stack((x, -y), -1) - paths).max() < 4 / animation.SIDE


def test_moving_points_of_unequal_shapes_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        animation.moving_points({"a": np.zeros((2, 3, 2)), "b": np.zeros((2, 4, 2))}, 1.0, alt="")
