"""Compiled solves against the eager ones.

To compile takes seconds, so most tests run the functions that are compiled as they are
(``uncompiled``), some let PyTorch trace and guard them (``traced``), and a few compile them: what
the compiler makes of them is one question, whether they say the right thing another.
"""

from __future__ import annotations

import math
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest
import torch
from problems import TIMES, Field, differentiated, distance, initial_state
from torch import nn
from torch.utils._pytree import tree_flatten

from odenet import (
    METHODS,
    Adaptive,
    Adjoint,
    FixedSteps,
    InterpolatedAdjoint,
    SolveError,
    Solver,
    solve,
    solve_event,
)
from odenet import compile as problem

pytestmark = pytest.mark.slow  # the file as a whole

needs_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="needs g++ to compile with")


def solved(method, control, rule, *, dtype=torch.float64, compile=False, **other):
    """Outputs, gradients, and the stats."""
    solver = Solver(method, control, rule, compile)
    ys, gradients, stats = differentiated(solver, y0=initial_state(dtype), **other)
    return [ys, *gradients], stats


def assert_equal(method, control, rule, *, tolerance=1e-11, **other):
    values, stats = solved(method, control, rule, compile=True, **other)
    expected, eager = solved(method, control, rule, **other)
    assert distance(values, expected) < tolerance
    assert (stats.forward, stats.backward) == (eager.forward, eager.backward)
    assert stats.forward.next_dt == pytest.approx(eager.forward.next_dt, rel=1e-3)
    assert (stats.drift is None) == (eager.drift is None)
    if stats.drift is not None:
        assert stats.drift == pytest.approx(eager.drift, rel=1e-6)


structures: dict = {}  # what has been seen so far: a structure -> that of its arguments


@pytest.fixture
def uncompiled(monkeypatch):
    """Functions as they are.

    Their arguments have the structure that they are told apart by, and share no tensor: else
    PyTorch compiles anew, or fails when it says why it does.
    """

    def checked(function, *structure):
        def call(*arguments):
            leaves, spec = tree_flatten(arguments)
            tensors = [id(x) for x in leaves if isinstance(x, torch.Tensor)]
            assert len(tensors) == len(set(tensors))
            assert structures.setdefault((function, structure), spec) == spec
            return function(*arguments)

        return call

    monkeypatch.setattr(problem, "_compiled", checked)


CONFIGURATIONS = {
    "dopri5": ("dopri5", Adaptive(1e-6, 1e-6)),
    "PI, limits": (
        "dopri5",
        Adaptive(1e-5, 1e-5, integral=0.3, proportional=0.4, max_step=0.3, initial=0.01),
    ),
    "rejections": (
        "bosh3",
        Adaptive(1e-6, 1e-6, initial=1.0, integral=0.3, proportional=0.4),
    ),
    "norm": ("dopri5", Adaptive(1e-5, 1e-5, norm=lambda x: x.abs().max())),
    "not FSAL": ("heun", Adaptive(1e-4, 1e-4)),
    "not FSAL, rejections": ("heun", Adaptive(1e-4, 1e-4, initial=1.5)),
    "no dense output": ("dopri8", Adaptive(1e-8, 1e-8)),
    "fixed": ("rk4", FixedSteps(size=0.3)),
    "fixed, with an estimate": ("dopri5", FixedSteps(7)),
    "fixed, from output to output": ("midpoint", FixedSteps()),
    "fixed, on a grid": ("euler", FixedSteps(grid=(0.1, 0.7, 1.9))),
    "fixed, one after the other": ("dopri5", FixedSteps(1)),
}


@pytest.mark.parametrize("rule", ["checkpoint", "adjoint"])
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_values_gradients_and_work_are_those_of_the_eager_rule(uncompiled, name, rule):
    place = list(CONFIGURATIONS).index(name) + (rule == "adjoint")
    times = (TIMES, TIMES.flip(0), TIMES[::4], TIMES[:2])[place % 4]
    assert_equal(*CONFIGURATIONS[name], rule, ts=times)


def test_tolerances_may_be_tensors(uncompiled):
    atol = torch.tensor([1e-3, 1e-5, 1e-7], dtype=torch.float64)
    assert_equal("tsit5", Adaptive(1e-5, atol), "checkpoint")


