"""The Triton backend: float32, float16 and bfloat16 on CUDA devices.

The functions are those of the reference, with the same arguments; what has no kernel here is
computed by the reference, which is PyTorch's elementwise operations and matrix products. Results
are in PyTorch's channels_last layout; inputs may have any strides. With TRITON_INTERPRET=1 in the
environment the kernels run on the CPU, statement by statement, which is how they are tested where
there is no GPU.

- `convolution.py`: implicit matrix products, forward and backward.
- `pointwise.py`: activations, sums, losses.
- `optimization.py`: one launch for all parameters.
- `launch.py`: what the kernels share, and how large their blocks are.
"""

import torch

from chainrule.backends.triton.convolution import block, block_input_grad, block_parameter_grads
from chainrule.backends.triton.optimization import accumulate, adam_step, sgd_step, zero
from chainrule.backends.triton.pointwise import (
    activation,
    activation_grad,
    add,
    squared_error,
    squared_error_grad,
)

__all__ = [
    "SERVES",
    "accumulate",
    "activation",
    "activation_grad",
    "adam_step",
    "add",
    "block",
    "block_input_grad",
    "block_parameter_grads",
    "sgd_step",
    "squared_error",
    "squared_error_grad",
    "zero",
]

SERVES = tuple(("cuda", dtype) for dtype in (torch.float32, torch.float16, torch.bfloat16))
