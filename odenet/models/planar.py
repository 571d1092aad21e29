"""Planar flows in the plane, continuous and in layers; several independent ones side by side.

Points are (runs, n, 2): run i is a flow of its own, initialized from ``seeds[i]``, whatever the
others are. Side by side they share the calls, which are what small flows cost.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from odenet.adjoint.function import with_pullback
from odenet.models.flow import log_normal
from odenet.solvers import Control, Counts, Field, SlopeHistory, Step, attempts
from odenet.solvers.runge_kutta import RungeKutta

HIDDEN = 32  # units in each of the hypernetwork's two layers
# How far w u stays above -1. Without it rounding takes a layer to -1 and below in a long training,
# where the layer cannot be inverted and its determinant has no logarithm.
MARGIN = 1e-3


class Units(NamedTuple):
    """The units of a planar field at one time, for states of any number of coordinates.

    w (runs, 3, units), its last row 0, and b (runs, 1, units) lead in; u (runs, units, 2), the gate
    included, leads out; c (runs, units, 1) is the share of each unit in the trace, and total (runs,
    1, 1) their sum.
    """

    w: Tensor
    b: Tensor
    u: Tensor
    c: Tensor
    total: Tensor


class PlanarField(nn.Module):
    """The carrier of ``f(t, z) = sum_n s_n(t) u_n(t) tanh(w_n(t) z + b_n(t))``, its trace exact.

    On states (runs, n, 3), point and log-density, or (runs, n, 4) with the effort. A network of the
    time, 1-32-32, gives the gates s in (0, 1), u, w and b (Chen et al. 2018, Section 4).

    Args:
        units: number of terms of the sum.
        seeds: of the initial weights; so many independent fields stand side by side.

    Example:
        >>> import torch
        >>> from odenet import Adaptive, Solver
        >>> from odenet.models import ContinuousFlow, PlanarField
        >>> solver = Solver("dopri5", Adaptive(1e-5, 1e-5))
        >>> flow = ContinuousFlow(PlanarField(8, seeds=(0, 1)), solver)
        >>> log_p, _ = flow.log_prob(torch.randn(2, 100, 2))
        >>> tuple(log_p.shape)
        (2, 100)
    """

    dims = 2  # of the points
    carries_effort = True

    def __init__(self, units: int, seeds: Sequence[int] = (0,)) -> None:
        super().__init__()
        self.units = units
        drawn = [_hypernet(units, seed) for seed in seeds]
        self.weights = nn.ParameterList(torch.stack(w) for w in zip(*drawn, strict=True))
        self._ahead: tuple[bool, dict[float, Units]] = (False, {})

    def forward(self, t: float, state: Tensor) -> Tensor:
        with_graph, known = self._ahead
        unit = known.get(t) if with_graph == torch.is_grad_enabled() else None
        w, b, u, c, total = unit or self.at([t])[0]
        z = state if state.shape[-1] == 3 else state[..., :3]
        h = torch.tanh(torch.baddbmm(b, z, w))
        squares = h * h
        slope = torch.bmm(h, u)
        change = torch.baddbmm(total, squares, c, beta=-1)  # -sum c (1 - h^2)
        if state.shape[-1] == 3:
            return torch.cat((slope, change), -1)
        # df_i/dz_j = sum_n u_ni w_nj (1 - h_n^2)
        products = (u[..., None] * w[:, None, :2].permute(0, 3, 1, 2)).flatten(2)
        jacobian = torch.baddbmm(products.sum(1, keepdim=True), squares, products, alpha=-1)
        effort = torch.cat((slope, jacobian), -1).square().sum(-1, keepdim=True)
        return torch.cat((slope, change, effort), -1)

    def at(self, times: Sequence[float]) -> list[Units]:
        """The units at each of the times, all by one pass of the hypernetwork."""
        w1, b1, w2, b2, w3, b3 = self.weights
        t = w1.new_tensor(times).view(1, -1, 1).expand(len(w1), -1, 1)
        hidden = torch.tanh(torch.baddbmm(b2, torch.tanh(torch.baddbmm(b1, t, w1)), w2))
        out = torch.baddbmm(b3, hidden, w3).unflatten(-1, (6, self.units))
        w, b, u = out[:, :, :2], out[:, :, 2:3], out[:, :, 3:5] * torch.sigmoid(out[:, :, 5:])
        c = (w * u).sum(2)
        parts = (
            F.pad(w, (0, 0, 0, 1)),
            b,
            u.transpose(2, 3),
            c[..., None],
            c.sum(2)[..., None, None],
        )
        return [Units(*at) for at in zip(*(part.unbind(1) for part in parts), strict=True)]

    @contextmanager
    def ahead(self, times: Sequence[float]) -> Iterator[None]:
        """Inside, the units at these times are known beforehand, in this mode of autograd."""
        units = dict(zip(times, self.at(times), strict=True))
        self._ahead = (torch.is_grad_enabled(), units)
        try:
            yield
        finally:
            self._ahead = (False, {})


def _hypernet(units: int, seed: int) -> list[Tensor]:
    """Weights (in, out) and biases (1, out) of 1-32-32-6 units, as of ``nn.Linear``.

    The biases that become w are normal besides, so that the units look in different directions.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for inputs, outputs in ((1, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, 6 * units)):
        for shape in ((inputs, outputs), (1, outputs)):
            uniform = 2 * torch.rand(shape, generator=generator) - 1
            drawn.append(uniform / math.sqrt(inputs))
    drawn[-1][:, : 2 * units] += torch.randn(1, 2 * units, generator=generator)
    return drawn


