"""Pooling and nearest resampling: values under sliding windows, gathered one way or the other.

    down    y[i] = sum (or max) over u of x[i * stride + u * dilation - padding]
    up      x[h] = sum over u of y[(h + padding - u * dilation) / stride], where it divides

Each is the other's gradient; a nearest upsampling is `up` with windows that lie side by side.
"""

# Triton compiles what it calls a constexpr from plain numbers and strings.
# pyright: reportArgumentType=false, reportOperatorIssue=false
# pyright: reportAttributeAccessIssue=false, reportCallIssue=false

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from chainrule.backends.reference.pooling import counts
from chainrule.backends.triton.launch import FLAT, grid
from chainrule.geometry import Pair, Window, image_size


@triton.jit
def _down(
    x, y, places, count, C, HO, WO, HI, WI,
    xn, xc, xh, xw, yn, yc, yh, yw, SH, SW, DH, DW, PH, PW,
    KH: tl.constexpr, KW: tl.constexpr, MAX: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    c = at % C
    j = at // C % WO
    i = at // C // WO % HO
    n = at // C // WO // HO
    best = tl.full((SIZE,), float("-inf") if MAX else 0.0, tl.float32)
    place = tl.zeros((SIZE,), tl.int32)
    for u in range(KH):
        for v in range(KW):
            row = i * SH + u * DH - PH
            column = j * SW + v * DW - PW
            there = (at < count) & (row >= 0) & (row < HI) & (column >= 0) & (column < WI)
            other = float("-inf") if MAX else 0.0
            value = tl.load(
                x + n * xn + c * xc + row * xh + column * xw, mask=there, other=other
            ).to(tl.float32)
            if MAX:
                larger = (value > best) | ((value != value) & (best == best))
                best = tl.where(larger, value, best)
                place = tl.where(larger, u * KW + v, place)
            else:
                best += value
    out = n * yn + c * yc + i * yh + j * yw
    tl.store(y + out, best.to(y.dtype.element_ty), mask=at < count)
    if MAX:
        tl.store(places + out, place, mask=at < count)


@triton.jit
def _up(
    y, places, x, count, C, HO, WO, HI, WI,
    yn, yc, yh, yw, pn, pc, ph, pw, xn, xc, xh, xw, SH, SW, DH, DW, PH, PW,
    KH: tl.constexpr, KW: tl.constexpr, MAX: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    c = at % C
    w = at // C % WI
    h = at // C // WI % HI
    n = at // C // WI // HI
    total = tl.zeros((SIZE,), tl.float32)
    for u in range(KH):
        for v in range(KW):
            row = h + PH - u * DH
            column = w + PW - v * DW
            there = (at < count) & (row >= 0) & (column >= 0)
            there &= (row % SH == 0) & (column % SW == 0)
            row = row // SH
            column = column // SW
            there &= (row < HO) & (column < WO)
            if MAX:
                where = n * pn + c * pc + row * ph + column * pw
                there &= tl.load(places + where, mask=there, other=-1) == u * KW + v
            value = tl.load(y + n * yn + c * yc + row * yh + column * yw, mask=there, other=0.0)
            total += value.to(tl.float32)
    out = n * xn + c * xc + h * xh + w * xw
    tl.store(x + out, total.to(x.dtype.element_ty), mask=at < count)


def max_pool2d(x: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    size = window.output_size(image_size(x))
    y, places = _empty(x, size, x.dtype), _empty(x, size, torch.int32)
    _run_down(x, y, places, window, maximum=True)
    return y, places


def max_pool2d_grad(gy: Tensor, places: Tensor, input_size: Pair, window: Window) -> Tensor:
    return _run_up(gy, places, input_size, window, maximum=True)


def avg_pool2d(x: Tensor, window: Window, count_include_pad: bool) -> Tensor:
    sums = _empty(x, window.output_size(image_size(x)), torch.float32)
    _run_down(x, sums, sums, window, maximum=False)
    return sums.div_(counts(sums, image_size(x), window, count_include_pad)).to(x.dtype)


def avg_pool2d_grad(
    gy: Tensor, input_size: Pair, window: Window, count_include_pad: bool
) -> Tensor:
    shares = gy / counts(gy, input_size, window, count_include_pad)
    return _run_up(shares, shares, input_size, window, maximum=False)


def upsample_nearest2d(x: Tensor, scale: Pair) -> Tensor:
    size = (x.shape[2] * scale[0], x.shape[3] * scale[1])
    return _run_up(x, x, size, _side_by_side(scale), maximum=False)


def upsample_nearest2d_grad(gy: Tensor, scale: Pair) -> Tensor:
    gx = _empty(gy, (gy.shape[2] // scale[0], gy.shape[3] // scale[1]), gy.dtype)
    _run_down(gy, gx, gx, _side_by_side(scale), maximum=False)
    return gx


def _side_by_side(scale: Pair) -> Window:
    return Window(scale, scale, (1, 1), (0, 0, 0, 0))


def _run_down(x: Tensor, y: Tensor, places: Tensor, window: Window, maximum: bool) -> None:
    count = y.numel()
    _down[grid(count)](
        x, y, places, count, x.shape[1], *image_size(y), *image_size(x),
        *x.stride(), *y.stride(), *_numbers(window), *window.kernel, maximum, FLAT,
    )  # fmt: skip


def _run_up(y: Tensor, places: Tensor, size: Pair, window: Window, maximum: bool) -> Tensor:
    x = _empty(y, size, y.dtype)
    count = x.numel()
    _up[grid(count)](
        y, places, x, count, y.shape[1], *image_size(y), *size,
        *y.stride(), *places.stride(), *x.stride(), *_numbers(window), *window.kernel, maximum,
        FLAT,
    )  # fmt: skip
    return x


def _numbers(window: Window) -> tuple[Any, ...]:
    return *window.stride, *window.dilation, window.pads[0], window.pads[2]


def _empty(like: Tensor, size: Pair, dtype: torch.dtype) -> Tensor:
    return torch.empty(
        (*like.shape[:2], *size),
        dtype=dtype,
        device=like.device,
        memory_format=torch.channels_last,
    )
