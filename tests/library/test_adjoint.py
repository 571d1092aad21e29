"""The three gradient rules against each other, against finite differences, and for leaks."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from problems import TIMES, Field, differentiated, distance, initial_state
from torch import nn

from odenet import (
    METHODS,
    Adaptive,
    Adjoint,
    FixedSteps,
    InterpolatedAdjoint,
    SolveError,
    Solver,
    solve,
)

CONFIGURATIONS = [
    ("euler", FixedSteps(12)),
    ("midpoint", FixedSteps(7)),
    ("rk4", FixedSteps(size=0.3)),
    ("bosh3", Adaptive(1e-5, 1e-5)),
    ("dopri5", Adaptive(1e-6, 1e-6)),
    ("dopri5", FixedSteps(3)),
    ("heun", Adaptive(1e-4, 1e-4)),
    ("rk4_38", FixedSteps()),
    ("tsit5", Adaptive(1e-6, 1e-6)),
    ("dopri8", Adaptive(1e-8, 1e-8)),
    ("explicit_adams", FixedSteps(30)),
    ("implicit_adams", FixedSteps(size=0.09)),
]


def gradients(solver, ts=TIMES, scale=1.0):
    _, found, stats = differentiated(solver, ts=ts, scale=scale)
    return found[:4], stats  # without that of the parameter which is not used


@pytest.mark.parametrize("place", range(len(CONFIGURATIONS)))
def test_checkpoint_equals_backprop_to_rounding(place):
    (method, control), times = CONFIGURATIONS[place], TIMES if place % 2 else TIMES.flip(0)
    exact, _ = gradients(Solver(method, control, "backprop"), times)
    replayed, stats = gradients(Solver(method, control, "checkpoint"), times)
    # Not that by the times, which is the exact flow's under checkpoint.
    assert distance(replayed[:1] + replayed[2:], exact[:1] + exact[2:]) < 1e-12
    assert stats.backward.accepted == stats.forward.accepted


@pytest.fixture(scope="module")
def exact():
    """By a method that lands on the outputs: interpolation has errors of its own."""
    return gradients(Solver("dopri8", Adaptive(1e-13, 1e-13), "backprop"))[0]


@pytest.mark.parametrize(
    ("method", "rule"),
    [
        ("bosh3", Adjoint()),
        ("bosh3", InterpolatedAdjoint()),
        ("dopri5", Adjoint(seminorm=False)),
        ("dopri5", InterpolatedAdjoint()),
        ("tsit5", Adjoint()),
        ("dopri8", Adjoint()),
        ("dopri8", InterpolatedAdjoint()),
        ("scipy_vode", Adjoint()),
    ],
    ids=str,
)
def test_adjoint_converges_with_the_tolerance(method, rule, exact):
    errors = [
        distance(gradients(Solver(method, Adaptive(tol, tol), rule))[0], exact)
        for tol in (1e-3, 1e-5, 1e-7)
    ]
    assert all(e < 200 * tol for e, tol in zip(errors, (1e-3, 1e-5, 1e-7), strict=True))


def test_adjoint_takes_its_own_method(exact):
    rule = Adjoint(method=METHODS["tsit5"], control=Adaptive(1e-9, 1e-9))
    values, stats = gradients(Solver("dopri8", Adaptive(1e-9, 1e-9), rule))
    assert distance(values, exact) < 1e-7
    attempts = stats.backward.accepted + stats.backward.rejected
    # tsit5's six an attempt, the first slope of each of four pieces, and one starting step.
    assert stats.backward.nfe == 4 + 1 + 6 * attempts


def test_the_drift_of_the_state_is_measured_there_and_back():
    def drift(rule, tolerance):
        return gradients(Solver("dopri5", Adaptive(tolerance, tolerance), rule))[1].drift

    assert 0 < drift("adjoint", 1e-9) < 1e-7 < drift("adjoint", 1e-3) < 1
    assert drift(InterpolatedAdjoint(), 1e-3) is None
    assert drift("checkpoint", 1e-3) is None


def test_interpolation_mends_what_solving_backwards_destroys():
    """Forward, v falls onto the slow curve v = sin u; backwards, it is thrown off it."""

    class SlowManifold(nn.Module):
        def __init__(self):
            super().__init__()
            self.rate = nn.Parameter(torch.tensor(5.0, dtype=torch.float64))

        def forward(self, t, y):
            u, v = y
            return torch.stack((torch.ones_like(u), -self.rate * (v - torch.sin(u)) * (1 + v**2)))

    def gradient(rule):
        field, y0 = SlowManifold(), torch.tensor([0.0, 1.0], dtype=torch.float64)
        solution = solve(field, y0, (0.0, 3.0), Solver("dopri5", Adaptive(1e-6, 1e-6), rule))
        solution.ys[-1].sum().backward()
        return field.rate.grad.item(), solution.stats

    exact, _ = gradient("backprop")
    read, _ = gradient(InterpolatedAdjoint())
    assert read == pytest.approx(exact, rel=1e-3)
    try:
        resolved, stats = gradient("adjoint")
    except SolveError:
        return  # thrown so far off that the solve itself fails
    assert stats.drift > 0.1
    assert resolved != pytest.approx(exact, rel=1e-2)


@pytest.mark.parametrize("steps", [20, 40])
def test_adjoint_with_fixed_steps_converges_with_the_order(steps, exact):
    coarse, _ = gradients(Solver("rk4", FixedSteps(steps), "adjoint"))
    fine, _ = gradients(Solver("rk4", FixedSteps(2 * steps), "adjoint"))
    assert distance(coarse, exact) / distance(fine, exact) > 2**3.5


def test_adjoint_does_not_depend_on_the_units_of_the_loss():
    solver = Solver("dopri5", Adaptive(1e-4, 1e-4), "adjoint")
    one, stats = gradients(solver)
    for scale in (1e-6, 1e5):
        scaled, scaled_work = gradients(solver, scale=scale)
        assert scaled_work.backward == stats.backward
        assert distance([g / scale for g in scaled], one) < 1e-9


def test_adjoint_without_scaling_has_an_absolute_error_control():
    def backward_nfe(scale):
        solver = Solver("dopri5", Adaptive(1e-8, 1e-8), Adjoint(scaled=False))
        return gradients(solver, scale=scale)[1].backward.nfe

    assert backward_nfe(1e-6) < backward_nfe(1e5)


def test_adjoint_full_norm_also_controls_the_parameter_integral():
    def backward_nfe(seminorm):
        rule = Adjoint(seminorm=seminorm)
        return gradients(Solver("dopri5", Adaptive(1e-7, 1e-7), rule))[1].backward.nfe

    assert backward_nfe(seminorm=True) < backward_nfe(seminorm=False)


def test_adjoint_takes_its_own_control():
    own = Adjoint(Adaptive(1e-2, 1e-2))
    _, loose = gradients(Solver("dopri5", Adaptive(1e-9, 1e-9), own))
    _, tight = gradients(Solver("dopri5", Adaptive(1e-9, 1e-9), "adjoint"))
    assert loose.forward == tight.forward
    assert loose.backward.nfe < tight.backward.nfe / 2


def test_backward_work_fills_when_the_gradient_is_pulled_back():
    # The adjoint asks for the first slope once more, to see that the field is the same.
    for rule, expected in [("backprop", 0), ("checkpoint", 4 * 10), ("adjoint", 4 * 10 + 1)]:
        y0 = initial_state().requires_grad_()
        solution = solve(Field(), y0, (0.0, 1.0), Solver("rk4", FixedSteps(10), rule))
        assert solution.stats.backward.nfe == 0
        solution.ys[-1].sum().backward()
        assert solution.stats.backward.nfe == expected


@pytest.mark.parametrize("rule", ["backprop", "checkpoint"])
@pytest.mark.parametrize("method", ["rk4", "dopri5", "implicit_adams"])
def test_gradcheck_of_state_and_parameters(rule, method):
    """Finite differences of the computed solution; the steps must not depend on the inputs."""
    solver = Solver(method, FixedSteps(size=0.125), rule)
    weight = torch.linspace(-1, 1, 9, dtype=torch.float64).view(3, 3).requires_grad_()

    def outputs(y0, weight):
        def field(t, y):
            return torch.tanh(y @ weight) + t * y

        return solve(field, y0, (0.0, 0.55, 1.0), solver, params=(weight,)).ys

    assert torch.autograd.gradcheck(outputs, (initial_state().requires_grad_(), weight))


@pytest.mark.parametrize("rule", ["backprop", "checkpoint", "adjoint"])
def test_gradient_of_the_times_is_the_slope(rule):
    """Against finite differences of a solve far more accurate than the difference."""
    solver = Solver("dopri8", Adaptive(1e-12, 1e-12), rule)
    field = Field().requires_grad_(False)
    ts = torch.tensor([0.2, 0.7, 1.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda ts: solve(field, initial_state(), ts, solver).ys, ts, atol=1e-7
    )


def test_double_backward_works_under_backprop_and_is_refused_elsewhere():
    def second_derivative(rule):
        y0 = initial_state().requires_grad_()
        ys = solve(Field(), y0, (0.0, 1.0), Solver("rk4", FixedSteps(3), rule)).ys
        (first,) = torch.autograd.grad(ys[-1].sum(), y0, create_graph=True)
        return torch.autograd.grad(first.pow(2).sum(), y0)[0]

    assert second_derivative("backprop").abs().max() > 0
    for rule in ("checkpoint", "adjoint"):
        with pytest.raises(RuntimeError, match="differentiable once: take Backprop"):
            second_derivative(rule)


@pytest.mark.parametrize("rule", ["checkpoint", "adjoint"])
def test_parameters_changed_before_the_pullback_are_noticed(rule):
    field = Field()
    solution = solve(field, initial_state(), (0.0, 1.0), Solver(gradient=rule))
    with torch.no_grad():
        field.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        solution.ys.sum().backward()


@pytest.mark.parametrize("rule", ["backprop", "checkpoint", "adjoint"])
def test_a_discarded_solution_is_freed_without_the_garbage_collector(rule):
    gc.disable()
    try:
        y0 = initial_state().requires_grad_()
        solution = solve(Field(), y0, TIMES, Solver(gradient=rule))
        alive = weakref.ref(solution.ys)
        del solution
        assert alive() is None
    finally:
        gc.enable()


def kept_bytes(rule, tolerance):
    """Bytes that autograd keeps for the backward pass."""
    total = 0

    def count(x):
        nonlocal total
        total += x.numel() * x.element_size()
        return x

    with torch.autograd.graph.saved_tensors_hooks(count, lambda x: x):
        y0 = torch.ones(64, 3, dtype=torch.float64, requires_grad=True)
        solver = Solver("dopri5", Adaptive(tolerance, tolerance), rule)
        nfe = solve(Field(), y0, (0.0, 4.0), solver).stats.forward.nfe
    return total, nfe


def test_what_is_kept_for_the_backward_pass():
    """Adjoint: nothing that grows with the steps. Checkpoint: two states a step. Backprop: all."""
    (loose, few), (tight, many) = kept_bytes("adjoint", 1e-3), kept_bytes("adjoint", 1e-9)
    assert many > 2 * few
    assert loose == tight
    state = 64 * 3 * 8
    (loose, few), (tight, many) = kept_bytes("checkpoint", 1e-3), kept_bytes("checkpoint", 1e-9)
    assert 0 < tight - loose <= 2 * state * (many - few) / 6
    assert kept_bytes("backprop", 1e-9)[0] > 5 * tight


def test_solves_in_threads_do_not_see_each_other():
    solver = Solver("dopri5", Adaptive(1e-6, 1e-6), "adjoint")
    alone = gradients(solver)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: gradients(solver), range(8)))
    for values, stats in together:
        assert stats == alone[1]
        assert all(torch.equal(a, b) for a, b in zip(values, alone[0], strict=True))


def test_one_module_solved_twice_keeps_two_accounts():
    field, y0 = Field(), initial_state().requires_grad_()
    solver = Solver("dopri5", Adaptive(1e-4, 1e-4), "checkpoint")
    short = solve(field, y0, (0.0, 0.1), solver)
    long = solve(field, y0, (0.0, 9.0), solver)
    (short.ys.sum() + long.ys.sum()).backward()
    assert short.stats.forward.nfe < long.stats.forward.nfe
    assert short.stats.backward.nfe < long.stats.backward.nfe


@pytest.mark.parametrize("rule", ["checkpoint", "adjoint"])
def test_a_zero_gradient_costs_nothing_under_adjoint_and_is_zero(rule):
    y0 = initial_state().requires_grad_()
    solution = solve(Field(), y0, (0.0, 1.0), Solver(gradient=rule))
    (0 * solution.ys).sum().backward()
    assert torch.equal(y0.grad, torch.zeros_like(y0))
