"""PyTorch's tensors: channels come before rows, and images of a batch have nothing in common."""

from __future__ import annotations

import torch

from noise2noise.errors import UserError
from noise2noise.kinds.arrays import denoised as denoised_array
from noise2noise.kinds.kind import Work


def denoised(image: torch.Tensor, work: Work) -> torch.Tensor:
    """(H, W), (C, H, W), or (N, C, H, W), whose images are denoised one by one; any shape where the
    axes are said. Shape, dtype, device and strides stay. No gradient goes through."""
    if image.layout is not torch.strided:
        raise UserError(f"expected a dense tensor, got {image.layout}; give image.to_dense()")
    said = work.said.axes is not None or work.said.channel_axis is not None
    result = torch.empty_like(image, requires_grad=False)
    if image.ndim == 4 and not said:
        for place, each in zip(result, image.detach(), strict=True):
            place.copy_(denoised(each, work))
        return result
    if image.ndim > 4 and not said:
        raise UserError(
            f"expected a tensor of 2 to 4 dimensions, got {tuple(image.shape)}; say its axes, "
            "such as axes='TCZYX'"
        )
    if image.ndim == 3 and not said:
        work = work.saying(axes="SYX")
    values = image.detach().cpu().resolve_conj().resolve_neg()
    if values.dtype == torch.bfloat16:  # numpy has none
        values = values.float()
    return result.copy_(torch.from_numpy(denoised_array(values.numpy(), work)))