@pytest.mark.parametrize("name", ["dopri5", "rejections", "not FSAL, rejections", "fixed"])
def test_the_evaluations_that_are_made_are_those_that_are_counted(uncompiled, name):
    evaluations = []

    class Counted(Field):
        def forward(self, t, y):
            evaluations.append(t)
            return super().forward(t, y)

    field, y0 = Counted(), initial_state()
    solve_it = partial(solve, field, y0, TIMES, Solver(*CONFIGURATIONS[name], compile=True))
    with torch.no_grad():
        solve_it()  # looks once whether a call changes the field
        evaluations.clear()
        stats = solve_it().stats
    assert len(evaluations) == stats.forward.nfe
    evaluations.clear()
    solution = solve_it()
    solution.y1.sum().backward()
    assert len(evaluations) == solution.stats.forward.nfe + solution.stats.backward.nfe


@pytest.mark.parametrize(
    "rule",
    [
        Adjoint(seminorm=False),
        Adjoint(scaled=False),
        Adjoint(Adaptive(1e-3, 1e-3), method=METHODS["bosh3"]),
        Adjoint(FixedSteps(9)),
    ],
    ids=str,
)
def test_every_kind_of_adjoint(uncompiled, rule):
    assert_equal("dopri5", Adaptive(1e-5, 1e-5), rule)


def test_a_state_may_be_a_scalar(uncompiled):
    class Decay(nn.Module):
        def forward(self, t, y):
            return -y * (1 + t)

    def gradient(rule, ts, dtype, compile):
        y0 = torch.tensor(2.0, dtype=dtype, requires_grad=True)
        solver = Solver("dopri5", Adaptive(1e-5, 1e-5), rule, compile)
        ys = solve(Decay(), y0, ts, solver).ys
        return [ys.detach(), *torch.autograd.grad(ys.square().sum(), y0)]

    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        for ts in ([0.0, 1.0], [0.0, 0.3, 0.4, 1.0]):
            for rule in ("checkpoint", "adjoint"):
                ours = gradient(rule, ts, dtype, compile=True)
                assert distance(ours, gradient(rule, ts, dtype, compile=False)) < tolerance
                assert ours[0].dtype is dtype


def test_a_tolerance_may_be_less_than_half_precision_holds(traced):
    at_rest = torch.zeros(3, dtype=torch.float16)
    solver = Solver("bosh3", Adaptive(1e-3, 1e-9), compile=True)  # 0 / 0, were it rounded
    ends = [
        solve(lambda t, y: -y, at_rest, (0.0, 1.0), replace(solver, compile=c), params=())
        for c in (True, False)
    ]
    assert torch.equal(ends[0].y1, at_rest)
    assert ends[0].stats.forward == ends[1].stats.forward


def test_a_state_may_be_strided(uncompiled):
    y0 = initial_state().repeat(2, 2)[::2, ::2]
    solver = Solver("dopri5", Adaptive(1e-5, 1e-5), compile=True)
    with torch.no_grad():
        ours = solve(Field(), y0, TIMES, solver).ys
        eager = solve(Field(), y0, TIMES, replace(solver, compile=False)).ys
    torch.testing.assert_close(ours, eager, rtol=1e-12, atol=1e-12)


def test_without_a_gradient_every_rule_is_compiled(uncompiled):
    for rule in ("backprop", "checkpoint", "adjoint"):
        solver = Solver("dopri5", Adaptive(1e-6, 1e-6), rule, compile=True)
        with torch.no_grad():
            solution = solve(Field(), initial_state(), TIMES, solver)
        assert not solution.ys.requires_grad
        expected = solve(Field(), initial_state(), TIMES, Solver("dopri5", Adaptive(1e-6, 1e-6)))
        assert distance([solution.ys], [expected.ys.detach()]) < 1e-12


def test_a_function_is_compiled_too(uncompiled):
    def decay(t, y):
        return -y * (1 + t)

    y0 = initial_state().requires_grad_()
    grads = []
    for compile in (True, False):
        for rule in ("checkpoint", "adjoint"):
            ys = solve(decay, y0, TIMES, Solver(gradient=rule, compile=compile), params=()).ys
            grads.append(torch.autograd.grad(ys.sum(), y0)[0])
    assert distance(grads[:2], grads[2:]) < 1e-11


