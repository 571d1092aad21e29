"""Where experiments train: on the CPU, or on the device that ODENET_DEVICE names."""

import os
import time

import torch


def device() -> torch.device:
    """That device; raises ValueError for one that torch does not know or this machine lacks."""
    name = os.environ.get("ODENET_DEVICE", "").strip() or "cpu"
    try:
        chosen = torch.device(name)
        torch.zeros(1, device=chosen).cpu()  # "meta" holds no numbers
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"ODENET_DEVICE must name a device that this machine has, such as cpu or cuda, "
            f"not {name!r}"
        ) from error
    return chosen


def clock() -> float:
    """Seconds, read when the work given to an accelerator is done."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return time.perf_counter()
