"""Properties that hold for every problem: splitting, reversing and scaling time, permuting."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from odenet import METHODS, Adaptive, FixedSteps, Solver, solve
from odenet.solvers import RungeKutta

EXACT = Solver("dopri5", Adaptive(1e-10, 1e-10))
numbers = st.floats(-2, 2, allow_nan=False).map(lambda x: round(x, 3))
lengths = st.floats(0.1, 3).map(lambda x: round(x, 3))
states = st.lists(numbers, min_size=1, max_size=4)
tableaus = st.sampled_from([m for m in METHODS.values() if isinstance(m, RungeKutta)])
quick = settings(max_examples=25, deadline=None, derandomize=True)


def field(t, y):
    return torch.sin(3 * y) + torch.cos(y.flip(0)) * t


def state(values):
    return torch.tensor(values, dtype=torch.float64)


@quick
@given(states, lengths, st.floats(0.1, 0.9))
def test_splitting_an_interval_changes_nothing(values, end, part):
    y0, middle = state(values), part * end
    whole = solve(field, y0, (0.0, end), EXACT).ys[-1]
    half = solve(field, y0, (0.0, middle), EXACT).ys[-1]
    torch.testing.assert_close(
        solve(field, half, (middle, end), EXACT).ys[-1], whole, rtol=0, atol=1e-6
    )


@quick
@given(states, lengths)
def test_going_back_returns_to_the_start(values, end):
    y0 = state(values)
    there = solve(field, y0, (0.0, end), EXACT).ys[-1]
    back = solve(field, there, (end, 0.0), EXACT).ys[-1]
    torch.testing.assert_close(back, y0, rtol=0, atol=1e-4)


@quick
@given(states, lengths, tableaus, st.integers(1, 12))
def test_reversing_time_is_negating_the_field_bitwise(values, end, method, count):
    solver, y0 = Solver(method, FixedSteps(count)), state(values)
    forward = solve(field, y0, (0.0, end), solver).ys[-1]
    mirrored = solve(lambda t, y: -field(-t, y), y0, (0.0, -end), solver).ys[-1]
    assert torch.equal(forward, mirrored)


@quick
@given(states, lengths, st.sampled_from([0.25, 0.5, 2.0, 8.0]))
def test_scaling_time_by_a_power_of_two_changes_nothing(values, end, scale):
    y0, solver = state(values), Solver("dopri5", Adaptive(1e-6, 1e-6, initial=end / 8))
    plain = solve(field, y0, (0.0, end), solver)
    slow = Solver("dopri5", Adaptive(1e-6, 1e-6, initial=scale * end / 8))
    scaled = solve(lambda t, y: field(t / scale, y) / scale, y0, (0.0, scale * end), slow)
    assert torch.equal(plain.ys, scaled.ys)
    assert plain.stats == scaled.stats


@quick
@given(states, lengths, tableaus, st.sampled_from([1e-3, 1e-5]))
def test_evaluations_are_stages_times_attempts(values, end, method, tolerance):
    if not method.adaptive:
        solver, start = Solver(method, FixedSteps(7)), 0
    else:
        solver, start = Solver(method, Adaptive(tolerance, tolerance)), 1
    stats = solve(field, state(values), (0.0, end), solver).stats.forward
    stages, fsal = method.tableau.stages, method.tableau.fsal
    if fsal:
        assert stats.nfe == 1 + start + (stages - 1) * (stats.accepted + stats.rejected)
    else:  # the first slope of a step survives its refusal
        assert stats.nfe == start + stages * stats.accepted + (stages - 1) * stats.rejected


@quick
@given(st.permutations(range(6)), lengths)
def test_a_permuted_batch_gives_the_permuted_solution(order, end):
    y0 = torch.linspace(-1, 1, 6, dtype=torch.float64)

    def rowwise(t, y):
        return torch.sin(3 * y) * (1 + t)

    solver = Solver("dopri5", Adaptive(1e-6, 1e-6))
    plain = solve(rowwise, y0, (0.0, end), solver).ys
    permuted = solve(rowwise, y0[list(order)], (0.0, end), solver).ys
    torch.testing.assert_close(permuted, plain[:, list(order)], rtol=0, atol=1e-12)