def test_the_compiled_rule_is_checkpoint_by_default():
    assert Solver(compile=True).gradient == Solver(gradient="checkpoint").gradient
    assert Solver(compile=True) != Solver(gradient="checkpoint")
    assert "compile=True" in repr(Solver(compile=True))


@pytest.mark.parametrize("rule", ["checkpoint", "adjoint"])
def test_events(uncompiled, rule):
    def event(t, y):
        return y[:, 0] - 0.4

    found = []
    for compile in (True, False):
        y0 = initial_state().requires_grad_()
        field = Field()
        solver = Solver("dopri5", Adaptive(1e-6, 1e-6), rule, compile)
        time, solution = solve_event(field, y0, 0.0, event, solver, end=9.0)
        (time + solution.y1.sum()).backward()
        gradients = [time.detach(), solution.ys.detach(), y0.grad, field.weight.grad]
        found.append((gradients, solution.stats.forward))
    assert distance(found[0][0], found[1][0]) < 1e-9
    assert found[0][1] == found[1][1]


def test_an_event_in_unlimited_time_with_steps_of_one_size(uncompiled):
    class Fall(nn.Module):
        def forward(self, t, y):
            return -torch.ones_like(y)

    solver = Solver("rk4", FixedSteps(size=0.3), compile=True)
    y0 = torch.ones(1, dtype=torch.float64)
    time, _ = solve_event(Fall(), y0, 0.0, lambda t, y: y, solver)
    assert time.item() == pytest.approx(1.0)


def test_a_subset_of_the_parameters(uncompiled):
    def gradient(compile):
        field = Field()
        solver = Solver("dopri5", Adaptive(1e-6, 1e-6), "checkpoint", compile)
        ys = solve(field, initial_state(), TIMES, solver, params=[field.bias]).ys
        ys.sum().backward()
        assert field.weight.grad is None
        return field.bias.grad

    assert distance([gradient(True)], [gradient(False)]) < 1e-11


def test_parameters_that_are_tied_frozen_or_of_another_precision(uncompiled):
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            generator = torch.Generator().manual_seed(0)
            self.a = nn.Linear(3, 3, bias=False)
            self.a.weight = nn.Parameter(torch.randn(3, 3, generator=generator))
            self.b = nn.Linear(3, 3, bias=False)
            self.b.weight = self.a.weight
            self.c = nn.Parameter(torch.ones(3, dtype=torch.float64))
            self.d = nn.Parameter(torch.full((3,), 0.5, dtype=torch.float64), requires_grad=False)

        def forward(self, t, y):
            return (
                torch.tanh(y @ self.a.weight.double().T + self.c * self.d) @ self.b.weight.double()
            )

    for rule in ("checkpoint", "adjoint"):
        assert_equal("dopri5", Adaptive(1e-5, 1e-5), rule, field=Mixed(), tolerance=1e-6)


def raised(field, y0=None, *, ts=TIMES, control=None, method="dopri5", compile, **other):
    """The error of a solve."""
    y0 = initial_state() if y0 is None else y0
    rule = other.get("rule", "checkpoint")
    solver = Solver(method, control or Adaptive(1e-6, 1e-6), rule, compile)
    with pytest.raises(SolveError) as caught:
        solution = solve(field, y0.requires_grad_(other.get("gradient", False)), ts, solver)
        solution.ys[-1].sum().backward()
    return caught.value


class Explodes(nn.Module):
    def forward(self, t, y):
        return y**2


class Jumps(nn.Module):
    """Infinite at times from 1 on."""

    def forward(self, t, y):
        return torch.where(torch.as_tensor(t, dtype=y.dtype) < 1, y, torch.inf * torch.ones_like(y))


