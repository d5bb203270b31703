"""The native backend: float32 on the CPU, by the compiled kernels of `chainrule._native`.

The functions are those of the reference, with the same arguments, in a file per family; what has no
kernel of its own is missing here, or hands over to the reference. Images come in PyTorch's
channels_last layout, (N, C, H, W) in shape and (N, H, W, C) in memory; inputs may have any strides.
How the kernels work: docs/kernels.md.
"""

import torch

import chainrule._native as kernels
from chainrule.backends.native.attention import (
    attention,
    attention_grad,
    split_grad,
)
from chainrule.backends.native.convolution import (
    block,
    block_input_grad,
    block_parameter_grads,
)
from chainrule.backends.native.optimization import (
    accumulate,
    adam_step,
    clip,
    copy,
    sgd_step,
    zero,
)
from chainrule.backends.native.pointwise import (
    absolute_error,
    absolute_error_grad,
    activation,
    activation_grad,
    image_error_grad,
    image_errors,
    squared_error,
    squared_error_grad,
)
from chainrule.backends.native.pooling import (
    add,
    avg_pool2d,
    avg_pool2d_grad,
    concatenate,
    max_pool2d,
    max_pool2d_grad,
    upsample_nearest2d,
    upsample_nearest2d_grad,
)
from chainrule.backends.native.rows import (
    cross_entropy,
    cross_entropy_grad,
    embedding,
    embedding_grad,
    gelu,
    gelu_grad,
    linear,
    linear_input_grad,
    linear_parameter_grads,
    rms_normalize,
    rms_normalize_grad,
    scale_shift,
    scale_shift_grad,
    shift,
    shift_grad,
    silu,
    silu_grad,
    standardize,
    standardize_grad,
)

__all__ = [
    "SERVES",
    "absolute_error",
    "absolute_error_grad",
    "accumulate",
    "activation",
    "activation_grad",
    "adam_step",
    "add",
    "attention",
    "attention_grad",
    "avg_pool2d",
    "avg_pool2d_grad",
    "block",
    "block_input_grad",
    "block_parameter_grads",
    "clip",
    "concatenate",
    "copy",
    "cross_entropy",
    "cross_entropy_grad",
    "embedding",
    "embedding_grad",
    "empty_cache",
    "gelu",
    "gelu_grad",
    "image_error_grad",
    "image_errors",
    "linear",
    "linear_input_grad",
    "linear_parameter_grads",
    "max_pool2d",
    "max_pool2d_grad",
    "rms_normalize",
    "rms_normalize_grad",
    "scale_shift",
    "scale_shift_grad",
    "sgd_step",
    "shift",
    "shift_grad",
    "silu",
    "silu_grad",
    "split_grad",
    "squared_error",
    "squared_error_grad",
    "standardize",
    "standardize_grad",
    "upsample_nearest2d",
    "upsample_nearest2d_grad",
    "zero",
]

if not hasattr(kernels, "pick_rows"):  # a tree that was updated and not compiled again yet
    del embedding, embedding_grad, shift, shift_grad

SERVES = (("cpu", torch.float32),)


def empty_cache() -> int:
    """Give back the memory that kernels and their results left, to the system; returns bytes."""
    return kernels.empty_cache()
