"""Compiled solves against the eager ones.

To compile takes seconds, so most tests run the functions that are compiled as they are, with
Python's loops (``uncompiled``), and a few compile them: what the compiler makes of them is one
question, whether they say the right thing another.
"""

from __future__ import annotations

import math
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch._inductor.exc import InvalidCxxCompiler

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
from odenet.compiled import CannotCompile, Compiled, compilations, forward, graph

TIMES = torch.linspace(0, 2, 5, dtype=torch.float64)
compiles = pytest.mark.skipif(not shutil.which("g++"), reason="needs g++ to compile with")


class Field(nn.Module):
    def __init__(self, dtype=torch.float64):
        super().__init__()
        generator = torch.Generator().manual_seed(0)  # its own: fields are also made in threads
        self.weight = nn.Parameter(0.7 * torch.randn(3, 3, generator=generator, dtype=dtype))
        self.bias = nn.Parameter(0.3 * torch.randn(3, generator=generator, dtype=dtype))
        self.unused = nn.Parameter(torch.ones(2, dtype=dtype))

    def forward(self, t, y):
        return torch.tanh(y @ self.weight + t * self.bias)


def initial_state(dtype=torch.float64):
    return torch.linspace(-1, 1, 6, dtype=dtype).view(2, 3)


def solved(method, control, rule, ts=TIMES, dtype=torch.float64, field=None):
    """Outputs, the gradients of a loss on all of them, and the stats."""
    field = field or Field(dtype)
    y0, ts = initial_state(dtype).requires_grad_(), ts.clone().requires_grad_()
    solution = solve(field, y0, ts, Solver(method, control, rule))
    weights = torch.arange(1.0, len(ts) + 1, dtype=dtype)[:, None, None]
    (weights * solution.ys.sin()).sum().backward()
    gradients = [y0.grad, ts.grad, *(p.grad for p in field.parameters() if p.grad is not None)]
    return [solution.ys.detach(), *gradients], solution.stats


def distance(a, b):
    return max(
        float((x - y).abs().max() / y.abs().max().clamp(min=1e-9))
        for x, y in zip(a, b, strict=True)
    )


def assert_equal(method, control, rule, *, tolerance=1e-11, **other):
    values, stats = solved(method, control, Compiled(rule), **other)
    expected, expected_work = solved(method, control, rule, **other)
    assert distance(values, expected) < tolerance
    assert (stats.forward, stats.backward) == (expected_work.forward, expected_work.backward)
    assert stats.forward.next_dt == pytest.approx(expected_work.forward.next_dt, rel=1e-3)
    assert (stats.drift is None) == (expected_work.drift is None)
    if stats.drift is not None:
        assert stats.drift == pytest.approx(expected_work.drift, rel=1e-6)


@pytest.fixture
def uncompiled(monkeypatch):
    def while_loop(goes_on, step, carried):
        while goes_on(*carried):
            carried = step(*carried)
        return carried

    monkeypatch.setattr(torch, "while_loop", while_loop)
    monkeypatch.setattr(torch, "cond", lambda p, yes, no, operands: (yes if p else no)(*operands))
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    monkeypatch.setattr(graph, "_graphs", {})


CONFIGURATIONS = {
    "dopri5": ("dopri5", Adaptive(1e-6, 1e-6)),
    "PI, limits": (
        "dopri5",
        Adaptive(1e-5, 1e-5, integral=0.3, proportional=0.4, max_step=0.3, initial=0.01),
    ),
    "rejections": ("bosh3", Adaptive(1e-6, 1e-6, initial=1.0)),
    "norm": ("dopri5", Adaptive(1e-5, 1e-5, norm=lambda x: x.abs().max())),
    "not FSAL": ("heun", Adaptive(1e-4, 1e-4)),
    "not FSAL, rejections": ("heun", Adaptive(1e-4, 1e-4, initial=1.5)),
    "no dense output": ("dopri8", Adaptive(1e-8, 1e-8)),
    "fixed": ("rk4", FixedSteps(size=0.3)),
    "fixed, with an estimate": ("dopri5", FixedSteps(7)),
    "fixed, from output to output": ("midpoint", FixedSteps()),
    "fixed, on a grid": ("euler", FixedSteps(grid=(0.1, 0.7, 1.9))),
}


