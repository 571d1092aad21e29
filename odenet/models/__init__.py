"""Models made of solves: blocks, classifiers, flows, latent ODEs and point processes."""

from odenet.models.blocks import (
    AugmentedODEBlock,
    Downsample,
    ODEBlock,
    ResidualBlocks,
    residual_branch,
)
from odenet.models.classifier import Classifier, classifier
from odenet.models.fields import Autonomous, ConvField, MLPField, TimeConv, TimeLinear
from odenet.models.flow import ContinuousFlow, EstimatedTrace, ExactTrace
from odenet.models.latent import RNN, LatentODE
from odenet.models.planar import PlanarField, PlanarLayers
from odenet.models.poisson import PoissonPath, poisson_path

__all__ = [
    "AugmentedODEBlock",
    "Autonomous",
    "Classifier",
    "ContinuousFlow",
    "ConvField",
    "Downsample",
    "EstimatedTrace",
    "ExactTrace",
    "LatentODE",
    "MLPField",
    "ODEBlock",
    "PlanarField",
    "PlanarLayers",
    "PoissonPath",
    "RNN",
    "ResidualBlocks",
    "TimeConv",
    "TimeLinear",
    "classifier",
    "poisson_path",
    "residual_branch",
]
