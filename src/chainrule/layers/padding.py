"""A margin around images. Gradients: docs/gradients.md#padding."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from chainrule import ops
from chainrule.geometry import image_size
from chainrule.module import Module, Tape


class Padding2d(Module):
    """What the paddings share.

    Args:
        padding: rows and columns added on every side, or (left, right, top, bottom), as in PyTorch.

    Shapes:
        x (N, C, H, W) to y (N, C, top + H + bottom, left + W + right).

    Attributes:
        padding: (left, right, top, bottom).
        mode: as `chainrule.ops.pad2d` calls it.

    Raises:
        TypeError, ValueError: a padding that is no int or four ints of at least 0.
    """

    mode: ClassVar[str]

    def __init__(self, padding: int | tuple[int, int, int, int]) -> None:
        four = (padding,) * 4 if isinstance(padding, int) else tuple(padding)
        if len(four) != 4 or not all(isinstance(side, int) for side in four):
            raise TypeError(
                f"{type(self).__name__}: padding must be an int or (left, right, top, bottom), "
                f"got {padding!r}"
            )
        if min(four) < 0:
            raise ValueError(f"{type(self).__name__}: padding must be at least 0, got {padding!r}")
        left, right, top, bottom = four
        self.padding = left, right, top, bottom

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        y = ops.pad2d(x, self._pads(), self.mode)
        tape.push(self, image_size(x))
        return y

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        (size,) = tape.take(self)
        return ops.pad2d_grad(gy, size, self._pads(), self.mode)

    def _pads(self) -> tuple[int, int, int, int]:
        left, right, top, bottom = self.padding
        return top, bottom, left, right

    def arguments(self) -> str:
        return str(self.padding)


class ZeroPad2d(Padding2d):
    """Zeros around the image. Arguments, shapes and errors: `Padding2d`."""

    mode = "zeros"


class ReflectionPad2d(Padding2d):
    """The image reflected at its edges, which aren't repeated: c b | a b c d | c b.

    The padding must be smaller than the image. Arguments, shapes and errors: `Padding2d`.
    """

    mode = "reflect"


class ReplicationPad2d(Padding2d):
    """The image's edge repeated: a a | a b c d | d d. Arguments, shapes, errors: `Padding2d`."""

    mode = "replicate"
