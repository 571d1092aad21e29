"""Kinds of use in which a numerical library is easily wrong without a word: each has its value."""

from __future__ import annotations

import copy
import math
import warnings

import numpy as np
import pytest
import torch
from problems import decay
from torch import nn
from torch.func import functional_call

import odenet
from odenet import (
    Adaptive,
    Adjoint,
    Checkpoint,
    FixedSteps,
    InterpolatedAdjoint,
    SolveError,
    Solver,
    odeint,
    odeint_adjoint,
    odeint_event,
    solve,
    solve_event,
    steps,
)
from odenet.solvers import Adams, SciPyAdams, step_size
from odenet.solvers.scipy_solver import SciPySolver

TIGHT = Adaptive(1e-9, 1e-9)
RULES = ("backprop", "checkpoint", "adjoint", InterpolatedAdjoint())
REPLAYED = RULES[1:]
every_rule = pytest.mark.parametrize("rule", RULES, ids=str)
every_replay = pytest.mark.parametrize("rule", REPLAYED, ids=str)


def double(*values, grad=False):
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


def scalar(value, grad=False):
    return torch.tensor(value, dtype=torch.float64, requires_grad=grad)


class Decay(nn.Module):
    def __init__(self, rate=0.7):
        super().__init__()
        self.rate = nn.Parameter(scalar(rate))

    def forward(self, t, y):
        return -self.rate * y


# A nan that disappears


@every_rule
@pytest.mark.parametrize("place", [1, 2])
def test_a_nan_loss_gives_nan_gradients(rule, place):
    field, y0 = Decay(), double(1.0, 2.0, grad=True)
    ys = solve(field, y0, [0.0, 0.5, 1.0], Solver("dopri5", TIGHT, rule)).ys
    (ys[1].sum() + torch.sqrt(-ys[place, 0])).backward()
    assert field.rate.grad.isnan() and y0.grad.isnan().any()


# A gradient that is dropped


@pytest.mark.parametrize("bounces", [1, 2, 3])
def test_the_gradient_goes_through_a_chain_of_events(bounces):
    """The n-th bounce comes at sqrt(2 h / g) (1 + 2 * 0.8 + ... + 2 * 0.8^(n-1))."""

    def fall(t, state):
        return state[1], torch.full_like(state[1], -9.8)

    height = double(2.0, grad=True)
    place, speed, time = height, double(0.0), scalar(0.0)
    for _ in range(bounces):
        time, (places, speeds) = odeint_event(
            fall, (place, speed), time, event_fn=lambda t, s: s[0], rtol=1e-10, atol=1e-12
        )
        place, speed = 0 * places[-1], -0.8 * speeds[-1]
    exact = math.sqrt(4 / 9.8) * (1 + 2 * sum(0.8**k for k in range(1, bounces)))
    (found,) = torch.autograd.grad(time, height)
    assert time.item() == pytest.approx(exact)
    assert found.item() == pytest.approx(exact / 4)


@every_rule
def test_an_event_has_the_gradient_by_its_start(rule):
    t0 = scalar(0.5, grad=True)
    field = Decay()
    time, solution = solve_event(
        field, double(1.0), t0, lambda t, y: y[0] - 0.25, Solver("dopri5", TIGHT, rule)
    )
    (time + solution.y1.sum() + solution.ys[0].sum()).backward()
    assert t0.grad.item() == pytest.approx(1)  # the state at the start does not depend on it
    # t = t0 + log(4) / rate
    assert field.rate.grad.item() == pytest.approx(-math.log(4) / 0.7**2)


@pytest.mark.parametrize("ts", [[0.0, 0.5, 1.5], [1.5, 0.5, 0.0]])
def test_second_derivatives_by_times(ts):
    rate, times = scalar(0.7, grad=True), double(*ts, grad=True)
    last = odeint(lambda t, y: -rate * y, double(2.0), times, rtol=1e-10, atol=1e-12)[-1].sum()
    (slope,) = torch.autograd.grad(last, times, create_graph=True)
    mixed, by_time = torch.autograd.grad(slope[-1], (rate, times))
    span = ts[-1] - ts[0]
    y = 2 * math.exp(-0.7 * span)
    assert slope.tolist() == pytest.approx([0.7 * y, 0, -0.7 * y], abs=1e-6)
    assert mixed.item() == pytest.approx(-y * (1 - 0.7 * span), abs=1e-6)
    assert by_time[-1].item() == pytest.approx(0.49 * y, abs=1e-6)


@every_replay
def test_a_second_derivative_by_times_is_refused_where_it_is_not_known(rule):
    times = double(0.0, 1.0, grad=True)
    y0 = double(1.0, grad=True)
    ys = solve(Decay(), y0, times, Solver("dopri5", TIGHT, rule)).ys
    (slope,) = torch.autograd.grad(ys[-1].sum(), times, create_graph=True)
    assert slope[-1].item() == pytest.approx(-0.7 * math.exp(-0.7))
    with pytest.raises(RuntimeError, match="differentiable once"):
        torch.autograd.grad(slope[-1], times)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*")  # torch's own
def test_forward_mode_by_times():
    field, times = Decay().requires_grad_(False), double(0.0, 1.0)

    def last(ts):
        return solve(field, double(1.0), ts, Solver("dopri5", TIGHT)).ys[-1]

    _, slope = torch.func.jvp(last, (times,), (double(0.0, 1.0),))
    assert slope.item() == pytest.approx(-0.7 * math.exp(-0.7))
    with pytest.raises(RuntimeError, match="autograd.Function"):
        torch.func.jvp(
            lambda ts: solve(field, double(1.0), ts, Solver("explicit_adams", FixedSteps(9))).ys,
            (times,),
            (double(0.0, 1.0),),
        )


