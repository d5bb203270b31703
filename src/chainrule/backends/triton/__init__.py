"""The Triton backend: float32, float16 and bfloat16 on CUDA devices.

The functions are those of the reference, with the same arguments; what has no kernel here is
computed by the reference, which is PyTorch's elementwise operations and matrix products. Results
are in PyTorch's channels_last layout; inputs may have any strides. With TRITON_INTERPRET=1 in the
environment the kernels run on the CPU, statement by statement, which is how they are tested where
there is no GPU.

- `convolution.py`: implicit matrix products, forward and backward.
- `pointwise.py`: activations, sums, losses.
- `windows.py`: pooling, nearest resampling.
- `rows.py`: normalization of single samples.
- `optimization.py`: one launch for all parameters.
- `launch.py`: what the kernels share, and how large their blocks are.
"""

import torch

from chainrule.backends.triton.convolution import block, block_input_grad, block_parameter_grads
from chainrule.backends.triton.optimization import accumulate, adam_step, clip, sgd_step, zero
from chainrule.backends.triton.pointwise import (
    absolute_error,
    absolute_error_grad,
    activation,
    activation_grad,
    add,
    squared_error,
    squared_error_grad,
)
from chainrule.backends.triton.rows import (
    rms_normalize,
    rms_normalize_grad,
    standardize,
    standardize_grad,
)
from chainrule.backends.triton.windows import (
    avg_pool2d,
    avg_pool2d_grad,
    max_pool2d,
    max_pool2d_grad,
    upsample_nearest2d,
    upsample_nearest2d_grad,
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
    "avg_pool2d",
    "avg_pool2d_grad",
    "block",
    "block_input_grad",
    "block_parameter_grads",
    "clip",
    "max_pool2d",
    "max_pool2d_grad",
    "rms_normalize",
    "rms_normalize_grad",
    "sgd_step",
    "squared_error",
    "squared_error_grad",
    "standardize",
    "standardize_grad",
    "upsample_nearest2d",
    "upsample_nearest2d_grad",
    "zero",
]

SERVES = tuple(("cuda", dtype) for dtype in (torch.float32, torch.float16, torch.bfloat16))
