"""Spirals: their shape, their noise, and which points of them are seen."""

import pytest
import torch

from replication.data import spirals
from replication.data.spirals import WINDOW


@pytest.mark.parametrize(
    ("family", "shrinks"),
    [("log", lambda r, t: r * torch.exp(-0.05 * t)), ("archimedean", lambda r, t: r - 0.05 * t)],
)
def test_radius_shrinks_as_the_family_says_about_one_centre(family, shrinks):
    curves = spirals.sample(50, family=family)
    radius = curves.clean.norm(dim=-1)
    assert curves.clean.shape == (50, 200, 2)
    assert torch.allclose(radius, shrinks(radius[:, :1], curves.ts), atol=1e-5)
    assert radius[:, 0].min() >= 1.3 and radius[:, 0].max() <= 2.3


def test_angle_turns_one_radian_a_unit_of_time_in_the_stated_direction():
    curves = spirals.sample(50)
    x, y = curves.clean.unbind(-1)
    turned = torch.atan2(
        x[:, :-1] * y[:, 1:] - y[:, :-1] * x[:, 1:], x[:, :-1] * x[:, 1:] + y[:, :-1] * y[:, 1:]
    )
    expected = 0.1 * curves.direction[:, None]
    assert torch.allclose(turned, expected.expand_as(turned), atol=1e-4)
    assert curves.direction.sum() == 0


def test_observed_points_are_distinct_sorted_and_inside_the_window():
    curves = spirals.sample(40, observed=30)
    assert curves.index.shape == (40, 30)
    assert (curves.index.diff(dim=1) > 0).all()
    assert curves.index.min() >= 0 and curves.index.max() < WINDOW
    assert torch.equal(curves.times, curves.ts[curves.index])
    assert not torch.equal(curves.index[0], curves.index[1])


def test_noise_has_the_stated_standard_deviation():
    curves = spirals.sample(200, noise=0.1)
    errors = curves.values - curves.clean[:, :WINDOW]
    assert errors.std().item() == pytest.approx(0.1, rel=0.02)


def test_seed_alone_decides_and_the_curves_do_not_depend_on_how_many_points_are_seen():
    few, all_seen = spirals.sample(6, observed=30, seed=3), spirals.sample(6, seed=3)
    assert torch.equal(few.clean, all_seen.clean)
    assert torch.equal(few.values[2], all_seen.values[2, few.index[2]])
    assert not torch.equal(few.clean, spirals.sample(6, seed=4).clean)


def test_no_curve_is_in_both_parts():
    train, test = spirals.load(10, 6, seed=1)
    assert (len(train), len(test)) == (10, 6)
    assert test.direction.sum() == 0
    assert torch.cdist(train.clean.flatten(1), test.clean.flatten(1)).min() > 0.1


def test_validation_spirals_are_in_neither_part():
    held_out = spirals.validation(8, seed=1, observed=30, family="archimedean")
    assert held_out.values.shape == (8, 30, 2) and held_out.direction.sum() == 0
    for part in spirals.load(10, 6, seed=1, observed=30, family="archimedean"):
        assert torch.cdist(held_out.clean.flatten(1), part.clean.flatten(1)).min() > 0.1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"family": "helix"}, "unknown family 'helix'; known: log, archimedean"),
        ({"observed": 101}, "observed must lie between 1 and 100, got 101"),
        ({"noise": float("nan")}, "noise at least 0, got 4 and nan"),
        ({"size": 0}, "size must be at least 1"),
    ],
)
def test_impossible_requests_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        spirals.sample(**{"size": 4, **wrong})


@pytest.mark.parametrize("sizes", [(0, 4), (4, 0), (6, -2)])
def test_empty_part_is_refused(sizes):
    with pytest.raises(ValueError, match="both parts need a spiral"):
        spirals.load(*sizes)
