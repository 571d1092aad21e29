"""The small print of the docstrings: each sentence that a plausible slip would make untrue."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from odenet import (
    Adaptive,
    FixedSteps,
    InterpolatedAdjoint,
    SolveError,
    Solver,
    odeint_adjoint,
    solve,
    solve_event,
    steps,
)
from odenet.models import ContinuousFlow, PlanarField
from odenet.solvers import Counts

T = torch.tensor([0.0, 1.0], dtype=torch.float64)


def start(value: float, wanted: bool = False) -> torch.Tensor:
    return torch.full((1,), value, dtype=torch.float64, requires_grad=wanted)


class Cosine(nn.Module):
    """dy/dt = p cos(50 t): smooth in the state, and quick in the gradient of p."""

    def __init__(self):
        super().__init__()
        self.p = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.calls = 0

    def forward(self, t, y):
        self.calls += 1
        return self.p * torch.cos(50 * t) * torch.ones_like(y)


# Counts


def test_slopes_for_the_gradient_of_the_times_are_counted():
    calls = []

    def field(t, y):
        calls.append(t)
        return -y

    ts = torch.tensor([0.0, 0.5, 1.0], requires_grad=True)
    counts = solve(field, torch.ones(1), ts).stats.forward
    assert counts.nfe == len(calls) and counts.next_dt > 0


def test_counts_add_up_and_keep_the_latest_length():
    assert Counts(1, 2, 3) + Counts(4, 5, 6) == Counts(5, 7, 9)
    assert (Counts(next_dt=1.0) + Counts(next_dt=2.0)).next_dt == 2.0
    assert (Counts(next_dt=1.0) + Counts(nfe=1)).next_dt == 1.0


@pytest.mark.parametrize("end", [1.0, -1.0])
def test_a_step_cut_at_the_end_does_not_shorten_the_next_length(end):
    control = Adaptive(1e-2, 1e-2, initial=0.6, growth=1.0)
    solution = solve(lambda t, y: 0 * y, torch.ones(1), [0.0, end], Solver(control=control))
    assert solution.stats.forward.next_dt == 0.6 * end


# Control


def test_the_error_is_measured_against_the_larger_end_of_the_step():
    step = SimpleNamespace(y0=start(1.0), y1=start(9.0), error=lambda: start(1e-2))
    assert Adaptive(1e-3, 1e-3).error(step) == pytest.approx(1)


def test_the_first_length_keeps_to_the_longest_step():
    control = Adaptive(1e-2, 1e-2, initial=0.5, max_step=0.1)
    path = steps(lambda t, y: -y, torch.ones(1), (0.0, 1.0), control=control)
    assert max(step.h for step in path) < 0.102


def test_dense_output_of_the_implicit_steps_is_as_exact_as_their_ends():
    def field(t, y):
        return torch.cos(3 * y) - t

    found, exact = (
        solve(field, start(1.0), [0.0, 0.975, 2.0], Solver(method, FixedSteps(40))).ys[1]
        for method in ("implicit_adams", "dopri8")
    )
    torch.testing.assert_close(found, exact, rtol=0, atol=2e-5)


# Adjoints


def test_the_drift_is_the_largest_of_all_pieces():
    """Here it is in the last piece of time, which is the first of the backward solve."""
    solver = Solver("rk4", FixedSteps(), "adjoint")
    solution = solve(
        lambda t, y: -y if t > 1 else 0 * y, start(1.0, True), [0.0, 1.0, 2.0], solver, params=()
    )
    solution.y1.sum().backward()
    assert solution.stats.drift > 0


def test_a_backward_pass_without_a_backward_solve_has_no_drift():
    solution = solve(lambda t, y: -y, start(1.0, True), T, Solver(gradient="adjoint"), params=())
    solution.y1.sum().backward(retain_graph=True)
    assert solution.stats.drift > 0
    (0 * solution.y1).sum().backward()
    assert solution.stats.drift is None and solution.stats.backward.nfe == 0


def backward_nfe(rule, scale=1.0) -> int:
    solver = Solver("dopri5", Adaptive(1e-9, 1e-9), rule)
    solution = solve(lambda t, y: torch.cos(y), start(1.0, True), [0.0, 2.0], solver, params=())
    (scale * solution.y1.sum()).backward()
    return solution.stats.backward.nfe


def test_an_interpolated_adjoint_keeps_to_its_own_control_and_scale():
    own = InterpolatedAdjoint(Adaptive(1e-2, 1e-2))
    assert backward_nfe(own) < backward_nfe(InterpolatedAdjoint()) / 2
    absolute = InterpolatedAdjoint(scaled=False)
    assert backward_nfe(absolute, 1e-6) < backward_nfe(InterpolatedAdjoint(), 1e-6)


# torchdiffeq's interface


def test_the_adjoint_itself_is_in_the_norm_of_the_backward_solve():
    y0 = start(0.0, True)
    ys = odeint_adjoint(lambda t, y: torch.cos(20 * t) * y, y0, T, adjoint_params=())
    ys[-1].sum().backward()
    assert y0.grad.item() == pytest.approx(math.exp(math.sin(20) / 20), abs=1e-5)


def test_the_seminorm_leaves_the_parameters_out():
    def backward_calls(options):
        field = Cosine()
        ys = odeint_adjoint(field, start(0.0), T, adjoint_options=options)
        before = field.calls
        ys[-1].sum().backward()
        return field.calls - before

    assert backward_calls({"norm": "seminorm"}) < backward_calls(None)


def test_a_gradient_that_is_not_a_number_stops_the_backward_solve():
    p = start(0.0, True)

    def field(t, y):
        return torch.where(p > 0, p / p, p) * torch.ones_like(y)

    ys = odeint_adjoint(field, start(0.0), T, adjoint_params=(p,))
    with pytest.raises(SolveError, match="not finite"):
        ys[-1].sum().backward()


def test_options_of_the_forward_method_are_not_guessed_for_another_backward_method():
    settings = {"method": "rk4", "options": {"step_size": 0.1}, "adjoint_method": "dopri5"}
    with pytest.raises(ValueError, match="give adjoint_options for dopri5"):
        odeint_adjoint(Cosine(), start(0.0), T, **settings)
    odeint_adjoint(Cosine(), start(0.0), T, **settings, adjoint_options={})[-1].sum().backward()


# Events


def test_an_event_that_depends_on_the_time_has_the_derivative_of_both():
    """y = y0 + t / 2 meets t at 2 y0."""
    y0 = start(1.0, True)
    time, _ = solve_event(lambda t, y: torch.full_like(y, 0.5), y0, 0.0, lambda t, y: y - t)
    time.backward()
    assert y0.grad.item() == pytest.approx(2)


def test_an_event_at_the_end_of_a_step_is_there():
    solver = Solver("euler", FixedSteps(size=0.5))
    time, _ = solve_event(
        lambda t, y: torch.ones_like(y), start(0.0), 0.0, lambda t, y: y - 1, solver
    )
    assert time.item() == 1.0


# Models


def test_the_effort_of_a_path_is_the_same_in_both_directions():
    flow = ContinuousFlow(PlanarField(4), Solver())
    points, both, _ = flow(torch.randn(1, 5, 2), effort=True)
    torch.testing.assert_close(flow.log_prob(points, effort=True)[0], both, rtol=1e-3, atol=1e-3)
