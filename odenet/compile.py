"""Compiled solves, as ``Solver(..., compile=True)`` makes them.

What is compiled is one attempt of a step, the pullback of a step, and one evaluation of the
adjoint. The loop, the controller, dense output, events and all errors stay the eager ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from operator import length_hint
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from odenet.adjoint import Adjoint, Backprop, Checkpoint, Gradient
from odenet.adjoint.backsolve import BackwardSolve
from odenet.adjoint.checkpoint import Replay, Span
from odenet.adjoint.dependence import check_complete, check_same
from odenet.field import autocast_of_now
from odenet.solvers import (
    Adaptive,
    Control,
    Counts,
    Field,
    InitialValueProblem,
    Method,
    RungeKutta,
    SlopeHistory,
    Solution,
    SolveStats,
    Step,
    attempts,
    rk_step,
)

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
# Fields that do nothing but return a slope, each with the attributes that it was seen with.
_pure: WeakKeyDictionary[Any, list[int]] = WeakKeyDictionary()

Tensors = Sequence[Tensor]
Slope = Callable[[Tensor, Tensor], Tensor]


def check_compiled(method: Method, control: Control, gradient: Gradient) -> None:
    """Raises ``ValueError`` for a solver that is not compiled."""
    back: Any = gradient.method if isinstance(gradient, Adjoint) else None
    for used in (method, back or method):
        if type(used) is not RungeKutta:
            raise _refused(f"takes Runge-Kutta methods, not {used.name}")
    back = gradient.control if isinstance(gradient, Adjoint) else None
    if control.jump_times or (back or control).jump_times:
        raise _refused("takes no jump_times")
    if not isinstance(gradient, Backprop | Checkpoint | Adjoint):
        raise _refused(f"takes 'checkpoint' or 'adjoint', not {type(gradient).__name__}")


def check_own(f: Any, params: Tensors) -> dict[str, Tensor]:
    """The tensors of a field. Raises ``ValueError`` for ``params`` that are not among them."""
    own = _named(f)
    if not {id(x) for x in own.values()}.issuperset(map(id, params)):
        raise _refused("takes parameters of a module alone: make f an nn.Module that holds them")
    return own


def compiled_problem(problem: InitialValueProblem) -> InitialValueProblem:
    """The problem with compiled steps.

    Raises ``ValueError`` for parameters that are complex or not the field's, and for a field that
    has hooks, changes itself when it is called, or draws random numbers.
    """
    f: Any = getattr(problem.f, "__wrapped__", problem.f)
    if any(p.is_complex() for p in problem.params):
        raise _refused("takes real parameters alone")
    own = check_own(f, problem.params)
    _check_field(f, problem)
    places = {id(x): name for name, x in own.items()}
    names = tuple(places[id(p)] for p in problem.params)
    fixed = {name: x for name, x in own.items() if name not in names}
    method: Any = problem.method
    mode = autocast_of_now(problem.y0.device.type) or nullcontext()
    compiled = CompiledMethod(method.tableau, f, names, fixed, problem.f, mode)
    # Compiled code takes the tensors of its solve, whatever the module holds by then.
    return replace(problem, method=compiled, module=None)


def compiled_rule(rule: Gradient) -> Gradient:
    """``rule`` for compiled problems."""
    if isinstance(rule, Checkpoint):
        return CompiledCheckpoint()
    return CompiledAdjoint(**vars(rule)) if isinstance(rule, Adjoint) else WithoutGradient()


def _refused(reason: str) -> ValueError:
    return ValueError(f"compile=True {reason}, or take compile=False")


def _named(f: Any) -> dict[str, Tensor]:
    """The parameters and buffers of a field; none of a plain function."""
    if not isinstance(f, nn.Module):
        return {}
    return {**dict(f.named_parameters()), **dict(f.named_buffers())}


# What is compiled. Nothing there branches on a value. ``times`` are those of a step's two ends.


def evaluate(method: CompiledMethod, times: Tensor, y: Tensor) -> Tensor:
    return _field(method)(times[0], y)


def attempt(
    method: CompiledMethod, times: Tensor, y: Tensor, k: Tensor | None, *tolerances: Tensor
) -> Tensors:
    """An attempt's end, last slope, all slopes, and its error where tolerances are its units."""
    step, slopes = _step(method, _field(method), times, y, k)
    found = [step.y1, slopes[-1], torch.stack(slopes)]
    if tolerances:
        rtol, atol = tolerances
        size, wide = (
            torch.maximum(y.abs(), step.y1.abs()),
            torch.promote_types(y.dtype, torch.float),
        )
        found.append(step.error().to(wide) / (size.to(wide) * rtol + atol))
    return found


