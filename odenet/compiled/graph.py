"""Compiled functions: how they are made, kept and counted, and how they fail."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
from torch._inductor.compile_fx import compile_fx
from torch._inductor.exc import CppCompileError, InvalidCxxCompiler

# torch.compile's own bound on versions of one function, over which it refuses to make another.
_VERSIONS = 256
# What no call can change, by the names of guards: the code of this package and of PyTorch, and what
# is in a graph's key, but for what a norm refers to.
_CONSTANT = re.compile(
    r"tableau|names|law(?!\.norm)"
    r"|.*(__import_odenet_dot_(compiled|solvers)|__import_torch_dot_(utils|_|nn_dot_utils)"
    r"|__import__\('torch'\)|__builtins_dict)"
)
_SMALL = 2**17  # numbers in a tensor, up to which one thread is fastest


class CannotCompile(ValueError):
    """What was asked for cannot be compiled; the message says why and what to do."""


@dataclass(frozen=True)
class Compilation:
    """What was compiled, and how many seconds that took (the first run included)."""

    what: str
    seconds: float


_made: list[Compilation] = []
_graphs: dict[Hashable, Graph] = {}
_lock = threading.Lock()
_here = threading.local()  # .compiled: whether this thread's call made a new version


def compilations() -> list[Compilation]:
    """All that this process has compiled, in order.

    Another field, shape, precision, device, method, or constant inside the field or the control
    compiles anew; other parameters, tolerances and times do not.
    """
    with _lock:
        return list(_made)


def graph(key: Hashable, make: Callable[[], Callable[..., Any]]) -> Graph:
    """The compiled function of ``key``, made on its first use."""
    with _lock:
        if key not in _graphs:
            _graphs[key] = Graph(make())
        return _graphs[key]


class Graph:
    """A function compiled as one graph for each kind of arguments.

    What it was traced with is guarded by ``torch.compile``: its code is taken again only for
    arguments of the same shapes, and for a field whose class, submodules and attributes are equal.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._call = torch.compile(  # type: ignore[call-overload]
            function,
            fullgraph=True,
            dynamic=False,
            backend=_inductor,
            options={"guard_filter_fn": _guarded},
            recompile_limit=_VERSIONS,
            isolate_recompiles=True,
        )

    def __call__(self, what: Callable[[], str], *arguments: Any) -> Any:
        """The function's value; ``what`` names the compilation that this may start.

        Raises ``CannotCompile``.
        """
        _here.compiled = False
        started = time.perf_counter()
        try:
            value = self._call(*arguments)
        except (TorchDynamoException, FailOnRecompileLimitHit) as error:
            raise CannotCompile(f"{what()} cannot be compiled: {_reason(error)}") from error
        if _here.compiled:
            with _lock:
                _made.append(Compilation(what(), time.perf_counter() - started))
        return value


def _guarded(guards: Sequence[Any]) -> list[bool]:
    """Which guards are checked at every call; half of them could never fail."""
    return [not _CONSTANT.match(guard.name) for guard in guards]


def _inductor(module: torch.fx.GraphModule, inputs: Sequence[Any]) -> Callable[..., Any]:
    _here.compiled = True
    tensors = [x for x in inputs if isinstance(x, torch.Tensor)]
    patches: dict[str, Any] = {
        # The loop itself in C++: in Python it would cost more than the steps of a small field.
        "cpp_wrapper": all(x.device.type == "cpu" for x in tensors),
        # Bounds of slices hold by construction; their checks would be text that differs from
        # process to process, and keep the next one from finding the code on disk.
        "scalar_asserts": False,
        # Channels stay where the field has them: moved last, group norms are far slower.
        "layout_optimization": False,
    }
    if all(x.numel() < _SMALL for x in tensors):
        patches["cpp.threads"] = 1  # several would wait for each other longer than they work
    return compile_fx(module, inputs, config_patches=patches)  # type: ignore[return-value]


def _reason(error: BaseException) -> str:
    """Why, and what to do instead."""
    eager = "or solve it with the rule itself, not compiled"
    if isinstance(error, FailOnRecompileLimitHit):
        return (
            f"it already was, {_VERSIONS} times. torch.compiler.reset() forgets them all; keep "
            f"shapes and the field's attributes constant, {eager}"
        )
    causes = (error, getattr(error, "inner_exception", None), error.__cause__)
    if any(isinstance(x, InvalidCxxCompiler | CppCompileError) for x in causes):
        return f"the C++ compiler is missing or fails. Install one, such as g++, {eager}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = next((x for x in lines if not x.startswith("This higher order")), type(error).__name__)
    return (
        f"{told}. The field must take the time as a tensor, must not branch on values and must not "
        f"change Python state: rewrite it, {eager}"
    )
