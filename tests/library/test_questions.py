"""The page "Questions people ask": its code prints what it says; what it says beside it is so."""

import math
import pickle
import re
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from odenet import Adaptive, FixedSteps, InterpolatedAdjoint, SolveError, Solver, solve
from odenet.models import ODEBlock
from odenet.solvers.scipy_solver import SciPySolver

PAGE = (Path(__file__).parents[2] / "book/questions.md").read_text()
BLOCKS = re.compile(r"^```python\n(.*?)^```", re.S | re.M)
FIRST, *QUESTIONS = PAGE.split("\n## ")
ANSWERS = {question.partition("\n")[0]: question for question in QUESTIONS}


@pytest.mark.parametrize("question", ANSWERS)
def test_each_answer_runs_after_the_first_lines_and_prints_what_its_comments_say(question, capsys):
    blocks = BLOCKS.findall(ANSWERS[question])
    assert blocks
    for block in blocks:
        exec(BLOCKS.search(FIRST)[1] + block, {"__name__": "answer"})
        said = re.findall(r"^ *print\(.*\)  # (.*)$", block, re.M)
        assert len(said) == block.count("print(")
        # In a loop, a comment names the lines one after the other.
        printed = capsys.readouterr().out.splitlines()
        assert printed and (printed == said or ", ".join(printed) == ", ".join(said))


# What is said beside the code


class Decay(nn.Module):
    """dy/dt = -rate y"""

    def __init__(self, rate=1.0):
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(rate, dtype=torch.float64))

    def forward(self, t, y):
        return -self.rate * y


class Relaxation(nn.Module):
    """Stiff where its rate is large: soon the solution only follows the cosine."""

    def __init__(self, rate):
        super().__init__()
        self.rate, self.size = rate, nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, t, y):
        return self.rate * (self.size * torch.cos(torch.as_tensor(t)) - y - y**3)


def ones(*shape):
    return torch.ones(shape, dtype=torch.float64)


def test_a_tolerance_finer_than_the_precision_and_a_random_field_end_with_an_error():
    fine = Solver("dopri5", Adaptive(1e-12, 1e-12, max_steps=1000))
    with pytest.raises(SolveError, match="attempts"):
        solve(lambda t, y: torch.cos(100 * y), torch.ones(4), [0.0, 2.0], fine)
    usual = Solver("dopri5", Adaptive(max_steps=1000))
    with pytest.raises(SolveError, match="random"):
        solve(lambda t, y: torch.randn_like(y) - y, ones(1), [0.0, 2.0], usual)


def test_a_least_step_and_fixed_steps_go_on_with_a_wrong_result():
    for control in (Adaptive(1e-6, 1e-6, min_step=0.2), FixedSteps(10)):
        solution = solve(lambda t, y: y * y, ones(1), [0.0, 1.4], Solver("bosh3", control))
        assert math.isfinite(solution.y1) and solution.stats.forward.accepted <= 10


@pytest.mark.parametrize("rule", ["backprop", "checkpoint", "adjoint"])
def test_times_of_its_own_can_be_learned(rule):
    class OwnTimes(nn.Module):
        def __init__(self, end):
            super().__init__()
            self.end = nn.Parameter(end)

        def forward(self, t, y):
            return self.end[:, None] * -y

    own = OwnTimes(torch.tensor([0.5, 2.0], dtype=torch.float64))
    solve(own, ones(2, 1), [0.0, 1.0], Solver(gradient=rule)).y1.sum().backward()
    torch.testing.assert_close(own.end.grad, -(-own.end.detach()).exp(), rtol=0, atol=1e-5)


def test_more_outputs_cost_no_evaluations():
    few, many = (solve(Decay(), ones(1), torch.linspace(0, 1, n)).stats.forward for n in (2, 99))
    assert few == many


def test_without_a_gradient_nothing_waits_for_the_backward_pass():
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda x: x), torch.no_grad():
        solve(Decay(), ones(1), [0.0, 1.0])
    assert not kept


@torch.no_grad()
def stiff_nfe(method, rate=1000.0, tolerance=1e-6, size=1):
    solver = Solver(method, Adaptive(tolerance, tolerance))
    start = torch.linspace(0.5, 1, size, dtype=torch.float64)
    return solve(Relaxation(rate), start, [0.0, 1.0], solver).stats.forward.nfe


