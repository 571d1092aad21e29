"""What a field depends on: found before a solve, and looked at again when it is differentiated.

``Checkpoint`` and the adjoint rules call the field anew in the backward pass. A field that is no
longer the same then would give gradients of something else without a word.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from odenet.solvers import InitialValueProblem, rms

_complete: WeakSet[nn.Module] = WeakSet()  # of which nothing is missing
ADVICE = "make it the same in the forward and the backward pass, or take Backprop"


def found_params(module: nn.Module) -> tuple[Tensor, ...]:
    """The tensors of a module, and of the modules in it, that require gradients.

    They are parameters, and tensors among the attributes: a condition, weights that another network
    made, the parameters of a replica of ``nn.DataParallel``.
    """
    tensors: dict[int, Tensor] = {}
    for part in module.modules():
        # A hook before the call makes such attributes anew each time, as weight_norm's does.
        attributes = () if part._forward_pre_hooks else vars(part).values()
        for x in (*part._parameters.values(), *part._buffers.values(), *attributes):
            if isinstance(x, Tensor) and x.requires_grad:
                tensors[id(x)] = x
    return tuple(tensors.values())


def check_unchanged(problem: InitialValueProblem, evaluate: bool = False) -> int:
    """Raises RuntimeError for a field that reads other tensors, or returns another first slope.

    Returns the number of evaluations that were made: one where ``evaluate`` asks for the slope.
    """
    if problem.module is not None and _ids(found_params(problem.module)) != _ids(problem.params):
        raise RuntimeError(
            "f does not hold the tensors of the forward pass any more (was a condition replaced, "
            f"or functional_call left?): {ADVICE}"
        )
    first = getattr(problem.f, "first", None)
    if not (evaluate and first):
        return 0
    t, y, slope = first
    with torch.no_grad():
        check_same(problem.f(t, y), slope, slope)
    return 1


def check_same(again: Tensor, once: Tensor, scale: Tensor) -> None:
    """Raises RuntimeError for what differs by more than rounding, in units of ``scale``."""
    if torch.equal(again, once):
        return
    eps = torch.finfo(once.dtype).eps
    if not rms(again - once) <= math.sqrt(eps) * rms(scale) + 8 * eps * rms(once):
        raise RuntimeError(
            "f returned another slope in the backward pass than in the forward pass (random "
            f"numbers as of dropout, another condition, another mode?): {ADVICE}"
        )


def check_complete(
    problem: InitialValueProblem, outputs: Sequence[Tensor], known: Sequence[Tensor]
) -> None:
    """Raises RuntimeError where outputs depend on more than the ``known`` tensors.

    Autograd's graph tells, for parameters that were found and not given; once for a field, as the
    graph of a step is long.
    """
    if problem.module is None or problem.module in _complete:
        return
    edges = map(get_gradient_edge, known)
    ends = {(edge.node, edge.output_nr) for edge in edges}
    nodes = [y.grad_fn for y in outputs if y.grad_fn is not None]
    seen = set(nodes)
    while nodes:
        for node, place in nodes.pop().next_functions:
            if node is None or node in seen or (node, place) in ends:
                continue
            if hasattr(node, "variable"):
                raise RuntimeError(
                    f"f depends on a tensor of shape {tuple(node.variable.shape)} that requires a "
                    "gradient and that it does not hold as a parameter or an attribute: register "
                    "it, give params, or take Backprop"
                )
            seen.add(node)
            nodes.append(node)
    _complete.add(problem.module)


def _ids(tensors: Sequence[Tensor]) -> list[int]:
    return [id(x) for x in tensors]
