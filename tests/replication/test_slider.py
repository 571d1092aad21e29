"""The page's solver takes the steps of `odenet`, and the slider shows what they cost."""

from pathlib import Path

import browser
import pytest
import torch
from playwright.sync_api import Error
from torch import nn

from odenet import Adaptive, Solver, solve
from odenet.models import Autonomous
from replication.chapters.resnets import slider

pytestmark = pytest.mark.slow
HEAD = '<!doctype html><html lang="en"><title>A page</title><main><h1>A page</h1>'
PHONE = 390  # CSS pixels
SCRIPT = Path(slider.__file__).with_name("adaptive.js")


def net(*widths, seed):
    torch.manual_seed(seed)
    layers = [nn.Linear(*pair) for pair in zip(widths, widths[1:], strict=False)]
    hidden = [part for layer in layers[:-1] for part in (layer, nn.Tanh())]
    return nn.Sequential(*hidden, layers[-1]).double()


def pendulum(t, y):
    return torch.stack((y[1], -y[0].sin()))


def comet(t, y):
    return torch.cat((y[2:], -y[:2] / y[:2].norm() ** 3))


def driven(t, y):
    return torch.stack((y[1], 5 * torch.tensor(3 * t, dtype=y.dtype).cos() - y[0]))


# The field here and in JavaScript, the state at the first time, both times, the tolerance.
CASES = {
    "loosest": (net(2, 16, 2, seed=1), None, [1.0, -0.5], (0.0, 3.0), 1.0),
    "tightest": (net(2, 16, 2, seed=1), None, [1.0, -0.5], (0.0, 3.0), 1e-9),
    "backwards": (net(2, 16, 2, seed=2), None, [-0.3, 2.0], (1.5, -1.0), 1e-4),
    "deep": (net(3, 8, 8, 3, seed=3), None, [0.1, 0.2, 0.3], (0.0, 20.0), 1e-6),
    "linear": (net(2, 2, seed=4), None, [1.0, 1.0], (2.0, 5.0), 1e-7),
    "pendulum": (pendulum, "(t, [a, v]) => [v, -Math.sin(a)]", [3.1, 0.0], (0.0, 30.0), 1e-5),
    "comet": (
        comet,
        "(t, [x, y, v, w]) => [v, w, -x / Math.hypot(x, y) ** 3, -y / Math.hypot(x, y) ** 3]",
        [1.7, 0.0, 0.0, 0.42],
        (0.0, 6.0),
        1e-3,
    ),
    "driven": (driven, "(t, [x, v]) => [v, 5 * Math.cos(3 * t) - x]", [0, 0], (0.0, 9.0), 1e-8),
    "stiff": (lambda t, y: -50 * y, "(t, y) => y.map(v => -50 * v)", [2.0], (0.0, 2.0), 1e-2),
    "at rest": (lambda t, y: 0 * y, "(t, y) => y.map(v => 0)", [1.0], (0.0, 1.0), 1e-6),
}


@pytest.fixture(scope="module")
def chromium():
    with browser.chromium() as opened:
        yield opened


@pytest.fixture
def page(chromium):
    """A page that holds the very script of the book."""
    page = chromium.new_page()
    page.add_script_tag(path=SCRIPT)
    yield page
    page.close()


