"""Continuous normalizing flows: a density carried along an ODE.

A *carrier* (the augmented dynamics of FFJORD) is a field on states (..., d + 1): a point z and the
logarithm of its density, with ``dz/dt = f(t, z)`` and ``d log p / dt = -tr df/dz`` (Chen et al.
2018, Theorem 1). It may take one more coordinate, its *effort*: the integral of
``|f|^2 + |df/dz|^2``, kinetic energy and Jacobian penalty (Finlay et al. 2020). One that does, says
so by ``carries_effort = True``; one for points of a single ``d`` names it, ``dims = 2``.
"""

import math

import torch
from torch import Tensor, nn

from odenet.ode import Solver, Times, solve
from odenet.solvers import SolveStats


class ExactTrace(nn.Module):
    """The carrier ``(f, -tr df/dz)`` of any field f, the trace by d vector-Jacobian products.

    Args:
        field: a module ``field(t, z)`` on points (..., d). The slope of a point depends on no other
            point; else, as with batch normalization, the trace is wrong.

    Example:
        >>> import torch
        >>> from odenet.models import ExactTrace, MLPField
        >>> ExactTrace(MLPField(2, 16, 2))(0.0, torch.zeros(5, 3)).shape
        torch.Size([5, 3])
    """

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.field = field

    def forward(self, t: float, state: Tensor) -> Tensor:
        wanted = torch.is_grad_enabled()
        z, slope = _differentiable(self.field, t, state)
        trace = torch.zeros_like(slope[..., 0])
        for i, axis in enumerate(torch.eye(z.shape[-1]).to(slope)):
            trace = trace + _pulled(slope, z, axis.expand_as(slope), wanted)[..., i]
        return _carried(slope, trace, wanted)


class EstimatedTrace(nn.Module):
    """The carrier ``(f, -tr df/dz)`` of any field f, the trace by Hutchinson's estimate.

    Unbiased, at the cost of one vector-Jacobian product in any dimension (Grathwohl et al. 2019).

    Args:
        field: a module ``field(t, z)`` on points (..., d). The slope of a point depends on no other
            point; else, as with batch normalization, the trace is wrong.
        noise: of the points' shape, with independent entries of mean 0 and variance 1. It is the
            same at all times, so that a solve sees one smooth field; assign ``carrier.noise``
            before the next one. It is no buffer: ``to`` does not move it.

    Example:
        >>> import torch
        >>> from odenet.models import EstimatedTrace, MLPField
        >>> carrier = EstimatedTrace(MLPField(2, 16, 2), torch.randn(5, 2))
        >>> carrier(0.0, torch.zeros(5, 3)).shape
        torch.Size([5, 3])
    """

    def __init__(self, field: nn.Module, noise: Tensor) -> None:
        super().__init__()
        self.field = field
        self.noise = noise

    def forward(self, t: float, state: Tensor) -> Tensor:
        wanted = torch.is_grad_enabled()
        z, slope = _differentiable(self.field, t, state)
        trace = (_pulled(slope, z, self.noise, wanted) * self.noise).sum(-1)
        return _carried(slope, trace, wanted)


def _differentiable(field: nn.Module, t: float, state: Tensor) -> tuple[Tensor, Tensor]:
    """The points of a state and the field there, as a function of them, in any mode of autograd."""
    with torch.inference_mode(False), torch.enable_grad():
        z = state[..., :-1].clone()  # of an inference tensor, only a copy can require gradients
        z = z if z.requires_grad else z.requires_grad_()
        return z, field(t, z)


@torch.inference_mode(False)
def _pulled(y: Tensor, z: Tensor, cotangent: Tensor, wanted: bool) -> Tensor:
    """The cotangent times the Jacobian; itself differentiable where that is ``wanted``."""
    if not y.requires_grad:
        return torch.zeros_like(z)
    (pulled,) = torch.autograd.grad(
        y, z, cotangent, retain_graph=True, create_graph=wanted, materialize_grads=True
    )
    return pulled


def _carried(slope: Tensor, trace: Tensor, wanted: bool) -> Tensor:
    state = torch.cat((slope, -trace[..., None]), -1)
    return state if wanted else state.detach()