@every_rule
def test_times_may_be_a_list_with_tensors(rule):
    end = scalar(1.0, grad=True)
    solve(Decay(), double(1.0), [0.0, end], Solver("dopri5", TIGHT, rule)).y1.sum().backward()
    assert end.grad.item() == pytest.approx(-0.7 * math.exp(-0.7))


@pytest.mark.parametrize("control", [FixedSteps(4), FixedSteps(size=0.32), FixedSteps()], ids=str)
@pytest.mark.parametrize("method", ["euler", "midpoint", "rk4", "dopri5"])
@pytest.mark.parametrize("flip", [False, True])
def test_gradients_by_times_are_those_of_the_computed_solution(control, method, flip):
    """Finite differences of few and coarse steps, with a field that depends on the time."""

    def outputs(times, rate):
        ts = times.flip(0) if flip else times
        field = lambda t, y: torch.sin(rate * t) - y * t  # noqa: E731
        return solve(field, double(1.0, -0.5), ts, Solver(method, control)).ys

    times = double(0.1, 0.45, 1.0, grad=True)
    assert torch.autograd.gradcheck(outputs, (times, scalar(1.3, grad=True)))
    assert torch.autograd.gradgradcheck(outputs, (times, scalar(1.3, grad=True)))


@pytest.mark.parametrize(
    "read", [math.sin, complex, lambda t: t.tolist(), lambda t: torch.full((1,), t)]
)
def test_a_field_that_reads_its_time_as_a_number_is_told(read):
    with pytest.raises(TypeError, match=r"torch\.sin"):
        solve(lambda t, y: read(t) * y, double(1.0), double(0.0, 1.0, grad=True))


def test_a_field_may_read_its_time_as_a_number_where_no_gradient_is_wanted():
    solution = solve(lambda t, y: math.sin(t) * y, double(1.0), double(0.0, 1.0))
    assert solution.y1.item() == pytest.approx(math.exp(1 - math.cos(1)), abs=1e-5)


@every_rule
def test_a_parameter_that_is_given_twice_has_its_gradient_once(rule):
    field, solver = Decay(), Solver("dopri5", TIGHT, rule)
    twice = [field.rate, *field.parameters()]
    solve(field, double(1.0), [0.0, 1.0], solver, params=twice).y1.backward()
    assert field.rate.grad.item() == pytest.approx(-math.exp(-0.7))
    field.rate.grad = None
    time, _ = solve_event(field, double(1.0), 0.0, lambda t, y: y - 0.5, solver, params=twice)
    time.backward()
    assert field.rate.grad.item() == pytest.approx(-math.log(2) / 0.7**2)


class Hidden(nn.Module):
    """Depends on a tensor that is no parameter."""

    def __init__(self, weight, inside=None):
        super().__init__()
        self.weight = weight
        if inside is not None:
            self.weight = None
            self.inside = [inside]

    def forward(self, t, y):
        return torch.tanh(y @ (self.inside[0] if self.weight is None else self.weight))


def matrix():
    return double(0.3, -0.2, 0.5, 0.1, grad=True)


def hidden_gradient(rule, y0):
    weights = matrix()
    field = Hidden((2 * weights).view(2, 2))
    solve(field, y0, [0.0, 1.0], Solver("dopri5", TIGHT, rule)).y1.square().sum().backward()
    return weights.grad


@every_replay
@pytest.mark.parametrize("encoded", [False, True])
def test_weights_that_another_network_made_get_their_gradient(rule, encoded):
    y0 = torch.ones(3, 2, dtype=torch.float64, requires_grad=encoded)
    exact = hidden_gradient("backprop", y0)
    assert torch.allclose(hidden_gradient(rule, y0), exact, atol=1e-6)


@pytest.mark.parametrize("rule", ["checkpoint", "adjoint"])
def test_a_tensor_that_cannot_be_found_is_told(rule):
    weights = matrix()
    field = Hidden(None, inside=(2 * weights).view(2, 2))
    y0 = torch.ones(3, 2, dtype=torch.float64, requires_grad=True)
    solution = solve(field, y0, [0.0, 1.0], Solver("dopri5", TIGHT, rule))
    with pytest.raises(RuntimeError, match="shape \\(4,\\).*give params"):
        solution.y1.sum().backward()


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(2, 2).double()
        self.condition = None

    def forward(self, t, y):
        y = torch.tanh(self.linear(y))
        return y if self.condition is None else y @ self.condition


@every_replay
def test_parameters_that_were_swapped_for_one_call_are_told(rule):
    field = Layer()
    swapped = {k: p.detach().clone().requires_grad_() for k, p in field.named_parameters()}
    y0 = torch.ones(3, 2, dtype=torch.float64, requires_grad=True)

    class Call(nn.Module):
        def __init__(self):
            super().__init__()
            self.field = field

        def forward(self, y):
            return solve(self.field, y, [0.0, 1.0], Solver("dopri5", TIGHT, rule)).y1

    named = {f"field.{k}": p for k, p in swapped.items()}
    with pytest.raises(RuntimeError, match="functional_call"):
        functional_call(Call(), named, (y0,)).sum().backward()


# A field called again that is no longer the same


@every_replay
def test_another_condition_in_the_backward_pass_is_told(rule):
    field = Layer()
    y = torch.ones(2, 2, dtype=torch.float64, requires_grad=True)
    field.condition = torch.eye(2, dtype=torch.float64)
    solution = solve(field, y, [0.0, 0.5], Solver("dopri5", TIGHT, rule))
    field.condition = torch.eye(2, dtype=torch.float64).flip(0) * 0.3
    with pytest.raises(RuntimeError, match="another slope"):
        solution.y1.sum().backward()


