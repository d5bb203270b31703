"""Convolutions as implicit matrix products: the columns of `reference.convolution` are never made.

    gather      y[m, o] = f(b[o] + sum_k x[m, k] w[k, o])       m = (n, i, j), k = (u, v, c)
    correlate   gw[a, k] = sum_m small[m, a] large[m, k]

`gather` reads x at i * stride + u * dilation - padding, or, for a transposed convolution and an
input gradient, where that equation put i: at (i + padding - u * dilation) / stride, if it divides.
`correlate` is both weights' gradients; each of its programs adds up a part of m, and the parts are
added in a fixed order, so that results repeat bit for bit.
"""

# Triton compiles what it calls a constexpr from plain numbers and strings.
# pyright: reportArgumentType=false, reportOperatorIssue=false
# pyright: reportAttributeAccessIssue=false, reportCallIssue=false

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from chainrule.backends import reference
from chainrule.backends.block import Block
from chainrule.backends.triton.launch import (
    FLAT,
    INTERPRETED,
    activated,
    deactivated,
    grid,
    precision,
    to_tf32,
    tuned,
)
from chainrule.geometry import Pair, image_size

# Rows, columns and depth of a block; the smallest first, for the interpreter and small layers.
_BLOCKS = [
    triton.Config({"ROWS": rows, "COLUMNS": columns, "DEPTH": depth}, num_warps=warps, num_stages=3)
    for rows, columns, depth, warps in (
        (64, 16, 16, 4),
        (128, 16, 32, 4),
        (128, 32, 32, 4),
        (128, 64, 32, 4),
        (128, 128, 32, 8),
        (64, 64, 64, 4),
        (256, 64, 32, 8),
    )
]
_PARTS = 1 if INTERPRETED else 64
"""Into how many parts a weight's gradient may be split."""


def _gather_size(given: Mapping[str, Any]) -> tuple[int, int, int]:
    return given["M"], given["O"], given["C"]


def _correlate_size(given: Mapping[str, Any]) -> tuple[int, int, int]:
    return given["A"], given["B"] * given["KH"] * given["KW"], given["M"]


