"""How a run did beside the shipped model that its images would get without any training."""

from __future__ import annotations

import numpy as np

from noise2noise.denoiser import Denoiser
from noise2noise.fit.gaps import psnr_where_known
from noise2noise.fit.trainer import Trainer

_NOTABLE = 0.05  # dB: no more than chance


def shipped_score(trainer: Trainer) -> tuple[str, float]:
    """The shipped model for so many channels, and its mean PSNR over the validation images in dB,
    with the noise estimated from each, as `noise2noise denoise` does."""
    name = "photo" if trainer.source.channels == 3 else "grey"
    denoiser, values = Denoiser.load(name, trainer.device), []
    for noisy, reference in trainer.validation.pairs:
        result = denoiser.denoise_unit(noisy)
        if trainer.validation.reference_is_clean:
            result = np.clip(result, 0, 1)
        values.append(psnr_where_known(result, reference))
    return name, float(np.mean(values))


def beaten_by_shipped(trainer: Trainer) -> str:
    """A sentence where the shipped model is better than what the run made; or ""."""
    if not trainer.team.leads:
        return ""
    name, shipped = shipped_score(trainer)
    best = trainer.position.best_psnr
    if best >= shipped - _NOTABLE:
        return ""
    begun = trainer.config.start_from == name
    advice = "train longer, or on more images" if begun else f"train longer, or --start-from {name}"
    return (
        f"the shipped model {name} reaches {shipped:.2f} dB on the same validation images, more "
        f"than the {best:.2f} dB of this one: {advice}"
    )