@torch.no_grad()
def test_the_script_takes_the_steps_of_odenet(page):
    assert len(CASES) == 10
    for name, (field, code, y0, (start, end), tolerance) in CASES.items():
        if code is None:
            code, field = f"network({slider.layers(field)})", Autonomous(field)
        ours = page.evaluate(f"""() => {{
            const {{ steps, ...cost }} = solve({code}, {y0}, {start}, {end}, {tolerance});
            return {{ ...cost, steps: steps.map(s => ({{ ...s, inside: s.inside(0.7) }})) }};
        }}""")
        state = torch.tensor(y0, dtype=torch.float64)
        solver = Solver("dopri5", Adaptive(tolerance, tolerance))
        theirs = solve(field, state, (start, end), solver, dense=True)
        counts = theirs.stats.forward
        cost = (ours["nfe"], ours["accepted"], ours["rejected"])
        assert cost == (counts.nfe, counts.accepted, counts.rejected), name
        reached = torch.tensor(ours["steps"][-1]["y"], dtype=torch.float64)
        torch.testing.assert_close(reached, theirs.y1, rtol=1e-9, atol=1e-12, msg=name)
        for mine, step in zip(ours["steps"], theirs.trajectory.steps, strict=True):
            # At the tightest, a step's length hangs on the rounding of its error.
            inside = step([step.t0 + 0.7 * step.h])[0].tolist()
            assert mine["t"] == pytest.approx(step.t1, rel=1e-5), name
            assert mine["inside"] == pytest.approx(inside, rel=1e-5, abs=1e-9), name


def test_a_solve_without_an_end_is_given_up(page):
    with pytest.raises(Error, match="RangeError: too many steps"):
        page.evaluate("solve((t, [y]) => [y * y], [1], 0, 2, 1e-6)")


@torch.no_grad()
def turned(field, tolerance):
    solver = Solver("dopri5", Adaptive(tolerance, tolerance))
    start, times = torch.tensor([1.0, 0.5]).double(), torch.linspace(0, 2, 9)
    return solve(Autonomous(field), start, times, solver, dense=True)


def page_of(field, tolerance=1e-3):
    solutions = turned(field, 1e-12), turned(field, tolerance)
    return slider.tolerance_slider(field, *solutions, tolerance, alt="A path and its steps")


def test_the_slider_is_moved_by_keys_and_is_a_picture_on_paper(chromium, tmp_path):
    field = net(2, 16, 2, seed=0)
    (tmp_path / "index.html").write_text(HEAD + page_of(field))
    found = browser.faults(chromium, tmp_path, ["index.html"], PHONE)
    with browser.tab(chromium, tmp_path, PHONE, found) as page:
        browser.visit(page, "index.html")
        bar, cost = page.get_by_role("slider", name="tolerance"), page.get_by_role("status")
        for key, tolerance in {"": 1e-3, "ArrowRight": 5e-4, "End": 1e-9, "Home": 1.0}.items():
            if key:
                bar.press(key)
            assert float(bar.get_attribute("aria-valuetext")) == tolerance
            counts = turned(field, tolerance).stats.forward
            shown = cost.locator("b").all_inner_texts()
            assert shown[:3] == [str(n) for n in (counts.nfe, counts.accepted, counts.rejected)]
            error = float((turned(field, tolerance).y1 - turned(field, 1e-12).y1).norm())
            assert float(shown[3]) == pytest.approx(error, rel=0.1)
            dots = page.locator("svg .dots").get_attribute("d")
            assert dots.count("M") == counts.accepted + 1
        page.emulate_media(media="print")
        assert page.locator("img").is_visible()
        assert not any(page.locator(part).is_visible() for part in ("svg", "input", ".cost"))
    assert found == []


def test_without_scripts_the_slider_is_a_picture(chromium, tmp_path):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.set_content(HEAD + page_of(net(2, 4, 2, seed=0)))
    assert page.get_by_role("img", name="A path and its steps").is_visible()
    assert not page.locator("input").is_visible()
    context.close()


def test_what_the_page_cannot_show_is_refused():
    field = net(2, 4, 2, seed=0)
    with pytest.raises(ValueError, match="tolerance must be one of"):
        page_of(field, 3e-3)
    with pytest.raises(ValueError, match="alternates Linear and Tanh"):
        slider.layers(nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2)))
    sampled = solve(Autonomous(field), torch.ones(2).double(), [0.0, 1.0])
    with pytest.raises(ValueError, match="dense=True"):
        slider.still(sampled, sampled, 1e-3)
