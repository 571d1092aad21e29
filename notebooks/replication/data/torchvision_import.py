"""torchvision beside a CPU-only torch."""

import sys

import torch

try:
    import torchvision
except RuntimeError:
    # A build for CUDA registers shape rules of operators that it cannot load beside a torch for
    # the CPU. They are declared, without an implementation: the data sets need none of them.
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    for name in ("nms", "qnms"):
        schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        torch.library.define(f"torchvision::{name}", schema)
    import torchvision

__all__ = ["torchvision"]
