"""torchdiffeq's interface: ``odeint``, ``odeint_adjoint`` and ``odeint_event``.

A script written for torchdiffeq runs after changing its import. What differs is listed in the
book's page "Coming from torchdiffeq".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from odenet.adjoint import Adjoint, Backprop
from odenet.events import solve_event
from odenet.ode import Solver, solve
from odenet.solvers import METHODS, Adaptive, Control, Field, FixedSteps, rms

# torchdiffeq's names of the methods. Its "rk4" is the 3/8 rule.
FIXED = {
    "euler": "euler",
    "midpoint": "midpoint",
    "heun2": "heun",
    "rk4": "rk4_38",
    "explicit_adams": "explicit_adams",
    "implicit_adams": "implicit_adams",
}
ADAPTIVE = {
    "adaptive_heun": "heun",
    "bosh3": "bosh3",
    "dopri5": "dopri5",
    "tsit5": "tsit5",
    "dopri8": "dopri8",
    "scipy_vode": "scipy_vode",
    "scipy_lsoda": "scipy_lsoda",
}
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
Options = Mapping[str, Any]


def odeint(
    func: Callable[[Tensor, Any], Any],
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
        t: the times, a one-dimensional tensor, rising or falling strictly.
        rtol, atol: tolerances: numbers, tensors like the state, or a tuple with one for each state.
        method: torchdiffeq's name of one; "dopri5" by default.
        options: of the method: ``first_step``, ``safety``, ``ifactor``, ``dfactor``, ``min_step``,
            ``max_step``, ``max_num_steps``, ``norm``; ``step_size`` or ``grid_constructor`` for
            methods with fixed steps.
        event_fn: stop where ``event_fn(t, y)`` changes its sign; ``t`` is then the start alone.

    Returns:
        The states, like ``y0`` with the time in front; with ``event_fn`` the event's time, and the
        states at start and event.

    Raises:
        TypeError, ValueError, SolveError: as ``solve``; ``ValueError`` for an unknown option.

    Example:
        >>> import torch
        >>> from odenet import odeint
        >>> odeint(lambda t, y: -y, torch.ones(3), torch.linspace(0, 1, 5)).shape
        torch.Size([5, 3])
    """
    packing = _Packing(y0)
    method = method or "dopri5"
    solver = Solver(*_scheme(method, rtol, atol, options, packing, func, t), Backprop())
    return _solve(func, y0, t, solver, packing, _params(func, None), event_fn)


