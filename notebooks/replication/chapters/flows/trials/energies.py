"""Figure 4: flows trained to match densities that are known up to a factor."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from odenet.models.flow import ContinuousFlow, log_normal
from odenet.solvers import SolveStats
from replication.chapters.flows import training
from replication.data.densities import energy, log_normalizer

_SCORED, _PROBED = 1_000_000, 2_000_000  # with the seed of a flow, that of its points


@dataclass(frozen=True)
class Trial(training.Training):
    """Flows for one target side by side: one for each way of training and seed.

    Annealed means that the energy's weight grows from 0.01 to 1 over the first 40% of the steps.
    """

    target: str = "U1"  # U1 | U3 | U4
    annealed: Sequence[bool] = (False,)
    samples: int = 20_000  # of each flow, for its divergence


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """What came of each flow; the weights are left in ``folder``/weights.pt.

    Goes on from ``folder``/checkpoint.pt where an earlier call was interrupted. ``flows``, in the
    order of ``members``: ``kl``, the divergence to the target in nats, from ``samples`` points;
    its standard error ``error``; ``kl_tight``, from the same points in double precision at
    tolerance 1e-7; ``curve_kl``, from fewer points at each step of ``curve``; ``nfe``, the
    evaluations of a solve of this flow alone at 1e-5, untrained and trained. With what ``fit`` says
    of the training.
    """
    runs = members(trial)
    flow = _flow(trial)
    target = energy(trial.target)

    def loss(generator: torch.Generator, step: int) -> training.Scored:
        z = torch.randn(len(runs), training.BATCH, 2, generator=generator)
        x, log_q, stats = _pushed(flow, z, effort=trial.penalty > 0)
        if log_q.dim() == 3:
            log_q = log_q[..., 0] + trial.penalty * log_q[..., 1]
        losses = log_q.mean(1) + weights(trial, step) * target(x).mean(1)
        return training.summed(losses), stats

    def divergence(z: Tensor, tolerance: float) -> tuple[Tensor, Tensor, int]:
        """That of each run from its target, its standard error, and the largest cost."""

        def score(z: Tensor) -> training.Scored:
            x, log_q, stats = _pushed(flow, z, tolerance)
            return log_q + target(x), stats

        values, nfe = training.evaluated(score, z)
        kl = values.mean(1) + log_normalizer(trial.target)
        return kl, values.std(1) / math.sqrt(values.shape[1]), nfe

    probe = _noise(trial, training.PROBE, _PROBED)
    final = training.FINAL
    untrained = training.counts(flow, probe)
    curves, said = training.fit(flow, trial, loss, lambda: divergence(probe, final)[::2], folder)
    costs = zip(untrained, training.counts(flow, probe), strict=True)
    z = _noise(trial, trial.samples, _SCORED)
    kl, error, _ = divergence(z, final)
    flow.double()
    tight, _, _ = divergence(z.double(), training.TIGHT)
    scores = (kl.tolist(), error.tolist(), tight.tolist())
    found = zip(runs, *scores, curves, map(list, costs), strict=True)
    names = ("annealed", "seed", "kl", "error", "kl_tight", "curve_kl", "nfe")
    flows = [dict(zip(names, (*run, *values), strict=True)) for run, *values in found]
    return {"flows": flows, **said}


def members(trial: Trial) -> list[tuple[bool, int]]:
    """Whether annealed, and the seed, of each flow of a trial, in the order of its runs."""
    return list(product(trial.annealed, range(trial.seed, trial.seed + trial.seeds)))


def load(trial: Trial, folder: Path) -> training.Flow:
    """The flows that ``run`` trained."""
    return training.restored(_flow(trial), folder)


@torch.no_grad()
def density(flow: training.Flow, x: Tensor) -> Tensor:
    """The density (runs, n) that each flow gives to points x (n, 2)."""
    points = x.float().expand(len(next(flow.parameters())), -1, -1)
    if isinstance(flow, ContinuousFlow):
        return flow.log_prob(points, training.at_tolerance(flow, 1e-4))[0].exp()
    z = flow.inverse(points)[-1]
    return (log_normal(z) - flow(z)[1]).exp()


def weights(trial: Trial, step: int) -> Tensor:
    """The weight of each run's energy at a step."""
    grown = min(1.0, 0.01 + 0.99 * step / max(1.0, 0.4 * trial.iterations))
    return torch.tensor([grown if annealed else 1.0 for annealed, _ in members(trial)])


def _flow(trial: Trial) -> training.Flow:
    return training.untrained(trial, [seed for _, seed in members(trial)])


def _pushed(
    flow: training.Flow, z: Tensor, tolerance: float = training.TOLERANCE, *, effort: bool = False
) -> tuple[Tensor, Tensor, SolveStats]:
    """The points that z is carried to, their log-density (and effort), and the cost."""
    if isinstance(flow, ContinuousFlow):
        return flow(z, training.at_tolerance(flow, tolerance), effort=effort)
    x, log_det = flow(z)
    return x, log_normal(z) - log_det, SolveStats()


def _noise(trial: Trial, points: int, first: int) -> Tensor:
    """Normal points (runs, points, 2) that no training has seen, the same for equal seeds."""
    seeds = [torch.Generator().manual_seed(first + seed) for _, seed in members(trial)]
    return torch.stack([torch.randn(points, 2, generator=generator) for generator in seeds])