@pytest.mark.parametrize("times", [TIMES, TIMES.flip(0), TIMES[::4]], ids=["up", "down", "two"])
@pytest.mark.parametrize("rule", ["checkpoint", "adjoint"])
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_values_gradients_and_work_are_those_of_the_eager_rule(uncompiled, name, rule, times):
    assert_equal(*CONFIGURATIONS[name], rule, ts=times)


def test_tolerances_may_be_tensors(uncompiled):
    atol = torch.tensor([1e-3, 1e-5, 1e-7], dtype=torch.float64)
    assert_equal("tsit5", Adaptive(1e-5, atol), "checkpoint")


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
def test_every_kind_of_adjoint_but_the_interpolated(uncompiled, rule):
    assert_equal("dopri5", Adaptive(1e-5, 1e-5), rule)


@pytest.mark.parametrize("method", ["dopri5", "heun"])
def test_a_solve_goes_on_when_its_record_is_full(uncompiled, monkeypatch, method):
    monkeypatch.setattr(forward, "_MOST", 4)
    monkeypatch.setattr(forward, "_LEAST", 4)
    assert_equal(method, Adaptive(1e-6, 1e-6), "checkpoint")
    assert_equal(method, Adaptive(1e-6, 1e-6), "checkpoint", ts=TIMES[::4])


def test_a_state_may_be_a_scalar(uncompiled):
    class Decay(nn.Module):
        def forward(self, t, y):
            return -y * (1 + t)

    def gradient(rule, ts):
        y0 = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
        ys = solve(Decay(), y0, ts, Solver("dopri5", Adaptive(1e-6, 1e-6), rule)).ys
        return [ys.detach(), *torch.autograd.grad(ys.square().sum(), y0)]

    for ts in ([0.0, 1.0], [0.0, 0.3, 0.4, 1.0]):
        for rule in ("checkpoint", "adjoint"):
            assert distance(gradient(Compiled(rule), ts), gradient(rule, ts)) < 1e-12


def test_without_a_gradient_only_the_solve_is_made(uncompiled):
    solver = Solver("dopri5", Adaptive(1e-6, 1e-6), Compiled())
    with torch.no_grad():
        solution = solve(Field(), initial_state(), TIMES, solver)
    assert not solution.ys.requires_grad
    expected = solve(Field(), initial_state(), TIMES, Solver("dopri5", Adaptive(1e-6, 1e-6)))
    assert distance([solution.ys], [expected.ys.detach()]) < 1e-12
    (key,) = graph._graphs
    assert key[0] == "forward"


def test_a_zero_gradient_costs_nothing_under_adjoint(uncompiled):
    y0 = initial_state().requires_grad_()
    solution = solve(Field(), y0, TIMES, Solver(gradient=Compiled("adjoint")))
    (0 * solution.ys).sum().backward()
    assert torch.equal(y0.grad, torch.zeros_like(y0))
    assert solution.stats.backward.nfe == 0


def raised(rule, field, y0=None, ts=TIMES, control=None, method="dopri5", gradient=False):
    """The error of a solve."""
    y0 = initial_state() if y0 is None else y0
    solver = Solver(method, control or Adaptive(1e-6, 1e-6), rule)
    with pytest.raises(SolveError) as caught:
        solution = solve(field, y0.requires_grad_(gradient), ts, solver)
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
    "step": (Field, {"control": Adaptive(1e-12, 1e-12, min_step=0.1, initial=1.0)}),
    "blow-up": (Explodes, {"y0": torch.full((2,), 3.0, dtype=torch.float64)}),
    "start": (Field, {"y0": torch.full((2, 3), torch.nan, dtype=torch.float64)}),
    "infinite": (Jumps, {}),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_solve_that_cannot_go_on_fails_as_the_eager_one(uncompiled, name):
    field, settings = FAILURES[name]
    ours, eager = raised(Compiled(), field(), **settings), raised("checkpoint", field(), **settings)
    assert ours.reason == eager.reason
    assert ours.t == pytest.approx(eager.t, rel=1e-9)
    assert ours.dt == pytest.approx(eager.dt, rel=1e-6, nan_ok=True)
    assert ours.counts == eager.counts


def test_fixed_steps_that_are_not_finite_fail_though_not_at_the_same_time(uncompiled):
    """Compiled code looks at each step, the eager loop at the end."""
    settings = {"control": FixedSteps(8), "method": "rk4"}
    for rule in (Compiled(), "checkpoint"):
        assert "not finite" in raised(rule, Jumps(), **settings).reason