class Dropped(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.dropout = nn.Linear(3, 3).double(), nn.Dropout(0.5)

    def forward(self, t, y):
        return self.dropout(torch.tanh(self.linear(y)))


def dropped_gradient(rule, seed):
    field, y0 = Dropped(), torch.ones(4, 3, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(seed)
    solve(field, y0, [0.0, 1.0], Solver("rk4", FixedSteps(4), rule)).y1.sum().backward()
    after = torch.rand(1)
    return y0.grad, field.linear.weight.grad, after


def test_dropout_is_drawn_again_by_checkpoint():
    exact, found = dropped_gradient("backprop", 1), dropped_gradient("checkpoint", 1)
    assert all(torch.allclose(a, b) for a, b in zip(exact, found, strict=True))
    assert not torch.allclose(exact[0], dropped_gradient("backprop", 2)[0])


def test_dropout_is_told_by_the_adjoint():
    with pytest.raises(RuntimeError, match="dropout"):
        dropped_gradient("adjoint", 1)


class Half(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(4, 4)

    def forward(self, t, y):
        return torch.tanh(self.linear(y)).float()


def half_gradient(rule, control):
    field, y0 = Half(), torch.ones(8, 4, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ys = solve(field, y0, [0.0, 1.0], Solver("rk4", control, rule)).ys
    ys[-1].square().sum().backward()
    return y0.grad, field.linear.weight.grad


def test_autocast_is_that_of_the_forward_pass():
    exact = half_gradient("backprop", FixedSteps(4))
    for found, grad in zip(half_gradient("checkpoint", FixedSteps(4)), exact, strict=True):
        assert torch.allclose(found, grad, rtol=1e-5)
    fine = half_gradient("backprop", FixedSteps(32))
    for found, grad in zip(half_gradient("adjoint", FixedSteps(32)), fine, strict=True):
        assert torch.allclose(found, grad, rtol=0.05, atol=0.02)


# Memory that is shared

TURN = double(-0.5, 2.0, -2.0, -0.5).view(2, 2)
Y0 = double(1.0, 0.0)
TURNED = torch.linalg.matrix_exp(TURN) @ Y0
SOLVERS = [
    Solver("dopri5", TIGHT),
    Solver("rk4", FixedSteps(200)),
    Solver("explicit_adams", FixedSteps(200)),
    Solver("scipy_vode", Adaptive(1e-9, 1e-9)),
]


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_a_field_may_return_one_buffer_of_its_own(solver):
    buffer = torch.empty_like(Y0)
    array = buffer.clone().numpy()

    def torch_buffer(t, y):
        return torch.mv(TURN, y, out=buffer)

    def numpy_buffer(t, y):
        array[:] = TURN.numpy() @ y.numpy()
        return torch.from_numpy(array)

    with torch.no_grad():
        for field in (torch_buffer, numpy_buffer):
            assert torch.allclose(solve(field, Y0, [0.0, 1.0], solver).y1, TURNED, atol=1e-6)


def test_buffers_that_take_turns_are_refused():
    buffers = [torch.empty_like(Y0), torch.empty_like(Y0)]

    def field(t, y):
        buffers.reverse()
        return torch.mv(TURN, y, out=buffers[0])

    with torch.no_grad(), pytest.raises(ValueError, match="earlier slope"):
        solve(field, Y0, [0.0, 1.0])


def test_a_constant_field_may_return_one_tensor():
    slope = double(1.0, 2.0)
    assert torch.allclose(solve(lambda t, y: slope, Y0, [0.0, 1.0]).y1, Y0 + slope)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_a_field_that_writes_into_its_argument_is_refused(solver, mode):
    y0 = double(1.0, -1.0)
    with mode(), pytest.raises(ValueError, match="writes into its argument"):
        solve(lambda t, y: -torch.relu_(y), y0, [0.0, 1.0], solver)
    assert y0.tolist() == [1.0, -1.0]


def test_a_field_that_writes_only_later_is_refused():
    with torch.no_grad(), pytest.raises(ValueError, match="writes into its argument"):
        solve(lambda t, y: -(y.add_(1.0) if t > 0.5 else y), double(1.0), [0.0, 1.0])


# Precision


def test_whole_times_are_refused_by_odeint_and_exact_in_solve():
    def field(t, y):
        return 2 * t * torch.ones_like(y)

    with pytest.raises(TypeError, match="floating-point"):
        odeint(field, double(0.0), torch.arange(4))
    ys = solve(field, double(0.0), torch.arange(4)).ys
    assert ys.view(-1).tolist() == pytest.approx([0, 1, 4, 9])


@pytest.mark.parametrize("times", [torch.float32, torch.float64])
@pytest.mark.parametrize("state", [torch.float32, torch.float64, torch.complex64])
@pytest.mark.parametrize("interface", [odeint, odeint_adjoint])
def test_the_time_has_the_precision_of_the_state(times, state, interface):
    seen = set()

    class Field(nn.Module):
        def forward(self, t, y):
            seen.add((t.dtype, t.shape))
            return -y * t

    y0 = torch.ones(2, dtype=state, requires_grad=True)
    ys = interface(Field(), y0, torch.tensor([0.0, 1.0], dtype=times), rtol=1e-4, atol=1e-4)
    ys[-1].abs().sum().backward()
    assert seen == {(y0.real.dtype, torch.Size([]))}
    assert ys.dtype == state


@pytest.mark.parametrize("t0", [double(0.0, 1.0), double(), torch.tensor(0j)], ids=str)
def test_an_event_starts_at_one_time(t0):
    with pytest.raises(ValueError, match="t0 must be one time"):
        solve_event(decay, double(1.0), t0, lambda t, y: y - 0.5)


def test_the_time_of_an_event_has_the_precision_of_its_start():
    for t0 in (scalar(1.0e6), 1.0e6, 1_000_000, torch.tensor(1_000_000)):
        time, _ = solve_event(
            lambda t, y: torch.ones_like(y), torch.zeros(1), t0, lambda t, y: y[0] - 0.3
        )
        assert time.dtype == torch.float64 and time.item() == pytest.approx(1000000.3, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_solved_to_what_it_can_tell(dtype):
    solver = Solver("dopri5", Adaptive(1e-2, 1e-6))
    y0 = 100 * torch.ones(5000, dtype=dtype)
    y1 = solve(lambda t, y: -y, y0, [0.0, 1.0], solver).y1
    assert torch.allclose(y1.float(), 100 * torch.full((5000,), math.exp(-1)), rtol=0.03)


# A control that is followed


@pytest.mark.parametrize("end", [3.0005, -3.0005])  # where a step is tempted to land
def test_no_step_is_longer_than_max_step(end):
    control = Adaptive(1e-3, 1e-3, max_step=0.1)
    path = list(steps(lambda t, y: -y, double(1.0), (0.0, end), "dopri5", control))
    assert max(abs(step.h) for step in path) <= 0.1 * (1 + 1e-9)
    assert path[-1].t1 == end


def test_a_step_of_the_least_length_is_taken_whatever_its_error():
    def kinked(t, y):
        return -y if t < 0.5 else 5 * torch.ones_like(y)

    control = Adaptive(1e-7, 1e-9, min_step=0.01)
    path = list(steps(kinked, double(1.0), (0.0, 1.0), "dopri5", control))
    assert min(step.h for step in path[:-1]) > 0.01 * (1 - 1e-9)
    assert path[-1].y1.item() == pytest.approx(math.exp(-0.5) + 2.5, abs=0.01)


def test_attempts_are_counted_from_output_to_output():
    def field(t, y):
        return torch.stack((y[1], -y[0]))

    ts = torch.linspace(0, 100, 101, dtype=torch.float64)
    control = Adaptive(1e-6, 1e-6, max_steps=20)
    ys = solve(field, double(1.0, 0.0), ts, Solver(control=control)).ys
    assert ys[-1, 0].item() == pytest.approx(math.cos(100), abs=1e-3)
    with pytest.raises(SolveError, match="raise max_steps"):
        solve(field, double(1.0, 0.0), [0.0, 100.0], Solver(control=control))


def test_a_step_that_does_not_move_the_time_ends_the_solve():
    with pytest.raises(SolveError, match="underflows"):
        solve(
            lambda t, y: torch.ones_like(y),
            double(0.0),
            [1e9, 1e9 + 1],
            Solver(control=Adaptive(initial=1e-9, growth=1.0)),
        )


def test_a_search_for_an_event_ends():
    for solver in (Solver(control=Adaptive(max_steps=99)), Solver("euler", FixedSteps(size=10.0))):
        with pytest.raises(SolveError):
            solve_event(lambda t, y: 0 * y, double(1.0), 0.0, lambda t, y: y[0] + 1, solver)
    for control in (FixedSteps(), FixedSteps(10)):
        with pytest.raises(ValueError, match="size"):
            solve_event(lambda t, y: -y, double(1.0), 0.0, lambda t, y: y, Solver("rk4", control))


def test_noise_in_the_field_ends_with_a_reason():
    field = Dropped().train()
    options = {"max_num_steps": 100}
    with pytest.raises(SolveError, match="random numbers"):
        odeint(field, torch.ones(8, 3, dtype=torch.float64), double(0.0, 1.0), options=options)


# Norms and tolerances


def test_a_small_fast_part_of_a_tuple_is_as_exact_as_alone():
    def turn(y):
        return torch.stack((20 * y[1], -20 * y[0]))

    large, small = torch.ones(10_000, dtype=torch.float64), double(1.0, 0.0)
    settings = {"rtol": 1e-5, "atol": 1e-5}
    ts = double(0.0, 2.0)
    alone = odeint(lambda t, y: turn(y), small, ts, **settings)[-1]
    _, found = odeint(lambda t, s: (-0.1 * s[0], turn(s[1])), (large, small), ts, **settings)
    exact = double(math.cos(40), -math.sin(40))
    assert (found[-1] - exact).abs().max() < 1.5 * (alone - exact).abs().max()


class Forced(nn.Module):
    def __init__(self, amplitude):
        super().__init__()
        self.amplitude = nn.Parameter(scalar(amplitude))

    def forward(self, t, y):
        return -y + self.amplitude * math.cos(40 * float(t))


@pytest.mark.parametrize("rule", ["adjoint", InterpolatedAdjoint()], ids=str)
@pytest.mark.parametrize("amplitude", [0.0, 1.0])
def test_the_amplitude_of_a_fast_forcing_gets_its_gradient(rule, amplitude):
    field = Forced(amplitude)
    solver = Solver("dopri5", Adaptive(1e-6, 1e-6), rule)
    solve(field, double(1.0), [0.0, 3.0], solver).y1.sum().backward()
    exact = (math.cos(120) + 40 * math.sin(120) - math.exp(-3)) / 1601
    assert field.amplitude.grad.item() == pytest.approx(exact, abs=1e-4)


@every_rule
@pytest.mark.parametrize(
    "control",
    [
        Adaptive(double(1e-6, 1e-8, 1e-10), double(1e-6, 1e-8, 1e-10)),
        Adaptive(1e-8, 1e-8, norm=lambda x: x[:, 0].abs().max()),
        Adaptive(1e-8, 0.0),
    ],
    ids=["by entry", "of rows", "relative"],
)
def test_tolerances_and_norms_of_the_state_hold_in_the_backward_solve(rule, control):
    field = Decay()
    y0 = torch.ones(2, 3, dtype=torch.float64)
    solve(field, y0, [0.0, 0.5, 1.0], Solver("dopri5", control, rule)).y1.sum().backward()
    assert field.rate.grad.item() == pytest.approx(-6 * math.exp(-0.7), rel=1e-5)


@pytest.mark.parametrize("shape", [(3, 2), (2,), (3, 1), ()])
@pytest.mark.parametrize("method", ["scipy_vode", "scipy_lsoda", SciPySolver("RK45")], ids=str)
def test_scipys_methods_take_tolerances_that_broadcast_with_the_state(method, shape):
    y0 = torch.ones(3, 2, dtype=torch.float64)
    tight = torch.full(shape, 1e-8, dtype=torch.float64)
    found, expected = (
        solve(lambda t, y: -y, y0, [0.0, 1.0], Solver(method, Adaptive(tight, atol))).y1
        for atol in (tight, 1e-8)
    )
    assert torch.equal(found, expected)
    assert torch.allclose(found, math.exp(-1) * y0, atol=1e-6)


def test_tolerances_must_fit_the_state():
    for shape in ((3,), (5, 1)):
        with pytest.raises(ValueError, match="broadcast"):
            solver = Solver(control=Adaptive(torch.ones(shape)))
            solve(Decay(), double(1.0, 2.0), [0.0, 1.0], solver)


# Events


def test_an_event_that_stays_at_zero_is_where_it_becomes_zero():
    time, solution = solve_event(
        lambda t, y: torch.ones_like(y), double(0.0), 0.0, lambda t, y: torch.relu(1.5 - y[0])
    )
    assert time.item() == pytest.approx(1.5) and solution.y1.item() == pytest.approx(1.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "solver",
    [
        Solver(),
        Solver("rk4", FixedSteps(size=0.01)),
        Solver("bosh3", Adaptive(1e-3, 1e-3)),
        Solver("tsit5", TIGHT),
        Solver("dopri5", Adaptive(initial=1e-6)),
    ],
    ids=str,
)
def test_a_ball_left_where_it_touched_the_ground_flies_on(solver, dtype):
    state, time, times = torch.tensor([1.0, 0.0], dtype=dtype), 0.0, []
    for _ in range(3):
        at, solution = solve_event(
            lambda t, y: torch.stack((y[1], torch.full_like(y[1], -9.8))),
            state,
            time,
            lambda t, y: y[0],
            solver,
        )
        time, state = at.item(), solution.y1 * torch.tensor([1.0, -1.0], dtype=dtype)
        times.append(time)
    fall = math.sqrt(2 / 9.8)
    assert times == pytest.approx([fall, 3 * fall, 5 * fall], rel=1e-3)


@pytest.mark.parametrize(
    ("height", "dtype"), [(1e-9, torch.float64), (3e-5, torch.float32), (3e-4, torch.float32)]
)
@pytest.mark.parametrize("size", [0.1, 1.0])
def test_an_event_soon_after_the_start_is_not_missed(height, dtype, size):
    time, _ = solve_event(
        lambda t, y: -torch.ones_like(y),
        torch.tensor([height], dtype=dtype),
        0.0,
        lambda t, y: y,
        Solver("rk4", FixedSteps(size=size)),
    )
    assert time.item() == pytest.approx(height)


def test_the_first_of_many_crossings_in_a_long_step_is_found():
    time, _ = solve_event(
        lambda t, y: torch.zeros_like(y), double(1.0), 0.0, lambda t, y: torch.cos(t) * y[0]
    )
    assert time.item() == pytest.approx(math.pi / 2)


@every_rule
@pytest.mark.parametrize(
    "control", [FixedSteps(10), FixedSteps(), FixedSteps(grid=(0.5, 1.5)), Adaptive(1e-4, 1e-4)]
)
def test_the_state_at_an_event_is_on_it(rule, control):
    solver = Solver("dopri5", control, rule)
    field = Decay()
    _, solution = solve_event(field, double(1.0), 0.0, lambda t, y: y[0] - 0.3, solver, end=2.0)
    assert solution.y1.item() == pytest.approx(0.3, abs=1e-12)


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (lambda t, y: y[0] < 0.5, TypeError),
        (lambda t, y: float(y[0]) - 0.5, TypeError),
        (lambda t, y: None, TypeError),
        (lambda t, y: torch.zeros(0), TypeError),
        (lambda t, y: torch.log(0.9 - y[0]), SolveError),
    ],
)
def test_an_event_that_is_no_number_is_told(event, error):
    with pytest.raises(error, match="event"):
        solve_event(lambda t, y: -y, double(1.0), 0.0, event)


# Complex and odd shapes


@pytest.mark.parametrize("interface", [odeint, odeint_adjoint])
@pytest.mark.parametrize("reals", [1, 2, 3])
@pytest.mark.parametrize("first", ["real", "complex"])
def test_real_and_complex_states_in_one_tuple(interface, reals, first):
    class Field(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(scalar(1.0))  # before a complex one
            self.turn = nn.Parameter(torch.tensor([1j, 2j], dtype=torch.complex128))

        def forward(self, t, states):
            return tuple(self.scale * (self.turn if y.is_complex() else -1) * y for y in states)

    z = torch.tensor([1 + 0.5j, -0.3j], dtype=torch.complex128)
    x = torch.ones(reals, dtype=torch.float64)
    field, ts = Field(), double(0.0, 0.5, 1.0)
    ys = interface(field, (x, z) if first == "real" else (z, x), ts, rtol=1e-9, atol=1e-11)
    xs, zs = ys if first == "real" else reversed(ys)
    assert torch.allclose(xs[-1], x * math.exp(-1))
    assert torch.allclose(zs[-1], z * torch.exp(field.turn))
    (zs[-1].imag.sum() + xs[-1].sum()).backward()
    # d/da of x exp(-a) and of z exp(a b), at a = 1
    turned = (z * field.turn * torch.exp(field.turn)).imag.sum()
    assert field.scale.grad.item() == pytest.approx((turned - reals * math.exp(-1)).item())


@every_rule
@pytest.mark.parametrize("shape", [(0, 2), (0,), (), (3,)])
def test_states_of_any_shape_with_many_outputs(rule, shape):
    y0 = torch.ones(shape, dtype=torch.float64, requires_grad=True)
    ys = solve(Decay(), y0, [0.0, 0.4, 1.0], Solver("dopri5", TIGHT, rule)).ys
    ys[1:].sum().backward()
    assert ys.shape == (3, *shape)
    expected = torch.full(shape, math.exp(-0.28) + math.exp(-0.7), dtype=torch.float64)
    assert torch.allclose(y0.grad, expected)


def test_states_of_several_precisions_keep_them():
    found = odeint(
        lambda t, s: (-s[0], -s[1]), (torch.ones(2), double(1.0)), double(0.0, 1.0), rtol=1e-6
    )
    assert [y.dtype for y in found] == [torch.float32, torch.float64]
    for y in found:
        assert y[-1, 0].item() == pytest.approx(math.exp(-1), rel=1e-6)


# A field that differentiates itself


class Hamiltonian(nn.Module):
    def __init__(self, careful):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)).double()
        self.careful = careful

    def forward(self, t, y):
        with torch.set_grad_enabled(self.careful or torch.is_grad_enabled()):
            if self.careful and not y.requires_grad:
                y = y.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.net(y).sum(), y, create_graph=True)
        return torch.stack((slope[..., 1], -slope[..., 0]), -1)


def test_a_field_may_take_a_gradient():
    def gradient(careful, rule):
        field, y0 = Hamiltonian(careful), torch.ones(3, 2, dtype=torch.float64, requires_grad=True)
        solve(field, y0, [0.0, 1.0], Solver("dopri5", TIGHT, rule)).y1.square().sum().backward()
        return field.net[0].weight.grad

    exact = gradient(True, "backprop")
    assert torch.allclose(gradient(False, "backprop"), exact)
    for rule in REPLAYED:
        assert torch.allclose(gradient(True, rule), exact, atol=1e-6)


# Jumps


@every_rule
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_jump_is_stepped_to_and_never_evaluated(rule, dtype):
    seen = []

    class Dose(nn.Module):
        def __init__(self):
            super().__init__()
            self.size = nn.Parameter(torch.tensor(10.0, dtype=dtype))

        def forward(self, t, y):
            seen.append(float(torch.tensor(t, dtype=dtype)))
            return -y + (self.size if 1.0 <= t < 1.25 else 0.0)

    field, y0 = Dose(), torch.zeros(1, dtype=dtype)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-9
    control = Adaptive(tolerance, tolerance, jump_times=(1.0, 1.25))
    solution = solve(field, y0, [0.0, 2.0, 5.0], Solver("dopri5", control, rule))
    exact = 10 * (math.exp(0.25) - 1) * math.exp(-4)
    assert solution.y1.item() == pytest.approx(exact, rel=1e-3 if dtype == torch.float32 else 1e-6)
    assert solution.stats.forward.rejected < 10
    solution.y1.sum().backward()
    assert field.size.grad.item() == pytest.approx(exact / 10, rel=1e-3)
    assert not {1.0, 1.25} & set(seen)


@pytest.mark.parametrize("method", ["euler", "rk4", "explicit_adams"])
@pytest.mark.parametrize("end", [1.0, -1.0])
def test_fixed_steps_stop_at_jumps(method, end):
    control = FixedSteps(size=0.3, jump_times=(0.5 * end,))
    path = list(steps(lambda t, y: t * y, double(1.0), (0.0, end), method, control))
    assert [step.t1 / end for step in path] == pytest.approx([0.3, 0.5, 0.6, 0.9, 1.0])


def pulse(t, y):
    return torch.where(torch.as_tensor(t, dtype=y.dtype) < 0.5, 1.0, -2.0) * torch.ones_like(y)


@every_rule
@pytest.mark.parametrize("ts", [[0.0, 1.0], [1.0, 0.0], [0.0, 0.5, 1.0]], ids=str)
@pytest.mark.parametrize("settings", [{"count": 10}, {"size": 0.1}, {}], ids=str)
def test_a_jump_where_a_step_ends_does_not_move_with_the_times(rule, settings, ts):
    times = double(*ts, grad=True)
    solver = Solver("rk4", FixedSteps(**settings, jump_times=(0.5,)), rule)
    solve(pulse, double(0.0), times, solver, params=()).y1.sum().backward()
    exact = {0.0: -1.0, 0.5: 0.0, 1.0: -2.0}
    sign = 1 if ts[-1] > ts[0] else -1
    assert times.grad.tolist() == pytest.approx([sign * exact[t] for t in ts])


@every_rule
@pytest.mark.parametrize("ts", [[0.0, 0.5], [0.5, 1.0], [1.0, 0.5], [0.5, 0.0]], ids=str)
@pytest.mark.parametrize(
    "control", [FixedSteps(10, jump_times=(0.5,)), Adaptive(jump_times=(0.5,))]
)
def test_a_jump_at_an_output_is_seen_from_the_side_of_the_solve(rule, control, ts):
    seen, times, y0 = [], double(*ts, grad=True), double(0.0, grad=True)

    def field(t, y):
        seen.append(torch.as_tensor(t, dtype=y.dtype).detach().as_subclass(torch.Tensor).item())
        return pulse(t, y)

    solution = solve(field, y0, times, Solver("dopri5", control, rule), params=())
    solution.y1.sum().backward()
    slope = 1.0 if min(ts) < 0.5 else -2.0
    assert times.grad.tolist() == pytest.approx([-slope, slope]) and y0.grad.item() == 1
    assert solution.y1.item() == pytest.approx(slope * (ts[1] - ts[0])) and 0.5 not in seen


@every_rule
def test_an_event_at_a_jump_is_seen_from_before_it(rule):
    y0, solver = double(0.0, grad=True), Solver("dopri5", Adaptive(jump_times=(0.5,)), rule)
    time, _ = solve_event(pulse, y0, 0.0, lambda t, y: y - 0.5, solver, params=())
    time.backward()
    assert time.item() == pytest.approx(0.5) and y0.grad.item() == pytest.approx(-1)


def test_a_backward_solve_by_scipy_takes_no_jumps():
    rule = InterpolatedAdjoint(Adaptive(), "scipy_lsoda")
    with pytest.raises(ValueError, match="scipy_lsoda cannot stop at the jump_times"):
        Solver("dopri5", Adaptive(jump_times=(0.3,)), rule)


# Dense output


@pytest.mark.parametrize("method", ["bosh3", "dopri5", "tsit5", "rk4", "implicit_adams"])
@pytest.mark.parametrize("end", [2.0, -2.0])
def test_a_dense_solution_is_one_at_any_time(method, end):
    adaptive = odenet.METHODS[method].adaptive
    control = TIGHT if adaptive else FixedSteps(200)
    y0 = double(1.0, grad=True)
    solution = solve(lambda t, y: -y, y0, [0.0, end], Solver(method, control), dense=True)
    times = [0.0, 0.3 * end, 0.7 * end, end]
    exact = torch.exp(-torch.tensor(times, dtype=torch.float64))
    assert torch.allclose(solution(times)[:, 0], exact, rtol=1e-5)
    assert torch.equal(solution(torch.tensor(times, dtype=torch.float64)), solution(times))
    solution(0.3 * end).sum().backward()
    assert y0.grad.item() == pytest.approx(math.exp(-0.3 * end), rel=1e-5)
    with pytest.raises(ValueError, match="within"):
        solution(1.1 * end)


def test_a_dense_solution_takes_times_of_any_kind():
    solution = solve(decay, double(1.0, 2.0), [0.0, 1.0], dense=True)
    both = solution([0.25, 0.5])
    for times in ((0.25, 0.5), np.array([0.25, 0.5]), double(0.25, 0.5), [scalar(0.25), 0.5]):
        assert torch.equal(solution(times), both)
    for time in (0.5, np.float64(0.5), np.array(0.5), scalar(0.5)):
        assert torch.equal(solution(time), both[1])
    assert solution([]).shape == solution(double()).shape == (0, 2)


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        (double(0.5)[None], "one dimension"),
        ([[0.5]], "one dimension"),
        ([0.25, scalar(0.5, grad=True)], "in ts"),
        (double(0.5, grad=True), "in ts"),
        (np.array([0.5, 2.0]), "within 0.0 and 1.0"),
        (math.nan, "within 0.0 and 1.0"),
    ],
)
def test_a_dense_solution_refuses_other_times(times, reason):
    with pytest.raises(ValueError, match=reason):
        solve(decay, double(1.0), [0.0, 1.0], dense=True)(times)


