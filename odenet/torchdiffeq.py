"""torchdiffeq's interface: ``odeint``, ``odeint_adjoint``, ``odeint_event``, ``odeint_dense``.

Most scripts written for torchdiffeq 0.2.5 run after changing the import. What differs is listed in
the book's page "Coming from torchdiffeq".
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from odenet.adjoint import Adjoint, Backprop
from odenet.adjoint.backsolve import BackwardSolve
from odenet.events import solve_event
from odenet.ode import Solver, solve
from odenet.packing import Function, PackedField, Packing
from odenet.solvers import (
    METHODS,
    Adaptive,
    Control,
    Decision,
    Field,
    FixedSteps,
    InitialValueProblem,
    SlopeHistory,
    SolveStats,
    Step,
)
from odenet.solvers.modified import Modified, OneSided
from odenet.solvers.scipy_solver import SciPySolver

# torchdiffeq's names of the methods. Its "rk4" is the 3/8 rule.
FIXED = {
    "euler": "euler",
    "midpoint": "midpoint",
    "heun2": "heun",
    "heun3": "heun3",
    "rk4": "rk4_38",
    "explicit_adams": "explicit_adams",
    "implicit_adams": "implicit_adams",
    "fixed_adams": "implicit_adams",
}
ADAPTIVE = {
    "adaptive_heun": "heun",
    "fehlberg2": "fehlberg2",
    "bosh3": "bosh3",
    "dopri5": "dopri5",
    "tsit5": "tsit5",
    "dopri8": "dopri8",
}
SCIPY = {"scipy_solver": "", "scipy_vode": "scipy_vode", "scipy_lsoda": "scipy_lsoda"}
# torchdiffeq's option -> ours, of Adaptive
OPTIONS = {
    "first_step": "initial",
    "safety": "safety",
    "ifactor": "growth",
    "dfactor": "shrink",
    "min_step": "min_step",
    "max_step": "max_step",
    "max_num_steps": "max_steps",
}
# Those of them that SciPy's methods read.
SCIPYS = dict.fromkeys(SCIPY, {"first_step", "min_step", "max_step", "max_num_steps"})
SCIPYS["scipy_solver"] = {"first_step", "max_step", "max_num_steps"}
# Options that change nothing here, though they are right.
WITHOUT_EFFECT = {"norm", "dtype", "eps", "grid_points", "interp", "max_order", "max_iters"}
Options = Mapping[str, Any]


class ArgumentError(ValueError, AssertionError):  # torchdiffeq raises the latter
    """An argument out of range."""


class ArgumentTypeError(TypeError, AssertionError):
    """An argument of the wrong type."""


def odeint(
    func: Function,
    y0: Any,
    t: Tensor,
    *,
    rtol: Any = 1e-7,
    atol: Any = 1e-9,
    method: str | None = None,
    options: Options | None = None,
    event_fn: Callable[[Tensor, Any], Tensor] | None = None,
) -> Any:
    """torchdiffeq's ``odeint``: the states at times ``t``, differentiated by backpropagation.

    Args:
        func: the field ``func(t, y)``; takes the time as a tensor without dimensions.
        y0: a tensor or a tuple of tensors, real or complex.
        t: the times, a one-dimensional tensor of floating-point numbers, rising or falling
            strictly. One alone gives ``y0``.
        rtol, atol: tolerances: numbers, tensors like the state, or a tuple with one for each state.
            Of a complex state, real and imaginary part are judged separately.
        method: torchdiffeq's name of one; "dopri5" by default.
        options: of adaptive methods: ``first_step``, the length of the first attempt; ``safety``,
            ``ifactor`` and ``dfactor`` (0.9, 10, 0.2), the factor on the next length, its most and
            its least; ``min_step`` and ``max_step`` (0, inf), the limits of a length;
            ``max_num_steps``, the most attempts from one time to the next (by default none up to
            10,000, then one where the end is far); ``norm(error)``, which takes a tuple for a
            tuple; ``jump_t`` and ``step_t``, times at which a step ends. Of methods with fixed
            steps: ``step_size``, or ``grid_constructor(func, y0, t)``, which returns the times at
            which steps end; ``perturb``, whether the field is called just inside both ends of a
            step. Of "scipy_solver": ``solver``. ``interp``, ``dtype``, ``eps``, ``grid_points``,
            ``max_order`` and ``max_iters`` are taken and have no effect; others, and those that a
            SciPy method does not read, are a warning.
        event_fn: stop where ``event_fn(t, y)`` changes its sign; ``t`` then holds the start, and a
            time that says the direction.

    Returns:
        The states, like ``y0`` with the time in front; with ``event_fn`` the event's time, and the
        states at start and event.

    Raises:
        TypeError, ValueError, SolveError: as ``solve``. A ``SolveError``, and an error for times
            that are no tensor, not one-dimensional or not in order, is an ``AssertionError``, too.

    Example:
        >>> import torch
        >>> from odenet import odeint
        >>> y0 = torch.ones(3, dtype=torch.float64)
        >>> odeint(lambda t, y: -y, y0, torch.linspace(0, 1, 5)).shape
        torch.Size([5, 3])
    """
    call = _Call(func, y0, t, method, rtol, atol, options)
    return call.solve(Backprop(), event_fn, None)


def odeint_adjoint(
    func: Function,
    y0: Any,
    t: Tensor,
    *,
    rtol: Any = 1e-7,
    atol: Any = 1e-9,
    method: str | None = None,
    options: Options | None = None,
    event_fn: Callable[[Tensor, Any], Tensor] | None = None,
    adjoint_rtol: Any = None,
    adjoint_atol: Any = None,
    adjoint_method: str | None = None,
    adjoint_options: Options | None = None,
    adjoint_params: Sequence[Tensor] | None = None,
) -> Any:
    """torchdiffeq's ``odeint_adjoint``: ``odeint``, differentiated by the adjoint method.

    The backward solve is controlled as torchdiffeq does it: absolute tolerances are in units of
    the loss, and the error norm is the largest of those of the state, the adjoint and each
    parameter's gradient. ``solve`` with ``Adjoint()`` takes the adjoint in units of its own size
    instead, whose accuracy does not depend on how the loss is scaled: prefer it in new code.

    Args:
        func, y0, t, rtol, atol, method, options, event_fn: as for ``odeint``.
        adjoint_rtol, adjoint_atol, adjoint_method, adjoint_options: of the backward solve; by
            default those of the forward solve, without its ``norm``.
            ``adjoint_options={"norm": "seminorm"}`` leaves the parameters' gradients out of the
            error norm; a function there is the norm, of the tuple of a zero for the time, states,
            adjoints and each parameter's gradient.
        adjoint_params: the tensors to differentiate; by default the parameters of ``func``, which
            is then a module.

    Returns:
        As ``odeint``.

    Raises:
        TypeError, ValueError, SolveError: as ``odeint``; ``ValueError`` for a function that is no
            module without ``adjoint_params``, and for ``options`` with another ``adjoint_method``
            and no ``adjoint_options``.

    Example:
        >>> import torch
        >>> from odenet import odeint_adjoint
        >>> class Field(torch.nn.Linear):
        ...     def forward(self, t, y):
        ...         return torch.tanh(super().forward(y))
        >>> field, y0 = Field(2, 2).double(), torch.ones(2, dtype=torch.float64)
        >>> odeint_adjoint(field, y0, torch.tensor([0.0, 1.0]))[-1].sum().backward()
        >>> field.weight.grad.shape
        torch.Size([2, 2])
    """
    if adjoint_params is None and not isinstance(func, nn.Module):
        raise ValueError(
            "func must be an nn.Module, whose parameters are differentiated; or give "
            "adjoint_params, an empty tuple if there are none"
        )
    call = _Call(func, y0, t, method, rtol, atol, options)
    if adjoint_method not in (None, call.name) and options and adjoint_options is None:
        raise ValueError(
            f"options are those of {call.name}: give adjoint_options for {adjoint_method}, too"
        )
    forward = {k: v for k, v in (options or {}).items() if k != "norm"}
    back = dict(forward if adjoint_options is None else adjoint_options)
    norm = back.pop("norm", None)
    backward = _Call(
        func,
        y0,
        t,
        adjoint_method or call.name,
        rtol if adjoint_rtol is None else adjoint_rtol,
        atol if adjoint_atol is None else adjoint_atol,
        back if options is None else {**back, "norm": options.get("norm")},
        suffix="_adjoint",
    )
    control = backward.control
    if isinstance(control, Adaptive):
        of_state = control.norm  # a norm of one's own is taken of each part, the largest counts
        control = replace(control, norm=lambda x: of_state(x))
    settings = {"control": control, "method": backward.method, "scaled": False}
    if callable(norm):
        rule: Adjoint = _NormedAdjoint(**settings, norm=norm, packing=call.packing)
    elif norm in (None, "seminorm"):
        rule = Adjoint(**settings, seminorm=norm is not None)
    else:
        raise ValueError(f"adjoint_options['norm'] must be a function or 'seminorm', got {norm!r}")
    return call.solve(rule, event_fn, adjoint_params)


def odeint_event(
    func: Function,
    y0: Any,
    t0: Tensor,
    *,
    event_fn: Callable[[Tensor, Any], Tensor],
    reverse_time: bool = False,
    odeint_interface: Callable[..., Any] = odeint,
    **settings: Any,
) -> Any:
    """torchdiffeq's ``odeint_event``: solve until ``event_fn(t, y)`` first changes its sign.

    Args:
        func, y0: as for ``odeint``.
        t0: the start, a tensor with one entry.
        event_fn: takes a time and a state; returns a tensor whose first entry to cross zero counts.
        reverse_time: search backwards in time.
        odeint_interface: ``odeint`` or ``odeint_adjoint``.
        settings: what else that function takes, such as ``rtol`` and ``method``.

    Returns:
        The event's time, and the states at start and event, like ``y0`` with a dimension of two in
        front.

    Raises:
        TypeError, ValueError: as ``odeint``; for a ``t0`` that is no tensor, for SciPy's methods,
            and for fixed steps without ``step_size``.
        SolveError: as ``odeint``, and where no event happens within ``max_num_steps`` attempts,
            10,000 by default.

    Example:
        >>> import torch
        >>> from odenet import odeint_event
        >>> time, states = odeint_event(
        ...     lambda t, y: torch.ones_like(y), torch.zeros(1), torch.tensor(0.0),
        ...     event_fn=lambda t, y: y - 3,
        ... )
        >>> round(time.item(), 3)
        3.0
    """
    if not isinstance(t0, Tensor):
        raise ArgumentTypeError(f"t0 must be a tensor with one time, got {type(t0).__name__}")
    direction = -1.0 if reverse_time else 1.0
    start = t0.reshape(())
    later = start.detach() + direction * (1 + start.detach().abs())  # seen in any precision
    ts = torch.stack((start, later))
    return odeint_interface(func, y0, ts, event_fn=event_fn, **settings)


def odeint_dense(
    func: Function,
    y0: Any,
    t0: Tensor,
    t1: Tensor,
    *,
    rtol: Any = 1e-7,
    atol: Any = 1e-9,
    method: str | None = None,
    options: Options | None = None,
) -> Callable[[float | Tensor], Any]:
    """torchdiffeq's ``odeint_dense``: the solution as a function of the time.

    Args:
        func, y0, rtol, atol, method, options: as for ``odeint``.
        t0, t1: start and end, tensors with one entry; not differentiated.

    Returns:
        A function that gives the states at a time, or at several times in a dimension in front.

    Raises:
        TypeError, ValueError, SolveError: as ``odeint``; ``ValueError`` for "dopri8" and SciPy's
            methods, which have no dense output of their order.

    Example:
        >>> import torch
        >>> from odenet import odeint_dense
        >>> y0 = torch.ones(3, dtype=torch.float64)
        >>> y = odeint_dense(lambda t, y: -y, y0, torch.tensor(0.0), torch.tensor(1.0))
        >>> round(y(0.5)[0].item(), 4)  # exp(-0.5)
        0.6065
    """
    ts = torch.stack([_times(t).reshape(()) for t in (t0, t1)])
    call = _Call(func, y0, ts, method, rtol, atol, options)
    solver = Solver(call.method, call.control)
    solution = solve(call.field, call.packing.pack(y0), ts.tolist(), solver, dense=True)
    return lambda t: call.packing.unpack(solution(t))


class _Call:
    """What was asked for, in terms of ``solve``.

    ``suffix`` is that of the callbacks' names.
    """

    def __init__(
        self,
        func: Function,
        y0: Any,
        t: Any,
        method: str | None,
        rtol: Any,
        atol: Any,
        options: Options | None,
        suffix: str = "",
    ) -> None:
        self.func, self.t, self.name = func, _checked(t), method or "dopri5"
        self.packing = Packing(y0)
        self.field = PackedField(func, self.packing)
        self.tolerances = [
            self.packing.tolerance(name, value) for name, value in (("rtol", rtol), ("atol", atol))
        ]
        rest = {name: value for name, value in (options or {}).items() if value is not None}
        try:
            self.method, self.control = self._scheme(rest)
        except (TypeError, ValueError) as error:
            raise type(error)(_in_their_words(error)) from None
        for option in rest.keys() - WITHOUT_EFFECT:
            warnings.warn(f"{self.name} has no option {option!r}: it is ignored", stacklevel=3)
        self._watch(suffix)

    def solve(
        self,
        rule: Any,
        event_fn: Callable[[Tensor, Any], Tensor] | None,
        params: Sequence[Tensor] | None,
    ) -> Any:
        solver, packing = Solver(self.method, self.control, rule), self.packing
        y0 = packing.pack(packing.y0)
        if event_fn is None and len(self.t) == 1:
            return packing.unpack(y0[None])
        if event_fn is None:
            recorded = not (self.name in SCIPY and isinstance(rule, Backprop))
            if not recorded and torch.is_grad_enabled() and self._wants_gradient(y0):
                warnings.warn(
                    f"{self.name} keeps its steps to itself, so the solution has no gradient: take "
                    "odeint_adjoint for one",
                    stacklevel=3,
                )
            with torch.set_grad_enabled(recorded and torch.is_grad_enabled()):
                return packing.unpack(solve(self.field, y0, self.t, solver, params=params).ys)
        if len(self.t) != 2:
            raise ValueError(
                f"t must hold two times where event_fn is given, the start and one that says the "
                f"direction, got {len(self.t)}"
            )
        time, solution = solve_event(
            self.field,
            y0,
            self.t[0],
            lambda s, y: event_fn(s, packing.unpack(y)),
            solver,
            end=math.inf if self.t[1] > self.t[0] else -math.inf,
            params=params,
        )
        return time, packing.unpack(solution.ys)

    def _wants_gradient(self, y0: Tensor) -> bool:
        """Whether a gradient could be asked for; one evaluation tells what ``func`` depends on."""
        slope = self.field(self.t[0].item(), y0)
        return any(x.requires_grad for x in (y0, self.t, slope))

    def _scheme(self, rest: dict[str, Any]) -> tuple[Any, Control]:
        """Our method and control; options that are understood are taken out of ``rest``."""
        if self.name in FIXED:
            method: Any = METHODS[FIXED[self.name]]
            if rest.pop("perturb", False):
                method = OneSided(method, None)
            return method, self._fixed(
                rest.pop("step_size", None), rest.pop("grid_constructor", None)
            )
        if self.name in ADAPTIVE:
            method = METHODS[ADAPTIVE[self.name]]
        elif self.name == "scipy_solver":
            method = SciPySolver(rest.pop("solver", "LSODA"))
        elif self.name in SCIPY:
            method = METHODS[SCIPY[self.name]]
        else:
            known = ", ".join((*FIXED, *ADAPTIVE, *SCIPY))
            raise ValueError(f"unknown method {self.name!r}; known: {known}")
        settings: dict[str, Any] = {"max_steps": None}
        settings["norm"] = self.packing.norm(rest.pop("norm", None))
        for option in rest.keys() & SCIPYS.get(self.name, OPTIONS.keys()):
            value = rest.pop(option)
            value = value.item() if isinstance(value, Tensor) else value
            whole = option == "max_num_steps" and isinstance(value, float) and value.is_integer()
            settings[OPTIONS[option]] = int(value) if whole else value
        if self.name in ADAPTIVE and rest.keys() & {"jump_t", "step_t"}:
            jumps = [_times(rest.pop(name, ())) for name in ("jump_t", "step_t")]
            settings["jump_times"] = torch.cat(jumps)
        return method, Adaptive(*self.tolerances, **settings)

    def _fixed(self, size: Any, constructor: Any) -> FixedSteps:
        if constructor is None:
            return FixedSteps(size=size.item() if isinstance(size, Tensor) else size)
        if size is not None:
            raise ValueError("step_size and grid_constructor must not be given together")
        return _Grid(constructor=lambda t: constructor(self.func, self.packing.y0, t.to(self.t)))

    def _watch(self, suffix: str) -> None:
        """Let the field's callbacks see the steps."""
        names = ("callback_step", "callback_accept_step", "callback_reject_step")
        calls: dict[str, Any] = {name: getattr(self.func, name + suffix, None) for name in names}
        has = {name for name, call in calls.items() if call is not None}
        sees = set() if self.name in SCIPY else set(names[:1] if self.name in FIXED else names)
        if has - sees:
            warnings.warn(f"{self.name} does not call {sorted(has - sees)}", stacklevel=4)
        packing = self.packing if not suffix else None  # the adjoint's state is no state of y0's

        def watcher(name: str) -> Callable[[float, Tensor, float], None]:
            def watch(t: float, y: Tensor, dt: float) -> None:
                if calls[name] is not None:
                    state = packing.unpack(y) if packing else y
                    calls[name](y.new_tensor(t), state, y.new_tensor(abs(dt)))

            return watch

        if has & sees:
            self.method = _WatchedMethod(self.method, watcher(names[0]))
            if isinstance(self.control, Adaptive):
                rest = vars(self.control)
                self.control = _WatchedControl(
                    **rest, accept=watcher(names[1]), reject=watcher(names[2])
                )


