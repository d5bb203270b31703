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
def absolute_error(prediction: Image, target: Image, threads: int, /) -> float: ...
def absolute_error_gradient(
    prediction: Image, target: Image, scale: float, out: Image, threads: int, /
) -> None: ...
def image_errors(
    prediction: Image, target: Image, images: int, each: int, threads: int, /
) -> None: ...
def image_errors_gradient(
    prediction: Image, target: Image, images: int, factors: int, out: Image, threads: int, /
) -> None: ...
def clip(gradients: list[int], counts: list[int], limit: float, threads: int, /) -> float: ...
def max_pool(x: Image, pooling: Pooling, y: Image, places: int, threads: int, /) -> None: ...
def max_pool_gradient(
    gy: Image, places: int, pooling: Pooling, gx: Image, threads: int, /
) -> None: ...
def average_pool(x: Image, pooling: Pooling, y: Image, threads: int, /) -> None: ...
def average_pool_gradient(gy: Image, pooling: Pooling, gx: Image, threads: int, /) -> None: ...
def upsample(x: Image, rows: int, columns: int, y: Image, threads: int, /) -> None: ...
def upsample_gradient(gy: Image, rows: int, columns: int, gx: Image, threads: int, /) -> None: ...
def concatenate(a: Image, b: Image, joined: Image, threads: int, /) -> None: ...

class Attention:
    """Sizes (N, heads, L, S, d); q, k and v as (address, from a sample to the next, from a row to
    the next); masks; see native/kernels.hpp."""

    def __init__(
        self,
        sizes: tuple[int, int, int, int, int],
        q: tuple[int, int, int],
        k: tuple[int, int, int],
        v: tuple[int, int, int],
        padding: int,
        hidden: int,
        added: int,
        each: bool,
        causal: bool,
        keep: int,
        scale: float,
        threads: int,
        /,
    ) -> None: ...

def attention(job: Attention, y: int, logs: int, /) -> None: ...
def attention_gradient(
    job: Attention,
    gy: int,
    gy_samples: int,
    gy_rows: int,
    y: int,
    logs: int,
    gq: int,
    gk: int,
    gv: int,
    pitch: int,
    /,
) -> None: ...
def linear(
    x: int,
    pitch: int,
    rows: int,
    weight: int,
    outputs: int,
    inputs: int,
    output_step: int,
    input_step: int,
    bias: int,
    y: int,
    threads: int,
    /,
) -> None: ...
def linear_gradients(
    x: int,
    x_pitch: int,
    gy: int,
    gy_pitch: int,
    rows: int,
    outputs: int,
    inputs: int,
    gweight: int,
    gbias: int,
    threads: int,
    /,
) -> None: ...
def pick_rows(index: int, table: int, rows: int, size: int, y: int, threads: int, /) -> None: ...
def add_to_rows(
    index: int, x: int, rows: int, size: int, targets: int, sums: int, threads: int, /
) -> None: ...
def sum_rows(x: int, rows: int, size: int, sums: int, threads: int, /) -> None: ...
def curve(x: int, y: int, count: int, kind: int, threads: int, /) -> None: ...
def curve_gradient(gy: int, x: int, gx: int, count: int, kind: int, threads: int, /) -> None: ...
def standardize(
    x: int, rows: int, size: int, eps: float, centre: bool, xhat: int, scale: int, threads: int, /
) -> None: ...
def standardize_gradient(
    gxhat: int,
    xhat: int,
    scale: int,
    rows: int,
    size: int,
    centre: bool,
    gx: int,
    threads: int,
    /,
) -> None: ...
def scale_shift(
    x: int, weight: int, bias: int, rows: int, size: int, y: int, threads: int, /
) -> None: ...
def scale_shift_gradient(
    gy: int,
    x: int,
    weight: int,
    rows: int,
    size: int,
    gx: int,
    gweight: int,
    gbias: int,
    threads: int,
    /,
) -> None: ...
def cross_entropy(
    logits: int,
    target: int,
    ignored: int,
    rows: int,
    classes: int,
    values: int,
    logs: int,
    share: int,
    threads: int,
    /,
) -> None: ...
def cross_entropy_gradient(
    logs: int,
    target: int,
    share: int,
    scale: float,
    factor: int,
    rows: int,
    classes: int,
    gradient: int,
    threads: int,
    /,
) -> None: ...
def fma_peak(threads: int, /) -> float: ...
def instruction_sets() -> list[str]: ...
def instruction_set() -> str: ...
def use_instruction_set(name: str, /) -> None: ...
