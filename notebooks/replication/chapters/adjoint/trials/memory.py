"""What a solve keeps for its backward pass, by rule, tolerance and number of outputs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from odenet.adjoint import GRADIENTS
from odenet.models.classifier import CHANNELS
from odenet.models.fields import ConvField
from odenet.ode import Solver, solve
from odenet.solvers import Adaptive
from replication.memory import Held, kept_bytes

IMAGES = 4  # to which bytes are proportional


@dataclass(frozen=True)
class Trial:
    """The field of the ODE-Net, untrained, from a state of noise."""

    seed: int = 0  # of the weights and of the state
    tolerances: Sequence[float] = (1e-1, 1e-2, 1e-3)  # which vary the number of evaluations
    outputs: Sequence[int] = (1, 10, 100)  # numbers of output times, at the loosest tolerance


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """Bytes beside the parameters: rows ``by_tolerance`` and ``by_outputs`` for each rule.

    A row has ``rule``, ``outputs``, ``tolerance``, ``nfe`` of the forward pass, and the bytes
    ``kept`` between the passes and at the ``peak`` of both. As yardsticks, ``evaluation`` is what
    the graph of one evaluation of the field keeps, and ``state`` the size of one state.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed)
        field = ConvField(CHANNELS)
        state = torch.randn(IMAGES, CHANNELS, 7, 7).requires_grad_()

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
    return {**case, "nfe": solution.stats.forward.nfe, "kept": kept, "peak": held.peak}
