"""Classifiers of digits that another trial has trained."""

from pathlib import Path
from typing import cast

import torch

from odenet.models.blocks import ODEBlock
from odenet.models.classifier import Classifier, classifier
from replication.device import device


def trained(training: str, folder: Path, tolerance: float = 1e-3) -> tuple[Classifier, ODEBlock]:
    """The ODE-Net that the trial ``training`` trained, in evaluation mode, and its block.

    Arguments and errors are those of ``trained_classifier``.
    """
    model = trained_classifier("odenet", training, folder, tolerance)
    return model, cast(ODEBlock, model.block)


def trained_classifier(
    name: str, training: str, folder: Path, tolerance: float = 1e-3
) -> Classifier:
    """The classifier ``name`` in evaluation mode, with the weights of the trial ``training``.

    That is the name of its folder in the cache in which ``folder`` is this trial's: those of the
    chapter ``mnist`` stand beside those of this one. Raises FileNotFoundError where it holds no
    weights.
    """
    weights = folder.parents[1] / "mnist" / training / "weights.pt"
    model = classifier(name, tolerance)
    model.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))
    return model.to(device()).eval()
