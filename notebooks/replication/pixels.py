"""A network on raw pixels: averaged images, any block, a linear head."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from odenet.models.classifier import CLASSES, Classifier

CHANNELS = 8
GRID = 7  # the head sees averages over so many by so many places
MEAN, SPREAD = 0.13, 0.31  # of the pixels of MNIST


class Pixels(nn.Module):
    """Images (n, 1, 28, 28) to states (n, CHANNELS, 14, 14), with nothing to learn.

    Averages of two by two pixels, in units of their spread, the same in each channel. Channels of
    zeros would be blown up by the normalization as soon as a field fills them.
    """

    def forward(self, images: Tensor) -> Tensor:
        averages = (F.avg_pool2d(images, 2) - MEAN) / SPREAD
        return averages.repeat(1, CHANNELS, 1, 1)


def pixel_classifier(block: Callable[[], nn.Module], seed: int) -> Classifier:
    """A new network around the block that is made; the global random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        linear = nn.Linear(CHANNELS * GRID**2, CLASSES)
        head = nn.Sequential(nn.AdaptiveAvgPool2d(GRID), nn.Flatten(), linear)
        return Classifier(Pixels(), block(), head)
