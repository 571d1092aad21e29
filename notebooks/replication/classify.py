"""Digits classified: the logits, the share of errors, and the errors themselves."""

from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from replication.data.mnist import Digits

BATCH = 500
MOST = 300  # mistakes that are listed


@torch.no_grad()
def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    """The logits (n, 10) of ``images``, batch by batch, with the model in evaluation mode."""
    model.eval()
    return torch.cat([model(batch)[0] for batch in images.split(BATCH)])


def error_pct(model: nn.Module, digits: Digits) -> float:
    """The percentage of ``digits`` that the model misclassifies."""
    return share_pct(logits_of(model, digits.images), digits.labels)


def share_pct(logits: Tensor, labels: Tensor) -> float:
    """The percentage of ``logits`` whose largest is not that of the label."""
    return 100 * int((logits.argmax(1) != labels).sum()) / len(labels)


def mistakes(logits: Tensor, labels: Tensor) -> list[dict[str, Any]]:
    """The misclassified digits, the surest mistake first; the first 300 if there are more.

    ``index`` of the digit, its ``label``, what was ``predicted`` instead, and the ``margin``: the
    logit of the prediction minus that of the label.
    """
    predicted = logits.argmax(1)
    wrong = (predicted != labels).nonzero()[:, 0]
    taken, right = (logits[wrong, of[wrong]] for of in (predicted, labels))
    columns = {"index": wrong, "label": labels[wrong], "predicted": predicted[wrong]}
    rows = pd.DataFrame({**columns, "margin": (taken - right).double()}).round({"margin": 4})
    return rows.sort_values("margin", ascending=False, kind="stable")[:MOST].to_dict("records")
