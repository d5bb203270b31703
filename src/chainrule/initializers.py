"""How weights and biases begin: as PyTorch's, so that one seed gives a layer and its twin the same
values. Convolutions have the three choices of Zhao, Gao and Sun's report.

With fan_in = weight.shape[1] * kh * kw and fan_out = weight.shape[0] * kh * kw (PyTorch's counting,
which for a transposed convolution takes the output channels for fan_in):

- normal: uniform in (-sqrt(1 / fan_in), sqrt(1 / fan_in)), the bias too: PyTorch's default;
- xavier: normal with standard deviation sqrt(2 / (fan_in + fan_out)), Glorot and Bengio 2010;
- kaiming: normal with standard deviation sqrt(2 / fan_in), He et al. 2015, made for ReLU.

With the last two biases begin at zero, as in that report and those papers.

Random numbers come from torch's default generator: `torch.manual_seed` makes them repeatable.
"""

import math
from collections.abc import Callable

from torch import Tensor


def normal(weight: Tensor) -> Tensor:
    """Fill in place: uniform in (-sqrt(1 / fan_in), sqrt(1 / fan_in))."""
    return uniform(weight, _fans(weight)[0])


def uniform(values: Tensor, fan_in: int) -> Tensor:
    """Fill in place: uniform in (-sqrt(1 / fan_in), sqrt(1 / fan_in)); nothing on the meta device.

    What PyTorch's linear, convolutional and recurrent layers begin with, their biases too.
    """
    bound = math.sqrt(1 / fan_in)
    return values if values.is_meta else values.uniform_(-bound, bound)


def xavier(weight: Tensor) -> Tensor:
    """Fill in place: normal, mean 0, standard deviation sqrt(2 / (fan_in + fan_out))."""
    return weight.normal_(0, math.sqrt(2 / sum(_fans(weight))))


def kaiming(weight: Tensor) -> Tensor:
    """Fill in place: normal, mean 0, standard deviation sqrt(2 / fan_in)."""
    return weight.normal_(0, math.sqrt(2 / _fans(weight)[0]))


def xavier_uniform(weight: Tensor) -> Tensor:
    """Fill in place: uniform with the deviation of `xavier`; nothing on the meta device."""
    bound = math.sqrt(6 / sum(_fans(weight)))
    return weight if weight.is_meta else weight.uniform_(-bound, bound)


INITIALIZERS: dict[str, Callable[[Tensor], Tensor]] = {
    "normal": normal,
    "xavier": xavier,
    "kaiming": kaiming,
}


def initialize(weight: Tensor, name: str) -> Tensor:
    """Fill `weight` (O, I, kh, kw) in place by the initializer of that name.

    On the meta device there is nothing to fill, and `normal_` there would import half of PyTorch.

    Raises:
        ValueError: no such name.
    """
    if name not in INITIALIZERS:
        known = ", ".join(INITIALIZERS)
        raise ValueError(f"weight_init must be one of {known}, got {name!r}")
    return weight if weight.is_meta else INITIALIZERS[name](weight)


def initial_bias(weight: Tensor, channels: int, name: str) -> Tensor:
    """The bias (channels,) beside a `weight` that was filled by the initializer of that name."""
    if name != "normal":
        return weight.new_zeros(channels)
    return uniform(weight.new_empty(channels), _fans(weight)[0])


def _fans(weight: Tensor) -> tuple[int, int]:
    kernel = math.prod(weight.shape[2:])
    return weight.shape[1] * kernel, weight.shape[0] * kernel
