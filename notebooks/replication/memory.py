"""What a solve keeps for its backward pass, in bytes: the tensors that autograd saves.

Counted when they are saved and when they are let go, so that nothing is sampled: no allocator, no
other tensor of the process and no rounding to pages is in the numbers. A storage counts once,
however many operations saved it.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor

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

    def __exit__(self, *raised: Any) -> None:
        self._hooks.__exit__(*raised)

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
