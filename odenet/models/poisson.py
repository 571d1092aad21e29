"""Events along a latent path: an inhomogeneous Poisson process, fitted in one solve.

The path z(t) obeys dz/dt = f(z); events happen at the rate lambda(z(t)) per unit of time. The
integral of the rate, which the likelihood needs, is one more state of the same ODE (paper,
Section 5, "Poisson Process likelihoods").
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from odenet.models.fields import Autonomous
from odenet.ode import Solver, solve
from odenet.solvers import Adaptive, SolveStats

LATENT, HIDDEN = 2, 20


@dataclass(frozen=True)
class Path:
    """What one solve returns at its times: latent states, log-rates, and integrals up to there.

    z (times, latent); log_rate (times,), of events per unit of time; integral (times,).
    """

    z: Tensor
    log_rate: Tensor
    integral: Tensor
    stats: SolveStats


class WithIntegral(nn.Module):
    """The field of (z, integral of the rate): that of z, and the rate."""

    def __init__(self, field: nn.Module, log_rate: nn.Module) -> None:
        super().__init__()
        self.field, self.log_rate = field, log_rate

    def forward(self, t: float, state: Tensor) -> Tensor:
        z = state[..., :-1]
        return torch.cat((self.field(t, z), self.log_rate(z).exp()), -1)


class PoissonPath(nn.Module):
    """A Poisson process whose rate follows a latent path (Chen et al. 2018, Section 5).

    Args:
        field: a module ``field(t, z)``: how the latent state z moves.
        log_rate: maps z (..., latent) to the logarithm (..., 1) of the rate, in events per unit of
            time.
        start: z at the first time, (latent,); becomes a parameter.
        solver: DOPRI5 with rtol = atol = 1e-5, by backpropagation, by default.

    Example:
        >>> from odenet.models import poisson_path
        >>> nats, path = poisson_path().log_likelihood([1.0, 2.5, 2.6], duration=4.0)
        >>> nats.backward()
        >>> tuple(path.integral.shape)  # of the rate, up to 0, the three events, and 4
        (5,)
    """

    def __init__(
        self,
        field: nn.Module,
        log_rate: nn.Module,
        start: Tensor,
        solver: Solver | None = None,
    ) -> None:
        super().__init__()
        self.start = nn.Parameter(start)
        self.both = WithIntegral(field, log_rate)
        self.solver = solver or Solver("dopri5", Adaptive(1e-5, 1e-5), "backprop")

    def forward(self, ts: Sequence[float]) -> Path:
        """The path at ascending times ``ts``, of which the first is where it starts."""
        begin = torch.cat((self.start, self.start.new_zeros(1)))
        solution = solve(self.both, begin, ts, self.solver)
        z, integral = solution.ys[:, :-1], solution.ys[:, -1]
        return Path(z, self.both.log_rate(z)[:, 0], integral, solution.stats)

    def log_likelihood(
        self, events: Iterable[float] | Tensor, duration: float, *, sequences: int = 1
    ) -> tuple[Tensor, Path]:
        """log p of all ``events`` in (0, duration), in nats, and the path at 0, events, duration.

        sum_i log lambda(z(t_i)) - sequences * integral of lambda: the events, in any order, are
        those of as many independent ``sequences`` together. Raises ValueError for an event outside
        (0, duration), for a duration of 0 or less, and for less than one sequence.
        """
        if not (duration > 0 and sequences >= 1):
            raise ValueError(
                f"duration must be above 0 and sequences at least 1, got {duration} and {sequences}"
            )
        number = Counter(float(t) for t in events)
        times = sorted(number)
        if not all(0 < t < duration for t in times):
            raise ValueError(f"events must lie inside (0, {duration}), got {times}")
        path = self((0.0, *times, duration))
        counts = torch.tensor([number[t] for t in times]).to(path.log_rate)
        log_rates = path.log_rate[1:-1]
        return (counts * log_rates).sum() - sequences * path.integral[-1], path


def poisson_path(latent: int = LATENT) -> PoissonPath:
    """A ``PoissonPath`` whose field and log-rate are networks with one hidden layer of 20.

    In double precision, its weights and start drawn from torch's global generator.

    Args:
        latent: size of the latent state.

    Returns:
        The model.

    Example:
        >>> from odenet.models import poisson_path
        >>> tuple(poisson_path(3)([0.0, 1.0, 2.0]).z.shape)
        (3, 3)
    """
    field = Autonomous(_mlp(latent, latent))
    return PoissonPath(field, _mlp(latent, 1), torch.randn(latent)).double()


def _mlp(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, outputs))
