"""The training loop: history, checkpoints, and interruptions that leave no trace."""

import json
import logging
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from odenet.solvers import Counts, SolveStats
from replication import training
from replication.training import Learner, Schedule, column, restore, train

DATA = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
SCHEDULE = Schedule(epochs=4, size=50, batch_size=16, clip=1.0)


class Interruption(Exception):
    pass


def learner(scheduler: str = "onecycle", steps: int = SCHEDULE.steps) -> Learner:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 3))
    if scheduler == "onecycle":
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        plan = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 0.1, total_steps=steps, cycle_momentum=False
        )
    else:
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=1e-3)
    return Learner(model, optimizer, plan, torch.Generator().manual_seed(1))


def run(student: Learner, checkpoint, *, stop_at: int | None = None, schedule=SCHEDULE):
    """A training with noise from the learner's generator; raises at step ``stop_at``."""

    def loss(members, step):
        if step == stop_at:
            raise Interruption
        noise = torch.randn(len(members), 3, generator=student.generator)
        x = DATA[members]
        return F.mse_loss(student.model(x + 0.1 * noise), x), SolveStats(forward=Counts(nfe=step))

    @torch.no_grad()
    def evaluate():
        return {"error": float(F.mse_loss(student.model(DATA), DATA))}

    return train(student, schedule, loss, evaluate=evaluate, checkpoint=checkpoint, title="toy")


def without_seconds(history):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


@pytest.mark.parametrize("scheduler", ["onecycle", "cosine"])
def test_interrupted_training_ends_bitwise_as_one_that_was_not(tmp_path, scheduler):
    whole, first, second = (learner(scheduler) for _ in range(3))
    expected = run(whole, tmp_path / "whole.pt")
    with pytest.raises(Interruption):  # in the middle of the third epoch
        run(first, tmp_path / "parts.pt", stop_at=10)
    history = run(second, tmp_path / "parts.pt")
    assert without_seconds(history) == without_seconds(expected)
    for a, b in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_finished_training_is_returned_without_another_step(tmp_path):
    history = run(learner(), tmp_path / "checkpoint.pt")
    assert run(learner(), tmp_path / "checkpoint.pt", stop_at=0) == history


def test_history_has_a_row_before_training_and_means_over_the_steps_of_each_epoch(tmp_path):
    history = run(learner(), tmp_path / "checkpoint.pt")
    assert column(history, "epoch") == [0, 1, 2, 3, 4]
    assert column(history, "nfe_forward") == [None, 1.5, 5.5, 9.5, 13.5]
    assert column(history, "error")[-1] < column(history, "error")[0]
    assert set(history[1]) == {
        *("epoch", "train_loss", "nfe_forward", "nfe_backward", "seconds", "error")
    }
    assert json.loads(json.dumps(history)) == history


def test_backward_evaluations_are_counted_after_the_pullback(tmp_path):
    student = learner()
    stats = SolveStats()

    class Counting(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, cotangent):
            stats.backward.nfe += 1
            return cotangent

    def loss(members, step):
        return Counting.apply(student.model(DATA[members]).square().mean()), stats

    schedule = Schedule(epochs=1, size=50, batch_size=50)
    path = tmp_path / "checkpoint.pt"
    history = train(student, schedule, loss, evaluate=dict, checkpoint=path, title="toy")
    assert history[1]["nfe_backward"] == 1


def test_every_example_is_seen_once_an_epoch_in_an_order_of_its_own(tmp_path):
    student, batches = learner(), []

    def loss(members, step):
        batches.append(members)
        return student.model(DATA[members]).mean(), SolveStats()

    path = tmp_path / "checkpoint.pt"
    train(student, Schedule(2, 50, 16), loss, evaluate=dict, checkpoint=path, title="toy")
    assert [len(b) for b in batches] == [16, 16, 16, 2] * 2
    first, second = torch.cat(batches[:4]), torch.cat(batches[4:])
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(50))
    assert first.tolist() != second.tolist()


def test_gradient_is_cut_to_the_length_clip(tmp_path):
    student = learner()
    run(student, tmp_path / "checkpoint.pt", schedule=Schedule(1, 50, 50, clip=1e-3))
    length = math.sqrt(sum(float(p.grad.square().sum()) for p in student.model.parameters()))
    assert length == pytest.approx(1e-3, rel=1e-2)


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    weights = learner().model[0].weight.detach().numpy().tobytes()
    assert len(data) > len(weights)
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def cut_in_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [flip_a_bit, cut_in_half])
def test_damaged_checkpoint_is_set_aside_with_a_line_and_training_starts_anew(
    tmp_path, caplog, damage
):
    path = tmp_path / "checkpoint.pt"
    expected = run(learner(), path)
    damage(path)
    with caplog.at_level(logging.WARNING):
        history = run(learner(), path)
    assert "is damaged" in caplog.text and "checkpoint.pt.damaged" in caplog.text
    assert (tmp_path / "checkpoint.pt.damaged").exists()
    assert without_seconds(history) == without_seconds(expected)


def test_interrupted_write_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(Interruption):
        run(learner(), path, stop_at=6)
    before = path.read_bytes()

    def half_a_write(state, target):
        target.write_bytes(before[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(training.torch, "save", half_a_write)
    with pytest.raises(KeyboardInterrupt):
        run(learner(), path)
    assert path.read_bytes() == before
    assert len(restore(learner(), path)) == 2


def test_loss_that_is_not_finite_stops_the_training(tmp_path):
    student = learner()

    def loss(members, step):
        return student.model(DATA[members]).mean() * float("nan"), SolveStats()

    path = tmp_path / "checkpoint.pt"
    with pytest.raises(FloatingPointError, match="the loss is nan at step 0"):
        train(student, SCHEDULE, loss, evaluate=dict, checkpoint=path, title="toy")
    assert not path.exists()


def test_schedule_of_no_epochs_only_evaluates(tmp_path):
    student = learner()
    history = run(student, tmp_path / "checkpoint.pt", schedule=Schedule(0, 50, 16))
    assert [set(row) for row in history] == [{"epoch", "error"}]


@pytest.mark.parametrize("wrong", [(-1, 50, 16), (1, 0, 16), (1, 50, 0)])
def test_impossible_schedule_is_refused(wrong):
    with pytest.raises(ValueError, match="epochs must be >= 0"):
        Schedule(*wrong)


def test_progress_is_shown_on_the_standard_error(tmp_path, capsys):
    run(learner(), tmp_path / "checkpoint.pt")
    shown = capsys.readouterr().err
    assert "toy | epoch 4/4" in shown and "16/16" in shown and "loss=" in shown