def test_steps_that_are_stiff_follow_the_rate_and_not_the_tolerance():
    assert stiff_nfe("dopri5", 3000.0) > 2 * stiff_nfe("dopri5")
    assert stiff_nfe("dopri5", tolerance=1e-3) > 0.8 * stiff_nfe("dopri5")
    assert max(map(stiff_nfe, ("scipy_lsoda", SciPySolver("BDF"), SciPySolver("Radau")))) < 500


@pytest.mark.parametrize("method", ["scipy_lsoda", SciPySolver("BDF")])
def test_an_implicit_method_evaluates_more_for_larger_states(method):
    assert stiff_nfe(method, size=100) > stiff_nfe(method) + 100


def test_a_stiff_state_can_be_solved_backwards_between_outputs_that_are_close():
    def gradient(*solver, outputs):
        field = Relaxation(100.0)
        ts = torch.linspace(0, 1, outputs)
        solve(field, ones(1), ts, Solver(*solver)).y1.sum().backward()
        return field.size.grad.item()

    exact = gradient("dopri5", Adaptive(1e-9, 1e-9), "checkpoint", outputs=2)
    close = gradient("scipy_lsoda", Adaptive(), "adjoint", outputs=101)
    assert close == pytest.approx(exact, rel=1e-4)
    with pytest.raises(SolveError):
        gradient("dopri5", Adaptive(), "adjoint", outputs=2)


def test_gradients_by_time_are_of_the_computed_solution_or_of_the_exact_one():
    def by_end(rule):
        end = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
        solver = Solver("euler", FixedSteps(1), rule)  # y1 = 1 - end
        solve(Decay(), ones(1), [0.0, end], solver).y1.backward()
        return end.grad.item()

    assert by_end("backprop") == -1
    assert by_end("checkpoint") == -0.5  # the slope at the end


def test_a_field_that_makes_a_number_of_its_time_is_refused_where_the_time_is_learned():
    end = torch.tensor(1.0, requires_grad=True)
    with pytest.raises(TypeError, match=r"torch\.sin"):
        solve(lambda t, y: math.sin(t) * y, torch.ones(1), [0.0, end])


def test_adaptive_steps_have_jacobians_and_cannot_be_mapped_over():
    def end(y):
        return solve(Decay(), y, [0.0, 1.0]).y1

    jacobian = torch.func.jacrev(end)(ones(2))
    torch.testing.assert_close(jacobian, math.exp(-1) * torch.eye(2).double(), rtol=0, atol=1e-6)
    with pytest.raises(RuntimeError, match="vmap"):
        torch.func.vmap(end)(ones(3, 2))


def test_a_norm_that_cannot_be_pickled_makes_a_solver_that_cannot():
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(Solver(control=Adaptive(norm=lambda x: x.norm())))


def trained_in_parallel(rank, store, found):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    block = ODEBlock(Relaxation(0.5), Solver("dopri5", FixedSteps(8), "checkpoint"))
    batch = torch.randn(8, 2, dtype=torch.float64)
    store = dist.FileStore(store, 2)
    dist.init_process_group("gloo", rank=rank, world_size=2, store=store)
    model = DistributedDataParallel(block)
    y, _ = model(batch[4 * rank : 4 * rank + 4])
    y.square().mean().backward()
    torch.save(block.field.size.grad, f"{found}{rank}")
    dist.destroy_process_group()
    block.zero_grad()
    block(batch)[0].square().mean().backward()
    torch.save(block.field.size.grad, f"{found}-alone")


@pytest.mark.slow
def test_with_fixed_steps_two_processes_have_the_gradient_of_one(tmp_path):
    found = str(tmp_path / "gradient")
    torch.multiprocessing.spawn(trained_in_parallel, (str(tmp_path / "store"), found), nprocs=2)
    first, second, alone = (torch.load(found + name) for name in ("0", "1", "-alone"))
    torch.testing.assert_close(first, alone, rtol=1e-12, atol=0)
    assert torch.equal(first, second)


def pulse(t, y):
    return torch.full_like(y, 1.0 if t < 0.3 else -1.0)


def test_a_loose_tolerance_steps_over_a_jump_without_seeing_it():
    solution = solve(pulse, 0 * ones(1), [0.0, 1.0], Solver("dopri5", Adaptive(1e-3, 1e-3)))
    assert abs(solution.y1 + 0.4) > 0.1 and not solution.stats.forward.rejected