def pull_back(
    method: CompiledMethod, times: Tensor, y: Tensor, k: Tensor | None, flat: Tensor, *ends: Tensor
) -> Any:
    """The step's end; the cotangents of ``y``, of the parameters ``flat``, and of ``k`` if given.

    ``ends``: those of the step's end, and of its slopes.
    """

    def taken(y: Tensor, flat: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor]:
        step, slopes = _step(method, partial(_slope, method, flat), times, y, k)
        return step.y1, torch.stack(slopes)

    ((y1, _), pull) = torch.func.vjp(taken, y, flat, *[] if k is None else [k])  # type: ignore[misc]
    return y1, *pull(ends)


def _step(
    method: RungeKutta, field: Slope, times: Tensor, y: Tensor, k: Tensor | None
) -> tuple[Step, list[Tensor]]:
    """The step as ``rk_step`` makes it in units of its own length, and its slopes in time."""
    t, t1 = times.unbind()
    h, slopes = t1 - t, [] if k is None else [k]

    def scaled(c: float, y: Tensor) -> Tensor:
        slopes.append(field(t1 if c == 1 else t + c * h, y))
        return h.to(y.dtype) * slopes[-1]

    start = scaled(0.0, y) if k is None else h.to(y.dtype) * k
    return rk_step(method.tableau, scaled, 0.0, 1.0, y, SlopeHistory((0.0,), (start,))), slopes


def _field(method: CompiledMethod) -> Slope:
    """The field, or the right-hand side of its adjoint, as in `odenet.adjoint.backsolve`."""
    if method.adjoint is None:
        return partial(_slope, method, None)
    flat, shape = method.adjoint
    n = math.prod(shape)

    def augmented(t: Tensor, state: Tensor) -> Tensor:
        y, a = state[:n].view(shape), state[n : 2 * n].view(shape)
        dy, pull = torch.func.vjp(lambda y, flat: _slope(method, flat, t, y), y, flat)  # type: ignore[misc]
        return torch.cat([x.reshape(-1).to(state.dtype) for x in (dy, *pull(-a))])

    return augmented


def _slope(method: CompiledMethod, flat: Tensor | None, t: Tensor, y: Tensor) -> Tensor:
    """The field's slope, as a function of its parameters where they are given."""
    t = t if y.dim() else t.to(y.dtype)  # of two tensors without dimensions, the higher precision
    if flat is None or not isinstance(method.f, nn.Module):
        k: Tensor = method.f(t, y)
    else:
        own = _named(method.f)
        values = _split(flat, [own[name] for name in method.names])
        given = {**method.fixed, **dict(zip(method.names, values, strict=True))}
        k = torch.func.functional_call(method.f, given, (t, y))
    if k.shape != y.shape or k.dtype != y.dtype:
        raise ValueError("f must return a slope like the state")  # the eager field says more
    return k


def _split(flat: Tensor, params: Tensors) -> list[Tensor]:
    pieces = zip(flat.split([p.numel() for p in params]), params, strict=True)
    return [piece.view(p.shape).to(p.dtype) for piece, p in pieces]


@torch.no_grad()
def _flat(params: Tensors, like: Tensor) -> Tensor:
    return torch.cat([p.reshape(-1) for p in params]) if params else like.new_empty(0)


@cache
def _compiled(function: Callable[..., Any], device: str, *structure: Any) -> Callable[..., Any]:
    """The compiled function, apart for each structure: one's guards cannot read another's."""
    # Called from C++, small code takes two thirds of the time.
    settings: Any = {"isolate_recompiles": True, "options": {"cpp_wrapper": device == "cpu"}}
    settings["recompile_limit"] = 64  # after which it is refused
    return torch.compile(function, fullgraph=True, dynamic=False, **settings)


# How it is used.


