"""The front door: what it accepts, what it refuses, and the torchdiffeq-style functions."""

from __future__ import annotations

import math

import pytest
import torch
import torchdiffeq
from torch import nn

from odenet import (
    Adaptive,
    Adjoint,
    Backprop,
    Checkpoint,
    FixedSteps,
    SolveError,
    Solver,
    odeint,
    odeint_adjoint,
    solve,
)
from odenet.solvers import METHODS, rms


class Spiral(nn.Module):
    """Takes the time as a float or as a tensor."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2)).double()

    def forward(self, t, y):
        return self.net(y**3) + 0.1 * t


Y0 = torch.tensor([[1.0, 0.3], [-0.7, 0.2]], dtype=torch.float64)
TS = torch.linspace(0, 3, 7, dtype=torch.float64)


def decay(t, y):
    return -y


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
        (lambda: solve(lambda t, y: y[0], Y0, TS), ValueError, r"\(2, 2\).*got \(2,\)"),
        (lambda: solve(lambda t, y: y.float(), Y0, TS), ValueError, "got.*torch.float32"),
        (lambda: solve(lambda t, y: 0.0, Y0, TS), TypeError, "return a tensor, got float"),
        (lambda: odeint(decay, Y0, TS, method="rk5"), ValueError, "unknown method"),
        (lambda: odeint(decay, Y0, TS, options={"step": 1}), ValueError, r"\['step'\].*known"),
        (lambda: odeint(decay, Y0, TS, rtol=0.0), ValueError, "rtol must be positive"),
        (lambda: odeint(decay, Y0, [0.0, 1.0]), TypeError, "1-D tensor"),
        (lambda: odeint_adjoint(decay, Y0, TS), TypeError, "params"),
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
        ys = solve(Spiral(), Y0, TS, Solver(gradient="checkpoint")).ys
    assert ys.grad_fn is None
    frozen = Spiral().requires_grad_(False)
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
    there = solve(Spiral(), Y0, TS, solver).ys[-1]
    back = solve(Spiral(), there, TS.flip(0), solver).ys[-1]
    torch.testing.assert_close(back, Y0, rtol=0, atol=1e-7)


def test_failures_reach_the_caller_of_the_backward_pass():
    class Fragile(nn.Module):
        def __init__(self):
            super().__init__()
            self.rate = nn.Parameter(torch.ones((), dtype=torch.float64))
            self.broken = False

        def forward(self, t, y):
            return self.rate * y * (math.nan if self.broken else 1)

    field = Fragile()
    solution = solve(field, Y0, TS, Solver(gradient="adjoint"))
    field.broken = True
    with pytest.raises(SolveError, match="not finite") as caught:
        solution.ys.sum().backward()
    assert caught.value.t == 3.0
    assert caught.value.stats is solution.work.backward


@pytest.mark.parametrize("ts", [TS, TS.flip(0)], ids=["forward", "reverse"])
@pytest.mark.parametrize("method", ["euler", "midpoint"])
def test_odeint_equals_torchdiffeq_on_its_fixed_grid(method, ts):
    ours = odeint(Spiral(), Y0, ts, method=method)
    torch.testing.assert_close(ours, torchdiffeq.odeint(Spiral(), Y0, ts, method=method))


@pytest.mark.parametrize("ts", [TS, TS.flip(0)], ids=["forward", "reverse"])
@pytest.mark.parametrize("method", ["bosh3", "dopri5"])
def test_odeint_is_at_least_as_accurate_as_torchdiffeq(method, ts):
    exact = torchdiffeq.odeint(Spiral(), Y0, ts, rtol=1e-12, atol=1e-12)
    for tolerance in (1e-4, 1e-6, 1e-8):
        same = {"method": method, "rtol": tolerance, "atol": tolerance}
        ours = (odeint(Spiral(), Y0, ts, **same) - exact).abs().max()
        theirs = (torchdiffeq.odeint(Spiral(), Y0, ts, **same) - exact).abs().max()
        assert ours < min(1.5 * theirs, 100 * tolerance)


def test_nfe_is_not_above_torchdiffeq_at_equal_tolerance():
    class Counted(Spiral):
        nfe = 0

        def forward(self, t, y):
            self.nfe += 1
            return super().forward(t, y)

    for tolerance in (1e-3, 1e-5, 1e-7):
        func = Counted()
        torchdiffeq.odeint(func, Y0, TS, rtol=tolerance, atol=tolerance)
        ours = solve(Spiral(), Y0, TS, Solver("dopri5", Adaptive(tolerance, tolerance))).work
        assert ours.forward.nfe <= func.nfe + 6


def test_odeint_adjoint_gradients_agree_with_torchdiffeq():
    def gradients(integrate):
        func, y0 = Spiral(), Y0.clone().requires_grad_()
        ts = TS.clone().requires_grad_()
        ys = integrate(func, y0, ts, rtol=1e-9, atol=1e-9)
        ys.pow(2).sum().backward()
        return [y0.grad, ts.grad, *(p.grad for p in func.parameters())]

    ours, theirs = gradients(odeint_adjoint), gradients(torchdiffeq.odeint_adjoint)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("integrate", [odeint, odeint_adjoint])
def test_a_tuple_of_states_comes_back_as_a_tuple(integrate):
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.rate = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

        def forward(self, t, state):
            x, v = state
            return -self.rate * x, t * torch.ones_like(v)

    func = Pair()
    x, v = integrate(func, (torch.ones(2, 3).double(), torch.zeros(4).double()), TS)
    assert (x.shape, v.shape) == ((7, 2, 3), (7, 4))
    torch.testing.assert_close(v[-1], torch.full((4,), 4.5).double())
    x[-1].sum().backward()
    assert func.rate.grad.item() == pytest.approx(-6 * 3 * math.exp(-1.5), rel=1e-5)


def test_fixed_step_size_is_an_option():
    coarse = odeint(decay, Y0, TS, method="rk4")
    fine = odeint(decay, Y0, TS, method="rk4", options={"step_size": 0.05})
    exact = Y0 * torch.exp(-TS)[:, None, None]
    assert (fine - exact).abs().max() < (coarse - exact).abs().max() / 100


def test_rms_is_the_root_of_the_mean_square():
    assert rms(torch.tensor([3.0, 4.0])).item() == pytest.approx(math.sqrt(12.5))
