"""What works on rows, the vectors along the last dimension: products of matrices, normalization,
rows of a table, smooth activations, cross-entropy.
"""

from __future__ import annotations

import torch
from torch import Tensor

import chainrule._native as kernels
from chainrule.backends import reference
from chainrule.backends.native.memory import alike, dense, empty_like, fresh, solid
from chainrule.backends.settings import threads

LARGEST = 1 << 19
"""Of a matrix whose products are the kernels': beyond so many values it leaves the caches, for
which PyTorch's are cut to measure."""

# -- products of matrices -------------------------------------------------------------------------


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if weight.numel() > LARGEST or not weight.numel() or not x.numel() or weight.is_neg():
        return reference.linear(x, weight, bias)
    (x, pitch), (outputs, inputs), steps = _rows(x), weight.shape, weight.stride()
    bias = None if bias is None else solid(bias)
    y = fresh(x, *x.shape[:-1], outputs)
    _product(x, pitch, weight, outputs, inputs, steps[0], steps[1], bias, y)
    return y


def linear_input_grad(gy: Tensor, weight: Tensor) -> Tensor:
    if weight.numel() > LARGEST or not weight.numel() or not gy.numel() or weight.is_neg():
        return reference.linear_input_grad(gy, weight)
    (gy, pitch), (outputs, inputs), steps = _rows(gy), weight.shape, weight.stride()
    gx = fresh(gy, *gy.shape[:-1], inputs)
    _product(gy, pitch, weight, inputs, outputs, steps[1], steps[0], None, gx)
    return gx


def linear_parameter_grads(x: Tensor, gy: Tensor) -> tuple[Tensor, Tensor]:
    inputs, outputs = x.shape[-1], gy.shape[-1]
    if inputs * outputs > LARGEST or not x.numel() or not gy.numel():
        return reference.linear_parameter_grads(x, gy)
    (x, x_pitch), (gy, gy_pitch) = _rows(x), _rows(gy)
    gweight, gbias = fresh(x, outputs, inputs), fresh(x, outputs)
    kernels.linear_gradients(
        x.data_ptr(),
        x_pitch,
        gy.data_ptr(),
        gy_pitch,
        x.numel() // inputs,
        outputs,
        inputs,
        gweight.data_ptr(),
        gbias.data_ptr(),
        threads(),
    )
    return gweight, gbias


def _product(
    x: Tensor,
    pitch: int,
    weight: Tensor,
    outputs: int,
    inputs: int,
    output_step: int,
    input_step: int,
    bias: Tensor | None,
    y: Tensor,
) -> None:
    kernels.linear(
        x.data_ptr(),
        pitch,
        x.numel() // inputs,
        weight.data_ptr(),
        outputs,
        inputs,
        output_step,
        input_step,
        0 if bias is None else bias.data_ptr(),
        y.data_ptr(),
        threads(),
    )


def _rows(x: Tensor) -> tuple[Tensor, int]:
    """x as rows without gaps in each, and the values from one to the next."""
    if x.dim() == 2 and x.stride(1) == 1 and not x.is_neg():
        return x, x.stride(0)
    return solid(x), x.shape[-1]


# -- rows of a table, and one that is added to all -------------------------------------------------


def embedding(index: Tensor, weight: Tensor) -> Tensor:
    if not index.numel() or not weight.numel():
        return reference.embedding(index, weight)
    index, weight = index.long().contiguous(), solid(weight)
    size = weight.shape[1]
    y = fresh(weight, *index.shape, size)
    kernels.pick_rows(
        index.data_ptr(), weight.data_ptr(), index.numel(), size, y.data_ptr(), threads()
    )
    return y


def embedding_grad(gy: Tensor, index: Tensor, rows: int) -> Tensor:
    if not gy.numel() or not rows:
        return reference.embedding_grad(gy, index, rows)
    index, gy, size = index.long().contiguous(), solid(gy), gy.shape[-1]
    gweight = fresh(gy, rows, size)
    kernels.add_to_rows(
        index.data_ptr(), gy.data_ptr(), index.numel(), size, rows, gweight.data_ptr(), threads()
    )
    return gweight


