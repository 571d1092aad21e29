"""Chapter 08: maps whose paths would cross, the effort of a path, flow matching, and a race."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from odenet import Adaptive, Solver
from odenet.models import PlanarField
from replication.chapters.after.analysis import Race, by_solver, reached
from replication.chapters.after.effort import Effort
from replication.chapters.after.trials import crossing, digits, matching
from replication.data.mnist import Digits

pytestmark = pytest.mark.slow  # the file as a whole


def test_points_lie_in_the_disc_and_in_the_ring_and_are_told_apart():
    x, label = crossing.ring(1000, torch.Generator().manual_seed(1))
    radius = x.norm(dim=1)
    inside = label[:, 0] < 0
    assert int(inside.sum()) == 500
    assert float(radius[inside].max()) <= 0.5
    assert 1 <= float(radius[~inside].min()) and float(radius.max()) <= 1.5
    # Even over the area: half of a disc's points lie within the root of one half of its radius.
    assert abs(float((radius[inside] < 0.5 / 2**0.5).float().mean()) - 0.5) < 0.1


def test_on_a_line_only_an_added_channel_lets_paths_pass(tmp_path):
    plain, added = (
        crossing.run(crossing.Trial(extra=extra, iterations=150), tmp_path / str(extra))
        for extra in (0, 1)
    )
    assert plain["loss"] > 0.99  # the constant is the best of all increasing maps
    assert added["loss"] < 0.1
    ends = np.array(plain["paths"])[[0, -1], :, 0]
    assert (np.diff(ends[1][np.argsort(ends[0])]) >= 0).all()  # the order stays
    assert np.array(added["paths"]).shape == (crossing.TIMES, crossing.DRAWN, 2)
    assert json.loads(json.dumps(added)) == added
    assert added["history"]["step"][-1] == 150


def test_with_a_ring_all_coordinates_are_read():
    net = crossing.Net(2, 1)
    assert net.readout.in_features == 3
    found, stats = net(torch.zeros(4, 2))
    assert found.shape == (4, 1) and stats.forward.nfe > 0


def test_what_is_unknown_is_refused_before_anything_runs():
    with pytest.raises(ValueError, match="unknown problem 'knot'; known: line, ring"):
        crossing.Trial("knot")
    with pytest.raises(ValueError, match="extra must be at least 0, got -1"):
        crossing.Trial(extra=-1)
    with pytest.raises(ValueError, match="must be at least 0"):
        digits.Trial(steps=-1)


class _Linear(nn.Module):
    """dy/dt = y A^T, on states of two numbers."""

    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.tensor([[0.3, -1.0], [0.5, 0.2]], dtype=torch.float64))

    def forward(self, t, y):
        return y @ self.matrix.T


def test_effort_of_a_linear_field_is_that_of_its_formula():
    field = _Linear()
    noise = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    state = torch.tensor([[0.7, -0.4, 0.0]], dtype=torch.float64)
    slope = Effort(field, noise)(0.0, state)
    f, pulled = state[:, :2] @ field.matrix.T, noise @ field.matrix
    torch.testing.assert_close(slope[:, :2], f)
    torch.testing.assert_close(slope[:, 2], (f.square() + pulled.square()).mean(1))


@pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
def test_effort_along_a_path_moves_no_state_and_has_a_gradient(gradient):
    field = _Linear()
    y = torch.tensor([[0.7, -0.4], [0.1, 0.9]], dtype=torch.float64)
    noise = torch.ones_like(y)
    solver = Solver("dopri5", Adaptive(1e-9, 1e-9), gradient)

    def effort():
        return Effort(field, noise).along(y, solver)

    end, total, _ = effort()
    torch.testing.assert_close(end, y @ torch.matrix_exp(field.matrix).T)
    total.sum().backward()
    with torch.no_grad():
        field.matrix[0, 1] += 1e-5
        above = effort()[1].sum()
        field.matrix[0, 1] -= 2e-5
        below = effort()[1].sum()
    assert float(field.matrix.grad[0, 1]) == pytest.approx(float((above - below) / 2e-5), rel=1e-4)


@pytest.fixture
def tiny_digits(monkeypatch):
    def load(train_size, test_size):
        generator = torch.Generator().manual_seed(train_size)
        return tuple(
            Digits(torch.rand(n, 1, 28, 28, generator=generator), torch.arange(n) % 10)
            for n in (train_size, test_size)
        )

    monkeypatch.setattr(digits, "load", load)


@pytest.mark.parametrize("change", [{"steps": 2}, {"penalty": 0.1}])
def test_a_network_is_tested_by_its_own_solver_and_by_finer_ones(tiny_digits, tmp_path, change):
    trial = digits.Trial(**change, epochs=1, train_size=16, test_size=20, finer=(1, 2))
    result = digits.run(trial, tmp_path)
    assert json.loads(json.dumps(result)) == result
    error = result["error_pct"]
    assert len(error["by_steps"]) == 2
    if trial.steps:
        assert error["by_steps"][1] == error["trained"]
        assert result["back"]["exact"] < result["back"]["trained"]
    assert [name for name, _ in by_solver(error, trial.finer)] == ["Euler, 1", "Euler, 2", "exact"]


def test_a_heavy_penalty_slows_the_paths(tiny_digits, tmp_path):
    def cost(penalty):
        trial = digits.Trial(penalty=penalty, epochs=4, train_size=128, test_size=10, finer=())
        return digits.run(trial, tmp_path / str(penalty))["back"]["trained"]

    assert cost(10.0) < cost(0.0)


def test_matching_in_groups_is_matching_point_by_point():
    field = PlanarField(4, seeds=(0, 1))
    noise, data = torch.randn(2, 2, 6, 2)
    ts = torch.tensor([0.1, 0.4, 0.8])
    found = matching.matching_loss(field, noise, data, ts)
    missed = []
    for i, t in enumerate([0.1, 0.1, 0.4, 0.4, 0.8, 0.8]):
        state = torch.zeros(2, 1, 3)
        state[:, 0, :2] = (1 - t) * noise[:, i] + t * data[:, i]
        slope = field(t, state)[:, 0, :2]
        missed.append((slope - (data - noise)[:, i]).square().sum(1))
    torch.testing.assert_close(found, torch.stack(missed).mean(0))


def test_flow_matching_learns_and_says_what_it_costs(tmp_path):
    trial = matching.Trial(size=8, seeds=2, iterations=400, held_out=500)
    result = matching.run(trial, tmp_path)
    assert json.loads(json.dumps(result)) == result
    first, last = np.array(result["curve_nll"])[:, [0, -1]].T
    assert (last < first - 0.3).all()
    assert result["curve_step"][-1] == 400 and len(result["nfe_sampling"]) == 2
    assert result["seconds"] > 0


def race(ours, theirs):
    flow = {"nll": ours[-1], "curve_nll": ours, "reversal": [{}, {"nfe_sampling": 40}]}
    learned = {"flows": [flow], "curve": {"step": [0, 10, 20]}, "seconds": 0.5}
    matched = {"nll": [theirs[-1]], "curve_nll": [theirs], "nfe_sampling": [60]}
    matched |= {"curve_step": [0, 100, 200], "seconds": 0.01}
    return Race(learned, matched, true=1.0, true_of_curves=0.9)


def test_a_race_ends_where_both_have_come():
    result = race([3.0, 1.5, 1.2], [3.0, 2.0, 1.5])
    assert result.time_ratios() == [pytest.approx(5.0 / 2.0)]  # 1.5 nats: after 5 s, and after 2 s
    assert result.step_ratio() == pytest.approx(0.02)
    assert result.sampling_ratios() == [1.5]
    ours, theirs = result.excess()
    assert ours == [pytest.approx(0.2)] and theirs == [pytest.approx(0.5)]
    seconds, nats = result.curves()["by likelihood"][0]
    assert seconds.tolist() == [0, 5, 10] and nats.tolist() == pytest.approx([2.1, 0.6, 0.3])


def test_nothing_is_reached_before_a_training_begins():
    assert reached(np.array([0.0, 2.0, 4.0]), [1.0, 3.0, 1.0], 1.0) == 4.0