def test_a_dense_solution_is_not_differentiated_by_its_times():
    with pytest.raises(ValueError, match="not differentiated by ts"):
        solve(Decay(), double(1.0), double(0.0, 1.0, grad=True), dense=True)


def test_dense_output_is_refused_where_it_would_be_wrong():
    y0 = double(1.0, grad=True)
    for solver in (Solver("dopri8"), Solver("scipy_vode", gradient="adjoint")):
        with torch.no_grad(), pytest.raises(ValueError, match="dense"):
            solve(Decay(), y0, [0.0, 1.0], solver, dense=True)
    with pytest.raises(ValueError, match="take Backprop"):
        solve(Decay(), y0, [0.0, 1.0], Solver(gradient="adjoint"), dense=True)
    with pytest.raises(ValueError, match="dense=True"):
        solve(Decay(), y0, [0.0, 1.0])(0.5)


# Slips at the front door


@pytest.mark.parametrize(
    "call",
    [
        lambda: Solver(gradient=Adjoint),
        lambda: Solver(gradient=Checkpoint),
        lambda: Solver(control=Adaptive),
        lambda: Solver("dopri5", 1e-5),
        lambda: Solver(gradient=Adjoint(1e-5)),
        lambda: Solver(None),
        lambda: solve(Decay(), Y0, [0.0, 1.0], "dopri5"),
        lambda: solve_event(Decay(), Y0, 0.0, lambda t, y: y, "dopri5"),
        lambda: solve(Decay(), [1.0, 2.0], [0.0, 1.0]),
        lambda: solve(Decay(), Y0 + 1j, [0.0, 1.0]),
        lambda: solve(Decay(), Y0, None),
        lambda: solve(lambda t, y: None, Y0, [0.0, 1.0]),
        lambda: solve(decay, Y0, [0.0, 1.0], params=scalar(1.0)),
        lambda: solve(decay, Y0, [0.0, 1.0], params=[Decay()]),
        lambda: solve(decay, Y0, [0.0, 1.0], params=dict(Decay().named_parameters())),
        lambda: odeint_adjoint(decay, Y0, double(0.0, 1.0), adjoint_params=scalar(1.0)),
        lambda: odeint(Decay(), (Y0, [1.0]), double(0.0, 1.0)),
        lambda: odeint(lambda t, s: torch.cat(s), (Y0, Y0), double(0.0, 1.0)),
    ],
)
def test_a_slip_of_type_is_told(call):
    with pytest.raises(TypeError, match="must"):
        call()