FAILURES = {
    "limit": (Field, {"control": Adaptive(1e-9, 1e-9, max_steps=5)}),
    "limit, not FSAL": (Field, {"control": Adaptive(1e-9, 1e-9, max_steps=5), "method": "heun"}),
    "blow-up": (Explodes, {"y0": torch.full((2,), 3.0, dtype=torch.float64)}),
    "start": (Field, {"y0": torch.full((2, 3), torch.nan, dtype=torch.float64)}),
    "infinite": (Jumps, {}),
    "infinite, fixed steps": (Jumps, {"control": FixedSteps(8), "method": "rk4"}),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_solve_that_cannot_go_on_fails_as_the_eager_one(uncompiled, name):
    field, settings = FAILURES[name]
    ours = raised(field(), **settings, compile=True)
    eager = raised(field(), **settings, compile=False)
    assert ours.reason == eager.reason
    assert ours.t == pytest.approx(eager.t, rel=1e-9)
    assert ours.dt == pytest.approx(eager.dt, rel=1e-6, nan_ok=True)
    assert ours.counts == eager.counts


def test_a_backward_solve_that_cannot_go_on_fails_as_the_eager_one(uncompiled):
    adjoint = Adjoint(Adaptive(1e-10, 1e-10, max_steps=3))
    ours, eager = (raised(Field(), rule=adjoint, gradient=True, compile=c) for c in (True, False))
    assert (ours.reason, ours.counts) == (eager.reason, eager.counts)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("implicit_adams", FixedSteps(9)), "takes Runge-Kutta methods"),
        (("scipy_lsoda", Adaptive(), "adjoint"), "takes Runge-Kutta methods"),
        (
            ("dopri5", Adaptive(), Adjoint(method=METHODS["scipy_vode"])),
            "takes Runge-Kutta methods",
        ),
        (("dopri5", Adaptive(), InterpolatedAdjoint()), "takes 'checkpoint' or 'adjoint'"),
    ],
)
def test_what_is_not_compiled_is_refused_with_advice(settings, message):
    with pytest.raises(ValueError, match=f"{message}.*compile=False"):
        Solver(*settings, compile=True)


def test_a_control_of_another_type_measures_the_error_itself(uncompiled):
    class Own(Adaptive):
        def error(self, step):
            return 10 * super().error(step)

    assert_equal("dopri5", Own(1e-5, 1e-5), "checkpoint")


def test_backpropagation_is_refused_where_a_gradient_is_wanted():
    solver = Solver(gradient="backprop", compile=True)
    frozen, times = Field().requires_grad_(False), TIMES.clone().requires_grad_()
    for field, ts in ((Field(), TIMES), (frozen, times)):
        with pytest.raises(ValueError, match="take 'checkpoint'"):
            solve(field, initial_state(), ts, solver)


def test_params_that_compiled_code_cannot_see_are_refused():
    weight = torch.ones(3, dtype=torch.float64, requires_grad=True)
    for field in (lambda t, y: weight * y, Field()):
        with pytest.raises(ValueError, match="parameters of a module alone"):
            solve(field, initial_state(), TIMES, Solver(compile=True), params=(weight,))


def test_complex_parameters_are_refused():
    class Turns(nn.Module):
        def __init__(self):
            super().__init__()
            self.rate = nn.Parameter(torch.tensor(0.1 + 1j))

        def forward(self, t, y):
            return (self.rate * y).real

    with pytest.raises(ValueError, match="real parameters alone"):
        solve(Turns(), torch.ones(2), TIMES, Solver(compile=True))


def test_a_second_derivative_is_refused(uncompiled):
    y0 = initial_state().requires_grad_()
    ys = solve(Field(), y0, TIMES, Solver(compile=True)).ys
    with pytest.raises(RuntimeError, match="differentiable once"):
        (slope,) = torch.autograd.grad(ys[-1].sum(), y0, create_graph=True)
        torch.autograd.grad(slope.sum(), y0)


class Counts(Field):
    def __init__(self):
        super().__init__()
        self.calls = 1000

    def forward(self, t, y):
        self.calls += 1
        self.calls += 1  # a number that is replaced twice may lie where it lay before
        return super().forward(t, y)


class Lists(Field):
    def __init__(self):
        super().__init__()
        self.times = []

    def forward(self, t, y):
        self.times.append(t)
        return super().forward(t, y)


class Averages(Field):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(3, dtype=torch.float64))

    def forward(self, t, y):
        self.mean.mul_(0.9).add_(0.1 * y.detach().mean(0))
        return super().forward(t, y)


class Random(Field):
    def forward(self, t, y):
        return super().forward(t, y) + torch.randn_like(y)


