"""The front door: what it accepts, what it refuses, and the torchdiffeq-style functions."""

from __future__ import annotations

import math

import pytest
import torch
from problems import TS, Y0, Field, decay
from scipy.integrate import solve_ivp
from torch import nn

from odenet import (
    Adaptive,
    Adjoint,
    Backprop,
    Checkpoint,
    FixedSteps,
    SolveError,
    Solver,
    solve,
    solve_event,
)
from odenet.solvers import METHODS, rms
from odenet.solvers.scipy_solver import SOLVERS, SciPySolver


def test_names_become_values_once():
    assert Solver() == Solver(METHODS["dopri5"], Adaptive(), Backprop())
    assert Solver(gradient="adjoint").gradient == Adjoint()
    assert Solver(gradient="checkpoint").gradient == Checkpoint()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Solver("dopr5"), ValueError, "unknown method 'dopr5'.*did you mean 'dopri5'"),
        (lambda: Solver(gradient="backward"), ValueError, "backprop, checkpoint, adjoint"),
        (lambda: Solver("rk4"), ValueError, "no error estimate.*bosh3, dopri5"),
        (lambda: Solver("rk4", FixedSteps(3), Adjoint(Adaptive())), ValueError, "no error"),
        (lambda: solve(decay, Y0, [0.0]), ValueError, "at least two times, got 1"),
        (lambda: solve(decay, Y0, [0.0, math.nan]), ValueError, "finite"),
        (lambda: solve(decay, Y0, [0.0, 1.0, 0.5]), ValueError, "rise or fall strictly"),
        (lambda: solve(decay, Y0, [0.0, 0.0]), ValueError, "rise or fall strictly"),
        (lambda: solve(decay, Y0, TS[None]), ValueError, "one-dimensional, got shape"),
        (lambda: solve(decay, torch.ones(2, dtype=torch.int64), TS), TypeError, "torch.int64"),
        (lambda: solve(decay, 1.0, TS), TypeError, "must be a tensor, got float"),
        (lambda: solve(decay, Y0, TS, Solver(gradient="adjoint")), TypeError, "params"),
        (lambda: solve(decay, Y0, TS, Solver(gradient="checkpoint")), TypeError, "params"),
        (lambda: solve(lambda t, y: y[0], Y0, TS), ValueError, r"\(2, 3\).*got \(3,\)"),
        (lambda: solve(lambda t, y: y.float(), Y0, TS), ValueError, "got.*torch.float32"),
        (lambda: solve(lambda t, y: 0.0, Y0, TS), TypeError, "return a tensor, got float"),
    ],
)
def test_bad_input_is_refused_with_what_is_allowed(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_plain_function_is_differentiated_with_params():
    rate = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    solver = Solver("dopri5", Adaptive(1e-9, 1e-9), "adjoint")
    solution = solve(lambda t, y: -rate * y, Y0, (0.0, 2.0), solver, params=(rate,))
    solution.ys[-1].sum().backward()
    assert rate.grad.item() == pytest.approx(float(-2 * (Y0 * math.exp(-1)).sum()), rel=1e-7)


def test_without_a_gradient_nothing_is_kept():
    with torch.no_grad():
        ys = solve(Field(), Y0, TS, Solver(gradient="checkpoint")).ys
    assert ys.grad_fn is None
    frozen = Field().requires_grad_(False)
    assert solve(frozen, Y0, TS, Solver(gradient="adjoint")).ys.grad_fn is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)])
def test_state_is_one_tensor_of_any_shape_and_keeps_its_dtype(shape, dtype):
    y0 = torch.full(shape, 2.0, dtype=dtype)
    ys = solve(decay, y0, [0.0, 0.5, 1.0]).ys
    assert ys.shape == (3, *shape)
    assert ys.dtype == dtype
    torch.testing.assert_close(ys[-1], y0 / math.e, rtol=1e-5, atol=1e-5)


def test_solve_there_and_back():
    solver = Solver("dopri5", Adaptive(1e-10, 1e-10))
    there = solve(Field(), Y0, TS, solver).ys[-1]
    back = solve(Field(), there, TS.flip(0), solver).ys[-1]
    torch.testing.assert_close(back, Y0, rtol=0, atol=1e-7)


def test_failures_reach_the_caller_of_the_backward_pass():
    class Fragile(nn.Module):
        def __init__(self):
            super().__init__()
            self.rate = nn.Parameter(torch.ones((), dtype=torch.float64))
            self.broken = False

        def forward(self, t, y):
            return self.rate * y * (math.nan if self.broken and t < 3 else 1)

    field = Fragile()
    solution = solve(field, Y0, TS, Solver(gradient="adjoint"))
    field.broken = True
    with pytest.raises(SolveError, match="not finite") as caught:
        solution.ys.sum().backward()
    assert caught.value.t == pytest.approx(3.0)
    assert caught.value.counts is solution.stats.backward


def test_rms_is_the_root_of_the_mean_square():
    assert rms(torch.tensor([3.0, 4.0])) == pytest.approx(math.sqrt(12.5))


@pytest.mark.parametrize(
    ("control", "accuracy"),
    [(Adaptive(1e-9, 1e-9), 1e-8), (FixedSteps(size=1.0), 1e-2)],
    ids=["each in its step", "two in one"],
)
def test_the_first_of_several_events_counts(control, accuracy):
    def event(t, y):
        return torch.stack((y[0] - 0.2, t - 3.0, y[0] - 0.5, y[0] - 0.4))

    solver = Solver("tsit5", control)
    t, solution = solve_event(decay, torch.ones(1).double(), 0.0, event, solver)
    assert float(t) == pytest.approx(math.log(2), rel=accuracy)
    assert float(solution.ys[-1]) == pytest.approx(0.5, rel=accuracy)