def test_a_backward_method_may_be_named():
    solver = Solver(gradient=Adjoint(method="bosh3"))
    assert solver.gradient.method is odenet.METHODS["bosh3"]
    assert copy.deepcopy(solver) == solver
    with pytest.raises(ValueError, match="did you mean 'bosh3'"):
        Solver(gradient=Adjoint(method="bosh"))


def test_an_adjoint_whose_state_is_lost_warns():
    class VanDerPol(nn.Module):
        def __init__(self):
            super().__init__()
            self.mu = nn.Parameter(scalar(20.0))

        def forward(self, t, y):
            return torch.stack((y[1], self.mu * (1 - y[0] ** 2) * y[1] - y[0]))

    solver = Solver("scipy_lsoda", TIGHT, "adjoint")
    solution = solve(VanDerPol(), double(2.0, 0.0), [0.0, 10.0], solver)
    with pytest.warns(RuntimeWarning, match="InterpolatedAdjoint"):
        solution.y1[0].backward()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solve(Decay(), double(1.0), [0.0, 1.0], Solver(gradient="adjoint")).y1.backward()


# Inference mode


@every_replay
def test_a_backward_pass_inside_inference_mode_is_refused(rule):
    y0 = double(1.0, grad=True)
    loss = solve(Decay(), y0, [0.0, 1.0], Solver("dopri5", TIGHT, rule)).y1.sum()
    with torch.inference_mode(), pytest.raises(RuntimeError, match="outside"):
        loss.backward()


