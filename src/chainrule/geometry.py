"""The arithmetic of windows that slide over images: sizes, paddings, and their checks.

Output sizes follow PyTorch's conventions, which are those of Dumoulin and Visin, "A guide to
convolution arithmetic for deep learning" (2016), with dilation added.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor

Pair = tuple[int, int]
IntOrPair = int | Pair
Padding = IntOrPair | Literal["same", "valid"]

LARGEST = 2**31 - 1
"""No kernel, stride, ... is larger: then sizes computed from them stay within 64 bits."""


class Window(NamedTuple):
    """A window sliding over a padded image, each member (vertical, horizontal) or per side."""

    kernel: Pair
    stride: Pair
    dilation: Pair
    pads: tuple[int, int, int, int]
    """Rows and columns of padding: top, bottom, left, right."""

    @property
    def padding(self) -> Pair:
        """Padding (vertical, horizontal) of a window that is padded alike on opposite sides."""
        return self.pads[0], self.pads[2]

    @property
    def span(self) -> Pair:
        """Rows and columns from a window's first to its last element, both counted."""
        return (
            self.dilation[0] * (self.kernel[0] - 1) + 1,
            self.dilation[1] * (self.kernel[1] - 1) + 1,
        )

    def padded(self, size: Pair) -> Pair:
        """Height and width of an image of `size` after padding."""
        top, bottom, left, right = self.pads
        return size[0] + top + bottom, size[1] + left + right

    def output_size(self, size: Pair) -> Pair:
        """How many windows fit below and beside each other: floor((padded - span) / stride) + 1."""
        (height, width), span = self.padded(size), self.span
        return (
            (height - span[0]) // self.stride[0] + 1,
            (width - span[1]) // self.stride[1] + 1,
        )

    def covered(self, count: Pair) -> Pair:
        """Height and width that `count` windows reach over, padding included."""
        return (
            (count[0] - 1) * self.stride[0] + self.span[0],
            (count[1] - 1) * self.stride[1] + self.span[1],
        )

    def transposed_size(self, size: Pair, output_padding: Pair) -> Pair:
        """The image size that a transposed convolution makes of `size` windows."""
        (height, width), (top, bottom, left, right) = self.covered(size), self.pads
        return height - top - bottom + output_padding[0], width - left - right + output_padding[1]


class Depth(NamedTuple):
    """A window that slides along the depth: as `Window` does over images."""

    kernel: int
    stride: int
    dilation: int
    before: int
    """Slices of zeros that are added before the first."""
    after: int

    def count(self, depth: int) -> int:
        """How many windows there are in so many slices; below 1 where none fits."""
        span = self.dilation * (self.kernel - 1) + 1
        return (depth + self.before + self.after - span) // self.stride + 1


def image_size(x: Tensor) -> Pair:
    """Height and width of x (N, C, H, W)."""
    return x.shape[2], x.shape[3]


def pair(name: str, value: IntOrPair, least: int) -> Pair:
    """`value` as (vertical, horizontal), each at least `least` and at most `LARGEST`.

    Raises:
        TypeError, ValueError: naming `name` and the value.
    """
    both = (value, value) if isinstance(value, int) else value
    fits = (
        isinstance(both, tuple | list)
        and len(both) == 2
        and all(isinstance(one, int) and not isinstance(one, bool) for one in both)
    )
    if not fits:
        raise TypeError(f"{name} must be an int or a pair of ints, got {value!r}")
    if min(both) < least:
        raise ValueError(f"{name} must be at least {least}, got {value!r}")
    if max(both) > LARGEST:
        raise ValueError(f"{name} must be at most {LARGEST}, got {value!r}")
    return int(both[0]), int(both[1])


def window(
    kernel_size: IntOrPair, stride: IntOrPair, padding: Padding, dilation: IntOrPair
) -> Window:
    """Check the four arguments and normalize them to a `Window`.

    Raises:
        TypeError, ValueError: naming the argument and the value.
    """
    kernel = pair("kernel_size", kernel_size, 1)
    steps = pair("stride", stride, 1)
    spread = pair("dilation", dilation, 1)
    return Window(kernel, steps, spread, _pads(padding, kernel, steps, spread))


def _pads(
    padding: Padding, kernel: Pair, stride: Pair, dilation: Pair
) -> tuple[int, int, int, int]:
    if padding == "valid":
        return 0, 0, 0, 0
    if padding == "same":
        if stride != (1, 1):
            raise ValueError(f'padding="same" needs stride 1, got stride {stride}')
        # An even span can't be centred; like PyTorch, the odd row or column goes below and right.
        rows, columns = (d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
        return rows // 2, rows - rows // 2, columns // 2, columns - columns // 2
    if isinstance(padding, str):
        raise ValueError(f'padding must be an int, a pair, "same" or "valid", got {padding!r}')
    vertical, horizontal = pair("padding", padding, 0)
    return vertical, vertical, horizontal, horizontal
