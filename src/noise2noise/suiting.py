"""Which of the shipped models suits an image."""

from __future__ import annotations

import numpy as np

from noise2noise.files import Scale, Stack, stack_of
from noise2noise.guidance import Guidance, PlaneView

GREY_CORRELATION = 0.95
"""Three channels whose finest details correlate more than this have the same noise."""

_IMPULSES = 1e-4
"""Share of the pixels: only models that are told the noise have impulses taken out."""

_STRIP = 64  # rows that are looked at together; an even number


def default_model(image: np.ndarray | Stack, told: bool = False) -> str:
    """The shipped model that suits an image, (H, W) or (H, W, 3), or the first plane of a stack.

    `photo` learned from noise that is independent from pixel to pixel and in each channel, and
    takes noise that is the same in all three for texture. So `grey`, which works channel by
    channel, suits not only what has no colours but also most JPEGs: they keep colour at half the
    resolution, which leaves the finest details, noise included, the same in all channels. `camera`
    suits colours of 8 bits whose noise hides from its measurement, since a phone or a camera
    smoothed and compressed it; other images of which that is so are for `grey`.

    Arguments:
        image: what is to be denoised.
        told: whether it has to be a model that can be told the noise, as `photo` and `grey` are.
    """
    stack = image if isinstance(image, Stack) else stack_of(image)
    if stack.header.colour != "rgb":
        return "grey"
    same, alike = _channels(stack)
    if same:
        return "grey"
    found = Guidance.of([PlaneView(stack, Scale(0, 1), 0)])
    finished = stack.header.dtype == np.uint8  # and not proportional to the light, as others may be
    if found.hidden and finished and not told and found.noise.impulses <= _IMPULSES:
        return "camera"
    return "grey" if alike or found.hidden else "photo"


def _channels(stack: Stack) -> tuple[bool, bool]:
    """Whether the three channels are the same, and whether their finest diagonal details are all
    but proportional.

    Their correlation is all but 1 in photographs of JPEG's usual 4:2:0 format, noisy or not; noise
    that is independent in each channel soon brings it down.
    """
    products = np.zeros((3, 3))  # of the details of each channel with those of each
    same = True
    for top in range(0, stack.header.height, _STRIP):
        strip = stack.read(0, slice(top, top + _STRIP))[..., :3]
        same = same and is_grey(strip.transpose(2, 0, 1))
        height, width = (size // 2 * 2 for size in strip.shape[:2])
        x = strip[:height, :width].astype(np.float32)
        details = x[0::2, 0::2] - x[0::2, 1::2] - x[1::2, 0::2] + x[1::2, 1::2]
        details = np.nan_to_num(details, copy=False, nan=0, posinf=0, neginf=0)
        products += np.einsum("hwa,hwb->ab", details, details)
    norms = np.sqrt(products.diagonal())
    if not norms.all():  # flat in some channel, or a single row or column
        return same, same
    return same, bool((products / np.outer(norms, norms)).min() > GREY_CORRELATION)


def is_grey(planes: np.ndarray) -> bool:
    """Whether all channels of (C, H, W) are the same."""
    return bool((planes == planes[:1]).all())
