"""Learns to denoise images from pairs of noisy ones, and denoises photographs and micrographs."""

from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.networks import build
from noise2noise.training import Trainer, configure

__all__ = ["Denoiser", "Trainer", "UserError", "build", "configure"]
