"""The one training loop: batches in, history out, resumable at the end of each epoch."""

import logging
import math
import os
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from tqdm import tqdm

from odenet.solvers import SolveStats

Row = dict[str, Any]  # what is known of one epoch
Loss = Callable[[Tensor, int], tuple[Tensor, SolveStats]]  # batch members, step -> loss, cost
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Learner:
    """All that a training changes: a checkpoint holds their states and the history.

    Attributes:
        model: what learns.
        optimizer: makes a step after each batch.
        scheduler: of its rate, stepped after each batch.
        generator: of the CPU; the only source of randomness of the training.
    """

    model: nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler
    generator: torch.Generator

    def parts(self) -> dict[str, Any]:
        """What has a ``state_dict``."""
        return {"model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler}


@dataclass(frozen=True)
class Schedule:
    """How long a training is, and in what batches.

    Attributes:
        epochs: passes over the examples, at least 0.
        size: number of examples, at least 1.
        batch_size: of each batch but the last, which may be smaller; at least 1.
        clip: the length that gradients are cut to; none by default.
    """

    epochs: int
    size: int
    batch_size: int
    clip: float = math.inf

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.size < 1 or self.batch_size < 1:
            raise ValueError(f"epochs must be >= 0, size and batch_size >= 1, got {self}")

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self.size / self.batch_size)

    @property
    def steps(self) -> int:
        return self.epochs * self.steps_per_epoch


def train(
    learner: Learner,
    schedule: Schedule,
    loss: Loss,
    *,
    evaluate: Callable[[], Row],
    checkpoint: Path,
    title: str,
) -> list[Row]:
    """The history of a finished training, one row an epoch; the model is left trained.

    Row 0 is ``evaluate()`` before the training, row i that after epoch i together with the means
    over the epoch's steps of train_loss, nfe_forward and nfe_backward, and its seconds. Goes on
    from ``checkpoint`` where there is one: an interrupted training ends bitwise as one that was
    not (same machine, same threads). Raises FloatingPointError for a loss that is not finite.
    """
    history = restore(learner, checkpoint) or [{"epoch": 0, **evaluate()}]
    per_epoch = schedule.steps_per_epoch
    done = len(history) - 1
    with tqdm(total=schedule.steps, initial=done * per_epoch) as bar:
        for epoch in range(done + 1, schedule.epochs + 1):
            bar.set_description(f"{title} | epoch {epoch}/{schedule.epochs}", refresh=False)
            started = time.perf_counter()
            means = _epoch(learner, schedule, loss, (epoch - 1) * per_epoch, bar)
            seconds = time.perf_counter() - started
            history.append({"epoch": epoch, **means, "seconds": seconds, **evaluate()})
            save(learner, history, checkpoint)
    return history


def _epoch(learner: Learner, schedule: Schedule, loss: Loss, first_step: int, bar: tqdm) -> Row:
    order = torch.randperm(schedule.size, generator=learner.generator)
    totals = [0.0, 0.0, 0.0]
    learner.model.train()
    for step, members in enumerate(order.split(schedule.batch_size), first_step):
        learner.optimizer.zero_grad()
        value, stats = loss(members, step)
        value.backward()
        if schedule.clip < math.inf:
            nn.utils.clip_grad_norm_(learner.model.parameters(), schedule.clip)
        learner.optimizer.step()
        learner.scheduler.step()
        numbers = (float(value.detach()), stats.forward.nfe, stats.backward.nfe)
        if not math.isfinite(numbers[0]):
            raise FloatingPointError(f"the loss is {numbers[0]} at step {step}")
        totals = [total + number for total, number in zip(totals, numbers, strict=True)]
        bar.set_postfix(loss=f"{numbers[0]:.3g}", refresh=False)
        bar.update()
    names = ("train_loss", "nfe_forward", "nfe_backward")
    return {k: v / schedule.steps_per_epoch for k, v in zip(names, totals, strict=True)}


def column(history: Sequence[Row], name: str) -> list[Any]:
    """One entry of each row, None where a row lacks it."""
    return [row.get(name) for row in history]


def save(learner: Learner, history: list[Row], path: Path) -> None:
    """``path`` holds the learner's state and the history; at no time does it hold half of them."""
    states = {name: part.state_dict() for name, part in learner.parts().items()}
    state = {**states, "generator": learner.generator.get_state(), "history": history}
    save_atomically(state, path)


def restore(learner: Learner, path: Path) -> list[Row] | None:
    """The learner is as it was saved, and its history returned; None where nothing was saved.

    A damaged file is renamed to end in ``.damaged``, which is logged, and counts as none.
    """
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as parts:  # torch.load itself compares no checksums
            if (damaged := parts.testzip()) is not None:
                raise zipfile.BadZipFile(f"{damaged} does not match its checksum")
        saved = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # a damaged file can fail in any way at all
        aside = path.with_name(path.name + ".damaged")
        os.replace(path, aside)
        log.warning("%s is damaged (%s); set aside as %s", path, error, aside.name)
        return None
    for name, part in learner.parts().items():
        part.load_state_dict(saved[name])
    learner.generator.set_state(saved["generator"])
    return saved["history"]


def save_atomically(state: Any, path: Path) -> None:
    """``torch.save`` to a file beside ``path`` that then takes its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    torch.save(state, temporary)
    os.replace(temporary, path)