def test_an_event_is_found_in_inference_mode():
    with torch.inference_mode():
        time, _ = solve_event(Decay(1.0), double(1.0), 0.0, lambda t, y: y[0] - 0.5)
    assert time.item() == pytest.approx(math.log(2))


# Attempts at the edges of what a step can be


def test_landing_does_not_repeat_the_attempt_that_was_rejected():
    # 1.005 of the shortest step are left: landing would stretch it, and a longer one is judged.
    shortest = Adaptive(1e-13, 1e-13, min_step=0.1, max_steps=30)
    end = solve(decay, double(1.0), [0.0, 1.005], Solver("dopri5", shortest)).y1
    assert end.item() == pytest.approx(math.exp(-1.005), rel=1e-6)
    # With a safety of 1, an error just too large asks for a step that landing stretches back.
    whole = next(iter(steps(decay, double(1.0), [0.0, 1.0], "dopri5", FixedSteps(1))))
    atol = abs(whole.error().item()) / 1.02
    careless = Adaptive(0.0, atol, initial=1.0, safety=1.0, max_steps=30)
    end = solve(decay, double(1.0), [0.0, 1.0], Solver("dopri5", careless)).y1
    assert end.item() == pytest.approx(math.exp(-1.0), abs=10 * atol)


def test_a_step_may_be_short_at_the_start_of_a_long_solve():
    solver = Solver("dopri5", Adaptive(1e-6, 1e-9))
    end = solve(lambda t, y: -y / (t + 1e-6), double(1.0), [0.0, 1e11], solver).y1
    assert abs(end.item()) < 1e-6


