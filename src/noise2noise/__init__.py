"""Learns to denoise images from pairs of noisy ones, and denoises photographs and micrographs."""

from typing import TYPE_CHECKING

from noise2noise.lazily import lazily

if TYPE_CHECKING:
    from noise2noise.denoiser import Denoiser
    from noise2noise.errors import UserError
    from noise2noise.fit import Trainer, configure
    from noise2noise.functions import denoise, open_image, train
    from noise2noise.networks import build

__all__ = [
    "Denoiser",
    "Trainer",
    "UserError",
    "build",
    "configure",
    "denoise",
    "open_image",
    "train",
]

__getattr__ = lazily(
    __name__,
    {
        "denoiser": "Denoiser",
        "errors": "UserError",
        "fit": "Trainer configure",
        "functions": "denoise open_image train",
        "networks": "build",
    },
)
