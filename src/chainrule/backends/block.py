"""What a convolution does besides its sums, as one op computes it: `Block`, and its `Epilogue`.

The table `ACTIVATIONS` is all that is said about an activation below its layer
(`chainrule.layers.activation`): one more is an entry here and a class there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from chainrule.geometry import Pair, Window


class Epilogue(NamedTuple):
    """What happens to each value of an output before it is stored; a bias has been added."""

    activation: str = ""
    """A name in `ACTIVATIONS`."""
    slope: float = 0.0
    """Of a leaky ReLU."""


class Block(NamedTuple):
    """A convolution with what stands before and after it, but for weight and bias.

    Nearest upsampling by `scale`, then a convolution (or its transpose), then the epilogue.
    """

    window: Window
    groups: int = 1
    transposed: bool = False
    output_padding: Pair = (0, 0)
    scale: Pair = (1, 1)
    epilogue: Epilogue = Epilogue()

    def output_size(self, size: Pair) -> Pair:
        """Height and width that come out of an image of `size`; below 1 where nothing fits."""
        if self.transposed:
            return self.window.transposed_size(size, self.output_padding)
        return self.window.output_size((size[0] * self.scale[0], size[1] * self.scale[1]))


class Activation(NamedTuple):
    """y = f(x), elementwise, and its gradient written in y, which the next layer keeps anyway."""

    forward: Callable[[Tensor, float], Tensor]
    """y from x and the slope."""
    gradient: Callable[[Tensor, Tensor, float], Tensor]
    """dL/dx from dL/dy, y and the slope."""
    kernel: int | None
    """Its number in native/kernels.hpp, where the kernels have it."""
    layer: str
    """The class in `chainrule.layers.activation`, which errors name."""


ACTIVATIONS = {
    "": Activation(lambda x, _: x, lambda gy, y, _: gy, 0, "Identity"),
    # y = max(x, 0); dL/dx = gy where y > 0, else 0
    "relu": Activation(
        lambda x, _: x.clamp(min=0),
        lambda gy, y, _: gy.where(y > 0, 0),
        1,
        "ReLU",
    ),
    # y = x where x > 0, else slope * x; for slope >= 0, y and x have the same sign
    "leaky_relu": Activation(
        lambda x, slope: x.where(x > 0, x * slope),
        lambda gy, y, slope: gy.where(y > 0, gy * slope),
        2,
        "LeakyReLU",
    ),
    # y = 1 / (1 + exp(-x)); dL/dx = gy y (1 - y)
    "sigmoid": Activation(
        lambda x, _: x.sigmoid(),
        lambda gy, y, _: gy * y * (1 - y),
        3,
        "Sigmoid",
    ),
    # dL/dx = gy (1 - y^2)
    "tanh": Activation(
        lambda x, _: x.tanh(),
        lambda gy, y, _: gy * (1 - y * y),
        None,
        "Tanh",
    ),
}