@pytest.mark.parametrize("kind", [Counts, Lists, Averages, Random])
def test_a_field_that_does_more_than_to_return_a_slope_is_refused_each_time(uncompiled, kind):
    field, solver = kind(), Solver("euler", FixedSteps(2), compile=True)
    for f in (field, field.forward, lambda t, y: field(t, y), partial(field)) * 2:
        with pytest.raises(ValueError, match="draws random numbers or changes its own.*False"):
            solve(f, initial_state(), TIMES, solver, params=())


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(3), nn.Dropout(0.5)], ids=str)
def test_layers_that_do_more_in_training_are_seen_each_time(uncompiled, layer):
    class Layered(Field):
        def forward(self, t, y):
            return self.layer(super().forward(t, y))

    field = Layered()
    field.layer = layer.double()
    for training in (False, True, False, True):
        field.train(training)
        if training:
            with pytest.raises(ValueError, match=r"call eval\(\)"):
                solve(field, initial_state(), TIMES, Solver(compile=True))
        else:
            assert_equal("bosh3", Adaptive(1e-4, 1e-4), "checkpoint", field=field)


def test_hooks_are_refused_until_they_are_gone(uncompiled):
    field, solver = Field(), Solver("euler", FixedSteps(2), compile=True)
    handles = [
        lambda: field.register_forward_hook(lambda m, given, k: 2 * k),
        lambda: field.register_forward_pre_hook(lambda m, given: given),
        lambda: field.register_full_backward_hook(lambda m, inner, outer: None),
        lambda: field.register_full_backward_pre_hook(lambda m, outer: None),
    ]
    for f in (field, field.forward, lambda t, y: field(t, y), partial(field)):
        for register in handles:
            solve(f, initial_state(), TIMES, solver, params=())
            handle = register()
            with pytest.raises(ValueError, match="hooks of Field"):
                solve(f, initial_state(), TIMES, solver, params=())
            handle.remove()


class Solving(nn.Module):
    """A solve inside a model."""

    def __init__(self, field, solver):
        super().__init__()
        self.field, self.solver = field, solver

    def forward(self, y0):
        return solve(self.field, y0, TIMES[:3], self.solver).ys


def test_the_tensors_of_a_field_are_those_of_its_solve(traced):
    """They may be others when the gradient is asked for, as after functional_call."""
    control = Adaptive(1e-7, 1e-7)
    for rule, tolerance in (("checkpoint", 1e-11), ("adjoint", 1e-5)):
        found = []
        for solver in (Solver("dopri5", control, rule, True), Solver("dopri5", control)):
            inside = Solving(Transposed(), solver)
            given = {name: 0.7 * x.detach() for name, x in inside.state_dict().items()}
            weight = given["field.weight"].requires_grad_()
            ys = torch.func.functional_call(inside, given, (initial_state(),))
            found.append([ys.detach(), *torch.autograd.grad(ys.square().sum(), weight)])
        assert distance(*found) < tolerance


def test_a_gradient_that_is_nan_is_not_hidden(uncompiled):
    for rule in ("checkpoint", "adjoint"):
        field, y0 = Field(), initial_state().requires_grad_()
        ys = solve(field, y0, TIMES, Solver(gradient=rule, compile=True)).ys
        (math.nan * ys.sum()).backward()
        assert all(x.grad.isnan().all() for x in (y0, field.weight, field.bias))


def test_a_batch_may_be_empty(traced):
    for control in (Adaptive(1e-5, 1e-5), FixedSteps(2)):
        field, y0 = Field(), initial_state()[:0].requires_grad_()
        y1 = solve(field, y0, TIMES[:2], Solver("bosh3", control, compile=True)).y1
        y1.sum().backward()
        assert y1.shape == y0.grad.shape == (0, 3)
        assert not field.weight.grad.any()


def test_inference_mode(traced):
    solver = Solver("bosh3", Adaptive(1e-4, 1e-4), compile=True)
    made_before = Field(), initial_state()
    before = solve(*made_before, TIMES, solver).ys.detach()
    with torch.inference_mode():
        for made in (made_before, (Field(), initial_state())):
            assert distance([solve(*made, TIMES, solver).ys], [before]) < 1e-12
    assert_equal("bosh3", Adaptive(1e-4, 1e-4), "checkpoint")


