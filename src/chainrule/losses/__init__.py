"""The losses, one file per family."""

from chainrule.losses.classification import (
    BCEWithLogits,
    BCEWithLogitsLoss,
    CrossEntropy,
    CrossEntropyLoss,
)
from chainrule.losses.errors import (
    L0,
    L1,
    MSE,
    Charbonnier,
    Huber,
    HuberLoss,
    L1Loss,
    LogMSE,
    MSELoss,
)
from chainrule.losses.loss import Loss
from chainrule.losses.similarity import SSIM

__all__ = [
    "L0",
    "L1",
    "MSE",
    "SSIM",
    "BCEWithLogits",
    "BCEWithLogitsLoss",
    "Charbonnier",
    "CrossEntropy",
    "CrossEntropyLoss",
    "Huber",
    "HuberLoss",
    "L1Loss",
    "LogMSE",
    "Loss",
    "MSELoss",
]