@dataclass(frozen=True, eq=False)
class CompiledMethod(RungeKutta):
    """A method whose steps are compiled, for one field or its adjoint.

    ``names`` are those of the parameters that are differentiated, ``fixed`` its other tensors;
    ``adjoint`` holds the values of the former, one behind the other, and the state's shape;
    ``eager`` is what is solved, as it is, and ``mode`` the autocast that it is called under.
    """

    f: Any
    names: tuple[str, ...]
    fixed: dict[str, Tensor]
    eager: Field
    mode: Any
    adjoint: tuple[Tensor, torch.Size] | None = None
    control: Any = None
    counts: Any = None
    tolerances: Tensors = ()

    def path(
        self, f: Field, y0: Tensor, ts: Sequence[float], control: Control, counts: Counts
    ) -> Iterator[Step]:
        # Another control than this measures the error itself.
        units = (control.rtol, control.atol) if type(control) is Adaptive else ()
        given = [torch.as_tensor(x, dtype=torch.float64, device=y0.device) for x in units]
        stepper = replace(self, control=control, counts=counts, tolerances=given)
        # A field alone takes less time than compiled code takes to be called.
        f = stepper.evaluate if self.adjoint else f
        return attempts(stepper, f, y0.detach().contiguous(), ts, control, counts)

    def evaluate(self, t: float, y: Tensor) -> Any:
        self.counts.nfe += 1
        return self.run(evaluate, t, t, y)

    def step(self, f: Field, t: float, t1: float, y: Tensor, history: SlopeHistory) -> Step:
        k = history.slopes[0] if history.slopes else None
        self.counts.nfe += self.tableau.stages - (k is not None)
        y1, last, slopes, *errors = self.run(attempt, t, t1, y, k, *self.tolerances)
        start = history if history.slopes else SlopeHistory((t,), (slopes[0],))
        left = SlopeHistory((t1,), (last,)) if self.tableau.fsal else SlopeHistory()
        norm = float(self.control.norm(*errors)) if errors else None
        return Step(self.tableau, t, t1, y, y1, slopes, start, left, norm)

    def run(self, function: Callable[..., Any], t: float, t1: float, *arguments: Any) -> Any:
        """The value of a compiled function. Raises what the field raises, or ``ValueError``."""
        y = arguments[0]
        structure = [self.tableau, type(self.f), self.adjoint is None]
        structure += [x is None for x in arguments]
        with torch.no_grad(), self.mode:
            try:
                times = torch.tensor((t, t1), dtype=torch.float64, device=y.device)
                return _compiled(function, y.device.type, *structure)(self, times, *arguments)
            except Exception as error:
                self.eager(t, y)  # a field that fails itself says why
                reason = str(error).strip().partition("\n")[0]
                raise _refused(
                    f"fails, as this solve cannot be compiled: {reason}\nThe field must take its "
                    "time as a tensor without dimensions and must not branch on values, nor read "
                    "them: rewrite it (t * torch.ones_like(y) instead of torch.full_like(y, t))"
                ) from error


class WithoutGradient(Backprop):
    def __call__(self, problem: InitialValueProblem) -> Solution:
        if problem.wants_gradient or problem.times is not None:
            raise _refused("keeps nothing for 'backprop': take 'checkpoint', or torch.no_grad()")
        return problem.solve()


class CompiledCheckpoint(Checkpoint):
    def _repeatable(self, problem: InitialValueProblem) -> InitialValueProblem:
        return problem  # compiled fields draw no random numbers

    def _replay(self, problem: InitialValueProblem, spans: list[Span], stats: SolveStats) -> Replay:
        return CompiledReplay(problem, spans, stats)


class CompiledReplay(Replay):
    def pullback(self, cotangent: Tensor, inputs: Tensors, saved: Tensors) -> list[Tensor]:
        y0, *params = inputs
        given = [y0.contiguous(), _flat(params, y0)]
        start, total = super().pullback(cotangent.contiguous(), given, saved)
        return [start, *_split(total, params)]

    def pull(
        self,
        span: Span,
        saved: Tensors,
        reached: Tensor,
        params: Tensors,
        carried: Tensors,
        rows: Tensor,
    ) -> tuple[list[Tensor], list[Tensor]]:
        method: Any = self.problem.method
        inside, (y, *k), (end, *last) = span.inside, saved, carried
        if inside and inside[-1] == span.t1:
            end, inside, rows = end + rows[-1], inside[:-1], rows[:-1]
        slopes = y.new_zeros(method.tableau.stages, *y.shape)
        if inside:
            h = span.t1 - span.t0
            weights = h * method.tableau.dense_weights((np.array(inside) - span.t0) / h)
            flat = torch.from_numpy(weights).to(rows).T @ rows.reshape(len(rows), y.numel())
            slopes = flat.view_as(slopes)
        if last:
            slopes[-1] += last[0]
        self.stats.backward.nfe += method.tableau.stages - len(k)
        given = (y, k[0] if k else None, params[0], end, slopes)
        again, start, share, *before = method.run(pull_back, span.t0, span.t1, *given)
        check_same(again, reached, reached - y)
        return [start + rows.sum(0) if inside else start, *before], [share]