def odeint_adjoint(
    func: Callable[[Tensor, Any], Any],
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
            default those of the forward solve. ``adjoint_options={"norm": "seminorm"}`` leaves the
            parameters' gradients out of the error norm.
        adjoint_params: the tensors to differentiate; by default the parameters of ``func``, which
            is then a module.

    Returns:
        As ``odeint``.

    Raises:
        TypeError, ValueError, SolveError: as ``odeint``; ``TypeError`` for a plain function without
            ``adjoint_params``.

    Example:
        >>> import torch
        >>> from odenet import odeint_adjoint
        >>> class Field(torch.nn.Linear):
        ...     def forward(self, t, y):
        ...         return torch.tanh(super().forward(y))
        >>> field = Field(2, 2)
        >>> odeint_adjoint(field, torch.ones(2), torch.tensor([0.0, 1.0]))[-1].sum().backward()
        >>> field.weight.grad.shape
        torch.Size([2, 2])
    """
    packing = _Packing(y0)
    method = method or "dopri5"
    params = _params(func, adjoint_params)
    back = dict(adjoint_options or {})
    norm = back.pop("norm", None)
    if norm not in (None, "seminorm"):
        raise ValueError(f"adjoint_options['norm'] must be 'seminorm' or absent, got {norm!r}")
    rule_method, rule_control = _scheme(
        adjoint_method or method,
        rtol if adjoint_rtol is None else adjoint_rtol,
        atol if adjoint_atol is None else adjoint_atol,
        back or (options if adjoint_method is None else None),
        packing,
        func,
        t,
    )
    if isinstance(rule_control, Adaptive):
        counted = () if norm == "seminorm" else params or ()
        rule_control = replace(rule_control, norm=packing.adjoint_norm(rule_control.norm, counted))
    rule = Adjoint(rule_control, seminorm=False, method=METHODS[rule_method], scaled=False)
    solver = Solver(*_scheme(method, rtol, atol, options, packing, func, t), rule)
    return _solve(func, y0, t, solver, packing, params, event_fn)


def odeint_event(
    func: Callable[[Tensor, Any], Any],
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
        SolveError: where no event happens before the step limit, or as ``solve``.

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
    direction = -1.0 if reverse_time else 1.0
    ts = torch.stack((t0.reshape(()), t0.reshape(()).detach() + direction))
    return odeint_interface(func, y0, ts, event_fn=event_fn, **settings)


def _solve(
    func: Callable[[Tensor, Any], Any],
    y0: Any,
    t: Tensor,
    solver: Solver,
    packing: _Packing,
    params: Sequence[Tensor] | None,
    event_fn: Callable[[Tensor, Any], Tensor] | None,
) -> Any:
    field = packing.field(func, t)
    if event_fn is None:
        solution = solve(field, packing.pack(y0), t, solver, params=params)
        return packing.unpack(solution.ys)
    backwards = len(t) > 1 and bool(t[1] < t[0])
    time, solution = solve_event(
        field,
        packing.pack(y0),
        float(t[0].detach()),
        lambda s, y: event_fn(s, packing.unpack(y)),
        solver,
        end=-math.inf if backwards else math.inf,
        params=params,
    )
    return time, packing.unpack(solution.ys)


def _params(func: Any, given: Sequence[Tensor] | None) -> Sequence[Tensor] | None:
    if given is None and isinstance(func, nn.Module):
        return tuple(func.parameters())
    return given


def _scheme(
    method: str,
    rtol: Any,
    atol: Any,
    options: Options | None,
    packing: _Packing,
    func: Any,
    t: Any,
) -> tuple[str, Control]:
    """Our method and control for torchdiffeq's arguments."""
    if not isinstance(t, Tensor):
        raise TypeError(f"t must be a 1-D tensor of times, got {type(t).__name__}")
    given = dict(options or {})
    control: Control
    if method in FIXED:
        allowed = ["step_size", "grid_constructor"]
        grid = given.pop("grid_constructor", None)
        points = None if grid is None else tuple(grid(func, packing.y0, t).tolist())
        control = FixedSteps(size=given.pop("step_size", None), grid=points)
    elif method in ADAPTIVE:
        allowed = ["norm", *OPTIONS]
        settings = {OPTIONS[k]: given.pop(k) for k in list(given) if k in OPTIONS}
        norm = given.pop("norm", None)
        settings["norm"] = rms if norm is None else packing.norm(norm)
        control = Adaptive(packing.tolerance(rtol), packing.tolerance(atol), **settings)
    else:
        raise ValueError(f"unknown method {method!r}; known: {', '.join((*FIXED, *ADAPTIVE))}")
    if given:
        raise ValueError(f"unknown options {sorted(given)} for {method}; known: {allowed}")
    return (FIXED | ADAPTIVE)[method], control


class _Packing:
    """States as one real tensor and back; a single real tensor is left as it is."""

    def __init__(self, y0: Any) -> None:
        self.y0 = y0
        self.states = y0 if isinstance(y0, (tuple, list)) else (y0,)
        for y in self.states:
            if not isinstance(y, Tensor) or not (y.is_floating_point() or y.is_complex()):
                kind = y.dtype if isinstance(y, Tensor) else type(y).__name__
                raise TypeError(f"states must be floating-point or complex tensors, got {kind}")
        self.plain = isinstance(y0, Tensor) and not y0.is_complex()
        self.sizes = [_reals(y) for y in self.states]

    def pack(self, y: Any) -> Tensor:
        if self.plain:
            return y
        states = y if isinstance(self.y0, (tuple, list)) else (y,)
        real = (torch.view_as_real(x.resolve_conj()) if x.is_complex() else x for x in states)
        return torch.cat([x.reshape(-1) for x in real])

    def unpack(self, vector: Tensor) -> Any:
        """The states in a vector, or in a stack of them along the first dimension."""
        if self.plain:
            return vector
        lead = vector.shape[:-1]
        states = []
        for piece, like in zip(vector.split(self.sizes, dim=-1), self.states, strict=True):
            if like.is_complex():
                piece = torch.view_as_complex(piece.reshape(*lead, *like.shape, 2))
            states.append(piece.reshape(*lead, *like.shape))
        return tuple(states) if isinstance(self.y0, (tuple, list)) else states[0]

    def field(self, func: Callable[[Tensor, Any], Any], t: Tensor) -> Field:
        times = t.detach()
        return lambda s, y: self.pack(func(times.new_full((), s), self.unpack(y)))

    def norm(self, norm: Callable[[Any], Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda x: norm(self.unpack(x))

    def adjoint_norm(
        self, norm: Callable[[Tensor], Any], params: Sequence[Tensor]
    ) -> Callable[[Tensor], float]:
        """torchdiffeq's norm of a backward solve: the largest of its parts'.

        The parts are the state, the adjoint, and the gradient of each of ``params``.
        """
        shape = self.y0.shape if self.plain else (sum(self.sizes),)
        n = sum(self.sizes)
        sizes = [n, n, *(_reals(p) for p in params if p.requires_grad)]

        def largest(x: Tensor) -> float:
            y, a, *gradients = x[: sum(sizes)].split(sizes)
            norms = [float(norm(y.view(shape))), float(norm(a.view(shape))), *map(rms, gradients)]
            return math.nan if any(map(math.isnan, norms)) else max(norms)

        return largest

    def tolerance(self, value: Any) -> Any:
        """A number, a tensor like the state, or one of these for each state of a tuple."""
        if self.plain or not isinstance(value, (tuple, list, Tensor)):
            return value
        values = [value] * len(self.states) if isinstance(value, Tensor) else value
        spread = []
        for v, y in zip(values, self.states, strict=True):
            full = torch.as_tensor(v, device=y.device).expand(y.shape)
            spread.append((torch.stack((full, full), -1) if y.is_complex() else full).reshape(-1))
        return torch.cat(spread)


def _reals(x: Tensor) -> int:
    """How many real numbers a tensor holds."""
    return x.numel() * (2 if x.is_complex() else 1)
