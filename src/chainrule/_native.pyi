"""The compiled kernels of native/, as native/module.cpp binds them.

Numbers named as tensors are addresses. The one caller is chainrule/backends/native.py.
"""

from torch import Tensor

Pair = tuple[int, int]

class Image:
    """A tensor (N, C, H, W) as the kernels see it; with rows and count, dense memory in rows."""

    def __init__(self, x: Tensor, rows: int = ..., count: int = ..., /) -> None: ...
    def borrowed(self) -> Image:
        """The same, without keeping the tensor alive."""

class Activation:
    def __init__(self, kind: int, slope: float, /) -> None: ...

class Source:
    """A tensor, or the gradient before an activation from that after it and the output."""

    def __init__(
        self, x: Tensor, output: Tensor = ..., activation: Activation = ..., /
    ) -> None: ...
    def borrowed(self) -> Source:
        """The same, without keeping the tensors alive."""

class Arena:
    """Memory for a call that is recorded to run again; what is freed is used again here alone."""

    bytes: float

    def empty(self, n: int, channels: int, height: int, width: int, /) -> Tensor: ...

class Geometry:
    def __init__(
        self, kernel: Pair, stride: Pair, dilation: Pair, padding: Pair, scale: Pair, /
    ) -> None: ...

class Pooling:
    def __init__(
        self, kernel: Pair, stride: Pair, dilation: Pair, padding: Pair, count_padding: bool, /
    ) -> None: ...

class Sgd:
    def __init__(
        self, *, rate: float, momentum: float, fresh: float, decay: float, nesterov: bool
    ) -> None: ...

class Adam:
    def __init__(
        self,
        *,
        rate: float,
        beta2: float,
        fresh1: float,
        fresh2: float,
        epsilon: float,
        scale: float,
        decay: float,
        keep: float,
    ) -> None: ...

def empty_cache() -> int: ...
def empty(n: int, channels: int, height: int, width: int, /) -> Tensor: ...
def gather(
    source: Source,
    weight: Image,
    groups: int,
    bias: int,
    activation: Activation,
    out: Image,
    geometry: Geometry,
    backward: bool,
    winograd: bool,
    threads: int,
    /,
) -> None: ...
def correlate(
    x: Source,
    gy: Source,
    weight: Image,
    groups: int,
    x_sums: int,
    gy_sums: int,
    geometry: Geometry,
    winograd: bool,
    threads: int,
    /,
) -> None: ...
def activate(x: int, y: int, count: int, activation: Activation, threads: int, /) -> None: ...
def deactivate(
    gy: int, y: int, gx: int, count: int, activation: Activation, threads: int, /
) -> None: ...
def add(a: int, b: int, total: int, count: int, threads: int, /) -> None: ...
def add_images(a: Image, b: Image, total: Image, threads: int, /) -> None: ...
def zero(values: list[int], counts: list[int], threads: int, /) -> None: ...
def sgd(
    values: list[int],
    gradients: list[int],
    velocities: list[int],
    first: list[bool],
    counts: list[int],
    settings: Sgd,
    threads: int,
    /,
) -> None: ...
def adam(
    values: list[int],
    gradients: list[int],
    means: list[int],
    squares: list[int],
    counts: list[int],
    settings: Adam,
    threads: int,
    /,
) -> None: ...
def squared_error(prediction: Image, target: Image, threads: int, /) -> float: ...
def squared_error_gradient(
    prediction: Image, target: Image, scale: float, out: Image, threads: int, /
) -> None: ...
def max_pool(x: Image, pooling: Pooling, y: Image, places: int, threads: int, /) -> None: ...
def max_pool_gradient(
    gy: Image, places: int, pooling: Pooling, gx: Image, threads: int, /
) -> None: ...
def average_pool(x: Image, pooling: Pooling, y: Image, threads: int, /) -> None: ...
def average_pool_gradient(gy: Image, pooling: Pooling, gx: Image, threads: int, /) -> None: ...
def upsample(x: Image, rows: int, columns: int, y: Image, threads: int, /) -> None: ...
def upsample_gradient(gy: Image, rows: int, columns: int, gx: Image, threads: int, /) -> None: ...
def concatenate(a: Image, b: Image, joined: Image, threads: int, /) -> None: ...
def fma_peak(threads: int, /) -> float: ...
def instruction_sets() -> list[str]: ...
def instruction_set() -> str: ...
def use_instruction_set(name: str, /) -> None: ...