@pytest.mark.parametrize("rate", [1.0, 200.0])
def test_the_first_length_is_found_in_half_precision(rate):
    solver = Solver("dopri5", Adaptive(1e-3, 1e-3))
    y0 = torch.ones(1, dtype=torch.float16)
    end = solve(lambda t, y: -rate * y, y0, [0.0, 1 / rate], solver).y1
    assert end.item() == pytest.approx(math.exp(-1), abs=5e-3)


def test_a_slope_that_is_infinite_at_the_start_is_told():
    with pytest.raises(SolveError, match="not finite"):
        solve(lambda t, y: y / torch.as_tensor(t).sqrt(), double(1.0), [0.0, 1.0])


@pytest.mark.parametrize("method", ["scipy_vode", "scipy_lsoda"])
def test_scipys_first_step_has_the_direction_of_the_solve(method):
    field, solver = Decay(1.0), Solver(method, Adaptive(1e-8, 1e-8, initial=0.01), "adjoint")
    solution = solve(field, double(1.0), [0.0, 1.0], solver)
    solution.y1.backward()
    assert field.rate.grad.item() == pytest.approx(-math.exp(-1.0), rel=1e-5)


def test_scipys_first_step_is_cut_at_the_end():
    field = Decay(1.0)
    solver = Solver(SciPySolver("RK45"), Adaptive(1e-8, 1e-8, initial=0.5), "adjoint")
    solve(field, double(1.0), [0.0, 0.1, 1.0], solver).y1.backward()
    assert field.rate.grad.item() == pytest.approx(-math.exp(-1.0), rel=1e-5)


