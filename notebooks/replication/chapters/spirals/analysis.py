"""Figures 8 and 9: long roll-outs, and where a latent ODE keeps the direction of a spiral."""

from dataclasses import dataclass
from math import pi

import torch
from scipy.stats import spearmanr
from torch import Tensor

from odenet.models.latent import RNN, LatentODE
from replication.chapters.spirals.trials import strides
from replication.data.spirals import FAMILIES, STEP, WINDOW, Spirals

STEPS = 21  # places along a coordinate at which the decoded curve is looked at
SEPARATES = 0.95  # share of the directions that a linear rule must get right
MORPHS = 0.9  # rank correlation from which a curve turns smoothly
STOPPED = 0.95  # radius over that one turn before, from which a curve shrinks no longer
TURNS = 3  # of a long roll-out, in units of a turn of the true spirals
PLACES = 64  # times of a turn at which a long roll-out is looked at


@dataclass(frozen=True)
class Morph:
    """Curves decoded along one coordinate of the latent start, the others being kept.

    place (21,): the values of the coordinate; curves (21, 100, 2): the decoded curves over the
    window; turned (21,): the angle that each turns about the centre, in radians, counter-clockwise
    positive.
    """

    place: Tensor
    curves: Tensor
    turned: Tensor

    @property
    def reach(self) -> float:
        """The smaller of the largest angles that any of the curves turns in either direction."""
        return float(min(self.turned.max(), -self.turned.min()))

    @property
    def steadiness(self) -> float:
        """The rank correlation of the angle turned with the coordinate, its sign left out.

        Zero where the curves do not reach half a turn in either direction.
        """
        if self.reach < pi:
            return 0.0
        return abs(float(spearmanr(self.place, self.turned).statistic))


@torch.no_grad()
def separation(
    model: LatentODE, train: Spirals, test: Spirals, *, quadratic: bool = False
) -> float:
    """The share of test spirals whose direction a rule reads off the mean of their latent start.

    The rule is the least-squares fit of the direction, +1 or -1, on the training spirals: linear
    in the mean, or with ``quadratic`` in its products of two coordinates too.
    """
    known, asked = (_features(starts(model, curves), quadratic) for curves in (train, test))
    weights = torch.linalg.lstsq(known, train.direction.double()[:, None]).solution
    return float(((asked @ weights)[:, 0].sign() == test.direction).double().mean())


@torch.no_grad()
def starts(model: LatentODE, curves: Spirals) -> Tensor:
    """The posterior means (curves, 4) of the latent starts."""
    return model.encode(curves.times, curves.values)[0]


@torch.no_grad()
def morphs(model: LatentODE, train: Spirals, bases: Tensor) -> list[Morph]:
    """Through each of the latent starts ``bases`` (n, 4), the steadiest of the four coordinates.

    A coordinate runs over the middle 95% of its values on the training spirals, the others being
    kept. Where none reaches half a turn in both directions, it is the one that reaches furthest.
    """
    ends = starts(model, train).quantile(torch.tensor([0.025, 0.975]), 0).T.tolist()
    lines = []
    for coordinate, (low, high) in enumerate(ends):
        place = torch.linspace(low, high, STEPS)
        begins = bases[:, None].repeat(1, STEPS, 1)
        begins[..., coordinate] = place
        path, _ = model.latent(begins.flatten(0, 1), train.ts[:WINDOW])
        curves = model.decoder(path).unflatten(0, begins.shape[:2])
        lines.append([Morph(place, some, angle_turned(some)) for some in curves])
    return [max(four, key=lambda m: (m.steadiness, m.reach)) for four in zip(*lines, strict=True)]


def angle_turned(curves: Tensor) -> Tensor:
    """The angle in radians that curves (..., times, 2) turn about (0, 0), ccw positive."""
    (x0, y0), (x1, y1) = curves[..., :-1, :].unbind(-1), curves[..., 1:, :].unbind(-1)
    return torch.atan2(x0 * y1 - y0 * x1, x0 * x1 + y0 * y1).sum(-1)


@torch.no_grad()
def latent_paths(model: LatentODE, curves: Spirals) -> tuple[Tensor, list[float]]:
    """The latent paths (curves, 100, 2) in the plane of their two largest variances.

    Also the share of the variance that each of the two directions holds.
    """
    path, _ = model.latent(starts(model, curves), curves.ts[:WINDOW])
    centred = path - path.mean((0, 1))
    _, spread, axes = torch.linalg.svd(centred.flatten(0, 1), full_matrices=False)
    variance = spread.square() / spread.square().sum()
    return centred @ axes[:2].T, variance[:2].tolist()


@torch.no_grad()
def rolled_out(model: LatentODE | RNN, curves: Spirals) -> Tensor:
    """The curves (n, 3 * 64 + 1, 2) from the end of the window on; an RNN in mean-gap steps."""
    ts = _after()
    if isinstance(model, LatentODE):
        whole, _ = model(curves.times, curves.values, torch.cat((torch.zeros(1), ts)))
        return whole[:, 1:]
    stride = strides(curves.index.shape[1])["trained"]
    return model.extrapolate(curves.times, curves.values, ts, stride)


def turns() -> Tensor:
    """The times (3 * 64 + 1,) of a long roll-out, in turns of the true spirals after the window."""
    return torch.linspace(0, TURNS, TURNS * PLACES + 1)


def true_roll_out(curves: Spirals) -> Tensor:
    """What ``rolled_out`` gives for a model that knows logarithmic spirals, noise-free."""
    (x, y), ts = curves.clean[:, 0].T, _after()
    radius = FAMILIES["log"](torch.hypot(x, y)[:, None], ts)
    phase = torch.atan2(y, x)[:, None] + curves.direction[:, None] * ts
    return torch.stack((radius * phase.cos(), radius * phase.sin()), -1)


def _after() -> Tensor:
    """The times of a long roll-out: one radian of a true spiral is one unit of time."""
    return STEP * WINDOW + 2 * pi * turns()


def median_radius(paths: Tensor) -> Tensor:
    """The median over curves (n, times, 2) of the distance from the centre, at each time."""
    return paths.norm(dim=-1).quantile(0.5, 0)


def shrinkage(paths: Tensor) -> float:
    """The last radius of long roll-outs over that one turn before, median over the curves."""
    radius = paths.norm(dim=-1)
    return float((radius[:, -1] / radius[:, -1 - PLACES]).quantile(0.5))


def last_turn(paths: Tensor) -> float:
    """How far long roll-outs turn about the centre in their last turn, in turns, the median.

    One for a curve that keeps the pace of the true spirals; near zero for one that has come to
    rest, whose radius shrinks no longer either.
    """
    turned = angle_turned(paths[:, -1 - PLACES :]).abs() / (2 * pi)
    return float(turned.quantile(0.5))


def _features(means: Tensor, quadratic: bool) -> Tensor:
    parts = [torch.ones(len(means), 1), means]
    if quadratic:
        rows, columns = torch.triu_indices(means.shape[1], means.shape[1])
        parts.append(means[:, rows] * means[:, columns])
    return torch.cat(parts, 1).double()
