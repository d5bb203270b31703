"""The command line's work as functions: `from noise2noise import denoise, train, open_image`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noise2noise.batch import QUALITIES, Models
from noise2noise.denoiser import Denoiser
from noise2noise.device import AUTO, resolved
from noise2noise.errors import UserError
from noise2noise.files import Stack, Wanted, open_stack
from noise2noise.inference import Settings, StackRun, parse_memory
from noise2noise.kinds import Said, Work, denoised
from noise2noise.noise import NoiseProfile
from noise2noise.shipped import shipped_models

if TYPE_CHECKING:
    import torch

    from noise2noise.data import Track
    from noise2noise.fit import Observer

open_image = open_stack


def denoise(
    image: Any,
    model: str | Path | Denoiser | None = None,
    *,
    quality: str = "balanced",
    out: str | Path | None = None,
    overwrite: bool = False,
    strength: float = 1.0,
    noise: NoiseProfile | float | str | Path | None = None,
    axes: str | None = None,
    channel_axis: int | None = None,
    white: float | None = None,
    memory: int | str | None = None,
    tile: int | None = None,
    keep_impulses: bool = False,
    dtype: str | None = None,
    bit_depth: int | None = None,
    jpeg_quality: int | None = None,
    track: Track | None = None,
    device: str | torch.device | None = None,
) -> Any:
    """Remove noise, as `noise2noise denoise` does.

    Arguments:
        image: whatever `Denoiser.denoise` takes: an array, a tensor, a PIL image, an xarray
            DataArray, a path, or a list of these; or a Dask array, of which a lazy one is made.
        model: a shipped one, a run's folder, a file, or a `Denoiser`; by default the shipped one
            that suits the image.
        quality: fast, balanced or best, as the command has it.
        out: for a path: write the result to this file, with axes, transparency and metadata.
        overwrite: replace what stands at `out`.
        strength, axes, channel_axis, white, tile, track: as `Denoiser.denoise`.
        noise: its standard deviation in the image's units, a profile, or the file of one.
        memory: bytes that may be taken besides, or a text such as "2GB".
        keep_impulses: leave single pixels far away from all around them to the network.
        dtype, bit_depth, jpeg_quality: of the file that is written, where it is to differ.
        device: what computes, as `Denoiser.load` takes it; a `Denoiser` stays where it is.

    Returns:
        The same kind, shape and dtype; of a path an array, or, with `out`, that path.

    Raises:
        UserError: as the command; it is a ValueError.

    Example:
        >>> import numpy as np
        >>> denoise(np.zeros((64, 48), np.uint16), quality="fast").shape
        (64, 48)
    """
    if quality not in QUALITIES:
        raise UserError(f"there is no quality {quality!r}; choose one of {', '.join(QUALITIES)}")
    if quality == "fast" and model is not None:
        raise UserError("quality='fast' chooses the model; leave the model out")
    settings = Settings(
        strength,
        tile,
        parse_memory(memory) if isinstance(memory, str) else memory,
        _profile(noise),
        turns=quality == "best",
        impulses=not keep_impulses,
        wanted=Wanted.parse(dtype, bit_depth),
    )
    if device is not None and isinstance(model, Denoiser):
        raise UserError(
            f"the model computes where it was loaded; leave device={str(device)!r} out, or give it "
            "to Denoiser.load"
        )
    where = str(resolved(AUTO if device is None else device))
    choose = _choice(model, quality, where, settings.tells)
    if out is not None:
        if not isinstance(image, str | Path):
            raise UserError(f"out={str(out)!r} is for an image in a file; give its path")
        with open_stack(image, axes, channel_axis, white) as stack:
            denoiser = choose(stack)
            denoiser.denoise_stack(
                stack, out, settings, overwrite, track, jpeg_quality=jpeg_quality
            )
        return Path(out)
    if settings.wanted is not None or jpeg_quality is not None:
        raise UserError("dtype, bit_depth and jpeg_quality are of a file; name it, out='clean.tif'")

    def start(stack: Stack, settings: Settings) -> StackRun:
        return choose(stack).run(stack, settings, track)

    def later(array: Any, settings: Settings, said: Said) -> Any:
        from noise2noise.scale import denoise_dask  # only this needs dask

        named = model.info.name if isinstance(model, Denoiser) else model
        return denoise_dask(array, named, settings, said, quality, str(device or AUTO))

    return denoised(image, Work(start, settings, Said(axes, channel_axis, white), later))


def train(
    out: str | Path,
    *,
    recipe: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    observer: Observer | None = None,
    **options: Any,
) -> Denoiser:
    """Learn from noisy images, as `noise2noise train` does.

    Arguments:
        out: the folder to keep the run in.
        recipe: a TOML file of options; those given here come first.
        resume: go on with the run in `out`.
        overwrite: replace it.
        observer: is told what happens, and may stop it; silent by default.
        options: the command's, with underscores: `pairs=("first/", "second/")`, `stack="film.tif"`,
            `burst="shots/"`, `photos="photos/", corruption="poisson:30"`, `epochs=5`, ...; `size`
            is `sizes={"width": 32}`, `register` is `registration=True`; `device` is "auto", "cpu",
            "cuda" or "cuda:1".

    Returns:
        The best model of the run; `Denoiser.load(out)` gives it again.

    Raises:
        UserError: the options can't be, or the data, or the folder.
        DivergedError: the loss is no longer a finite number.
        TrainingStopped: the observer asked for it; the run is saved.
    """
    # Not at the top: who denoises needs none of it.
    from noise2noise.fit import Trainer
    from noise2noise.fit.rival import beaten_by_shipped
    from noise2noise.fit.start import completed, new, stored

    place = Path(out)
    config = (stored if resume else new)(
        place, completed(options, None if recipe is None else Path(recipe)), overwrite
    )
    trainer = Trainer(config, place, observer)
    if resume:
        trainer.resume()
    trainer.fit()
    beaten = "" if observer is None else beaten_by_shipped(trainer)
    if observer is not None and beaten:
        observer.on_message(beaten)
    return Denoiser.load(place, trainer.device)


def _choice(model: str | Path | Denoiser | None, quality: str, device: str, told: bool) -> Any:
    """What finds the model for a stack."""
    if isinstance(model, Denoiser):
        return lambda stack: model
    if model is not None:
        shipped = str(model) in shipped_models()
        denoiser = _shipped(str(model), device) if shipped else Denoiser.load(model, device)
        return lambda stack: denoiser
    models = Models(None, quality, told)
    return lambda stack: _shipped(models.choose(stack)[0], device)


@functools.cache
def _shipped(name: str, device: str) -> Denoiser:
    return Denoiser.load(name, device)


def _profile(noise: NoiseProfile | float | str | Path | None) -> NoiseProfile | None:
    if noise is None or isinstance(noise, NoiseProfile):
        return noise
    return NoiseProfile.parse(str(noise))
