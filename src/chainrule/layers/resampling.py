"""Layers that change the image's size and have no weights. Gradients:
docs/gradients.md#resampling."""

from __future__ import annotations

from torch import Tensor

from chainrule import ops
from chainrule.geometry import IntOrPair, image_size, pair, window
from chainrule.module import Module, Tape
from chainrule.ops.checks import check_images


class NearestUpsampling(Module):
    """Repeats each pixel: y[n,c,i,j] = x[n,c, i // scale, j // scale].

    Args:
        scale_factor: int or (vertical, horizontal).

    Shapes:
        x (N, C, H, W) to y (N, C, H * scale, W * scale).
    """

    def __init__(self, scale_factor: IntOrPair = 2) -> None:
        self.scale_factor = pair("scale_factor", scale_factor, 1)

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        y = ops.upsample_nearest2d(x, self.scale_factor)
        tape.push(self, image_size(x))
        return y

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        (size,) = tape.take(self)
        return ops.upsample_nearest2d_grad(gy, size, self.scale_factor)

    def arguments(self) -> str:
        return f"scale_factor={self.scale_factor}"


class BilinearUpsampling(Module):
    """Enlarges images by weighing the four nearest pixels.

    The same as `torch.nn.Upsample(scale_factor=scale_factor, mode="bilinear")`.

    Args:
        scale_factor: int or (vertical, horizontal).
        align_corners: whether the corner pixels' centres stay in the corners; otherwise the image's
            edges stay in place, and the image continues with its edge's values.

    Shapes:
        x (N, C, H, W) to y (N, C, H * scale, W * scale).
    """

    def __init__(self, scale_factor: IntOrPair = 2, align_corners: bool = False) -> None:
        self.scale_factor = pair("scale_factor", scale_factor, 1)
        self.align_corners = align_corners

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        y = ops.upsample_bilinear2d(x, self.scale_factor, self.align_corners)
        tape.push(self, image_size(x))
        return y

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        (size,) = tape.take(self)
        return ops.upsample_bilinear2d_grad(gy, size, self.scale_factor, self.align_corners)

    def arguments(self) -> str:
        aligned = ", align_corners=True" if self.align_corners else ""
        return f"scale_factor={self.scale_factor}{aligned}"


class AdaptiveAvgPool2d(Module):
    """The mean of windows that are chosen so that the output has a given size.

    Row i of Ho is the mean of the rows from floor(i * H / Ho) to ceil((i + 1) * H / Ho).

    Args:
        output_size: int or (vertical, horizontal); None for a size that stays.

    Shapes:
        x (N, C, H, W) to y (N, C, *output_size).

    Raises:
        TypeError, ValueError: sizes that are not positive ints.
    """

    def __init__(self, output_size: int | tuple[int | None, int | None]) -> None:
        rows, columns = (output_size,) * 2 if isinstance(output_size, int) else output_size
        pair("output_size", (1 if rows is None else rows, 1 if columns is None else columns), 1)
        self.output_size = rows, columns

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        check_images("AdaptiveAvgPool2d", "input", x)
        rows, columns = self.output_size
        size = (rows or x.shape[2], columns or x.shape[3])
        tape.push(self, image_size(x))
        return ops.adaptive_avg_pool2d(x, size)

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        (size,) = tape.take(self)
        return ops.adaptive_avg_pool2d_grad(gy, size)

    def arguments(self) -> str:
        return f"output_size={self.output_size}"


class MaxPool2d(Module):
    """The largest value under each window; of equal ones the first, row by row, gets the gradient.

    Args:
        kernel_size: int or (vertical, horizontal), like the other three.
        stride: steps between windows; by default the kernel's size.
        padding: -inf added on every side, at most half the kernel.
        dilation: steps between the elements of a window.

    Shapes:
        x (N, C, H, W) to y (N, C, Ho, Wo), sizes as `Conv2d`.
    """

    def __init__(
        self,
        kernel_size: IntOrPair,
        stride: IntOrPair | None = None,
        padding: IntOrPair = 0,
        dilation: IntOrPair = 1,
    ) -> None:
        steps = kernel_size if stride is None else stride
        sliding = window(kernel_size, steps, pair("padding", padding, 0), dilation)
        self.kernel_size, self.stride = sliding.kernel, sliding.stride
        self.padding, self.dilation = sliding.padding, sliding.dilation

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        y, places = ops.max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation)
        tape.push(self, places, image_size(x))
        return y

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        places, size = tape.take(self)
        return ops.max_pool2d_grad(
            gy, places, size, self.kernel_size, self.stride, self.padding, self.dilation
        )

    def arguments(self) -> str:
        padding = f", padding={self.padding}" if any(self.padding) else ""
        dilation = f", dilation={self.dilation}" if self.dilation != (1, 1) else ""
        return f"kernel_size={self.kernel_size}, stride={self.stride}{padding}{dilation}"


class AvgPool2d(Module):
    """The mean of the values under each window.

    Args:
        kernel_size: int or (vertical, horizontal), like the next two.
        stride: steps between windows; by default the kernel's size.
        padding: zeros added on every side, at most half the kernel.
        count_include_pad: whether those zeros count in the mean.

    Shapes:
        x (N, C, H, W) to y (N, C, Ho, Wo), sizes as `Conv2d`.
    """

    def __init__(
        self,
        kernel_size: IntOrPair,
        stride: IntOrPair | None = None,
        padding: IntOrPair = 0,
        count_include_pad: bool = True,
    ) -> None:
        steps = kernel_size if stride is None else stride
        sliding = window(kernel_size, steps, pair("padding", padding, 0), 1)
        self.kernel_size, self.stride = sliding.kernel, sliding.stride
        self.padding, self.count_include_pad = sliding.padding, count_include_pad

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        y = ops.avg_pool2d(x, self.kernel_size, self.stride, self.padding, self.count_include_pad)
        tape.push(self, image_size(x))
        return y

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        (size,) = tape.take(self)
        return ops.avg_pool2d_grad(
            gy, size, self.kernel_size, self.stride, self.padding, self.count_include_pad
        )

    def arguments(self) -> str:
        padding = f", padding={self.padding}" if any(self.padding) else ""
        counted = "" if self.count_include_pad else ", count_include_pad=False"
        return f"kernel_size={self.kernel_size}, stride={self.stride}{padding}{counted}"