@tuned(
    _BLOCKS,
    ["EXTENT", "C", "O", "KH", "KW", "ZH", "ZW", "TRANSPOSED", "KIND_IN", "PRECISION"],
    _gather_size,
)
@triton.jit(do_not_specialize=["M", "HO", "WO", "HI", "WI", "EXTENT"])
def _gather(
    x, y, w, bias, out,
    M, HO, WO, HI, WI, C, O, EXTENT,
    xn, xc, xh, xw, yn, yc, yh, yw,
    on, oc, oh, ow,
    SH, SW, DH, DW, PH, PW, UH, UW, ZH, ZW,
    slope_in, slope_out,
    KH: tl.constexpr, KW: tl.constexpr,
    TRANSPOSED: tl.constexpr, KIND_IN: tl.constexpr, KIND_OUT: tl.constexpr,
    BIASED: tl.constexpr, ALIGNED: tl.constexpr, PRECISION: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    # What the compiler is to know: values are loaded so many at once. By itself it asks for 16.
    C = C // ALIGNED * ALIGNED  # noqa: N806
    xn, xh, xw = xn // ALIGNED * ALIGNED, xh // ALIGNED * ALIGNED, xw // ALIGNED * ALIGNED
    yn, yh, yw = yn // ALIGNED * ALIGNED, yh // ALIGNED * ALIGNED, yw // ALIGNED * ALIGNED
    phase = tl.program_id(2) % (ZH * ZW)
    group = tl.program_id(2) // (ZH * ZW)
    first_i = phase // ZW
    first_j = phase % ZW
    m = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    o = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    high = tl.cdiv(HO, ZH)
    wide = tl.cdiv(WO, ZW)
    n = (m // (high * wide)).to(tl.int64)
    i = m // wide % high * ZH + first_i
    j = m % wide * ZW + first_j
    known = (m < M) & (i < HO) & (j < WO)
    first_u = (first_i + PH) % ZH
    first_v = (first_j + PW) % ZW
    taps = tl.cdiv(KW - first_v, ZW)
    pieces = tl.cdiv(C, DEPTH)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    # One loop over taps and channels, so that loads run ahead across taps, too.
    for step in range(tl.cdiv(KH - first_u, ZH) * taps * pieces):
        tap = step // pieces
        c = step % pieces * DEPTH + tl.arange(0, DEPTH)
        u = first_u + tap // taps * ZH
        v = first_v + tap % taps * ZW
        if TRANSPOSED:
            row = i + PH - u * DH
            column = j + PW - v * DW
            there = known & (row >= 0) & (column >= 0)
            there &= (row % SH == 0) & (column % SW == 0)
            row = row // SH
            column = column // SW
        else:
            row = i * SH + u * DH - PH
            column = j * SW + v * DW - PW
            there = known & (row >= 0) & (column >= 0)
            row = row // UH
            column = column // UW
        there &= (row < HI) & (column < WI)
        row = tl.where(there, row, 0)
        column = tl.where(there, column, 0)
        inside = there[:, None] & (c < C)[None, :]
        channel = (group * C + c)[None, :]
        at = n * xn + row * xh + column * xw
        a = tl.load(x + at[:, None] + channel * xc, mask=inside, other=0.0)
        if KIND_IN != "":
            at_y = n * yn + row * yh + column * yw
            after = tl.load(y + at_y[:, None] + channel * yc, mask=inside, other=0.0)
            g = deactivated(a.to(tl.float32), after.to(tl.float32), KIND_IN, slope_in)
            a = g.to(x.dtype.element_ty)
        if PRECISION == "tf32":
            a = to_tf32(a)
        at_w = (((group * O + o) * KH + u) * KW + v) * C
        b = tl.load(
            w + at_w[None, :] + c[:, None],
            mask=(c < C)[:, None] & (o < O)[None, :],
            other=0.0,
        )
        total = tl.dot(a, b, total, input_precision=PRECISION)
    if BIASED:
        total += tl.load(bias + group * O + o, mask=o < O, other=0.0).to(tl.float32)[None, :]
    total = activated(total, KIND_OUT, slope_out)
    tl.store(
        out + (n * on + i * oh + j * ow)[:, None] + (group * O + o)[None, :] * oc,
        total.to(out.dtype.element_ty),
        mask=known[:, None] & (o < O)[None, :],
    )


@tuned(_BLOCKS, ["EXTENT", "A", "B", "KH", "KW", "KIND", "PRECISION"], _correlate_size)
@triton.jit(do_not_specialize=["M", "HS", "WS", "HL", "WL", "SPLIT", "EXTENT"])
def _correlate(
    small, large, y, parts,
    M, HS, WS, HL, WL, A, B, SPLIT, EXTENT,
    sn, sc, sh, sw, ln, lc, lh, lw, yn, yc, yh, yw,
    SH, SW, DH, DW, PH, PW, UH, UW,
    slope,
    KH: tl.constexpr, KW: tl.constexpr,
    KIND: tl.constexpr, OF_SMALL: tl.constexpr, ALIGNED: tl.constexpr, PRECISION: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    A, B = A // ALIGNED * ALIGNED, B // ALIGNED * ALIGNED  # noqa: N806
    sn, sh, sw = sn // ALIGNED * ALIGNED, sh // ALIGNED * ALIGNED, sw // ALIGNED * ALIGNED
    ln, lh, lw = ln // ALIGNED * ALIGNED, lh // ALIGNED * ALIGNED, lw // ALIGNED * ALIGNED
    yn, yh, yw = yn // ALIGNED * ALIGNED, yh // ALIGNED * ALIGNED, yw // ALIGNED * ALIGNED
    group = tl.program_id(2) // SPLIT
    part = tl.program_id(2) % SPLIT
    a = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    k = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    wanted = k < B * KH * KW
    u = k // (B * KW)
    v = k // B % KW
    b = k % B
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    share = (M + SPLIT - 1) // SPLIT
    for first in range(part * share, tl.minimum((part + 1) * share, M), DEPTH):
        m = first + tl.arange(0, DEPTH)
        mine = m < tl.minimum((part + 1) * share, M)
        n = (m // (HS * WS)).to(tl.int64)
        i = m // WS % HS
        j = m % WS
        here = mine[None, :] & (a < A)[:, None]
        at = (n * sn + i * sh + j * sw)[None, :] + (group * A + a)[:, None] * sc
        left = tl.load(small + at, mask=here, other=0.0)
        row = i[:, None] * SH + (u * DH)[None, :] - PH
        column = j[:, None] * SW + (v * DW)[None, :] - PW
        there = mine[:, None] & wanted[None, :] & (row >= 0) & (column >= 0)
        row = row // UH
        column = column // UW
        there &= (row < HL) & (column < WL)
        row = tl.where(there, row, 0)
        column = tl.where(there, column, 0)
        channel = (group * B + b)[None, :]
        at_large = n[:, None] * ln + row * lh + column * lw + channel * lc
        right = tl.load(large + at_large, mask=there, other=0.0)
        if KIND != "":
            if OF_SMALL:
                at_y = (n * yn + i * yh + j * yw)[None, :] + (group * A + a)[:, None] * yc
                after = tl.load(y + at_y, mask=here, other=0.0).to(tl.float32)
                left = deactivated(left.to(tl.float32), after, KIND, slope)
                left = left.to(small.dtype.element_ty)
            else:
                at_y = n[:, None] * yn + row * yh + column * yw + channel * yc
                after = tl.load(y + at_y, mask=there, other=0.0).to(tl.float32)
                right = deactivated(right.to(tl.float32), after, KIND, slope)
                right = right.to(large.dtype.element_ty)
        if PRECISION == "tf32":
            left = to_tf32(left)
        total = tl.dot(left, right, total, input_precision=PRECISION)
    width = B * KH * KW
    at_part = (part * (tl.num_programs(2) // SPLIT) + group).to(tl.int64) * A * width
    tl.store(
        parts + at_part + a[:, None] * width + k[None, :],
        total,
        mask=(a < A)[:, None] & wanted[None, :],
    )


@triton.jit
def _channel_sums(
    gy, y, sums, M, H, W, C, SPLIT,
    gn, gc, gh, gw, yn, yc, yh, yw,
    slope, KIND: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    c = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    part = tl.program_id(1)
    share = (M + SPLIT - 1) // SPLIT
    total = tl.zeros((COLUMNS,), tl.float32)
    for first in range(part * share, tl.minimum((part + 1) * share, M), ROWS):
        m = first + tl.arange(0, ROWS)
        n = (m // (H * W)).to(tl.int64)
        i = m // W % H
        j = m % W
        inside = (m < tl.minimum((part + 1) * share, M))[:, None] & (c < C)[None, :]
        at = (n * gn + i * gh + j * gw)[:, None] + c[None, :] * gc
        g = tl.load(gy + at, mask=inside, other=0.0).to(tl.float32)
        if KIND != "":
            at_y = (n * yn + i * yh + j * yw)[:, None] + c[None, :] * yc
            after = tl.load(y + at_y, mask=inside, other=0.0).to(tl.float32)
            g = deactivated(g, after, KIND, slope)
        total += tl.sum(g, 0)
    tl.store(sums + part * C + c, total, mask=c < C)


@triton.jit
def _pack(
    weight, packed, COUNT, C, O, first, second, wu, wv,
    KH: tl.constexpr, KW: tl.constexpr, TRANSPOSED: tl.constexpr, PRECISION: tl.constexpr,
    SIZE: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    inside = at < COUNT
    c = at % C
    v = at // C % KW
    u = at // (C * KW) % KH
    o = at // (C * KW * KH) % O
    group = at // (C * KW * KH * O)
    if TRANSPOSED:
        place = (group * C + c) * first + o * second
    else:
        place = (group * O + o) * first + c * second
    value = tl.load(weight + place + u * wu + v * wv, mask=inside, other=0.0)
    if PRECISION == "tf32":
        value = to_tf32(value)
    tl.store(packed + at, value, mask=inside)


def block(x: Tensor, weight: Tensor, bias: Tensor | None, size: Pair, layers: Block) -> Tensor:
    channels = weight.shape[1] * layers.groups if layers.transposed else weight.shape[0]
    out = _empty(x, x.shape[0], channels, size)
    epilogue = layers.epilogue
    _launch_gather(x, x, weight, bias, out, layers, layers.transposed, ("", 0.0), (*epilogue,))
    return out


def block_input_grad(
    gy: Tensor, y: Tensor, weight: Tensor, input_size: Pair, layers: Block
) -> Tensor:
    scale = layers.scale
    channels = weight.shape[0] if layers.transposed else weight.shape[1] * layers.groups
    enlarged = (input_size[0] * scale[0], input_size[1] * scale[1])
    gx = _empty(gy, gy.shape[0], channels, enlarged)
    plain = layers._replace(scale=(1, 1))
    _launch_gather(
        gy, y, weight, None, gx, plain, not layers.transposed, (*layers.epilogue,), ("", 0.0)
    )
    return gx if scale == (1, 1) else reference.upsample_nearest2d_grad(gx, scale)


def block_parameter_grads(x: Tensor, gy: Tensor, y: Tensor, layers: Block) -> tuple[Tensor, Tensor]:
    small, large = (x, gy) if layers.transposed else (gy, x)
    groups, window = layers.groups, layers.window
    kernel, rows = window.kernel, small.shape[1] // groups
    width = large.shape[1] // groups * kernel[0] * kernel[1]
    pixels = small.shape[0] * small.shape[2] * small.shape[3]
    split = max(1, min(_PARTS, pixels // 256))
    parts = torch.empty((split, groups, rows, width), dtype=torch.float32, device=x.device)
    _correlate[
        lambda meta: (
            triton.cdiv(rows, meta["ROWS"]),
            triton.cdiv(width, meta["COLUMNS"]),
            groups * split,
        )
    ](
        small, large, y, parts,
        pixels, *image_size(small), *image_size(large), rows, large.shape[1] // groups, split,
        _extent(pixels), *small.stride(), *large.stride(), *y.stride(),
        *window.stride, *window.dilation, window.pads[0], window.pads[2], *layers.scale,
        layers.epilogue.slope,
        *kernel, layers.epilogue.activation, not layers.transposed,
        _aligned(small.shape[1] // groups, large.shape[1] // groups, small, large, y), precision(x),
    )  # fmt: skip
    gweight = parts.sum(0).reshape(small.shape[1], *kernel, -1).permute(0, 3, 1, 2)
    return gweight.to(x.dtype).contiguous(), _bias_grad(gy, y, layers)


def _bias_grad(gy: Tensor, y: Tensor, layers: Block) -> Tensor:
    pixels, channels = gy.shape[0] * gy.shape[2] * gy.shape[3], gy.shape[1]
    split = max(1, min(_PARTS, pixels // 256))
    sums = torch.empty((split, channels), dtype=torch.float32, device=gy.device)
    _channel_sums[(triton.cdiv(channels, 16), split)](
        gy, y, sums, pixels, *image_size(gy), channels, split, *gy.stride(), *y.stride(),
        layers.epilogue.slope, layers.epilogue.activation, 128, 16,
    )  # fmt: skip
    return sums.sum(0).to(gy.dtype)


def _launch_gather(
    x: Tensor,
    y: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    out: Tensor,
    layers: Block,
    transposed: bool,
    before: tuple[str, float],
    after: tuple[str, float],
) -> None:
    """out from x; `before` is the activation whose gradient x is read through, at its output y."""
    groups, window = layers.groups, layers.window
    inputs, outputs = x.shape[1] // groups, out.shape[1] // groups
    # With a stride, what is put apart is put together by phases: pixels that see the same taps.
    phases = window.stride if transposed and window.dilation == (1, 1) else (1, 1)
    high, wide = (triton.cdiv(*each) for each in zip(image_size(out), phases, strict=True))
    rows = out.shape[0] * high * wide
    _gather[
        lambda meta: (
            triton.cdiv(rows, meta["ROWS"]),
            triton.cdiv(outputs, meta["COLUMNS"]),
            groups * phases[0] * phases[1],
        )
    ](
        x, y, _packed(weight, groups, transposed, precision(x)), x if bias is None else bias, out,
        rows, *image_size(out), *image_size(x), inputs, outputs, _extent(rows),
        *x.stride(), *y.stride(), *out.stride(),
        *window.stride, *window.dilation, window.pads[0], window.pads[2], *layers.scale, *phases,
        before[1], after[1],
        *window.kernel, transposed, before[0], after[0], bias is not None,
        _aligned(inputs, inputs, x, y), precision(x),
    )  # fmt: skip


def _packed(weight: Tensor, groups: int, transposed: bool, precision: str) -> Tensor:
    """The filters as products read them, (G, O, KH, KW, C): along the inputs without a gap.

    Their first dimension is that of the products' inputs if `transposed`, or that of the outputs.
    """
    first, second, *kernel = weight.shape
    inputs, outputs = (first // groups, second) if transposed else (second, first // groups)
    packed = torch.empty(weight.numel(), dtype=weight.dtype, device=weight.device)
    _pack[grid(weight.numel())](
        weight, packed, weight.numel(), inputs, outputs, *weight.stride(), *kernel, transposed,
        precision, FLAT,
    )  # fmt: skip
    return packed


def _aligned(first: int, second: int, *images: Tensor) -> int:
    """Of how many channels pixels, rows and images begin at a multiple in memory: 4, or 1."""
    steps = (x.stride(d) for x in images for d in (0, 2, 3))
    return 4 if all(each % 4 == 0 for each in (first, second, *steps)) else 1


def _extent(rows: int) -> int:
    """About how many rows there are: blocks that are best for some are best for a few more."""
    return triton.next_power_of_2(rows)


def _empty(like: Tensor, n: int, channels: int, size: Pair) -> Tensor:
    return torch.empty(
        (n, channels, *size),
        dtype=like.dtype,
        device=like.device,
        memory_format=torch.channels_last,
    )