def test_no_event_before_the_end_is_an_error():
    with pytest.raises(SolveError, match="no event at t = 2"):
        solve_event(decay, Y0, 0.0, lambda t, y: y[0, 0] + 1, end=2.0)


@pytest.mark.parametrize(
    ("solver", "reason"),
    [
        (Solver(control=Adaptive(max_steps=20)), "no event so far .*more than 20 attempts"),
        (Solver("euler", FixedSteps(size=0.01)), "no event at t = 100"),
    ],
    ids=["adaptive", "fixed"],
)
def test_an_event_that_never_happens_is_named(solver, reason):
    with pytest.raises(SolveError, match=reason) as caught:
        solve_event(decay, Y0, 0.0, lambda t, y: y[0, 0] + 1, solver)
    assert 0 < caught.value.t < math.inf and caught.value.dt > 0


@pytest.mark.parametrize("control", [FixedSteps(size=0.1), Adaptive()])
def test_an_event_under_either_control(control):
    solver = Solver("dopri5", control)
    t, _ = solve_event(decay, Y0, 0.0, lambda t, y: y[0, 0] - 0.5, solver)
    assert float(t) == pytest.approx(math.log(2), rel=1e-5)


def test_scipy_methods_solve_and_give_adjoint_gradients_only():
    tight = Adaptive(1e-9, 1e-9)
    exact = solve(Field(), Y0, TS, Solver("dopri8", tight)).ys
    for name in ("scipy_vode", "scipy_lsoda"):
        solution = solve(Field().requires_grad_(False), Y0, TS, Solver(name, tight))
        torch.testing.assert_close(solution.ys, exact, rtol=0, atol=1e-6)
        assert solution.stats.forward.nfe > solution.stats.forward.accepted > 6
        with pytest.raises(ValueError, match="differentiate it with Adjoint"):
            solve(Field(), Y0, TS, Solver(name, tight))
        with pytest.raises(ValueError, match="chooses its own steps"):
            Solver(name, FixedSteps(3), "adjoint")


@pytest.mark.parametrize(
    "method", ["scipy_vode", "scipy_lsoda", *map(SciPySolver, SOLVERS)], ids=str
)
def test_scipy_methods_lose_no_gradient_and_no_error_of_a_plain_function(method):
    field = Field()
    with pytest.raises(ValueError, match="differentiate with Adjoint"):
        solve(lambda t, y: field(t, y), Y0, TS, Solver(method))
    with torch.no_grad():
        solve(lambda t, y: field(t, y), Y0, TS, Solver(method))
    with pytest.raises(ZeroDivisionError):
        solve(lambda t, y: 1 / 0, Y0, TS, Solver(method))


@pytest.mark.parametrize("method", ["scipy_vode", "scipy_lsoda"])
@pytest.mark.filterwarnings("ignore:.*(vode|lsoda):UserWarning")
def test_scipy_methods_say_why_and_where_they_gave_up(method):
    with pytest.raises(SolveError, match="gave up: [A-Z]") as caught:
        solve(lambda t, y: y * y, torch.ones(1).double(), [0.0, 2.0], Solver(method))
    assert caught.value.t == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("field", [lambda t, y: y * y, lambda t, y: y.sqrt() - 2])
def test_each_solver_of_solve_ivp_ends(solver, field):
    # LSODA itself goes on for ever at the blow-up of the first one.
    with pytest.raises(SolveError, match="gave up: [A-Z]|more than 10000 attempts|not finite") as e:
        solve(field, torch.ones(1).double(), [0.0, 3.0], Solver(SciPySolver(solver)))
    assert 0.7 < e.value.t < 1.001


@pytest.mark.parametrize("solver", SOLVERS)
def test_each_solver_of_solve_ivp_gives_what_solve_ivp_gives(solver):
    calls = []

    def turn(t, y):
        calls.append(t)
        return torch.stack((y[1], -y[0]))

    def theirs(t, y):
        return turn(t, torch.from_numpy(y)).numpy()

    ts, y0 = torch.linspace(0, 3, 7).double(), torch.tensor([1.0, 0.0]).double()
    settings = {"rtol": 1e-6, "atol": 1e-6, "first_step": 0.1}
    found = solve_ivp(theirs, (0, 3), y0, solver, ts, **settings)
    asked = len(calls)
    ours = Solver(SciPySolver(solver), Adaptive(1e-6, 1e-6, initial=0.1))
    solution = solve(turn, y0, ts, ours)
    torch.testing.assert_close(solution.ys, torch.from_numpy(found.y.T), rtol=0, atol=1e-12)
    assert solution.stats.forward.nfe == len(calls) - asked <= asked


def test_warm_start_saves_the_starting_step():
    def circle(t, y):
        return torch.stack((y[:, 1], -y[:, 0]), -1)

    cold = solve(circle, Y0[:, :2], TS).stats.forward
    initial = Adaptive(initial=abs(cold.next_dt))
    warm = solve(circle, Y0[:, :2], TS, Solver(control=initial)).stats.forward
    assert warm.nfe < cold.nfe


@pytest.mark.parametrize("compile", [False, True])
def test_the_field_is_not_asked_beyond_the_end(uncompiled, compile):
    start, end = 0.3, 0.9
    assert start + (end - start) > end  # by rounding

    def field(t, y):
        return torch.where(torch.as_tensor(t, dtype=y.dtype) > end, torch.inf, y)

    solver = Solver("rk4", FixedSteps(1), compile=compile)
    assert solve(field, Y0, (start, end), solver, params=()).y1.isfinite().all()