def test_autocast(traced):
    class Narrow(Field):
        def forward(self, t, y):
            return y @ self.weight

    y0, precision = initial_state(torch.float32), torch.finfo(torch.bfloat16).eps
    for rule in ("checkpoint", "adjoint"):
        ends = []
        for compile in (True, False):
            solver = Solver("euler", FixedSteps(3), rule, compile)
            field = Field(torch.float32)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                y1 = solve(field, y0, TIMES, solver).y1
                y1.sum().backward()
            ends.append([y1.detach(), field.weight.grad])
        assert distance(*ends) < 2 * precision
        outside = solve(field, y0, TIMES, solver).y1
        assert distance([ends[0][0]], [outside.detach()]) > 1e-5  # in bfloat16
        solver = replace(solver, compile=True)
        with (
            torch.autocast("cpu", dtype=torch.bfloat16),
            pytest.raises(ValueError, match="and torch.bfloat16"),
        ):
            solve(Narrow(torch.float32), y0, TIMES, solver)


@pytest.mark.filterwarnings("ignore:Adjoint. the state:RuntimeWarning")  # of two Euler steps
@pytest.mark.parametrize("rule", ["checkpoint", "adjoint"])
def test_what_a_function_refers_to_may_change(traced, rule):
    def scaled(factor):
        return lambda t, y: -factor * y

    def gradient(f, compile):
        y0 = initial_state().requires_grad_()
        ys = solve(f, y0, TIMES[:2], Solver("euler", FixedSteps(2), rule, compile), params=()).ys
        return [ys.detach(), *torch.autograd.grad(ys.square().sum(), y0)]

    numbers, tensor = [1.0], torch.ones(3, dtype=torch.float64)
    listed, held = (lambda t, y: -numbers[0] * y), (lambda t, y: -tensor * y)
    for factor in (1.0, 2.0, 3.0):
        numbers[0] = factor
        tensor.fill_(factor)
        expected = gradient(scaled(factor), False)
        for f in (scaled(factor), listed, held):
            assert distance(gradient(f, True), expected) < 1e-12


def test_a_slope_may_be_the_state_itself(traced):
    for rule in ("checkpoint", "adjoint"):
        for method, control in (("bosh3", Adaptive(1e-4, 1e-4)), ("euler", FixedSteps(2))):
            solver = Solver(method, control, rule, compile=True)
            y0 = initial_state().requires_grad_()
            found = []
            for each in (solver, replace(solver, compile=False)):
                ys = solve(lambda t, y: y, y0, TIMES, each, params=()).ys
                found.append([ys.detach(), *torch.autograd.grad(ys.sum(), y0)])
            assert distance(*found) < 1e-12


class Branches(Field):
    def forward(self, t, y):
        return -y if y.sum() > 0 else super().forward(t, y)


class WantsNumbers(Field):
    def forward(self, t, y):
        return math.sin(t) * y


@pytest.mark.parametrize("kind", [Branches, WantsNumbers])
def test_a_field_that_cannot_be_traced_is_refused_with_advice(traced, kind):
    solver = Solver("euler", FixedSteps(2), compile=True)
    with pytest.raises(ValueError, match=r"cannot be compiled[\s\S]*must not branch on values"):
        solve(kind(), initial_state(), TIMES, solver)


def test_a_field_that_fails_says_so_itself():
    class Wrong(nn.Module):
        def forward(self, t, y):
            return y[:1]

    with pytest.raises(ValueError, match="a slope of the state's shape"):
        solve(Wrong(), initial_state(), TIMES, Solver("euler", FixedSteps(2), compile=True))


def test_a_missing_compiler_is_told(monkeypatch):
    def fail(*_):
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr(problem, "_compiled", lambda function, *_: fail)
    with pytest.raises(ValueError, match=r"cannot be compiled: No working C\+\+ compiler"):
        solve(Field(), initial_state(), TIMES, Solver(compile=True))


class Transposed(Field):
    """Uses its tensors beside their transposes."""

    def __init__(self, dtype=torch.float64):
        super().__init__(dtype)
        mixing = torch.eye(3, dtype=dtype).roll(1, 0)
        self.frozen = nn.Parameter(mixing, requires_grad=False)
        self.register_buffer("buffer", 2 * mixing)

    def forward(self, t, y):
        for matrix in (self.weight, self.frozen, self.buffer):
            y = torch.tanh(y @ matrix.T) @ matrix
        return y