class ContinuousFlow(nn.Module):
    """A continuous normalizing flow: a standard normal density at time 0, carried to time 1.

    Calling it with points z (..., d) drawn at time 0 returns where they are at time 1, the
    log-density there, and the cost (Chen et al. 2018, Section 4).

    Args:
        carrier: the field of points and log-density: ``ExactTrace(field)``,
            ``EstimatedTrace(field, noise)``, or one of its own such as ``PlanarField``.
        solver: of each call that is given no other.

    Raises:
        ValueError: when called, for points of another dimension than the carrier takes, and for an
            effort that it does not carry.
        SolveError: when called, as ``odenet.solve``.

    Example:
        >>> import torch
        >>> from odenet import Adaptive, Solver
        >>> from odenet.models import ContinuousFlow, ExactTrace, MLPField
        >>> solver = Solver("dopri5", Adaptive(1e-5, 1e-5), "checkpoint")
        >>> flow = ContinuousFlow(ExactTrace(MLPField(2, 16, 2)), solver)
        >>> log_p, stats = flow.log_prob(torch.randn(100, 2))  # of data: its mean is to be raised
        >>> (-log_p.mean()).backward()
        >>> points, log_q, stats = flow(torch.randn(7, 2))  # samples
        >>> tuple(log_p.shape), tuple(points.shape), tuple(log_q.shape)
        ((100,), (7, 2), (7,))
    """

    def __init__(self, carrier: nn.Module, solver: Solver) -> None:
        super().__init__()
        self.carrier = carrier
        self.solver = solver

    def forward(
        self, z: Tensor, solver: Solver | None = None, *, effort: bool = False
    ) -> tuple[Tensor, Tensor, SolveStats]:
        """The points at time 1 of paths that start at z (..., d), their log-density, the cost.

        With ``effort`` the second tensor is (..., 2): log-density and effort of the path. Raises
        ValueError for a carrier without it, such as ``ExactTrace``.
        """
        state = self._state(z, log_normal(z), effort)
        solution = solve(self.carrier, state, (0.0, 1.0), solver or self.solver)
        return *_parted(solution.ys[-1], z.shape[-1], effort), solution.stats

    def log_prob(
        self, x: Tensor, solver: Solver | None = None, *, t: float = 1.0, effort: bool = False
    ) -> tuple[Tensor, SolveStats]:
        """The log-density at time ``t`` of points x (..., d), and the cost.

        With ``effort`` it is (..., 2), as for ``forward``. Raises ValueError for ``t`` of 0.
        """
        start, change, stats = self.back(x, solver, t=t, effort=effort)
        base = log_normal(start)
        if not effort:
            return base - change, stats
        return torch.stack((base - change[..., 0], -change[..., 1]), -1), stats

    def back(
        self, x: Tensor, solver: Solver | None = None, *, t: float = 1.0, effort: bool = False
    ) -> tuple[Tensor, Tensor, SolveStats]:
        """The points (..., d) at time 0 of paths that are at x (..., d) at time ``t``.

        Then by how much the log-density changes from ``t`` to 0, (...), or with ``effort`` that and
        minus the effort of the path, (..., 2); and the cost.
        """
        state = self._state(x, torch.zeros_like(x[..., 0]), effort)
        solution = solve(self.carrier, state, (t, 0.0), solver or self.solver)
        return *_parted(solution.ys[-1], x.shape[-1], effort), solution.stats

    @torch.no_grad()
    def path(self, z: Tensor, ts: Times, solver: Solver | None = None) -> Tensor:
        """The points (len(ts), ..., d) at times ``ts`` of paths that are at z at the first.

        They have no gradient.
        """
        state = self._state(z, torch.zeros_like(z[..., 0]), effort=False)
        return solve(self.carrier, state, ts, solver or self.solver).ys[..., :-1]

    def _state(self, z: Tensor, log_p: Tensor, effort: bool) -> Tensor:
        """What the carrier carries: points, log-density, and an effort of 0 if it is asked for."""
        name = type(self.carrier).__name__
        dims = getattr(self.carrier, "dims", z.shape[-1])
        if z.shape[-1] != dims:
            raise ValueError(f"{name} takes points (..., {dims}), got shape {tuple(z.shape)}")
        # Another carrier would take the effort for the log-density, and that for a coordinate.
        if effort and not getattr(self.carrier, "carries_effort", False):
            raise ValueError(
                f"{name} carries no effort: take PlanarField, or a carrier of your own on states "
                "of one more coordinate, with carries_effort = True"
            )
        coordinates = [log_p, torch.zeros_like(log_p)] if effort else [log_p]
        return torch.cat((z, torch.stack(coordinates, -1)), -1)


def log_normal(z: Tensor) -> Tensor:
    """The log-density (...) of the standard normal distribution at points (..., d)."""
    return -0.5 * z.square().sum(-1) - 0.5 * z.shape[-1] * math.log(2 * math.pi)


def _parted(state: Tensor, dims: int, effort: bool) -> tuple[Tensor, Tensor]:
    return state[..., :dims], state[..., dims:] if effort else state[..., dims]
