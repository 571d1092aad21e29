"""Targets with known integrals, and points whose density is known."""

import math

import pytest
import torch
from scipy.integrate import dblquad

from replication.data import densities
from replication.data.densities import (
    ENERGIES,
    NOISE,
    energy,
    grid,
    log_density,
    log_normalizer,
    sample,
)

pytestmark = pytest.mark.slow  # the file as a whole


@pytest.mark.parametrize("name, floor", [("U1", -1.8775), ("U3", -2.7362), ("U4", -2.7987)])
def test_floors_are_those_of_an_independent_quadrature(name, floor):
    assert -log_normalizer(name) == pytest.approx(floor, abs=2e-4)


def test_normalizer_agrees_with_scipy():
    def density(y, x):
        return math.exp(-float(energy("U1")(torch.tensor([x, y], dtype=torch.float64))))

    whole, _ = dblquad(density, -5, 5, -5, 5, epsabs=1e-3)
    assert log_normalizer("U1") == pytest.approx(math.log(whole), abs=1e-3)


@pytest.mark.parametrize("name", ENERGIES)
def test_walls_rise_only_outside_the_box(name):
    inside = torch.tensor([[0.5, -1.0], [-3.9, 3.9]])
    assert torch.equal(energy(name)(inside), ENERGIES[name](inside))
    outside = torch.tensor([-6.0, 5.0])
    assert energy(name)(outside) - ENERGIES[name](outside) == pytest.approx(5 * (4 + 1), rel=1e-4)


def test_energies_have_the_printed_values():
    origin = torch.zeros(2)
    both = math.log(2) - 0.5 * (2 / 0.6) ** 2  # two bells at equal distance
    assert float(energy("U1")(origin)) == pytest.approx(0.5 * 25 - both, rel=1e-5)
    # On the middle line far to the left, where neither hump nor ramp begins.
    far = torch.tensor([-3.0, math.sin(-1.5 * math.pi)])
    for name in ("U3", "U4"):
        assert float(energy(name)(far)) == pytest.approx(-math.log(2), abs=1e-3)


@pytest.mark.parametrize("name", ENERGIES)
def test_energies_have_finite_gradients_everywhere(name):
    z = torch.tensor([[0.0, 0.0], [9.0, -9.0], [1.0, 1.0]], requires_grad=True)
    energy(name)(z).sum().backward()
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("name", NOISE)
def test_known_density_has_mass_one(name):
    x, area = grid(3.0, 60)
    assert float(log_density(name, x).exp().sum()) * area == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name, entropy", [("circles", 1.727), ("moons", 1.587)])
def test_known_density_scores_its_own_points_with_its_entropy(name, entropy):
    points = sample(name, 5000, seed=3)
    assert -float(log_density(name, points).mean()) == pytest.approx(entropy, abs=0.02)
    moved = points + torch.tensor([0.1, 0.0])
    assert -float(log_density(name, moved).mean()) > entropy + 0.1


@pytest.mark.parametrize("name", NOISE)
def test_points_are_those_of_their_seed_and_centred(name):
    points = sample(name, 1000, seed=1)
    assert points.shape == (1000, 2) and points.dtype is torch.float32
    assert torch.equal(points, sample(name, 1000, seed=1))
    assert not torch.equal(points, sample(name, 1000, seed=2))
    assert points.mean(0).abs().max() < 0.05


def test_grid_begins_at_the_lowest_y_and_covers_the_square():
    x, area = grid(1.0, 4)
    assert x[:2].tolist() == [[-0.75, -0.75], [-0.25, -0.75]]
    assert area * len(x) == 4


@pytest.mark.parametrize("call", [energy, lambda n: sample(n, 3, seed=0), log_normalizer])
def test_unknown_names_are_refused_with_those_that_are_known(call):
    with pytest.raises(ValueError, match="known: "):
        call("U2")


def test_unknown_points_have_no_density():
    with pytest.raises(ValueError, match="known: circles, moons"):
        densities.log_density("rings", torch.zeros(1, 2))