def test_a_backward_solve_that_cannot_go_on_fails_as_the_eager_one(uncompiled):
    adjoint = Adjoint(Adaptive(1e-10, 1e-10, max_steps=3))
    ours = raised(Compiled(adjoint), Field(), gradient=True)
    eager = raised(adjoint, Field(), gradient=True)
    assert (ours.reason, ours.counts) == (eager.reason, eager.counts)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("implicit_adams", FixedSteps(9), Compiled()), "only Runge-Kutta methods"),
        (("scipy_lsoda", Adaptive(), Compiled("adjoint")), "only Runge-Kutta methods"),
        (
            ("dopri5", Adaptive(), Compiled(Adjoint(method=METHODS["scipy_vode"]))),
            "only Runge-Kutta methods",
        ),
        (
            ("dopri5", Adaptive(norm=lambda x: float(x.abs().max())), Compiled()),
            "must return a tensor",
        ),
    ],
)
def test_what_is_not_compiled_is_refused_with_advice(settings, message):
    field = Field().requires_grad_(False)
    with pytest.raises(CannotCompile, match=f"{message}.*solve it with the rule itself"):
        solve(field, initial_state(), TIMES, Solver(*settings))


def test_a_control_of_another_type_is_refused():
    class Own(Adaptive):
        pass

    with pytest.raises(CannotCompile, match="only Adaptive and FixedSteps"):
        solve(Field(), initial_state(), TIMES, Solver("dopri5", Own(), Compiled()))


def test_rules_that_are_not_compiled_are_refused():
    with pytest.raises(CannotCompile, match=r"take Compiled\('checkpoint'\)"):
        Compiled("backprop")
    with pytest.raises(CannotCompile, match="InterpolatedAdjoint"):
        Compiled(InterpolatedAdjoint())
    with pytest.raises(CannotCompile, match="not compiled"):
        Compiled("backpropagation")


def test_params_that_the_compiler_cannot_see_are_refused():
    weight = torch.ones(3, dtype=torch.float64, requires_grad=True)
    solver = Solver(gradient=Compiled())
    with pytest.raises(CannotCompile, match=r"make it an nn\.Module"):
        solve(lambda t, y: weight * y, initial_state(), TIMES, solver, params=(weight,))
    with pytest.raises(CannotCompile, match="parameters of f itself"):
        solve(Field(), initial_state(), TIMES, solver, params=(weight,))


def test_a_second_derivative_is_refused(uncompiled):
    y0 = initial_state().requires_grad_()
    ys = solve(Field(), y0, TIMES, Solver(gradient=Compiled())).ys
    with pytest.raises(RuntimeError, match="differentiable once"):
        torch.autograd.grad(ys[-1].sum(), y0, create_graph=True)


class Branches(Field):
    def forward(self, t, y):
        return -y if y.sum() > 0 else super().forward(t, y)


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


@pytest.mark.parametrize("kind", [Counts, Lists, Averages])
def test_a_field_that_a_call_changes_is_refused_each_time(uncompiled, kind):
    field, solver = kind(), Solver("euler", FixedSteps(2), Compiled())
    for _ in range(2):
        with pytest.raises(CannotCompile, match=f"{kind.__name__} changes its own"):
            solve(field, initial_state(), TIMES, solver)


def test_a_field_is_called_once_to_see_whether_that_changes_it(uncompiled, monkeypatch):
    calls = []
    whole = Field.forward
    monkeypatch.setattr(Field, "forward", lambda *given: calls.append(0) or whole(*given))
    field, solver = Field(), Solver("rk4", FixedSteps(3), Compiled())
    with torch.no_grad():
        works = [solve(field, initial_state(), TIMES[:2], solver).stats for _ in range(2)]
    assert len(calls) == 1 + sum(stats.forward.nfe for stats in works)


class WantsNumbers(Field):
    def forward(self, t, y):
        return math.sin(t) * y


@compiles
@pytest.mark.parametrize("kind", [Branches, WantsNumbers])
def test_a_field_that_cannot_be_traced_is_refused_with_advice(kind):
    solver = Solver("euler", FixedSteps(2), Compiled())
    with pytest.raises(CannotCompile, match=f"solve of {kind.__name__}.*must not branch on values"):
        solve(kind(), initial_state(), TIMES, solver)


@compiles
def test_a_field_of_the_wrong_shape_says_so():
    class Wrong(nn.Module):
        def forward(self, t, y):
            return y[:1]

    with pytest.raises(ValueError, match="a slope of the state's shape"):
        solve(Wrong(), initial_state(), TIMES, Solver("euler", FixedSteps(2), Compiled()))


