"""The data that a configuration names: pairs to learn from, and what to validate on."""

from __future__ import annotations

from noise2noise import networks
from noise2noise.data import (
    USUAL_CROP,
    Bursts,
    CorruptedPhotographs,
    FolderPairs,
    GeneratedImages,
    PairSource,
    StackFrames,
    Telling,
    TensorPairs,
    Track,
    ValidationSet,
    load_pair_file,
    split,
    validation_set,
)
from noise2noise.errors import UserError
from noise2noise.fit.configuration import TrainingConfig
from noise2noise.noise.corruptions import parse


def open_data(config: TrainingConfig, track: Track) -> tuple[PairSource, ValidationSet]:
    """The source of training pairs, and what to validate on.

    Raises:
        UserError: see `noise2noise.data`; or the crop doesn't suit the architecture, or the
            validation images have other channels than the source's or are too small.
    """
    sizes = networks.sizes_of(config.architecture, config.sizes)
    architecture = networks.ARCHITECTURES[config.architecture]
    multiple = architecture.multiple(sizes)
    if architecture.shared:
        raise UserError(
            f"{config.architecture} is there for published weights and isn't trained here; choose "
            "guided, which is told the noise too"
        )
    if config.crop is not None and config.crop % multiple:
        raise UserError(
            f"crop must be a multiple of {multiple} for {config.architecture}, got {config.crop}"
        )
    if architecture.told:
        return split(_telling(config, _open_source(config, track, multiple)))
    if config.target_shots != 1 or config.varied:
        raise UserError(
            "target_shots and varied are for networks that are told the noise; choose the "
            "architecture guided, or leave them out"
        )
    if config.validation is None:
        return split(_open_source(config, track, multiple))
    noisy, clean = load_pair_file(config.validation)  # first, because it is quickly refused
    side = min(config.crop or USUAL_CROP, *noisy.shape[2:]) // multiple * multiple
    if side == 0:
        raise UserError(
            f"{config.validation}: the images are {noisy.shape[3]} x {noisy.shape[2]}; "
            f"{config.architecture} needs at least {multiple} x {multiple}"
        )
    source = _open_source(config, track, multiple)
    if noisy.shape[1] != source.channels:
        raise UserError(
            f"{config.validation}: the images have {noisy.shape[1]} channels, "
            f"but those to train on have {source.channels}"
        )
    return source, validation_set(TensorPairs(noisy, clean, side, target_is_clean=True))


def _telling(config: TrainingConfig, source: PairSource) -> PairSource:
    if config.validation is not None:
        raise UserError(
            f"the noise in {config.validation} isn't known, and {config.architecture} is to be "
            "told it; leave validation out, and some of the images are held back"
        )
    if config.corruption is None and (config.target_shots != 1 or config.varied):
        raise UserError("target_shots and varied need noise that is drawn; give a corruption")
    return source.telling(Telling(config.target_shots, config.varied))


def _open_source(config: TrainingConfig, track: Track, multiple: int) -> PairSource:
    if config.pairs is not None:
        return FolderPairs(
            *config.pairs, config.crop, track=track, register=config.registration, multiple=multiple
        )
    if config.stack is not None:
        return StackFrames(config.stack, config.crop, track, config.registration, multiple)
    if config.burst is not None:
        return Bursts(config.burst, config.crop, track, config.registration, multiple)
    if config.pairs_file is not None:
        sides = load_pair_file(config.pairs_file, gaps=True)
        fitting = min(USUAL_CROP, *sides[0].shape[2:]) // multiple * multiple
        return TensorPairs(*sides, config.crop or max(fitting, multiple))
    corruption, channels = parse(config.corruption or ""), config.sizes.get("channels")
    crop = config.crop or USUAL_CROP
    if config.photos is not None:
        return CorruptedPhotographs(config.photos, corruption, crop, channels, track)
    assert config.generated is not None
    return GeneratedImages(config.generated, corruption, crop, config.seed, channels or 3, track)
