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

import torch
import triton
import triton.language as tl
from torch import Tensor

from chainrule.backends import reference
from chainrule.backends.block import Block
from chainrule.backends.triton.launch import INTERPRETED, activated, deactivated, precision, tuned
from chainrule.geometry import Pair, image_size

# Rows, columns and depth of a block; small ones first, for the interpreter and small layers.
_BLOCKS = [
    triton.Config({"ROWS": rows, "COLUMNS": columns, "DEPTH": depth}, num_warps=warps, num_stages=3)
    for rows, columns, depth, warps in (
        (64, 16, 16, 4),
        (128, 32, 32, 4),
        (128, 64, 32, 4),
        (128, 128, 32, 8),
        (64, 64, 64, 4),
        (256, 64, 32, 8),
    )
]
_PARTS = 1 if INTERPRETED else 64
"""Into how many parts a weight's gradient may be split."""


@tuned(_BLOCKS, ["M", "C", "O", "KH", "KW", "TRANSPOSED", "KIND_IN"])
@triton.jit
def _gather(
    x, y, w, bias, out,
    M, HO, WO, HI, WI, C, O,
    xn, xc, xh, xw, yn, yc, yh, yw,
    wg, wc, wo, wu, wv,
    on, oc, oh, ow,
    SH, SW, DH, DW, PH, PW, UH, UW,
    slope_in, slope_out,
    KH: tl.constexpr, KW: tl.constexpr,
    TRANSPOSED: tl.constexpr, KIND_IN: tl.constexpr, KIND_OUT: tl.constexpr,
    BIASED: tl.constexpr, PRECISION: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    group = tl.program_id(2)
    m = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    o = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    n = (m // (HO * WO)).to(tl.int64)
    i = m // WO % HO
    j = m % WO
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for u in range(KH):
        for v in range(KW):
            if TRANSPOSED:
                row = i + PH - u * DH
                column = j + PW - v * DW
                there = (m < M) & (row >= 0) & (column >= 0)
                there &= (row % SH == 0) & (column % SW == 0)
                row = row // SH
                column = column // SW
                there &= (row < HI) & (column < WI)
            else:
                row = i * SH + u * DH - PH
                column = j * SW + v * DW - PW
                there = (m < M) & (row >= 0) & (column >= 0)
                row = row // UH
                column = column // UW
                there &= (row < HI) & (column < WI)
            row = tl.where(there, row, 0)
            column = tl.where(there, column, 0)
            at = n * xn + row * xh + column * xw
            at_y = n * yn + row * yh + column * yw
            for first in range(0, C, DEPTH):
                c = first + tl.arange(0, DEPTH)
                inside = there[:, None] & (c < C)[None, :]
                channel = (group * C + c)[None, :]
                a = tl.load(x + at[:, None] + channel * xc, mask=inside, other=0.0)
                if KIND_IN != "":
                    after = tl.load(y + at_y[:, None] + channel * yc, mask=inside, other=0.0)
                    g = deactivated(a.to(tl.float32), after.to(tl.float32), KIND_IN, slope_in)
                    a = g.to(x.dtype.element_ty)
                b = tl.load(
                    w + group * wg + c[:, None] * wc + o[None, :] * wo + u * wu + v * wv,
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
        mask=(m < M)[:, None] & (o < O)[None, :],
    )


@tuned(_BLOCKS, ["M", "A", "B", "KH", "KW"])
@triton.jit
def _correlate(
    small, large, y, parts,
    M, HS, WS, HL, WL, A, B, SPLIT,
    sn, sc, sh, sw, ln, lc, lh, lw, yn, yc, yh, yw,
    SH, SW, DH, DW, PH, PW, UH, UW,
    slope,
    KH: tl.constexpr, KW: tl.constexpr,
    KIND: tl.constexpr, OF_SMALL: tl.constexpr, PRECISION: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
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
        *small.stride(), *large.stride(), *y.stride(),
        *window.stride, *window.dilation, window.pads[0], window.pads[2], *layers.scale,
        layers.epilogue.slope,
        *kernel, layers.epilogue.activation, not layers.transposed, precision(x),
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
    first, second, *taps = weight.stride()
    # The filters' first dimension is that of the products' inputs, or that of their outputs.
    strides = (inputs * first, first, second) if transposed else (outputs * first, second, first)
    rows = out.shape[0] * out.shape[2] * out.shape[3]
    _gather[
        lambda meta: (
            triton.cdiv(rows, meta["ROWS"]),
            triton.cdiv(outputs, meta["COLUMNS"]),
            groups,
        )
    ](
        x, y, weight, x if bias is None else bias, out,
        rows, *image_size(out), *image_size(x), inputs, outputs,
        *x.stride(), *y.stride(), *strides, *taps, *out.stride(),
        *window.stride, *window.dilation, window.pads[0], window.pads[2], *layers.scale,
        before[1], after[1],
        *window.kernel, transposed, before[0], after[0], bias is not None, precision(x),
    )  # fmt: skip


def _empty(like: Tensor, n: int, channels: int, size: Pair) -> Tensor:
    return torch.empty(
        (n, channels, *size),
        dtype=like.dtype,
        device=like.device,
        memory_format=torch.channels_last,
    )
