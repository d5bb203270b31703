"""The compiled kernels of native/.

Addresses, images (address, N, C, H, W, four strides) and settings are what native/module.cpp reads;
the one caller is chainrule/backends/native.py.
"""

from typing import Any

from torch import Tensor

Image = tuple[int, ...]
Source = tuple[Any, ...]

def empty(n: int, channels: int, height: int, width: int, /) -> Tensor: ...
def gather(
    source: Source,
    weight: Image,
    groups: int,
    bias: int,
    activation: int,
    slope: float,
    out: Image,
    geometry: tuple[int, ...],
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
    geometry: tuple[int, ...],
    winograd: bool,
    threads: int,
    /,
) -> None: ...
def activate(
    x: int, y: int, count: int, activation: int, slope: float, threads: int, /
) -> None: ...
def deactivate(
    gy: int, y: int, gx: int, count: int, activation: int, slope: float, threads: int, /
) -> None: ...
def add(a: int, b: int, total: int, count: int, threads: int, /) -> None: ...
def add_images(a: Image, b: Image, total: Image, threads: int, /) -> None: ...
def zero(x: int, count: int, threads: int, /) -> None: ...
def sgd(
    value: int,
    gradient: int,
    velocity: int,
    count: int,
    rate: float,
    momentum: float,
    fresh: float,
    decay: float,
    nesterov: bool,
    first: bool,
    threads: int,
    /,
) -> None: ...
def adam(
    value: int,
    gradient: int,
    mean: int,
    square: int,
    count: int,
    rate: float,
    beta2: float,
    fresh1: float,
    fresh2: float,
    epsilon: float,
    scale: float,
    decay: float,
    keep: float,
    threads: int,
    /,
) -> None: ...
def squared_error(prediction: Image, target: Image, threads: int, /) -> float: ...
def squared_error_gradient(
    prediction: Image, target: Image, scale: float, out: Image, threads: int, /
) -> None: ...
def max_pool(
    x: Image, pooling: tuple[int, ...], y: Image, places: int, threads: int, /
) -> None: ...
def max_pool_gradient(
    gy: Image, places: int, pooling: tuple[int, ...], gx: Image, threads: int, /
) -> None: ...
def average_pool(x: Image, pooling: tuple[int, ...], y: Image, threads: int, /) -> None: ...
def average_pool_gradient(
    gy: Image, pooling: tuple[int, ...], gx: Image, threads: int, /
) -> None: ...
def upsample(x: Image, rows: int, columns: int, y: Image, threads: int, /) -> None: ...
def upsample_gradient(gy: Image, rows: int, columns: int, gx: Image, threads: int, /) -> None: ...
def concatenate(a: Image, b: Image, joined: Image, threads: int, /) -> None: ...
def fma_peak(threads: int, /) -> float: ...
def instruction_sets() -> list[str]: ...
def instruction_set() -> str: ...
def use_instruction_set(name: str, /) -> None: ...