@pytest.mark.parametrize("control", [Adaptive(jump_times=(0.3,)), FixedSteps(4, jump_times=(0.3,))])
def test_the_field_is_called_beside_a_jump_and_never_there(control):
    times = []

    def field(t, y):
        times.append(t)
        return pulse(t, y)

    solve(field, ones(1), [0.0, 1.0], Solver("dopri5", control))
    assert 0.3 not in times
    assert math.nextafter(0.3, 0) in times and math.nextafter(0.3, 1) in times


class Dropping(Decay):
    def forward(self, t, y):
        return nn.functional.dropout(super().forward(t, y), 0.5)


def test_dropout_looks_like_an_error_of_the_step_and_is_refused_by_the_adjoint_rules():
    with pytest.raises(SolveError, match="attempts"):
        solve(Dropping(), ones(100), [0.0, 2.0], Solver(control=Adaptive(max_steps=500)))
    for rule in ("adjoint", InterpolatedAdjoint()):
        solution = solve(Dropping(), ones(100), [0.0, 1.0], Solver("rk4", FixedSteps(4), rule))
        with pytest.raises(RuntimeError, match="dropout"):
            solution.y1.sum().backward()


def test_one_mask_for_a_solve_makes_an_ode_that_every_rule_differentiates():
    class Masked(Decay):
        mask = torch.tensor([0.0, 2.0], dtype=torch.float64)

        def forward(self, t, y):
            return self.mask * super().forward(t, y)

    for rule in ("backprop", "checkpoint", "adjoint", InterpolatedAdjoint()):
        field = Masked()
        solve(field, ones(2), [0.0, 1.0], Solver(gradient=rule)).y1.sum().backward()
        assert field.rate.grad.item() == pytest.approx(-2 * math.exp(-2), abs=1e-5)


def test_running_averages_are_updated_at_each_evaluation_backwards_too():
    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(2).double()

        def forward(self, t, y):
            return self.norm(y)

    field, start = Normed(), torch.randn(8, 2, dtype=torch.float64)
    stats = (solution := solve(field, start, [0.0, 1.0], Solver(gradient="checkpoint"))).stats
    assert field.norm.num_batches_tracked == stats.forward.nfe
    solution.y1.square().sum().backward()
    assert field.norm.num_batches_tracked == stats.forward.nfe + stats.backward.nfe


@pytest.mark.parametrize("rule", ["checkpoint", "adjoint", InterpolatedAdjoint()])
def test_rules_other_than_backprop_have_dense_output_without_a_gradient(rule):
    with pytest.raises(ValueError, match="no_grad"):
        solve(Decay(), ones(1), [0.0, 1.0], Solver(gradient=rule), dense=True)
    with torch.no_grad():
        solution = solve(Decay(), ones(1), [0.0, 1.0], Solver(gradient=rule), dense=True)
    assert solution(0.5).item() == pytest.approx(math.exp(-0.5), abs=1e-6)


def test_dense_output_is_differentiated_by_backprop():
    field = Decay()
    solve(field, ones(1), [0.0, 1.0], dense=True)(0.5).backward()
    assert field.rate.grad.item() == pytest.approx(-0.5 * math.exp(-0.5), abs=1e-5)


@pytest.mark.parametrize("method", ["dopri8", "scipy_vode", "scipy_lsoda", SciPySolver("BDF")])
def test_methods_without_dense_output_say_so(method):
    with torch.no_grad(), pytest.raises(ValueError, match="no dense output"):
        solve(Decay(), ones(1), [0.0, 1.0], Solver(method), dense=True)


def test_solve_sends_complex_states_to_odeint_and_takes_them_as_real_ones():
    def turn(t, y):
        return torch.view_as_real(1j * torch.view_as_complex(y))

    z = torch.ones(1, dtype=torch.complex128)
    with pytest.raises(TypeError, match="odeint takes complex"):
        solve(lambda t, z: 1j * z, z, [0.0, 1.0])
    turned = torch.view_as_complex(solve(turn, torch.view_as_real(z), [0.0, math.pi]).y1)
    torch.testing.assert_close(turned, -z, rtol=0, atol=1e-5)
