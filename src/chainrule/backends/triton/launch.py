"""What the kernels share: activations as they are loaded and stored, blocks, precision."""

# Triton compiles what it calls a constexpr from plain numbers and strings.
# pyright: reportArgumentType=false, reportOperatorIssue=false
# pyright: reportAttributeAccessIssue=false, reportCallIssue=false

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
import triton
import triton.language as tl
import triton.testing
from torch import Tensor

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
"""Whether kernels run on the CPU, statement by statement; Triton asks that once, too."""

FLAT = 1024
"""Elements that one program of an elementwise kernel computes."""


@triton.jit
def activated(z, KIND: tl.constexpr, slope):
    """y = f(z), in float32."""
    if KIND == "relu":
        z = tl.maximum(z, 0.0)
    elif KIND == "leaky_relu":
        z = tl.where(z > 0, z, z * slope)
    elif KIND == "sigmoid":
        z = 1 / (1 + tl.exp(-z))
    elif KIND == "tanh":
        z = 2 / (1 + tl.exp(-2 * z)) - 1
    return z


@triton.jit
def deactivated(gy, y, KIND: tl.constexpr, slope):
    """dL/dz from dL/dy and y = f(z), in float32."""
    if KIND == "relu":
        gy = tl.where(y > 0, gy, 0.0)
    elif KIND == "leaky_relu":
        gy = tl.where(y > 0, gy, gy * slope)
    elif KIND == "sigmoid":
        gy = gy * y * (1 - y)
    elif KIND == "tanh":
        gy = gy * (1 - y * y)
    return gy


@triton.jit
def to_tf32(x):
    """float32 rounded to the ten bits of TF32, half away from zero. Where it isn't, the processor
    cuts the other bits off: every product is a little too small, and after twenty layers a
    hundredth is missing."""
    bits = x.to(tl.uint32, bitcast=True)
    rounded = ((bits + 0x1000) & 0xFFFFE000).to(tl.float32, bitcast=True)
    return tl.where(x == x, rounded, x)  # of NaN all bits may be set, and one more would be a 0


def precision(x: Tensor) -> str:
    """How float32 is multiplied: as `torch.set_float32_matmul_precision` says.

    "highest" is three passes of TF32, whose rounding is about that of float32; "high" and "medium"
    are one.
    """
    if x.dtype != torch.float32 or INTERPRETED:
        return "ieee"
    return "tf32x3" if torch.get_float32_matmul_precision() == "highest" else "tf32"


def flat(x: Tensor) -> bool:
    """Whether x fills its memory without gaps, in its own order or channels_last."""
    return x.is_contiguous() or (
        x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    )


def grid(count: int) -> tuple[int]:
    """Programs of an elementwise kernel."""
    return (triton.cdiv(count, FLAT),)


Size = Callable[[Mapping[str, Any]], tuple[int, int, int]]
"""Rows, columns and depth of the product that a kernel computes, by its arguments."""


def tuned(configs: list[Any], key: list[str], size: Size) -> Callable[[Any], Any]:
    """Makes a kernel whose blocks are chosen by trying them, once for each key; what was found is
    kept on the disk.

    Arguments:
        configs: with ROWS, COLUMNS and DEPTH; the first is for everything.
        key: the arguments that the choice follows from.
        size: blocks that are larger than the product aren't tried.
    """
    if INTERPRETED:
        return triton.heuristics({name: _first(configs, name) for name in configs[0].kwargs})

    def tuning(kernel: Any) -> Any:
        def prepared(configs: list[Any], given: dict[str, Any], **more: Any) -> list[Any]:
            arguments = {**given, **more}
            wanted = _filled(configs, size(arguments))
            _compile(
                kernel,
                wanted,
                {name: arguments[name] for name in kernel.arg_names if name in arguments},
            )
            return wanted

        return triton.autotune(
            configs,
            key,
            prune_configs_by={"early_config_prune": prepared},
            do_bench=_milliseconds,
            cache_results=True,
        )(kernel)

    return tuning


def _filled(configs: list[Any], size: tuple[int, int, int]) -> list[Any]:
    """The blocks that are no larger than a product, and the first."""
    least = (64, 16, 16)
    limits = [max(low, triton.next_power_of_2(n)) for low, n in zip(least, size, strict=True)]
    names = ("ROWS", "COLUMNS", "DEPTH")
    return configs[:1] + [
        each
        for each in configs[1:]
        if all(each.kwargs[name] <= most for name, most in zip(names, limits, strict=True))
    ]


def _compile(kernel: Any, configs: list[Any], given: dict[str, Any]) -> None:
    """Compile a kernel for all blocks at once: it takes a second for each, and lets others run."""

    def compiled(config: Any) -> None:
        with contextlib.suppress(Exception):  # what doesn't work is found when it is tried
            kernel.warmup(grid=(1,), **given, **config.all_kwargs())

    with ThreadPoolExecutor(len(configs)) as pool:
        list(pool.map(compiled, configs))


def _milliseconds(launch: Any, quantiles: Any) -> Any:
    """What a launch takes: measured for long enough to tell blocks apart that differ by as much as
    one notices. A network has a hundred keys, so that Triton's eighth of a second adds up."""
    return triton.testing.do_bench(launch, warmup=2, rep=10, quantiles=quantiles)


def _first(configs: list[Any], name: str) -> Any:
    value = configs[0].kwargs[name]
    return lambda _: value
