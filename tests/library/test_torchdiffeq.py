"""torchdiffeq's interface, against torchdiffeq itself."""

from __future__ import annotations

import math

import pytest
import torch
import torchdiffeq
from problems import TS, Y0, Field, decay
from torch import nn

from odenet import Adaptive, Solver, odeint, odeint_adjoint, odeint_event, solve


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: odeint(decay, Y0, TS, method="rk5"), ValueError, "unknown method"),
        (lambda: odeint(decay, Y0, TS, rtol=-1.0), ValueError, "rtol must be a number of at least"),
        (lambda: odeint(decay, Y0, [0.0, 1.0]), TypeError, "1-D tensor"),
        (lambda: odeint_adjoint(decay, Y0, TS), ValueError, "adjoint_params"),
        (lambda: odeint(decay, torch.ones(2).int(), TS), TypeError, "torch.int32"),
        (
            lambda: odeint_adjoint(Field(), Y0, TS, adjoint_options={"norm": "rms"}),
            ValueError,
            "'seminorm'",
        ),
    ],
)
def test_bad_input_is_refused_with_what_is_allowed(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("ts", [TS, TS.flip(0)], ids=["forward", "reverse"])
@pytest.mark.parametrize("method", ["euler", "midpoint", "heun2", "rk4"])
def test_odeint_equals_torchdiffeq_on_its_fixed_grid(method, ts):
    ours = odeint(Field(), Y0, ts, method=method)
    torch.testing.assert_close(ours, torchdiffeq.odeint(Field(), Y0, ts, method=method))


@pytest.mark.parametrize("ts", [TS, TS.flip(0)], ids=["forward", "reverse"])
@pytest.mark.parametrize(
    ("method", "tolerances"),
    [
        ("adaptive_heun", (1e-3, 1e-5)),  # a hundredth takes ten times the steps
        ("bosh3", (1e-4, 1e-6)),
        ("dopri5", (1e-4, 1e-6, 1e-8)),
        ("dopri8", (1e-4, 1e-6, 1e-8)),
    ],
)
def test_odeint_is_at_least_as_accurate_as_torchdiffeq(method, tolerances, ts):
    exact = torchdiffeq.odeint(Field(), Y0, ts, rtol=1e-12, atol=1e-12)
    for tolerance in tolerances:
        same = {"method": method, "rtol": tolerance, "atol": tolerance}
        ours = (odeint(Field(), Y0, ts, **same) - exact).abs().max()
        theirs = (torchdiffeq.odeint(Field(), Y0, ts, **same) - exact).abs().max()
        assert ours < min(1.5 * theirs, 100 * tolerance)


def test_nfe_is_not_above_torchdiffeq_at_equal_tolerance():
    class Counted(Field):
        nfe = 0

        def forward(self, t, y):
            self.nfe += 1
            return super().forward(t, y)

    for tolerance in (1e-3, 1e-5, 1e-7):
        func = Counted()
        torchdiffeq.odeint(func, Y0, TS, rtol=tolerance, atol=tolerance)
        ours = solve(Field(), Y0, TS, Solver("dopri5", Adaptive(tolerance, tolerance))).stats
        assert ours.forward.nfe <= func.nfe + 6


def test_odeint_adjoint_gradients_agree_with_torchdiffeq():
    def gradients(integrate):
        func, y0 = Field(), Y0.clone().requires_grad_()
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


@pytest.mark.parametrize("settings", [{"adjoint_options": {"norm": "seminorm"}}, {}])
def test_adjoint_settings_of_its_own(settings):
    def gradient(integrate, **more):
        func, y0 = Field(), Y0.clone().requires_grad_()
        integrate(func, y0, TS, rtol=1e-9, atol=1e-9, **more)[-1].sum().backward()
        return y0.grad

    exact = gradient(odeint)
    more = {"adjoint_rtol": 1e-8, "adjoint_atol": 1e-8, "adjoint_method": "bosh3", **settings}
    torch.testing.assert_close(gradient(odeint_adjoint, **more), exact, rtol=0, atol=1e-6)


def test_complex_states_agree_with_torchdiffeq():
    class Rotation(nn.Module):
        def __init__(self):
            super().__init__()
            self.rate = nn.Parameter(torch.tensor(0.3 + 1.0j, dtype=torch.complex128))

        def forward(self, t, y):
            return self.rate * y

    def run(integrate):
        func, y0 = Rotation(), torch.tensor([1 + 0j, 0.5 - 0.5j], dtype=torch.complex128)
        ys = integrate(func, y0, TS, rtol=1e-9, atol=1e-9)
        ys[-1].abs().sum().backward()
        return ys.detach(), func.rate.grad

    theirs = run(torchdiffeq.odeint)
    for integrate in (odeint, odeint_adjoint):
        torch.testing.assert_close(run(integrate), theirs, rtol=1e-6, atol=1e-6)


def test_tolerances_for_each_state_of_a_tuple():
    def func(t, state):
        return tuple(-y for y in state)

    y0 = (torch.ones(3).double(), torch.ones(2, 2).double())
    loose = odeint(func, y0, TS, rtol=1e-3, atol=1e-3)
    strict = odeint(func, y0, TS, rtol=(1e-3, 1e-9), atol=(torch.tensor(1e-3), torch.tensor(1e-9)))
    exact = math.exp(-3)
    assert (strict[1][-1] - exact).abs().max() < 1e-7 < (loose[1][-1] - exact).abs().max()


def test_a_grid_of_its_own():
    def grid(func, y0, t):
        return torch.linspace(float(t[0]), float(t[-1]), 31, dtype=t.dtype)

    ours = odeint(Field(), Y0, TS, method="midpoint", options={"grid_constructor": grid})
    options = {"grid_constructor": grid}
    theirs = torchdiffeq.odeint(Field(), Y0, TS, method="midpoint", options=options)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_grid_is_in_order_and_may_hold_a_time_twice(sign):
    def rows(*grid):
        options = {"grid_constructor": lambda func, y0, t: sign * torch.tensor(grid).double()}
        ts = sign * torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
        return odeint(Field(), Y0, ts, method="midpoint", options=options)

    torch.testing.assert_close(rows(0, 0.3, 0.3, 1), rows(0, 0.3, 1))
    for grid in ((0, 0.7, 0.3, 1), (0, 1.5, 1)):
        with pytest.raises(AssertionError, match="in order"):
            rows(*grid)


def ball(t, state):
    position, velocity = state
    return velocity, torch.full_like(velocity, -9.8)


@pytest.mark.parametrize("interface", ["odeint", "odeint_adjoint"])
def test_the_bouncing_ball(interface):
    """The time to the ground is v/g + sqrt(v^2/g^2 + 2 h/g), with derivatives known exactly."""
    ours = {"odeint": odeint, "odeint_adjoint": odeint_adjoint}[interface]
    height = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
    velocity = torch.tensor([3.0], dtype=torch.float64, requires_grad=True)
    settings = {"adjoint_params": ()} if interface == "odeint_adjoint" else {}
    t, (positions, velocities) = odeint_event(
        ball,
        (height, velocity),
        torch.zeros((), dtype=torch.float64),
        event_fn=lambda t, state: state[0],
        odeint_interface=ours,
        **settings,
    )
    h, v = height.detach(), velocity.detach()
    impact = torch.sqrt(v**2 + 2 * 9.8 * h)
    torch.testing.assert_close(t.detach(), ((v + impact) / 9.8)[0])
    torch.testing.assert_close(positions[-1], torch.zeros_like(h), rtol=0, atol=1e-9)
    by_height, by_velocity = torch.autograd.grad(t, (height, velocity), retain_graph=True)
    torch.testing.assert_close(by_height, 1 / impact)
    torch.testing.assert_close(by_velocity, (1 + v / impact) / 9.8)
    (final,) = torch.autograd.grad(velocities[-1].sum(), height)
    torch.testing.assert_close(final, -9.8 / impact)


def test_bounces_follow_each_other_and_time_may_run_backwards():
    height, velocity = torch.ones(1).double(), torch.zeros(1).double()
    time, times = torch.zeros(()).double(), []
    for _ in range(3):
        time, (_, velocities) = odeint_event(
            ball, (height, velocity), time, event_fn=lambda t, state: state[0]
        )
        height, velocity = torch.zeros(1).double(), -velocities[-1]
        times.append(float(time))
    fall = math.sqrt(2 / 9.8)
    assert times == pytest.approx([fall, 3 * fall, 5 * fall], rel=1e-7)
    start, _ = odeint_event(
        ball,
        (torch.ones(1).double(), torch.zeros(1).double()),
        torch.zeros(()).double(),
        event_fn=lambda t, state: state[0],
        reverse_time=True,
    )
    assert float(start) == pytest.approx(-fall, rel=1e-7)