@needs_compiler
def test_compiled_adjoint_with_tensors_beside_their_transposes():
    assert_equal("euler", FixedSteps(2), "adjoint", ts=TIMES[:3], field=Transposed())


@needs_compiler
def test_compiled_fixed_steps_in_single_precision_backwards_in_time():
    settings = {"tolerance": 1e-5, "ts": TIMES.flip(0), "dtype": torch.float32}
    field = Transposed(torch.float32)
    assert_equal("euler", FixedSteps(3), "checkpoint", field=field, **settings)


@needs_compiler
def test_compiled_checkpoint():
    control = Adaptive(1e-4, 1e-4)
    assert_equal("bosh3", control, "checkpoint")
    with torch.compiler.set_stance("fail_on_recompile"):
        # Other tolerances, limits, times and parameters take the same code.
        other = Adaptive(1e-3, 1e-6, max_step=0.2, safety=0.8)
        assert_equal("bosh3", other, "checkpoint", ts=TIMES.flip(0) + 1)
        assert_equal("bosh3", control, "checkpoint", ts=torch.linspace(0, 1, 4).double())
        field = Field()
        nn.init.constant_(field.weight, 0.2)
        assert_equal("bosh3", control, "checkpoint", field=field)
        settings = {"control": Adaptive(1e-9, 1e-9, max_steps=5), "gradient": True}
        ours, eager = (
            raised(Field(), **settings, method="bosh3", compile=c) for c in (True, False)
        )
        assert str(ours) == str(eager)
        alone = solved("bosh3", control, "checkpoint", compile=True)
    with ThreadPoolExecutor(2) as pool:
        together = list(
            pool.map(lambda _: solved("bosh3", control, "checkpoint", compile=True), range(4))
        )
    for values, stats in together:
        assert stats == alone[1]
        assert all(torch.equal(a, b) for a, b in zip(values, alone[0], strict=True))


def test_an_adjoint_whose_steps_are_controlled_is_traced(traced):
    assert_equal("heun", Adaptive(1e-3, 1e-3), "adjoint", ts=TIMES[:3])


def test_few_and_many_outputs_steps_one_after_the_other_and_one_alone(traced):
    for ts, steps in ((TIMES[::4], 4), (TIMES, 4), (TIMES[::4], 1), (TIMES, 1)):
        assert_equal("euler", FixedSteps(steps), "checkpoint", ts=ts)
        assert_equal("dopri5", FixedSteps(steps), "checkpoint", ts=ts)


def test_a_field_that_changes_is_compiled_anew(traced):
    class Changing(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = 1.0
            self.options = {"shift": 0.0}
            self.layer = nn.Identity()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, t, y):
            y = self.layer(y) * self.weight.sum() + self.options["shift"]
            return self.scale * (y if self.training else 2 * y)

    def end(field, *shape):
        solver = Solver("euler", FixedSteps(2), compile=True)
        with torch.no_grad():
            ours = solve(field, torch.ones(shape), (0.0, 1.0), solver).y1
            eager = solve(field, torch.ones(shape), (0.0, 1.0), replace(solver, compile=False)).y1
        assert torch.equal(ours, eager)
        return ours.reshape(-1)[0].item()

    field = Changing()
    ends = [end(field, 2), end(field, 3)]
    field.scale = 2.0
    ends.append(end(field, 2))
    field.options["shift"] = 1.0
    ends.append(end(field, 2))
    field.layer = nn.Tanh()
    ends.append(end(field, 2))
    field.weight = nn.Parameter(torch.ones(2))
    ends.append(end(field, 2))
    field.eval()
    ends.append(end(field, 2))
    field.forward = lambda t, y: 0 * y
    ends.append(end(field, 2))
    assert len(set(ends)) == len(ends) - 1  # the shape of the state alone changes nothing


def test_a_constant_inside_a_norm_is_watched(traced):
    scale = 1.0

    def norm(x):
        return scale * x.abs().max()

    def steps(compile):
        control = Adaptive(1e-3, 1e-3, norm=norm, initial=0.1)
        solver = Solver("heun", control, "checkpoint", compile)
        return solve(Field(), initial_state(), (0.0, 1.0), solver).stats.forward

    before = steps(True)
    assert before == steps(False)
    scale = 100.0
    assert steps(True) == steps(False) != before
