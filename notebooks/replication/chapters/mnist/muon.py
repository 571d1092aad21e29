"""The optimizer of the digits: Muon for the kernels of convolutions, Adam for all else."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Adam, Muon, Optimizer


class KernelsByMuon(Optimizer):
    """torch's Muon on the kernels of convolutions, and its Adam on the other parameters.

    Muon (Jordan et al. 2024) steps along the orthogonal factor of a matrix of momenta. A kernel (n,
    m, h, w) is taken for the matrix (n, m h w), as torch's Muon takes matrices only. Kernels that
    read a single channel are left to Adam. ``param_groups``: the matrices, where there are any, and
    the rest.
    """

    def __init__(self, model: nn.Module, kernel_lr: float, lr: float) -> None:
        every = list(model.parameters())
        self.kernels = [p for p in every if p.dim() == 4 and p.shape[1] > 1]
        # Views: a step on the matrix is a step on the kernel.
        self.matrices = [
            nn.Parameter(kernel.detach().view(len(kernel), -1)) for kernel in self.kernels
        ]
        taken = set(map(id, self.kernels))
        self.parts: list[Optimizer] = [Adam([p for p in every if id(p) not in taken], lr=lr)]
        if self.kernels:
            self.parts.insert(0, Muon(self.matrices, lr=kernel_lr, weight_decay=0.0))
        # The groups are those of the parts themselves, so that a schedule reaches them.
        super().__init__([group for part in self.parts for group in part.param_groups], {})

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none)
        for kernel in self.kernels:
            kernel.grad = None

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for matrix, kernel in zip(self.matrices, self.kernels, strict=True):
            matrix.grad = None if kernel.grad is None else kernel.grad.reshape(matrix.shape)
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]
