"""Structural similarity as a loss. Gradient: docs/gradients.md#structural-similarity."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from chainrule import ops
from chainrule.losses.loss import Loss
from chainrule.module import Tape
from chainrule.ops.checks import check_images


class SSIM(Loss):
    """1 - the structural similarity of two images: their means, contrasts and correlation under a
    Gaussian window that slides over them. Wang et al. 2004.

    For the values a and b under one window, with means m, variances v and covariance c weighted by
    the window, S = (2 m_a m_b + C1) (2 c + C2) / ((m_a^2 + m_b^2 + C1) (v_a + v_b + C2)), where
    C1 = (k1 data_range)^2 and C2 = (k2 data_range)^2. An image's similarity is the mean of S over
    its channels and all places where the window lies inside; equal to scikit-image's
    `structural_similarity(gaussian_weights=True, use_sample_covariance=False)`.

    Args:
        reduction: "mean" over images, "sum", or "none".
        data_range: the largest value a pixel can have; above 0.
        window: rows and columns of the window, odd.
        sigma: its standard deviation in pixels; above 0.
        k1, k2: keep the quotient finite.

    Shapes:
        prediction and target (N, C, H, W), H and W at least `window`.

    Raises:
        TypeError, ValueError: arguments out of range, or images that don't fit.
    """

    def __init__(
        self,
        reduction: str = "mean",
        data_range: float = 1.0,
        window: int = 11,
        sigma: float = 1.5,
        k1: float = 0.01,
        k2: float = 0.03,
    ) -> None:
        super().__init__(reduction)
        for name, value in (("data_range", data_range), ("sigma", sigma)):
            if not value > 0:
                raise ValueError(f"SSIM: {name} must be above 0, got {value!r}")
        if not isinstance(window, int) or window < 1 or window % 2 == 0:
            raise ValueError(f"SSIM: window must be a positive odd int, got {window!r}")
        self.window, self.sigma = window, sigma
        self.data_range, self.k1, self.k2 = data_range, k1, k2

    @ops.in_float32
    def run(self, prediction: Tensor, target: Tensor, tape: Tape) -> Tensor:
        ops.check_target("SSIM", prediction, target)
        check_images("SSIM", "prediction", prediction)
        if min(prediction.shape[2:]) < self.window:
            raise ValueError(
                f"SSIM: the window of {self.window} pixels doesn't fit into images of "
                f"{tuple(prediction.shape[2:])}"
            )
        factors = self._factors(prediction, target)
        numerator, denominator = factors[0] * factors[1], factors[2] * factors[3]
        values = 1 - (numerator / denominator).mean((1, 2, 3))
        tape.push(self, prediction, target)
        return self.reduced(values, len(values))

    @ops.in_float32
    def back(self, gradient: float | Tensor, tape: Tape) -> Tensor:
        x, y = tape.take(self)
        luminance, contrast, lengths, spreads = self._factors(x, y)
        mean, other = self._filtered(x), self._filtered(y)
        product = lengths * spreads
        similarity = luminance * contrast / product
        # dS by the three moments of x that a window sees: its mean, its mean square, and the mean
        # product with y.
        by_mean = 2 * (
            other * (contrast - luminance) / product
            - mean * similarity * (1 / lengths - 1 / spreads)
        )
        by_square, by_product = -similarity / spreads, 2 * luminance / product
        gx = self._spread(by_mean, x)
        gx += 2 * x * self._spread(by_square, x)
        gx += y * self._spread(by_product, x)
        scale = self.scale(gradient, len(x)) / math.prod(product.shape[1:])
        each = scale.reshape(-1, 1, 1, 1) if isinstance(scale, Tensor) else scale
        return gx.mul_(-each)

    def _factors(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """2 m_x m_y + C1, 2 c + C2, m_x^2 + m_y^2 + C1 and v_x + v_y + C2 of every window."""
        c1, c2 = (self.k1 * self.data_range) ** 2, (self.k2 * self.data_range) ** 2
        mean, other = self._filtered(x), self._filtered(y)
        between, lengths = mean * other, mean.square() + other.square()
        covariance = self._filtered(x * y) - between
        variances = self._filtered(x.square() + y.square()) - lengths
        return 2 * between + c1, 2 * covariance + c2, lengths + c1, variances + c2

    def _filtered(self, x: Tensor) -> Tensor:
        """The weighted mean under each window: along the columns, then along the rows."""
        column = self._weights(x)
        images = x.reshape(-1, 1, *x.shape[2:])
        y = ops.conv2d(ops.conv2d(images, column), column.transpose(2, 3))
        return y.reshape(*x.shape[:2], *y.shape[2:])

    def _spread(self, gy: Tensor, x: Tensor) -> Tensor:
        """The gradient of `_filtered`: the transpose of both convolutions, last first."""
        column = self._weights(x)
        height, width = x.shape[2:]
        rows = gy.reshape(-1, 1, *gy.shape[2:])
        rows = ops.conv2d_input_grad(rows, column.transpose(2, 3), (rows.shape[2], width))
        return ops.conv2d_input_grad(rows, column, (height, width)).reshape(x.shape)

    def _weights(self, x: Tensor) -> Tensor:
        """The Gaussian as a convolution's weight of one column."""
        place = torch.arange(self.window, device=x.device, dtype=x.dtype) - self.window // 2
        weights = (-0.5 * (place / self.sigma).square()).exp()
        return (weights / weights.sum()).reshape(1, 1, -1, 1)

    def arguments(self) -> str:
        return (
            f"{super().arguments()}, data_range={self.data_range:g}, window={self.window}, "
            f"sigma={self.sigma:g}"
        )