class CompiledAdjoint(Adjoint):
    def _backward(self, problem: InitialValueProblem, stats: SolveStats) -> BackwardSolve:
        if problem.control.first_step(1.0) is not None:  # no search calls the eager field
            with torch.no_grad():
                problem.f(problem.ts[0], problem.y0)
        return CompiledBackwardSolve(**vars(super()._backward(problem, stats)))


class CompiledBackwardSolve(BackwardSolve):
    def pullback(self, cotangent: Tensor, inputs: Tensors, saved: Tensors) -> list[Tensor]:
        method: Any = self.problem.method
        t, y, slope = self.problem.f.first  # type: ignore[attr-defined]
        with torch.no_grad(), method.mode:
            time = torch.tensor(t, dtype=torch.float64, device=y.device)
            check_same(_slope(method, _flat(inputs[1:], y), time, y), slope, slope)
        return super().pullback(cotangent, inputs, saved)

    def _prepared(self, piece: InitialValueProblem, params: Tensors) -> InitialValueProblem:
        whole: Any = self.problem
        method: Any = self.method
        given = {"adjoint": (_flat(params, whole.y0), whole.y0.shape), "eager": piece.f}
        return replace(piece, method=replace(whole.method, tableau=method.tableau, **given))


# What compiled code would not follow.


def _check_field(f: Any, problem: InitialValueProblem) -> None:
    """Raises ``ValueError`` for hooks, and for what the field does besides returning a slope."""
    modules = _modules(f)
    for module in modules:
        # torch.compile does not look whether there are hooks that were not there when it compiled.
        if any(getattr(module, name) for name in _HOOKS):
            raise _refused(f"would not run the hooks of {type(module).__name__}: remove them")
    now = [id(value) for module in modules for value in vars(module).values()]
    if isinstance(f, nn.Module | FunctionType) and _pure.get(f) == now:
        return
    kept, before = _state(modules, problem.y0.device)  # kept, so that nothing else takes their ids
    with torch.set_grad_enabled(problem.wants_gradient):
        y = problem.y0.detach().requires_grad_(problem.wants_gradient)
        slope = getattr(problem.f, "__wrapped__", problem.f)(problem.ts[0], y)
    if isinstance(slope, Tensor) and slope.requires_grad:
        check_complete(problem, [slope], [y, *problem.params])
    after = _state(modules, problem.y0.device)[1]
    if after != before:
        raise _refused(
            f"cannot follow {type(f).__name__}, which draws random numbers or changes its own "
            "attributes or buffers when it is called: call eval() where dropout or batch "
            "normalization do so, or rewrite it (stats counts the evaluations)"
        )
    if isinstance(f, nn.Module | FunctionType):
        _pure[f] = now


def _modules(f: Any) -> list[nn.Module]:
    """The modules that a field is made of: itself, or what a function or an object refers to."""
    owner = getattr(f, "__self__", f)
    held = [owner, getattr(f, "func", None), *getattr(owner, "__dict__", {}).values()]
    if code := getattr(f, "__code__", None):
        held += [cell.cell_contents for cell in f.__closure__ or ()]
        held += [f.__globals__.get(name) for name in code.co_names]
    return [module for x in held if isinstance(x, nn.Module) for module in x.modules()]


def _state(modules: Sequence[nn.Module], device: torch.device) -> tuple[list[Any], list[Any]]:
    """Attributes and buffers; the random state, and numbers that a change of theirs changes."""
    random = torch.cuda if device.type == "cuda" else torch.random
    values = [x for m in modules for x in (*vars(m).values(), *m.buffers(recurse=False))]
    counted = (isinstance(x, Tensor) and not x.is_inference() for x in values)
    numbers = [x._version if c else length_hint(x) for x, c in zip(values, counted, strict=True)]
    drawn = random.get_rng_state().numpy().tobytes()
    return values, [drawn, *zip(map(id, values), numbers, strict=True)]