def _in_their_words(error: Exception) -> str:
    """What it says, by torchdiffeq's names of the options."""
    names = {ours: theirs for theirs, ours in OPTIONS.items()}
    names |= {"size": "step_size", "jump_times": "jump_t"}
    return re.sub(r"\w+", lambda word: names.get(word[0], word[0]), str(error))


def _times(given: Any) -> Tensor:
    """In one dimension and double precision, in which a float is not rounded."""
    return torch.as_tensor(given, dtype=torch.float64).reshape(-1)


def _rises(times: list[float]) -> bool:
    return all(a < b for a, b in pairwise(times))


def _checked(t: Any) -> Tensor:
    if not isinstance(t, Tensor):
        raise ArgumentTypeError(f"t must be a 1-D tensor of times, got {type(t).__name__}")
    if not t.is_floating_point():
        raise TypeError(f"t must hold floating-point numbers, got {t.dtype}")
    if t.dim() != 1 or not len(t):
        raise ArgumentError(f"t must be one-dimensional and not empty, got shape {tuple(t.shape)}")
    times = t.tolist()
    if not (_rises(times) or _rises(times[::-1])):
        raise ArgumentError(f"t must rise or fall strictly, got {t.tolist()}")
    return t


@dataclass(frozen=True)
class _Grid(FixedSteps):
    """Steps between the times that ``constructor`` makes of the output times."""

    constructor: Any = None

    def _stop_times(self, ts: Sequence[Any]) -> list[Any]:
        times = [torch.as_tensor(t, dtype=torch.float64) for t in ts]
        grid = self.constructor(torch.stack(times)).unbind()
        if grid[0] != ts[0] or grid[-1] != ts[-1]:
            raise ArgumentError(
                f"grid_constructor must give times from {ts[0]} to {ts[-1]}, got {grid[0]} to "
                f"{grid[-1]}"
            )
        numbers = [t.item() for t in grid]
        if numbers != sorted(numbers, reverse=numbers[-1] < numbers[0]):
            raise ArgumentError(f"grid_constructor must give times in order, got {numbers}")
        inside = grid[1:-1] if isinstance(ts[0], Tensor) else numbers[1:-1]
        return [*inside, ts[-1]]


