"""What one training step takes: its time, and the bytes kept for its backward pass."""

from statistics import median
from typing import Any

import torch
from torch.nn import functional as F

from odenet.models.classifier import Classifier
from odenet.ode import Solver
from replication.data.mnist import Digits
from replication.device import clock
from replication.memory import kept_bytes

REPEATS = 3  # timed steps, after one that warms up and whose bytes are counted


def step_cost(model: Classifier, batch: Digits, solver: Solver | None = None) -> dict[str, Any]:
    """Of a step on ``batch``, with another solver if one is given; the model is left as it was.

    ``bytes_kept``: of all that autograd saves beside the parameters; ``bytes_kept_block``: of what
    the block saves. ``seconds_forward`` and ``seconds_backward``: medians of three.
    """
    parameters = list(model.parameters())
    # A slice of a larger set would be counted with all of the set: what is kept is a storage.
    batch = Digits(*(part.clone() for part in batch))

    def loss() -> torch.Tensor:
        return F.cross_entropy(model(batch.images, solver)[0], batch.labels)

    whole, _ = kept_bytes(loss, parameters)
    with torch.no_grad():
        state = model.stem(batch.images)
    block, _ = kept_bytes(lambda: model.block(state.requires_grad_(), solver), parameters)
    times = []
    for _ in range(REPEATS):
        started = clock()
        value = loss()
        between = clock()
        torch.autograd.grad(value, parameters)
        times.append((between - started, clock() - between))
    forward, backward = (median(part) for part in zip(*times, strict=True))
    return {
        "bytes_kept": whole,
        "bytes_kept_block": block,
        "seconds_forward": forward,
        "seconds_backward": backward,
    }
