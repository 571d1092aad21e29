"""A solver is a value, a solve explains itself, and torch's transformations go through it."""

import copy
import pickle

import pytest
import torch
import torchdiffeq
from problems import TS, Y0, Field
from torch import nn

from odenet import (
    METHODS,
    Adaptive,
    Adjoint,
    Checkpoint,
    FixedSteps,
    InterpolatedAdjoint,
    SolveError,
    Solver,
    odeint_adjoint,
    solve,
    solve_event,
    steps,
)
from odenet.models import ConvField
from odenet.solvers import Counts

SOLVERS = [
    Solver(),
    Solver("rk4", FixedSteps(10)),
    Solver("explicit_adams", FixedSteps(size=0.1)),
    Solver("scipy_vode", gradient="adjoint"),
    Solver("dopri8", Adaptive(torch.tensor([1e-3, 1e-4]), 1e-3), InterpolatedAdjoint()),
    Solver("tsit5", gradient=Adjoint(Adaptive(1e-3, 1e-3), method=METHODS["bosh3"])),
]


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: solver.method.name)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copied_solver_equals_its_original(solver, copied):
    other = copied(solver)
    assert other == solver and hash(other) == hash(solver)
    assert other != Solver("bosh3", Adaptive(1e-1, 1e-1))


def test_controls_that_differ_in_an_entry_of_a_tensor_are_not_equal():
    one, other = (Adaptive(torch.tensor([1e-3, x]), 1e-3) for x in (1e-4, 1e-5))
    assert one != other and one != Adaptive(1e-3, 1e-3) and Adaptive(1e-3, 1e-3) != one


@pytest.mark.parametrize("gradient", ["checkpoint", "adjoint", InterpolatedAdjoint()])
def test_the_counts_of_the_forward_pass_are_final_and_those_of_the_backward_pass_the_latest(
    gradient,
):
    solution = solve(Field(), Y0, TS, Solver(gradient=gradient))
    forward = copy.copy(solution.stats.forward)
    assert solution.stats.backward == Counts() and solution.stats.drift is None
    loss = solution.ys.square().sum()
    loss.backward(retain_graph=True)
    once, drift = copy.copy(solution.stats.backward), solution.stats.drift
    loss.backward()
    assert solution.stats.forward == forward
    assert solution.stats.backward == once and once.nfe > 0 and solution.stats.drift == drift
    assert solution.stats.backward_passes == 2


@pytest.mark.parametrize("gradient", ["checkpoint", "adjoint", InterpolatedAdjoint()])
def test_a_rule_keeps_nothing_where_no_gradient_is_wanted(gradient):
    kept = []
    hooks = torch.autograd.graph.saved_tensors_hooks(kept.append, lambda x: x)
    with torch.no_grad(), hooks:
        assert not solve(Field(), Y0, TS, Solver(gradient=gradient)).ys.requires_grad
    assert not kept


def test_a_solution_is_told_in_a_line():
    solution = solve(Field(), Y0, TS)
    assert str(solution).startswith("<Solution: ") and len(str(solution)) < 120
    assert torch.equal(solution.y1, solution.ys[-1])


def test_an_event_counts_every_evaluation():
    calls = []

    def field(t, y):
        calls.append(t)
        return torch.ones_like(y)

    start = torch.zeros(1, dtype=torch.float64)
    _, solution = solve_event(field, start, 0.0, lambda t, y: y - 1.5)
    counts = solution.stats.forward
    assert counts.nfe == len(calls)
    # A slope and a trial step at the start, and the slope at the event.
    assert counts.nfe == 2 + 6 * (counts.accepted + counts.rejected) + 1


def test_a_failed_solve_crosses_from_one_process_to_another():
    with pytest.raises(SolveError) as caught:
        solve(Field(), Y0, TS, Solver(control=Adaptive(1e-9, 1e-9, max_steps=2)))
    there = pickle.loads(pickle.dumps(caught.value))
    assert (str(there), there.t, there.counts) == (
        str(caught.value),
        caught.value.t,
        caught.value.counts,
    )


def test_steps_take_names_and_check_their_input():
    stats = Counts()
    path = list(steps(Field(), Y0, (0.0, 1.0), "bosh3", Adaptive(1e-3, 1e-3), stats))
    assert path[-1].t1 == 1.0 and stats.accepted == len(path)
    with pytest.raises(ValueError, match="unknown method 'dopri6'; known"):
        steps(Field(), Y0, (0.0, 1.0), "dopri6")
    with pytest.raises(ValueError, match="at least two times"):
        steps(Field(), Y0, (0.0,))


@pytest.mark.parametrize("method", ["rk4", "dopri5", "implicit_adams"])
def test_vmap_over_fixed_steps_gives_each_row_its_own_solve(method):
    solver = Solver(method, FixedSteps(7))
    field, rows = Field(), torch.randn(5, *Y0.shape, dtype=Y0.dtype)
    mapped = torch.func.vmap(lambda y: solve(field, y, (0.0, 1.0), solver).y1)(rows)
    for row, end in zip(rows, mapped, strict=True):
        torch.testing.assert_close(end, solve(field, row, (0.0, 1.0), solver).y1)


@pytest.mark.slow
@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
def test_torch_compiles_fixed_steps_as_one_graph(gradient):
    torch._dynamo.reset()
    field, solver = Field(), Solver("rk4", FixedSteps(5), gradient)
    wanted = gradient == "backprop"
    y0 = Y0.clone().requires_grad_(wanted)

    def ys(y):
        return solve(field, y, (0.0, 0.5, 1.0), solver).ys

    with torch.set_grad_enabled(wanted):
        found = torch.compile(ys, fullgraph=True, backend="aot_eager")(y0)
        expected = ys(y0)
        torch.testing.assert_close(found, expected)
    if wanted:
        wrt = [y0, field.weight, field.bias]
        both = (torch.autograd.grad(out.square().sum(), wrt) for out in (found, expected))
        for a, b in zip(*both, strict=True):
            torch.testing.assert_close(a, b)


def test_the_adjoint_of_odeint_costs_what_torchdiffeqs_costs():
    """On a field like that of torchdiffeq's MNIST example, with a loss that is a mean."""

    class Counted(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.field, self.calls = ConvField(32), 0

        def forward(self, t, y):
            self.calls += 1
            return self.field(float(t.detach()), y)

    def backward_calls(integrate):
        field = Counted()
        y0 = torch.randn(8, 32, 5, 5, generator=torch.Generator().manual_seed(1))
        end = integrate(field, y0, torch.tensor([0.0, 1.0]), rtol=1e-3, atol=1e-3)[-1]
        before = field.calls
        (end.square().mean((1, 2, 3)).mean()).backward()
        return field.calls - before

    ours, theirs = map(backward_calls, (odeint_adjoint, torchdiffeq.odeint_adjoint))
    assert 0 < ours <= theirs


def test_a_checkpoint_of_a_field_without_parameters_needs_to_be_told():
    with pytest.raises(TypeError, match="Checkpoint cannot see what a plain function depends on"):
        solve(lambda t, y: -y, Y0, TS, Solver(gradient=Checkpoint()))
