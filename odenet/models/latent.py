"""Models of curves observed at irregular times: the latent ODE and the recurrent baselines.

Shapes: times (batch, observed), ascending, where a curve was observed; values (batch, observed,
2), what was seen there; ts (points,), ascending from 0, times common to the batch; index (batch,
observed), the places of ``times`` in ``ts``.
"""

from math import log, pi

import torch
from torch import Tensor, nn

from odenet.models.fields import Autonomous
from odenet.ode import Solver, solve
from odenet.solvers import FixedSteps, SolveStats

DIMS, LATENT, RECURRENT, HIDDEN = 2, 4, 25, 20  # the paper's sizes
DURATION = 10.0  # length of the observed window, which the encoder's clock is scaled to


class Recurrence(nn.Module):
    """A tanh recurrence whose matrix starts orthogonal: inputs (batch, steps, n) to its states."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.read = nn.Linear(inputs, RECURRENT)
        self.carry = nn.Linear(RECURRENT, RECURRENT, bias=False)
        nn.init.orthogonal_(self.carry.weight)

    def forward(self, inputs: Tensor) -> Tensor:
        """The states (batch, steps, 25), the first of which follows a state of zeros."""
        read = self.read(inputs)
        if not read.shape[1]:
            return read  # no step, no state
        # Slicing read[:, i] instead would fill a zero gradient of full size at every step.
        first, *others = read.unbind(1)
        states = [torch.tanh(first)]
        for x in others:
            states.append(torch.tanh(x + self.carry(states[-1])))
        return torch.stack(states, 1)


class LatentODE(nn.Module):
    """A latent ODE for curves in the plane (Chen et al. 2018, Section 5).

    A recurrent recognition network reads the observations from the last to the first and gives a
    posterior over the latent start z(0); an ODE carries z; a decoder turns it into points. So
    ``ts`` begin at 0: for a curve from time 5 on, give 0 and the times from 5. Sizes are the
    paper's: points (2), latent state (4), recurrence (25), hidden layers (20). The networks are
    made for observations from time 0 to 10: bring yours to it.

    Args:
        solver: of the latent ODE; RK4 with steps of 0.4 by default.
        timed: tell the recognition network when the observations were made.

    Raises:
        ValueError: when called, for times and values that do not belong together, and for ``ts``
            that do not begin at 0.
        SolveError: when called, as ``odenet.solve``.

    Example:
        >>> import torch
        >>> from odenet.models import LatentODE
        >>> times = torch.linspace(0, 5, 10).repeat(3, 1)  # 3 curves, 10 observations each
        >>> curves, stats = LatentODE()(times, torch.randn(3, 10, 2), torch.linspace(0, 10, 50))
        >>> tuple(curves.shape)
        (3, 50, 2)
    """

    def __init__(self, solver: Solver | None = None, *, timed: bool = True) -> None:
        super().__init__()
        self.timed = timed
        self.recognition = Recurrence(DIMS + 2 * timed)
        self.posterior = nn.Linear(RECURRENT, 2 * LATENT)
        self.field = Autonomous(_mlp(LATENT, nn.Tanh(), LATENT))
        self.decoder = _mlp(LATENT, nn.ReLU(), DIMS)
        self.solver = solver or Solver("rk4", FixedSteps(size=0.4), "backprop")

    def encode(self, times: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (batch, 4) of q(z(0) | observations).

        At each observation, from the last to the first, the network sees the value and, if it is
        ``timed``, the time since the observation before (for the first one: since time 0), and the
        time itself, scaled from 0 to 10 to -1 to 1.
        """
        _check_seen(times, values)
        seen = values
        if self.timed:
            gaps = times.diff(dim=1, prepend=torch.zeros_like(times[:, :1]))
            seen = torch.cat((values, gaps[..., None], _clock(times)[..., None]), -1)
        mean, log_variance = self.posterior(self.recognition(seen.flip(1))[:, -1]).chunk(2, -1)
        return mean, log_variance

    def latent(self, z0: Tensor, ts: Tensor) -> tuple[Tensor, SolveStats]:
        """The latent paths (batch, len(ts), 4) from ``z0`` at time ``ts[0]``, and their cost."""
        solution = solve(self.field, z0, ts, self.solver)
        return solution.ys.transpose(0, 1), solution.stats

    def forward(self, times: Tensor, values: Tensor, ts: Tensor) -> tuple[Tensor, SolveStats]:
        """The curves (batch, len(ts), 2) decoded from the posterior mean, and their cost."""
        _check_begin(ts)
        mean, _ = self.encode(times, values)
        path, stats = self.latent(mean, ts)
        return self.decoder(path), stats

    def loss(
        self,
        times: Tensor,
        values: Tensor,
        *,
        ts: Tensor,
        index: Tensor,
        noise: float,
        kl_weight: float,
        generator: torch.Generator,
    ) -> tuple[Tensor, SolveStats]:
        """The negative evidence lower bound (paper, Appendix E), in nats, mean over the batch.

        And the cost of the solve. One posterior sample, drawn from ``generator``, of the CPU;
        Gaussian observations of standard deviation ``noise``; the divergence from the standard
        normal prior counts ``kl_weight`` times. Raises ValueError for a ``noise`` of 0 or less, and
        for ``ts`` that do not begin at 0.
        """
        _check_begin(ts)
        if not noise > 0:
            raise ValueError(f"noise, a standard deviation, must be above 0, got {noise}")
        mean, log_variance = self.encode(times, values)
        draw = torch.randn(mean.shape, generator=generator).to(mean)
        path, stats = self.latent(mean + draw * (log_variance / 2).exp(), ts)
        observed = path[torch.arange(len(path), device=index.device)[:, None], index]
        nll = gaussian_nll(values, self.decoder(observed), values.new_tensor(log(noise)))
        kl = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
        return (nll.sum((1, 2)) + kl_weight * kl).mean(), stats


