"""torchvision beside a CPU-only torch."""

import importlib
import sys
from types import ModuleType

import torch

# The operators whose shape rules torchvision registers without first asking whether they exist.
UNGUARDED = ("nms", "qnms")
SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def import_torchvision() -> ModuleType:
    """The torchvision package, imported.

    The build for CUDA cannot load its compiled operators beside a torch built for the CPU, and
    its import then stops at the first of them. Only in that case are the missing operators
    declared, without an implementation, and the import repeated: the data sets need none of them.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError:
        _forget_half_imported()
        for name in UNGUARDED:
            torch.library.define(f"torchvision::{name}", SCHEMA)
        return importlib.import_module("torchvision")


def _forget_half_imported() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
