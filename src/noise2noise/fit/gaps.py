"""Images of which something is missing: what is NaN in a target is neither learned nor measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from chainrule.losses import Loss
from chainrule.module import Tape
from noise2noise.metrics import psnr


class WhereKnown(Loss):
    """A loss of which the values that are NaN in the target are no part.

    They count as predicted exactly, so that their error is 0 and so is its gradient; the mean is
    still over all values.

    Args:
        loss: whose gradient is 0 where prediction and target are the same.
    """

    def __init__(self, loss: Loss) -> None:
        super().__init__(loss.reduction)
        self.loss = loss

    def run(self, prediction: Tensor, target: Tensor, tape: Tape) -> Tensor:
        return self.loss.run(prediction, torch.where(target.isnan(), prediction, target), tape)

    def back(self, gradient: Any, tape: Tape) -> Any:
        return self.loss.back(gradient, tape)


def psnr_where_known(prediction: np.ndarray, reference: np.ndarray) -> float:
    """The PSNR, in dB, of images (C, H, W) on the unit scale where the reference isn't NaN."""
    known = np.isfinite(reference)
    if known.all():
        return psnr(prediction, reference)
    return psnr(prediction[known].reshape(1, 1, -1), reference[known].reshape(1, 1, -1))