@dataclass(frozen=True, eq=False)
class _WatchedMethod(Modified):
    """Calls ``before(t, y, dt)`` before each step."""

    before: Callable[[float, Tensor, float], None]

    def step(self, f: Field, t: float, t1: float, y: Tensor, history: SlopeHistory) -> Step:
        self.before(t, y, t1 - t)
        return self.method.step(f, t, t1, y, history)


@dataclass(frozen=True, eq=False)
class _WatchedControl(Adaptive):
    """Calls ``accept(t, y, dt)`` or ``reject(t, y, dt)`` after each step."""

    accept: Any = None
    reject: Any = None

    def adapt(self, step: Step, previous: Decision | None) -> Decision:
        decision = super().adapt(step, previous)
        (self.accept if decision.accepted else self.reject)(step.t0, step.y0, step.h)
        return decision


@dataclass(frozen=True, eq=False)
class _NormedAdjoint(Adjoint):
    """``Adjoint`` with an error norm of its user's."""

    norm: Any = None
    packing: Any = None

    def _backward(self, problem: InitialValueProblem, stats: SolveStats) -> BackwardSolve:
        own = {"measure": self.norm, "packing": self.packing}
        return _NormedBackwardSolve(**vars(super()._backward(problem, stats)), **own)


@dataclass(frozen=True, eq=False)
class _NormedBackwardSolve(BackwardSolve):
    measure: Any = None
    packing: Any = None

    def _largest(self, states: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
        """Of time (whose gradient is not solved for here), state, adjoint and gradients."""
        parts = [self.packing.unpack(x) for x in states]
        flat = [x for part in parts for x in (part if isinstance(part, tuple) else (part,))]
        norm: Tensor = self.measure((states[0].new_zeros(()), *flat, *gradients))
        return norm
