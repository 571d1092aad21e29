"""Where the direction is kept: on stand-ins whose latent space is known."""

import math

import pytest
import torch

from odenet.models.latent import RNN, LatentODE
from replication.chapters.spirals import analysis as latent_space
from replication.data import spirals

TRAIN, TEST = spirals.load(400, 100, noise=0.0)


class Known:
    """A latent ODE whose posterior means are those of `encoder`."""

    def __init__(self, encoder):
        self.encoder = encoder

    def encode(self, times, values):
        means = self.encoder(values)
        return means, torch.zeros_like(means)


def motion(values):
    """Position and velocity at the first observation."""
    return torch.cat((values[:, 0], (values[:, 1] - values[:, 0]) / spirals.STEP), 1)


def turn(values):
    """The side to which the curve bends, and noise-free places beside it."""
    (x, y), (dx, dy) = motion(values).split(2, 1)[0].T, motion(values).split(2, 1)[1].T
    return torch.stack(((x * dy - y * dx).sign(), x, y), 1)


class Turning(Known):
    """Coordinate 1 is the angular speed of a circle of radius 1; the other is without effect."""

    def __init__(self):
        super().__init__(lambda values: values[:, 0])

    def latent(self, starts, ts):
        return starts[:, None, :].expand(-1, len(ts), -1) * ts[:, None] + 0 * starts[:, None], None

    def decoder(self, path):
        return torch.stack((path[..., 1].cos(), path[..., 1].sin()), -1)


def test_a_linear_rule_reads_a_direction_that_is_a_coordinate():
    assert latent_space.separation(Known(turn), TRAIN, TEST) == 1


def test_only_products_tell_the_direction_from_position_and_velocity():
    assert latent_space.separation(Known(motion), TRAIN, TEST) < 0.7
    assert latent_space.separation(Known(motion), TRAIN, TEST, quadratic=True) > 0.98


def test_the_rule_is_fitted_on_the_training_spirals_alone():
    class Upside(Known):
        def encode(self, times, values):
            means, log_variance = super().encode(times, values)
            return (means if len(values) == len(TRAIN) else -means), log_variance

    assert latent_space.separation(Upside(turn), TRAIN, TEST) == 0


def test_the_angle_turned_is_that_of_the_spirals():
    window = TEST.clean[:, : spirals.WINDOW]
    expected = TEST.direction * spirals.STEP * (spirals.WINDOW - 1)
    assert torch.allclose(latent_space.angle_turned(window), expected, atol=1e-3)


def test_a_straight_line_through_the_centre_turns_half_a_turn_or_less():
    line = torch.stack((torch.linspace(-1, 1, 50), torch.full((50,), 1e-3)), -1)
    assert latent_space.angle_turned(line).item() == pytest.approx(-math.pi, abs=0.01)


def test_morphs_find_the_coordinate_that_turns_the_curve():
    bases = latent_space.starts(Turning(), TRAIN)[:5]
    found = latent_space.morphs(Turning(), TRAIN, bases)
    assert len(found) == 5
    for morph in found:
        assert morph.curves.shape == (21, 100, 2)
        assert morph.steadiness == pytest.approx(1)
        duration = spirals.STEP * (spirals.WINDOW - 1)
        assert torch.allclose(morph.turned, morph.place * duration, atol=1e-3)


def test_morphs_run_over_the_middle_of_the_training_spirals():
    (morph,) = latent_space.morphs(Turning(), TRAIN, torch.zeros(1, 2))
    low, high = TRAIN.values[:, 0, 1].quantile(torch.tensor([0.025, 0.975])).tolist()
    assert (morph.place[0].item(), morph.place[-1].item()) == pytest.approx((low, high))
    assert morph.place.diff().std() < 1e-5


@pytest.mark.parametrize(
    ("turned", "reach", "steadiness"),
    [
        ([-4.0, 0.0, 5.0], 4, 1),
        ([9.0, 0.0, -9.0], 9, 1),
        ([4.0, 9.0, -4.0], 4, 0.5),
        ([-3.0, 0.0, 9.0], 3, 0),  # less than half a turn clockwise
        ([1.0, 2.0, 9.0], -1, 0),
    ],
)
def test_a_line_is_steady_only_if_it_turns_both_ways(turned, reach, steadiness):
    line = latent_space.Morph(torch.arange(3.0), torch.zeros(3, 2, 2), torch.tensor(turned))
    assert line.reach == reach and line.steadiness == pytest.approx(steadiness)


class Truth(LatentODE):
    """Goes on with logarithmic spirals as they are, at any times."""

    def forward(self, times, values, ts):
        radius = spirals.FAMILIES["log"](values[:, :1].norm(dim=-1), ts)
        phase = torch.atan2(values[:, :1, 1], values[:, :1, 0])
        phase = phase + TEST.direction[:, None] * ts
        return torch.stack((radius * phase.cos(), radius * phase.sin()), -1), None


def test_a_true_spiral_shrinks_in_a_turn_as_its_formula_says():
    paths = latent_space.rolled_out(Truth(), TEST)  # whose values are noise-free
    assert paths.shape == (100, 193, 2)
    assert torch.allclose(paths[:, 0], TEST.clean[:, spirals.WINDOW], atol=1e-5)
    assert torch.allclose(paths, latent_space.true_roll_out(TEST), atol=1e-5)
    assert latent_space.shrinkage(paths) == pytest.approx(math.exp(-0.05 * 2 * math.pi))
    assert latent_space.last_turn(paths) == pytest.approx(1, abs=1e-3)


def test_a_limit_cycle_does_not_shrink_and_one_odd_curve_does_not_count():
    angle = 2 * math.pi * latent_space.turns()
    cycle = torch.stack((angle.cos(), angle.sin()), -1).repeat(5, 1, 1)
    cycle[0] *= 1 + latent_space.turns()[:, None]
    assert latent_space.shrinkage(cycle) == pytest.approx(1)
    assert torch.allclose(latent_space.median_radius(cycle), torch.ones(193))
    assert latent_space.last_turn(cycle) == pytest.approx(1, abs=1e-3)
    resting = cycle[:, :1].expand_as(cycle)
    assert latent_space.shrinkage(resting) == 1 and latent_space.last_turn(resting) == 0


def test_a_recurrent_network_is_rolled_out_in_the_steps_that_it_was_trained_on():
    seen, few = {}, spirals.sample(2, observed=50)

    class Recorded(RNN):
        def extrapolate(self, times, values, ts, stride):
            seen.update(ts=ts, stride=stride)
            return values

    latent_space.rolled_out(Recorded(gap=False), few)
    assert seen["stride"] == pytest.approx(0.1 * 101 / 51)
    assert seen["ts"][[0, -1]].tolist() == pytest.approx([10, 10 + 6 * math.pi])


def test_latent_paths_are_seen_where_they_spread_most():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LatentODE()
    paths, (first, second) = latent_space.latent_paths(model, TEST[:8])
    assert paths.shape == (8, spirals.WINDOW, 2)
    assert torch.allclose(paths.mean((0, 1)), torch.zeros(2), atol=1e-5)
    with torch.no_grad():
        full = model.latent(model.encode(TEST[:8].times, TEST[:8].values)[0], TEST.ts[:100])[0]
    total = (full - full.mean((0, 1))).square().sum()
    shares = (paths.square().sum((0, 1)) / total).tolist()
    assert shares == pytest.approx([first, second], rel=1e-4)
    assert 1 >= first >= second > 0
