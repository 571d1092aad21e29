"""What a solve keeps for its backward pass, in bytes: the tensors that autograd saves.

Counted when they are saved and when they are let go, so that nothing is sampled: no allocator, no
other tensor of the process and no rounding to pages is in the numbers. A storage counts once,
however many operations saved it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import torch
from torch import Tensor

from odenet.gradients import GRADIENTS
from odenet.models.classifier import CHANNELS
from odenet.models.fields import ConvField
from odenet.ode import Solver, solve
from odenet.solvers import Adaptive

T = TypeVar("T")


class Held:
    """While entered: the bytes that graphs built since then hold ``now``, and at most, ``peak``.

    ``besides`` are tensors that do not count. Graphs of this thread only, which is where autograd
    works unless on a GPU.
    """

    def __init__(self, besides: Iterable[Tensor] = ()) -> None:
        self.now = self.peak = 0
        self._uses: Counter[int] = Counter()  # storage -> saved tensors of it that are alive
        self._besides = {x.untyped_storage().data_ptr() for x in besides}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda x: _Saved(x, self), lambda saved: saved.tensor
        )

    def __enter__(self) -> "Held":
        self._hooks.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hooks.__exit__(kind, error, trace)

    def count(self, x: Tensor, change: int) -> None:
        """``x`` is saved once more (``change`` 1) or less (-1)."""
        storage = x.untyped_storage()
        place = storage.data_ptr()
        if place in self._besides:
            return
        before = self._uses[place]
        self._uses[place] += change
        if not before or not self._uses[place]:
            self.now += change * storage.nbytes()
            self.peak = max(self.peak, self.now)


class _Saved:
    """A tensor for as long as a graph holds it."""

    def __init__(self, tensor: Tensor, held: Held) -> None:
        # Without its place in the graph: an output that its own node holds would never be freed.
        self.tensor, self._held = tensor.detach(), held
        held.count(self.tensor, 1)

    def __del__(self) -> None:
        self._held.count(self.tensor, -1)


def kept_bytes(way: Callable[[], T], besides: Iterable[Tensor] = ()) -> tuple[int, T]:
    """The bytes that the value of ``way()`` keeps for its backward pass, and the value."""
    with Held(besides) as held:
        value = way()
        return held.now, value


@dataclass(frozen=True)
class Trial:
    """The field of the ODE-Net, untrained, from a state of noise; bytes grow with ``images``."""

    seed: int = 0  # of the weights and of the state
    tolerances: Sequence[float] = (1e-1, 1e-2, 1e-3)  # which vary the number of evaluations
    outputs: Sequence[int] = (1, 10, 100)  # numbers of output times, at the loosest tolerance
    images: int = 4


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """Bytes beside the parameters: rows ``by_tolerance`` and ``by_outputs`` for each rule.

    A row has ``rule``, ``outputs``, ``tolerance``, ``nfe`` of the forward pass, and the bytes
    ``kept`` between the passes and at the ``peak`` of both. As yardsticks, ``evaluation`` is what
    the graph of one evaluation of the field keeps, and ``state`` the size of one state.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed)
        field = ConvField(CHANNELS)
        state = torch.randn(trial.images, CHANNELS, 7, 7).requires_grad_()

    def rows(outputs: Iterable[int], tolerances: Iterable[float]) -> list[dict[str, Any]]:
        cases = [(n, tolerance) for n in outputs for tolerance in tolerances]
        return [_row(field, state, rule, n, at) for rule in GRADIENTS for n, at in cases]

    evaluation, _ = kept_bytes(lambda: field(0.0, state), field.parameters())
    return {
        "by_tolerance": rows([1], trial.tolerances),
        "by_outputs": rows(trial.outputs, [max(trial.tolerances)]),
        "evaluation": evaluation,
        "state": state.untyped_storage().nbytes(),
    }


def _row(
    field: ConvField, state: Tensor, rule: str, outputs: int, tolerance: float
) -> dict[str, Any]:
    solver = Solver("dopri5", Adaptive(tolerance, tolerance), rule)
    ts = [i / outputs for i in range(outputs + 1)]
    with Held(field.parameters()) as held:
        solution = solve(field, state, ts, solver)
        kept = held.now
        # A sum keeps nothing of its own.
        torch.autograd.grad(solution.ys.sum(), [state, *field.parameters()])
    case = {"rule": rule, "outputs": outputs, "tolerance": tolerance}
    return {**case, "nfe": solution.work.forward.nfe, "kept": kept, "peak": held.peak}
