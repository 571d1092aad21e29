"""The loop: orders, counts, landing, dense sampling, failure."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from odenet.solvers import (
    METHODS,
    Adaptive,
    Counts,
    FixedSteps,
    RungeKutta,
    SciPyAdams,
    SolveError,
    sample,
)
from odenet.solvers import (
    loop as integrate,
)
from odenet.solvers.loop import steps

DOPRI5, RK4 = METHODS["dopri5"], METHODS["rk4"]
OURS = {name: m for name, m in METHODS.items() if not isinstance(m, SciPyAdams)}
ADAPTIVE = {name: m for name, m in METHODS.items() if m.adaptive}
RUNGE_KUTTA = {name: m for name, m in METHODS.items() if isinstance(m, RungeKutta)}


def every(methods):
    return pytest.mark.parametrize("method", methods.values(), ids=methods)


def pendulum(t, y):
    return torch.stack((y[1], -torch.sin(y[0]) + 0.1 * math.cos(t)))


START = torch.tensor([1.0, 0.5], dtype=torch.float64)


def reference(ts):
    def f(t, y):
        return pendulum(t, torch.from_numpy(y)).numpy()

    span = (ts[0], ts[-1])
    exact = solve_ivp(f, span, START.numpy(), "DOP853", t_eval=ts, rtol=1e-13, atol=1e-13)
    return torch.from_numpy(exact.y.T.copy())


@every(OURS)
@pytest.mark.parametrize("end", [2.0, -2.0])
def test_observed_order_forward_and_in_reverse_time(method, end):
    exact = reference((0.0, end))[-1]
    counts = {8: (3, 4, 6)}.get(method.order, (24, 36, 54))
    errors = []
    for n in counts:
        *_, last = steps(pendulum, START, (0.0, end), method, FixedSteps(n), Counts())
        errors.append(float((last.y1 - exact).norm()))
    slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert slope == pytest.approx(method.order, abs=0.35)


@every(ADAPTIVE)
def test_adaptive_error_follows_the_tolerance(method):
    ts = tuple(np.linspace(0, 5, 11).tolist())
    exact = reference(ts)
    errors = []
    for tolerance in (1e-4, 1e-5, 1e-6):
        path = steps(pendulum, START, ts, method, Adaptive(tolerance, tolerance), Counts())
        errors.append(float((sample(path, START, ts) - exact).abs().max()))
        # Fehlberg's estimate is a 512th of a first-order error, and too hopeful.
        assert errors[-1] < (600 if method.name == "fehlberg2" else 30) * tolerance
    assert errors == sorted(errors, reverse=True)


def test_nfe_is_two_plus_six_an_attempt_for_dopri5():
    for tolerance in (1e-2, 1e-5, 1e-9):
        counts = Counts()
        accepted = sum(
            1 for _ in steps(pendulum, START, (0.0, 7.0), DOPRI5, Adaptive(tolerance, 1e-9), counts)
        )
        assert accepted == counts.accepted
        assert counts.nfe == 2 + 6 * (counts.accepted + counts.rejected)


def test_rejected_steps_are_counted_and_repeated():
    counts = Counts()
    control = Adaptive(1e-8, 1e-8, initial=2.0)
    *_, last = steps(pendulum, START, (0.0, 2.0), DOPRI5, control, counts)
    assert counts.rejected > 0
    assert counts.nfe == 1 + 6 * (counts.accepted + counts.rejected)
    torch.testing.assert_close(last.y1, reference((0.0, 2.0))[-1], rtol=0, atol=1e-7)


@every(RUNGE_KUTTA)
def test_fixed_steps_cost_their_stages(method):
    counts = Counts()
    list(steps(pendulum, START, (0.0, 1.0), method, FixedSteps(10), counts))
    tableau = method.tableau
    per_step = tableau.stages - tableau.fsal
    assert counts == Counts(nfe=10 * per_step + tableau.fsal, accepted=10, rejected=0)


@pytest.mark.parametrize("end", [1.1, -0.7])
def test_steps_join_and_land_on_the_end_exactly(end):
    path = list(steps(pendulum, START, (0.1, end), DOPRI5, Adaptive(1e-9, 1e-9), Counts()))
    assert path[0].t0 == 0.1
    assert path[-1].t1 == end
    for a, b in zip(path, path[1:], strict=False):
        assert a.t1 == b.t0
        assert a.y1 is b.y0


def test_sampling_does_not_change_the_steps():
    ts = tuple(np.linspace(0, 5, 101).tolist())
    control = Adaptive(1e-6, 1e-6)
    few, many = Counts(), Counts()
    *_, last = steps(pendulum, START, (0.0, 5.0), DOPRI5, control, few)
    ys = sample(steps(pendulum, START, ts, DOPRI5, control, many), START, ts)
    assert few == many
    assert torch.equal(ys[-1], last.y1)
    assert torch.equal(ys[0], START)


def test_many_outputs_inside_one_step_equal_one_at_a_time():
    ts = (0.0, 0.1, 0.25, 0.3, 1.0)
    together = sample(steps(pendulum, START, ts, RK4, FixedSteps(1), Counts()), START, ts)
    (step,) = steps(pendulum, START, ts, RK4, FixedSteps(1), Counts())
    for t, y in zip(ts[1:], together[1:], strict=True):
        torch.testing.assert_close(step([t])[0], y, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("control", "t"),
    [(Adaptive(1e-3, 1e-3), 0.5), (FixedSteps(50), 1.0)],
    ids=["adaptive", "fixed"],
)
def test_a_field_that_returns_nan_names_the_time_where_it_is_seen(control, t):
    def f(t, y):
        return -y if t < 0.5 else y * math.nan

    with pytest.raises(SolveError, match="not finite") as caught:
        list(steps(f, START, (0.0, 1.0), DOPRI5, control, Counts()))
    assert caught.value.t == pytest.approx(t, abs=0.03)
    assert caught.value.counts.nfe < 1000


def test_a_field_that_is_nan_from_the_start_fails_at_the_start():
    with pytest.raises(SolveError, match="not finite") as caught:
        list(steps(lambda t, y: y * math.nan, START, (0.0, 1.0), DOPRI5, Adaptive(), Counts()))
    assert caught.value.t == 0.0


def test_blow_up_is_an_error_near_the_pole():
    with pytest.raises(SolveError) as caught:
        y0 = torch.ones(1, dtype=torch.float64)
        list(steps(lambda t, y: y * y, y0, (0.0, 2.0), DOPRI5, Adaptive(), Counts()))
    assert caught.value.t == pytest.approx(1.0, abs=1e-2)


def test_a_stiff_problem_hits_the_step_limit():
    counts = Counts()
    with pytest.raises(SolveError, match="more than 50 attempts"):
        control = Adaptive(1e-6, 1e-6, max_steps=50)
        list(steps(lambda t, y: -1e5 * (y - 1), START, (0.0, 10.0), DOPRI5, control, counts))
    assert counts.accepted + counts.rejected == 50


def test_grad_mode_of_the_consumer_is_its_own():
    """A generator that held no_grad open across a yield would leak it into this loop."""
    y0 = START.clone().requires_grad_()
    for step in steps(pendulum, y0, (0.0, 1.0), DOPRI5, Adaptive(), Counts()):
        assert torch.is_grad_enabled()
        assert step.y1.requires_grad


def test_outputs_are_the_same_however_many_steps_wait_for_their_dense_output(monkeypatch):
    y0 = torch.tensor([1.0, -2.0], dtype=torch.float64)
    ts = tuple(0.1 * i for i in range(31))

    def solved():
        path = steps(lambda t, y: -t * y, y0, ts, DOPRI5, Adaptive(1e-6, 1e-6), Counts())
        return sample(path, y0, ts)

    together = solved()
    for limit in (0, 30):  # each step by itself; two by two
        monkeypatch.setattr(integrate, "_WAITING", limit)
        torch.testing.assert_close(solved(), together, rtol=0, atol=1e-14)
