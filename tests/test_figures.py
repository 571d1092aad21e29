"""The figures draw what they are given, in one style that reads on light and on dark pages."""

import io
import math

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from odenet.figures import accuracy, cost, depth, forecasts, style, tables, verdicts

SEVERAL = {"mean": 0.5, "low": 0.2, "high": 0.8, "n": 3, "values": [0.4, 0.5, 0.6]}
SINGLE = {"mean": 0.5, "low": None, "high": None, "n": 1, "values": [0.5]}
GRID = np.meshgrid(np.arange(3.0), np.arange(2.0))


def network():
    field = {"arrow_depth": GRID[0], "arrow_state": GRID[1], "arrow_slope": GRID[0]}
    return {"paths": [([0, 1], [2, 3])], "evaluated": [(0.0, 2.0), (0.5, 2.4)], **field}


def sweep_row(tolerance=1e-3, error=1e-4):
    cost = {"nfe_forward": 20, "nfe_backward": 26, "seconds_forward": 0.1}
    return {"tolerance": tolerance, "error": error, "error_pct": 1.0, **cost}


def claim(verdict="supported", value=0.1, accept=(-math.inf, 0.2), printed=None, **ends):
    place = {"id": "parity", "number": "C3", "where": "Table 1", "verdict": verdict}
    ends = {"low": None, "high": None, **ends}
    return {**place, "value": value, "accept": accept, "printed": printed, **ends}


def curve(**more):
    return {"step": [1, 0.5], "error": [0.1, 0.01], "order": 3.3, "nfe": [8, 16], **more}


PLOTS = {
    "depth_against_state": lambda: depth.depth_against_state(network(), network(), limits=(-4, 4)),
    "error_against_step": lambda: depth.error_against_step({"euler": curve(), "rk4": curve()}),
    "work_and_precision": lambda: depth.work_and_precision(
        {"rk4": curve(tolerance=[0.1, 0.01])}, {"euler": curve(), "rk4": curve()}
    ),
    "classification_errors": lambda: accuracy.classification_errors(
        ["none", "ResNet"], [SINGLE, SEVERAL], [None, 0.41]
    ),
    "evaluations_by_epoch": lambda: cost.evaluations_by_epoch(
        [0, 1], {"1e-3": [[14, 20], [14, 26]], "1e-5": [[20, 32], [26, 32]]}
    ),
    "cost_by_tolerance": lambda: cost.cost_by_tolerance(
        [sweep_row(), sweep_row(1.0, 0.1), sweep_row(1e-5, None)]
    ),
    "spirals": lambda: forecasts.spirals(
        np.ones((2, 4, 2)),
        [np.ones((3, 2))] * 2,
        {"latent ODE": [(np.ones((2, 2)), np.ones((2, 2)))] * 2},
    ),
    "rmse_and_ratio": lambda: forecasts.rmse_and_ratio(
        [30, 100], {"ODE": [SEVERAL, SINGLE], "RNN": [SINGLE] * 2}, {"RNN": [SEVERAL] * 2}, [2, 1]
    ),
    "against_paper": lambda: verdicts.against_paper(
        [claim(printed=0.1), claim("inconclusive", 2.0, printed=4, low=-1, high=5)]
    ),
    "forest": lambda: verdicts.forest([claim(), claim("not run", None), claim("stale", 3.0)]),
}


@pytest.fixture(autouse=True)
def book_style():
    style.use()


def svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


@pytest.mark.parametrize("name", PLOTS)
def test_the_same_arrays_give_the_same_svg(name):
    assert svg(PLOTS[name]()) == svg(PLOTS[name]())


@pytest.mark.parametrize("name", PLOTS)
def test_the_page_shows_through(name):
    figure = PLOTS[name]()
    svg(figure)
    for part in (figure, *figure.axes):
        assert part.patch.get_facecolor()[3] == 0


@pytest.mark.parametrize("name", sorted(PLOTS.keys() - {"spirals", "forest"}))
def test_every_axis_says_what_it_shows(name):
    axes = PLOTS[name]().axes
    assert all(ax.get_xlabel() for ax in axes)
    # A neighbour that shares the axis may carry its label.
    assert axes[0].get_ylabel() or [label.get_text() for label in axes[0].get_yticklabels()]


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


def points(ax, marker):
    return [line.get_xydata() for line in ax.lines if line.get_marker() == marker]


def test_dots_are_the_evaluations_with_depth_upwards():
    left, right = PLOTS["depth_against_state"]().axes
    for ax in (left, right):
        (dots,) = points(ax, "o")
        assert dots.tolist() == [[2.0, 0.0], [2.4, 0.5]]


def test_a_single_seed_has_no_interval_and_no_seed_marks():
    figure = accuracy.classification_errors(["none"], [SINGLE], [None])
    assert [line.get_xydata().tolist() for line in figure.axes[0].lines] == [[[0.5, 0.0]]]


def test_interval_seeds_and_paper_are_drawn_at_their_values():
    figure = accuracy.classification_errors(["ResNet"], [SEVERAL], [0.41])
    seeds, bar, mean, paper = (line.get_xdata() for line in figure.axes[0].lines)
    assert seeds.tolist() == SEVERAL["values"]
    assert (list(bar), list(mean), list(paper)) == ([0.2, 0.8], [0.5], [0.41])


def test_the_ratio_of_a_model_looks_as_its_error_does():
    left, right = PLOTS["rmse_and_ratio"]().axes
    assert len(points(left, "s")) == len(points(right, "s")) == 2


def test_time_is_drawn_in_milliseconds_and_an_error_of_none_not_at_all():
    error, seconds, _, _ = cost.cost_by_tolerance([sweep_row(error=None)]).axes
    assert seconds.lines[0].get_ydata()[0] == pytest.approx(100)
    assert np.isnan(error.lines[0].get_ydata()[0])


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


def test_a_table_refuses_columns_of_unequal_length():
    with pytest.raises(ValueError):
        tables.table({"model": ["a", "b"], "error": [1.5]})


def test_an_interval_is_shown_only_where_there_is_one():
    assert tables.interval(SEVERAL, 2) == "0.50 [0.20, 0.80]"
    assert tables.interval(SINGLE, 1) == "0.5"