@pytest.mark.parametrize("power", [3, 5, 9])
def test_an_event_with_a_flat_root_is_found(power):
    time, _ = solve_event(
        decay, double(1.0), 0.0, lambda t, y: (y[0] - 0.37) ** power, Solver("dopri5", TIGHT)
    )
    assert math.exp(-time.item()) == pytest.approx(0.37, abs=1e-3)


@pytest.mark.parametrize("method", ["rk4", "dopri8"])
def test_a_search_without_an_end_stops_at_a_time(method, monkeypatch):
    monkeypatch.setattr(step_size, "_ENDLESS", 10)
    solver = Solver(method, FixedSteps(size=1.0))
    with pytest.raises(SolveError, match="no event") as caught:
        solve_event(lambda t, y: 0 * y, double(1.0), 0.0, lambda t, y: y + 1, solver)
    assert caught.value.t == 10.0


def test_the_end_of_a_dense_solution_is_named_in_full():
    solution = solve(decay, double(1.0), torch.tensor([0.0, 0.7]), dense=True)
    with pytest.raises(ValueError, match=r"within 0\.0 and 0\.69999\d+, got 0\.7"):
        solution(0.7)


@pytest.mark.parametrize("wrong", [{"order": 0}, {"order": 4.0}, {"corrections": -1}], ids=str)
def test_an_adams_method_that_is_none_is_refused(wrong):
    with pytest.raises((TypeError, ValueError), match=f"{[*wrong][0]} must be an integer"):
        Adams(**wrong)


def test_another_integrator_of_scipys_is_refused():
    with pytest.raises(ValueError, match="must be 'vode' or 'lsoda', got 'dopri5'"):
        SciPyAdams("dopri5")