@dataclass(frozen=True, eq=False)
class Foreseen:
    """``method``, with the units of ``field`` known at all times of a step before it is made."""

    method: RungeKutta
    field: PlanarField
    num_slopes = 1
    own_steps = False

    @property
    def name(self) -> str:
        return self.method.name

    @property
    def order(self) -> int:
        return self.method.order

    @property
    def adaptive(self) -> bool:
        return self.method.adaptive

    @property
    def interpolates(self) -> bool:
        return self.method.interpolates

    def path(
        self, f: Field, y0: Tensor, ts: Sequence[float], control: Control, counts: Counts
    ) -> Iterator[Step]:
        return attempts(self, f, y0, ts, control, counts)

    def step(self, f: Field, t: float, t1: float, y: Tensor, history: SlopeHistory) -> Step:
        nodes = self.method.tableau.nodes[1:]
        times = dict.fromkeys(t1 if c == 1 else t + c * (t1 - t) for c in nodes)
        with self.field.ahead(list(times)):
            return self.method.step(f, t, t1, y, history)


class PlanarLayers(nn.Module):
    """Layers ``z + u tanh(w z + b)``, each with ``w u > -1``, so that it can be inverted.

    ``w u`` is moved to ``softplus(w u) - 1`` along w (Rezende and Mohamed 2015, appendix A), plus a
    margin of a thousandth.

    Args:
        layers: how many follow each other.
        seeds: of the initial weights; so many independent flows stand side by side.

    Example:
        >>> import torch
        >>> from odenet.models import PlanarLayers
        >>> points, log_det = PlanarLayers(4)(torch.randn(1, 100, 2))
        >>> tuple(points.shape), tuple(log_det.shape)
        ((1, 100, 2), (1, 100))
    """

    def __init__(self, layers: int, seeds: Sequence[int] = (0,)) -> None:
        super().__init__()
        drawn = [_layers(layers, seed) for seed in seeds]
        self.w, self.u, self.b = (
            nn.Parameter(torch.stack(part)) for part in zip(*drawn, strict=True)
        )

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The points behind the last layer, and the logarithm of the Jacobian's determinant.

        Layer k sees ``w_k z_0 + b_k + sum_(j < k) (w_k u_j) h_j``: its state need not be known.
        """
        u = self._bounded()
        gram = self.w @ u.mT  # (runs, layers, layers): w_k u_j
        h = _chain(torch.baddbmm(self.b[..., None], self.w, z.mT), gram)
        stretch = gram.diagonal(dim1=1, dim2=2)[..., None] * (1 - h * h)
        return torch.baddbmm(z, h.mT, u), torch.log1p(stretch).sum(1)

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density (runs, n) of points that the layers carry to a normal density."""
        z, log_det = self(x)
        return log_normal(z) + log_det

    @torch.no_grad()
    def inverse(self, x: Tensor) -> list[Tensor]:
        """The points before the last layer, before the one before it, ..., before the first."""
        u = self._bounded()
        states = []
        for k in reversed(range(self.w.shape[1])):
            w, out, b = self.w[:, k, :, None], u[:, k, None], self.b[:, k, None, None]
            a = _unbent(x @ w + b, out @ w)
            x = x - out * torch.tanh(a)
            states.append(x)
        return states

    def only(self, layers: slice) -> "PlanarLayers":
        """The flow of some of the layers."""
        some = PlanarLayers(0)
        some.w, some.u, some.b = (nn.Parameter(p[:, layers]) for p in (self.w, self.u, self.b))
        return some

    def _bounded(self) -> Tensor:
        inner = (self.w * self.u).sum(-1, keepdim=True)
        norm = self.w.square().sum(-1, keepdim=True)
        return self.u + (F.softplus(inner) - 1 + MARGIN - inner) * self.w / norm


def _layers(layers: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    w, u = (torch.randn(layers, 2, generator=generator) for _ in range(2))
    return w, 0.1 * u, torch.randn(layers, generator=generator)


def _unbent(target: Tensor, slope: Tensor, halvings: int = 60) -> Tensor:
    """The a with ``a + slope tanh(a) = target``, for a slope above -1, by bisection."""
    low, high = target - slope.abs(), target + slope.abs()
    for _ in range(halvings):
        middle = (low + high) / 2
        above = middle + slope * torch.tanh(middle) > target
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return (low + high) / 2


Pulled = tuple[Tensor, list[Tensor], Callable[..., list[Tensor]]]


def _chain(a: Tensor, gram: Tensor) -> Tensor:
    """``h_k = tanh(a_k + sum_(j < k) gram_kj h_j)`` for a (runs, layers, n), row by row.

    With its own pullback: two operations a row each way, where autograd's graph would need many.
    """

    def primal(a: Tensor, gram: Tensor) -> Pulled:
        h = torch.empty_like(a)
        for k in range(a.shape[1]):
            row = a[:, k : k + 1]
            row = torch.baddbmm(row, gram[:, k : k + 1, :k], h[:, :k]) if k else row
            torch.tanh(row, out=h[:, k : k + 1])
        return h, [h], _chain_pullback

    return with_pullback(primal, a, gram)


def _chain_pullback(
    cotangent: Tensor, inputs: Sequence[Tensor], residuals: Sequence[Tensor]
) -> list[Tensor]:
    (_, gram), (h,) = inputs, residuals
    steep, across = 1 - h * h, gram.mT.contiguous()
    through = cotangent.clone()
    for k in reversed(range(h.shape[1])):
        row = through[:, k : k + 1].mul_(steep[:, k : k + 1])
        if k:
            through[:, :k].baddbmm_(across[:, :k, k : k + 1], row)
    return [through, torch.tril(through @ h.mT, -1)]
