"""The reference backend: every op as its textbook formula, forward and backward side by side.

It is the definition of right: any device, any float dtype, and nothing but Tensor methods, `empty`,
`cat`, `arange`, `fold` and `unfold`. Arguments have been checked by the caller. `__all__` lists the
ops: what another backend may define, and has from here where it doesn't.
"""

from chainrule.backends.reference.activation import (
    activation,
    activation_grad,
    dropout,
    elu,
    elu_grad,
    gelu,
    gelu_grad,
    silu,
    silu_grad,
    softmax,
    softmax_grad,
    softplus,
    softplus_grad,
)
from chainrule.backends.reference.convolution import (
    block,
    block_input_grad,
    block_parameter_grads,
)
from chainrule.backends.reference.linear import (
    embedding,
    embedding_grad,
    linear,
    linear_input_grad,
    linear_parameter_grads,
)
from chainrule.backends.reference.losses import (
    absolute_error,
    absolute_error_grad,
    squared_error,
    squared_error_grad,
)
from chainrule.backends.reference.normalization import (
    affine,
    affine_grad,
    channel_statistics,
    normalize,
    normalize_fixed_grad,
    normalize_grad,
    rms_normalize,
    rms_normalize_grad,
    scale_shift,
    scale_shift_grad,
    standardize,
    standardize_grad,
)
from chainrule.backends.reference.optimization import accumulate, adam_step, sgd_step, zero
from chainrule.backends.reference.padding import (
    pad2d,
    pad2d_grad,
)
from chainrule.backends.reference.pooling import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_grad,
    avg_pool2d,
    avg_pool2d_grad,
    max_pool2d,
    max_pool2d_grad,
)
from chainrule.backends.reference.resampling import (
    add,
    concatenate,
    upsample_bilinear2d,
    upsample_bilinear2d_grad,
    upsample_nearest2d,
    upsample_nearest2d_grad,
)
from chainrule.backends.reference.shape import (
    pixel_shuffle,
    pixel_unshuffle,
    reshape,
)

__all__ = [
    "absolute_error",
    "absolute_error_grad",
    "accumulate",
    "activation",
    "activation_grad",
    "adam_step",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_grad",
    "add",
    "affine",
    "affine_grad",
    "avg_pool2d",
    "avg_pool2d_grad",
    "block",
    "block_input_grad",
    "block_parameter_grads",
    "channel_statistics",
    "concatenate",
    "dropout",
    "elu",
    "elu_grad",
    "embedding",
    "embedding_grad",
    "gelu",
    "gelu_grad",
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
    "reshape",
    "rms_normalize",
    "rms_normalize_grad",
    "scale_shift",
    "scale_shift_grad",
    "sgd_step",
    "silu",
    "silu_grad",
    "softmax",
    "softmax_grad",
    "softplus",
    "softplus_grad",
    "squared_error",
    "squared_error_grad",
    "standardize",
    "standardize_grad",
    "upsample_bilinear2d",
    "upsample_bilinear2d_grad",
    "upsample_nearest2d",
    "upsample_nearest2d_grad",
    "zero",
]