def test_a_missing_compiler_is_told(monkeypatch):
    def fail(*_, **__):
        raise InvalidCxxCompiler

    monkeypatch.setattr(graph, "compile_fx", fail)
    solver = Solver("euler", FixedSteps(3), Compiled())
    with pytest.raises(CannotCompile, match=r"the C\+\+ compiler is missing or fails"):
        solve(Field(), initial_state(), TIMES[:3], solver)


@compiles
def test_compiled_adaptive_solve():
    control = Adaptive(1e-6, 1e-6)
    assert_equal("dopri5", control, "checkpoint")
    made = len(compilations())
    # Other tolerances, limits, times and parameters take the same code.
    assert_equal("dopri5", Adaptive(1e-4, 1e-8, max_step=0.2), "checkpoint", ts=TIMES.flip(0) + 1)
    assert_equal("dopri5", control, "checkpoint", ts=torch.linspace(0, 1, 4).double())
    field = Field()
    nn.init.constant_(field.weight, 0.2)
    assert_equal("dopri5", control, "checkpoint", field=field)
    settings = {"control": Adaptive(1e-9, 1e-9, max_steps=5), "gradient": True}
    ours, eager = raised(Compiled(), Field(), **settings), raised("checkpoint", Field(), **settings)
    assert str(ours) == str(eager)
    nan = torch.full((2, 3), torch.nan, dtype=torch.float64)
    assert raised(Compiled(), Field(), nan, gradient=True).reason.endswith("not finite")
    alone = solved("dopri5", control, Compiled())
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda _: solved("dopri5", control, Compiled()), range(4)))
    for values, stats in together:
        assert stats == alone[1]
        assert all(torch.equal(a, b) for a, b in zip(values, alone[0], strict=True))
    assert len(compilations()) == made


@compiles
def test_compiled_fixed_steps_in_single_precision_backwards_in_time():
    settings = {"tolerance": 1e-5, "ts": TIMES.flip(0), "dtype": torch.float32}
    assert_equal("rk4", FixedSteps(size=0.3), "checkpoint", **settings)


@compiles
def test_compiled_adjoint():
    assert_equal("heun", Adaptive(1e-3, 1e-3), "adjoint", ts=TIMES[:3])


@compiles
@pytest.mark.parametrize("rule", ["checkpoint", "adjoint"])
def test_a_field_may_use_a_tensor_beside_its_transpose(rule):
    class Transposed(Field):
        def __init__(self):
            super().__init__()
            mixing = torch.eye(3, dtype=torch.float64).roll(1, 0)
            self.frozen = nn.Parameter(mixing, requires_grad=False)
            self.register_buffer("buffer", 2 * mixing)

        def forward(self, t, y):
            for matrix in (self.weight, self.frozen, self.buffer):
                y = torch.tanh(y @ matrix.T) @ matrix
            return y

    assert_equal("euler", FixedSteps(2), rule, ts=TIMES[:3], field=Transposed())


@compiles
def test_compilations_are_counted_and_named():
    class Scaled(nn.Module):
        def __init__(self, scale):
            super().__init__()
            self.scale = scale

        def forward(self, t, y):
            return self.scale * y

    def end(scale, *shape):
        solver = Solver("euler", FixedSteps(2), Compiled())
        return solve(Scaled(scale), torch.ones(shape), (0.0, 1.0), solver).ys[-1]

    before = len(compilations())
    assert torch.equal(end(1.0, 2), torch.full((2,), 2.25))
    assert torch.equal(end(1.0, 2), torch.full((2,), 2.25))
    (one,) = compilations()[before:]
    assert one.what == "solve of Scaled, 2 float32 on cpu, by euler"
    assert one.seconds > 0
    # A constant in the field is compiled in: another one is another field.
    assert torch.equal(end(2.0, 2), torch.full((2,), 4.0))
    assert torch.equal(end(1.0, 3), torch.full((3,), 2.25))
    assert len(compilations()) == before + 3


@compiles
def test_a_constant_inside_a_norm_is_watched():
    scale = 1.0

    def norm(x):
        return scale * x.abs().max()

    def steps(rule):
        solver = Solver("heun", Adaptive(1e-3, 1e-3, norm=norm, initial=0.1), rule)
        return solve(Field(), initial_state(), (0.0, 1.0), solver).stats.forward

    before = steps(Compiled())
    assert before == steps("backprop")
    scale = 100.0
    assert steps(Compiled()) == steps("backprop") != before