def shift(x: Tensor, by: Tensor) -> Tensor:
    if not x.numel():
        return reference.shift(x, by)
    x, by = solid(x), solid(by)
    y, size = empty_like(x), by.numel()
    kernels.scale_shift(
        x.data_ptr(), 0, by.data_ptr(), x.numel() // size, size, y.data_ptr(), threads()
    )
    return y


def shift_grad(gy: Tensor, dims: int) -> Tensor:
    if not gy.numel():
        return reference.shift_grad(gy, dims)
    gy = solid(gy)
    gby = fresh(gy, *gy.shape[gy.dim() - dims :])
    size = gby.numel()
    kernels.sum_rows(gy.data_ptr(), gy.numel() // size, size, gby.data_ptr(), threads())
    return gby


# -- normalization --------------------------------------------------------------------------------


def standardize(x: Tensor, dims: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor]:
    if not _are_last(dims, x):
        return reference.standardize(x, dims, eps)
    return _normalized(x, dims, eps, centre=True)


def rms_normalize(x: Tensor, dims: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor]:
    if not _are_last(dims, x):
        return reference.rms_normalize(x, dims, eps)
    return _normalized(x, dims, eps, centre=False)


def standardize_grad(gxhat: Tensor, xhat: Tensor, scale: Tensor, dims: tuple[int, ...]) -> Tensor:
    if not _are_last(dims, xhat):
        return reference.standardize_grad(gxhat, xhat, scale, dims)
    return _normalized_grad(gxhat, xhat, scale, centre=True)


def rms_normalize_grad(gxhat: Tensor, xhat: Tensor, scale: Tensor, dims: tuple[int, ...]) -> Tensor:
    if not _are_last(dims, xhat):
        return reference.rms_normalize_grad(gxhat, xhat, scale, dims)
    return _normalized_grad(gxhat, xhat, scale, centre=False)


def _are_last(dims: tuple[int, ...], x: Tensor) -> bool:
    """Whether the groups over these dimensions are rows, and there are any."""
    return dims == tuple(range(x.dim() - len(dims), x.dim())) and x.numel() > 0


def _normalized(
    x: Tensor, dims: tuple[int, ...], eps: float, centre: bool
) -> tuple[Tensor, Tensor]:
    x, first = solid(x), x.dim() - len(dims)
    xhat, scale = empty_like(x), fresh(x, *x.shape[:first], *[1] * len(dims))
    rows = scale.numel()
    kernels.standardize(
        x.data_ptr(),
        rows,
        x.numel() // rows,
        eps,
        centre,
        xhat.data_ptr(),
        scale.data_ptr(),
        threads(),
    )
    return xhat, scale


def _normalized_grad(gxhat: Tensor, xhat: Tensor, scale: Tensor, centre: bool) -> Tensor:
    gxhat, xhat, scale = solid(gxhat), solid(xhat), solid(scale)
    gx, rows = empty_like(gxhat), scale.numel()
    kernels.standardize_gradient(
        gxhat.data_ptr(),
        xhat.data_ptr(),
        scale.data_ptr(),
        rows,
        xhat.numel() // rows,
        centre,
        gx.data_ptr(),
        threads(),
    )
    return gx


def scale_shift(x: Tensor, weight: Tensor, bias: Tensor | None, dim: int) -> Tensor:
    if dim + weight.dim() != x.dim() or not x.numel():
        return reference.scale_shift(x, weight, bias, dim)
    x, weight, bias = solid(x), solid(weight), None if bias is None else solid(bias)
    y, size = empty_like(x), weight.numel()
    kernels.scale_shift(
        x.data_ptr(),
        weight.data_ptr(),
        0 if bias is None else bias.data_ptr(),
        x.numel() // size,
        size,
        y.data_ptr(),
        threads(),
    )
    return y


def scale_shift_grad(
    gy: Tensor, x: Tensor, weight: Tensor, dim: int
) -> tuple[Tensor, Tensor, Tensor]:
    if dim + weight.dim() != x.dim() or not x.numel():
        return reference.scale_shift_grad(gy, x, weight, dim)
    gy, x, weight = solid(gy), solid(x), solid(weight)
    gx, gweight, gbias = empty_like(gy), empty_like(weight), empty_like(weight)
    size = weight.numel()
    kernels.scale_shift_gradient(
        gy.data_ptr(),
        x.data_ptr(),
        weight.data_ptr(),
        x.numel() // size,
        size,
        gx.data_ptr(),
        gweight.data_ptr(),
        gbias.data_ptr(),
        threads(),
    )
    return gx, gweight, gbias


# -- smooth activations ---------------------------------------------------------------------------

_GELU = {"none": 0, "tanh": 1}
_SILU = 2


def gelu(x: Tensor, approximate: str) -> Tensor:
    return _curve(x, _GELU[approximate]) if dense(x) else reference.gelu(x, approximate)


def gelu_grad(gy: Tensor, x: Tensor, approximate: str) -> Tensor:
    if not alike(gy, x):
        return reference.gelu_grad(gy, x, approximate)
    return _curve_grad(gy, x, _GELU[approximate])


def silu(x: Tensor) -> Tensor:
    return _curve(x, _SILU) if dense(x) else reference.silu(x)


def silu_grad(gy: Tensor, x: Tensor) -> Tensor:
    return _curve_grad(gy, x, _SILU) if alike(gy, x) else reference.silu_grad(gy, x)


def _curve(x: Tensor, kind: int) -> Tensor:
    y = empty_like(x)
    kernels.curve(x.data_ptr(), y.data_ptr(), x.numel(), kind, threads())
    return y


def _curve_grad(gy: Tensor, x: Tensor, kind: int) -> Tensor:
    gx = empty_like(gy)
    kernels.curve_gradient(gy.data_ptr(), x.data_ptr(), gx.data_ptr(), gy.numel(), kind, threads())
    return gx


# -- cross-entropy --------------------------------------------------------------------------------


def cross_entropy(
    logits: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, smoothing: float
) -> tuple[Tensor, Tensor, Tensor]:
    if not _is_plain(logits, target, weight, smoothing):
        return reference.cross_entropy(logits, target, weight, ignore_index, smoothing)
    logits, target = solid(logits), target.contiguous()
    logs, values = empty_like(logits), fresh(logits, *target.shape)
    share = empty_like(values)
    kernels.cross_entropy(
        logits.data_ptr(),
        target.data_ptr(),
        ignore_index,
        logits.shape[0],
        logits.shape[1],
        values.data_ptr(),
        logs.data_ptr(),
        share.data_ptr(),
        threads(),
    )
    return values, logs, share


def cross_entropy_grad(
    logs: Tensor,
    target: Tensor,
    weight: Tensor | None,
    share: Tensor,
    ignore_index: int,
    smoothing: float,
    scale: float | Tensor,
) -> Tensor:
    single = not isinstance(scale, Tensor) or (scale.dim() == 0 and scale.dtype == logs.dtype)
    if not single or not _is_plain(logs, target, weight, smoothing):
        settings = (ignore_index, smoothing, scale)
        return reference.cross_entropy_grad(logs, target, weight, share, *settings)
    logs, target, share = solid(logs), target.contiguous(), solid(share)
    gradient = empty_like(logs)
    kernels.cross_entropy_gradient(
        logs.data_ptr(),
        target.data_ptr(),
        share.data_ptr(),
        1.0 if isinstance(scale, Tensor) else scale,
        scale.data_ptr() if isinstance(scale, Tensor) else 0,
        logs.shape[0],
        logs.shape[1],
        gradient.data_ptr(),
        threads(),
    )
    return gradient


def _is_plain(logits: Tensor, target: Tensor, weight: Tensor | None, smoothing: float) -> bool:
    """Whether classes alone say what is right, of rows of logits."""
    unweighted = weight is None and not smoothing
    return unweighted and logits.dim() == 2 and target.dtype == torch.int64
