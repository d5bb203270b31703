"""The public ops: pure functions in pairs, forward and gradient. Each checks, then dispatches.

A file per family; `checks` holds what they refuse. `chainrule.backends.on(x)` is the backend that
computes with x. Images are (N, C, H, W), all sizes at least 1, of one float dtype and on one
device.
"""

from chainrule.backends.block import Block, Epilogue
from chainrule.ops.activation import (
    activation,
    activation_grad,
    dropout,
    elu,
    elu_grad,
    gelu,
    gelu_grad,
    leaky_relu,
    leaky_relu_grad,
    relu,
    relu_grad,
    sigmoid,
    sigmoid_grad,
    silu,
    silu_grad,
    softmax,
    softmax_grad,
    softplus,
    softplus_grad,
    tanh,
    tanh_grad,
)
from chainrule.ops.checks import (
    check_target,
)
from chainrule.ops.convolution import (
    block,
    block_input_grad,
    block_parameter_grads,
    conv2d,
    conv2d_input_grad,
    conv2d_weight_grad,
    conv_transpose2d,
    conv_transpose2d_input_grad,
    conv_transpose2d_weight_grad,
)
from chainrule.ops.linear import (
    embedding,
    embedding_grad,
    linear,
    linear_input_grad,
    linear_parameter_grads,
)
from chainrule.ops.losses import (
    absolute_error,
    absolute_error_grad,
    squared_error,
    squared_error_grad,
)
from chainrule.ops.normalization import (
    affine,
    affine_grad,
    channel_statistics,
    normalize,
    normalize_fixed_grad,
    normalize_grad,
)
from chainrule.ops.optimization import (
    accumulate,
    adam_step,
    sgd_step,
    zero,
)
from chainrule.ops.padding import (
    pad2d,
    pad2d_grad,
)
from chainrule.ops.pooling import (
    avg_pool2d,
    avg_pool2d_grad,
    max_pool2d,
    max_pool2d_grad,
)
from chainrule.ops.resampling import (
    add,
    concatenate,
    upsample_nearest2d,
    upsample_nearest2d_grad,
)
from chainrule.ops.shape import (
    pixel_shuffle,
    pixel_unshuffle,
    reshape,
)

__all__ = [
    "Block",
    "Epilogue",
    "absolute_error",
    "absolute_error_grad",
    "accumulate",
    "activation",
    "activation_grad",
    "adam_step",
    "add",
    "affine",
    "affine_grad",
    "avg_pool2d",
    "avg_pool2d_grad",
    "block",
    "block_input_grad",
    "block_parameter_grads",
    "channel_statistics",
    "check_target",
    "concatenate",
    "conv2d",
    "conv2d_input_grad",
    "conv2d_weight_grad",
    "conv_transpose2d",
    "conv_transpose2d_input_grad",
    "conv_transpose2d_weight_grad",
    "dropout",
    "elu",
    "elu_grad",
    "embedding",
    "embedding_grad",
    "gelu",
    "gelu_grad",
    "leaky_relu",
    "leaky_relu_grad",
    "linear",
    "linear_input_grad",
    "linear_parameter_grads",
    "max_pool2d",
    "max_pool2d_grad",
    "normalize",
    "normalize_fixed_grad",
    "normalize_grad",
    "pad2d",
    "pad2d_grad",
    "pixel_shuffle",
    "pixel_unshuffle",
    "relu",
    "relu_grad",
    "reshape",
    "sgd_step",
    "sigmoid",
    "sigmoid_grad",
    "silu",
    "silu_grad",
    "softmax",
    "softmax_grad",
    "softplus",
    "softplus_grad",
    "squared_error",
    "squared_error_grad",
    "tanh",
    "tanh_grad",
    "upsample_nearest2d",
    "upsample_nearest2d_grad",
    "zero",
]