class RNN(nn.Module):
    """The recurrent baseline: it predicts each observation from those before.

    It predicts a Gaussian: mean and log standard deviation of each coordinate.

    Args:
        gap: tell it how long after the last observation the next one will be.
        clock: tell it when the last observation was made, as a ``timed`` latent ODE is told.

    Raises:
        ValueError: when called, for times and values that do not belong together.

    Example:
        >>> import torch
        >>> from odenet.models import RNN
        >>> times = torch.linspace(0, 5, 10).repeat(3, 1)
        >>> mean, log_std = RNN(gap=True)(times, torch.randn(3, 10, 2))
        >>> tuple(mean.shape)  # of the observations 1 to 9
        (3, 9, 2)
    """

    def __init__(self, gap: bool, *, clock: bool = False) -> None:
        super().__init__()
        self.gap, self.clock = gap, clock
        self.recurrence = Recurrence(DIMS + gap + clock)
        self.head = nn.Linear(RECURRENT, 2 * DIMS)

    def forward(self, times: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of observations 1, 2, ..., each given all before.

        The log standard deviation is kept between -6 and 3. Of a curve that was seen once there is
        nothing to predict: (batch, 0, 2).
        """
        _check_seen(times, values)
        states = self.recurrence(self._inputs(values[:, :-1], times[:, :-1], times.diff(dim=1)))
        mean, log_std = self.head(states).chunk(2, -1)
        return mean, log_std.clamp(-6, 3)

    def loss(self, times: Tensor, values: Tensor) -> Tensor:
        """The negative log-likelihood of observations 1, 2, ..., in nats, mean over the batch."""
        mean, log_std = self(times, values)
        return gaussian_nll(values[:, 1:], mean, log_std).sum((1, 2)).mean()

    def extrapolate(self, times: Tensor, values: Tensor, ts: Tensor, stride: float) -> Tensor:
        """The curves (batch, len(ts), 2) when each prediction is fed back as if observed.

        From the last observation on, a step is taken to lead ``stride`` further in time, and the
        curve between steps is a straight line. Raises ValueError for a ``stride`` of 0 or less, and
        for ``ts`` that fall or begin before a last observation: there is nothing to extrapolate.
        """
        _check_seen(times, values)
        start = times[:, -1]
        if not stride > 0:
            raise ValueError(f"stride must be above 0, got {stride}")
        if (ts.diff() < 0).any() or (ts[0] < start).any():
            raise ValueError(
                f"ts must rise from the last observation on, which is at {start.max():g}, "
                f"got {ts[0]:g} to {ts[-1]:g}"
            )
        steps = int(torch.ceil((ts[-1] - start).max() / stride))
        gaps = times.diff(dim=1, append=(start + stride)[:, None])
        states = self.recurrence(self._inputs(values, times, gaps))
        state, points = states[:, -1], [values[:, -1]]
        for step in range(1, steps + 1):
            points.append(self.head(state)[:, :DIMS])
            x = self._inputs(points[-1], start + step * stride, torch.full_like(start, stride))
            state = torch.tanh(self.recurrence.read(x) + self.recurrence.carry(state))
        return _between(torch.stack(points, 1), (ts - start[:, None]) / stride)

    def _inputs(self, values: Tensor, times: Tensor, gaps: Tensor) -> Tensor:
        told = [gaps] * self.gap + [_clock(times)] * self.clock
        return torch.cat((values, *(each[..., None] for each in told)), -1)


def _check_seen(times: Tensor, values: Tensor) -> None:
    if times.dim() != 2 or not times.shape[1] or values.shape != (*times.shape, DIMS):
        raise ValueError(
            f"times must be (batch, observed) and values (batch, observed, {DIMS}), observed at "
            f"least once; got {tuple(times.shape)} and {tuple(values.shape)}"
        )


def _check_begin(ts: Tensor) -> None:
    if ts[0] != 0:
        raise ValueError(f"ts must begin at 0, the time of z(0), got {ts[0]:g}")


def _clock(times: Tensor) -> Tensor:
    """The time as a network is told it: from -1 to 1 over the observed window."""
    return times / (DURATION / 2) - 1


def gaussian_nll(x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """The negative log-density of each entry of ``x``, in nats."""
    return ((x - mean) / log_std.exp()).square() / 2 + log_std + log(2 * pi) / 2


def _between(points: Tensor, places: Tensor) -> Tensor:
    """Linear interpolation of points (batch, steps, dims) at fractional places (batch, n)."""
    left = places.floor().long().clamp(0, points.shape[1] - 2)
    rows = torch.arange(len(points), device=points.device)[:, None]
    share = (places - left)[..., None]
    return (1 - share) * points[rows, left] + share * points[rows, left + 1]


def _mlp(inputs: int, activation: nn.Module, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, HIDDEN), activation, nn.Linear(HIDDEN, outputs))
