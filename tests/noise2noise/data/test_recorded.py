"""Images as they were taken, in files of any format: pairs, stacks, bursts, their scale, noise."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from noise2noise.data import Bursts, FolderPairs, PairSource, StackFrames, Telling, split
from noise2noise.errors import UserError
from noise2noise.files import Image, write_image

from .made import eight_bits, shot, texture

SIGMA = 8


def save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, values)
    else:
        write_image(path, Image(values))


def save_pairs(folder: Path, change=lambda values: values, scenes: int = 2) -> None:
    for scene in range(scenes):
        for number, side in enumerate("ab"):
            noisy = shot(texture(64, scene), 10 * scene + number, SIGMA)
            save(folder / side / f"{scene}.tif", change(noisy))


def pairs_in(folder: Path, **options) -> FolderPairs:
    return FolderPairs(folder / "a", folder / "b", **options)


def drawn(source: PairSource, count: int = 8) -> tuple[np.ndarray, np.ndarray]:
    indices = np.arange(count) % len(source)
    return source.batch(indices, np.random.default_rng(0))


CHANGES = {
    "uint8": eight_bits,
    "a part of 16 bits": lambda values: np.rint(values + 100).astype(np.uint16),
    "stretched": lambda values: np.rint((values + 60) * 180).astype(np.uint16),
    "signed": lambda values: np.rint(values * 50 - 9000).astype(np.int32),
    "tiny floats": lambda values: (values * 1e-7).astype(np.float32),
    "floats far away": lambda values: values * 1e-3 + 1e4,
}


@pytest.mark.parametrize("name", CHANGES)
def test_neither_unit_nor_offset_of_the_values_matter(tmp_path, name):
    save_pairs(tmp_path / "plain", lambda values: values.astype(np.float32))
    save_pairs(tmp_path / "other", CHANGES[name])
    plain, other = (pairs_in(tmp_path / each, crop=32) for each in ("plain", "other"))
    for ours, theirs in zip(drawn(plain), drawn(other), strict=True):
        if name == "uint8":  # which has all of its range, so that no more is the same but for that
            assert plain.values is not None
            black, white = plain.values
            ours = ours * np.float32(white - black) + black
            theirs = theirs * 255
            np.testing.assert_allclose(theirs, ours.clip(0, 255), atol=0.6)
        else:
            np.testing.assert_allclose(theirs, ours, atol=0.005)
    if name != "uint8":
        told = [each.telling(Telling()) for each in (plain, other)]
        for ours, theirs in zip(*map(drawn, told), strict=True):
            np.testing.assert_allclose(theirs, ours, atol=0.05)


def test_the_noise_is_measured_in_the_units_of_the_files(tmp_path):
    save_pairs(tmp_path, lambda values: np.rint((values * 16).clip(0)).astype(np.uint16))
    noise = pairs_in(tmp_path, crop=32).recorded_noise()
    assert noise is not None
    assert np.sqrt(noise.variance(120 * 16, 0)) == pytest.approx(SIGMA * 16, rel=0.1)


def test_files_of_different_dtypes_have_no_unit_in_common(tmp_path):
    save(tmp_path / "a/x.tif", eight_bits(shot(texture(64), 0)))
    save(tmp_path / "b/x.tif", 257 * eight_bits(shot(texture(64), 1)).astype(np.uint16))
    source = pairs_in(tmp_path, crop=32)
    assert (source.values, source.recorded_noise(), source.notes) == (None, None, ())


def test_channels_and_planes_are_pairs_of_their_own_and_sizes_may_differ(tmp_path):
    for number, side in enumerate("ab"):
        two = np.stack([shot(texture(64, each), number) for each in (0, 1)], -1)
        (tmp_path / side).mkdir()
        np.save(tmp_path / side / "x.npy", two.astype(np.float32))
        planes = np.stack([shot(texture(48, each), 5 + number) for each in (2, 3, 4)])
        planes = planes.astype(np.float32)
        tifffile.imwrite(tmp_path / side / "y.tif", planes, photometric="minisblack")
    source = pairs_in(tmp_path)
    assert (source.images, source.channels, source.crop) == (5, 1, 48)
    noisy, target = drawn(source)
    assert np.corrcoef(noisy.ravel(), target.ravel())[0, 1] > 0.9


# -- images of which something is missing ----------------------------------------------------------


def save_spoiled(folder: Path, value: float, dtype: str = "float32") -> None:
    """Pairs of which one side lacks a corner and the other a few pixels."""
    for scene in range(3):
        sides = [shot(texture(64, scene), 10 * scene + side).astype(dtype) for side in (0, 1)]
        sides[0][:30, 40:] = sides[1][33, 5:9] = value
        for name, side in zip("ab", sides, strict=True):
            save(folder / name / f"{scene}.tif", side)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_what_is_no_number_is_kept_from_the_network_and_is_no_target(tmp_path, dtype):
    for name, value in (("nan", np.nan), ("inf", np.inf)):
        save_spoiled(tmp_path / name, value, dtype)
    sources = [pairs_in(tmp_path / name, crop=64) for name in ("nan", "inf")]
    assert sources[0].gaps
    assert sources[0].values == sources[1].values is not None
    (noisy, target), (other, like) = map(drawn, sources)
    assert np.isfinite(noisy).all()
    assert (np.isnan(target).sum((1, 2, 3)) == 30 * 24 + 4).all()  # of both sides, however turned
    np.testing.assert_array_equal(noisy, other)
    np.testing.assert_array_equal(target, like)


def test_gaps_leave_the_scale_and_the_noise_as_they_are(tmp_path):
    save_spoiled(tmp_path / "gaps", np.nan)
    save_pairs(tmp_path / "whole", lambda values: values.astype(np.float32), scenes=3)
    gaps, whole = (pairs_in(tmp_path / name, crop=32) for name in ("gaps", "whole"))
    assert gaps.values == pytest.approx(whole.values, abs=8)
    for source in (gaps, whole):
        noise = source.recorded_noise()
        assert noise is not None
        assert np.sqrt(noise.variance(120, 0)) == pytest.approx(SIGMA, rel=0.1)
        assert noise.pixel == pytest.approx(SIGMA, rel=0.15)


def test_gaps_are_moved_into_place_with_their_shots(tmp_path):
    save_pairs(tmp_path, lambda values: values.astype(np.float32))
    moved = shot(texture(64, 1, (0, 3)), 99).astype(np.float32)
    moved[20:24, 33:37] = np.nan  # which shows columns 30 to 34 of the other
    save(tmp_path / "b/1.tif", moved)
    source = pairs_in(tmp_path, crop=32, register=True)
    rest, _ = split(source)
    targets = [np.isnan(target) for _, target in (source.validation_pair(i, 58) for i in (0, 1))]
    assert [each.sum() for each in targets] == [0, 16]
    top, left = (int(each.min()) for each in np.nonzero(targets[1][0]))
    assert (top, left) == (20 - 3, 30 - 1)  # 58 pixels in the middle of 61 columns and 64 rows
    assert rest.gaps


def test_of_several_partners_those_count_that_know(tmp_path):
    for number in range(3):
        noisy = shot(texture(64), number).astype(np.float32)
        noisy[10 * number : 10 * number + 5] = np.nan
        save(tmp_path / f"{number}.tif", noisy)
    noisy, reference = Bursts(tmp_path, crop=32).validation_pair(0, 64)
    assert np.isfinite(noisy).all()
    assert np.isnan(reference).all((0, 2)).tolist() == [row < 5 for row in range(64)]
    whole = abs(reference - noisy)[0, 40:].mean()
    assert abs(reference - noisy)[0, 10:15].mean() == pytest.approx(whole, rel=0.3)


def test_where_nothing_is_known_nothing_can_be_measured(tmp_path):
    for scene in range(2):
        for number, side in enumerate("ab"):
            noisy = shot(texture(96, scene), 10 * scene + number).astype(np.float32)
            noisy[16:80, 16:80] = np.nan
            save(tmp_path / side / f"{scene}.tif", noisy)
    with pytest.raises(UserError, match=r"the 64 x 64 pixels in the middle .* cut the images"):
        split(pairs_in(tmp_path, crop=64))


def test_several_shots_of_a_scene_are_folders_of_one_name(tmp_path):
    for number, name in enumerate(("a/tree/1", "a/tree/2", "b/tree/7", "a/hut/1", "b/hut/1")):
        scene = 0 if "tree" in name else 1
        save(tmp_path / f"{name}.png", eight_bits(shot(texture(64, scene), number)))
    source = pairs_in(tmp_path, crop=32)
    assert source.images == 2
    assert "3 pairs of noisy images of 2 scenes" in source.describe()


# -- shots that don't fit -------------------------------------------------------------------------


def save_shifted(folder: Path) -> None:
    save_pairs(folder, eight_bits, scenes=3)
    save(folder / "b/1.tif", eight_bits(shot(texture(64, 1, (0, 3)), 99)))


def test_shifted_pairs_are_named_and_left_out(tmp_path):
    save_shifted(tmp_path)
    source = pairs_in(tmp_path, crop=32)
    (note,) = source.notes
    assert note.startswith("1 shot is shifted by more than half a pixel and left out")
    assert re.search(rf"{tmp_path}/b/1\.tif \(.0\.\d rows, \+(3\.0|2\.[89]) columns\)", note)
    assert "--register" in note
    assert source.images == 2


def test_shifted_pairs_are_moved_into_place_where_that_is_asked_for(tmp_path):
    save_shifted(tmp_path)
    source = pairs_in(tmp_path, crop=32, register=True)
    (note,) = source.notes
    assert "moved into place" in note
    assert source.images == 3
    noisy, target = drawn(source.subset([1]))
    assert np.std(noisy - target) * 255 < 1.6 * SIGMA


def test_nothing_but_shifted_pairs_is_refused(tmp_path):
    save(tmp_path / "a/x.png", eight_bits(shot(texture(64), 0)))
    save(tmp_path / "b/x.png", eight_bits(shot(texture(64, shift=(2, 0)), 1)))
    with pytest.raises(UserError, match=r"no pair of shots is left .*b/x\.png .*--register"):
        pairs_in(tmp_path, crop=32)


def test_half_the_exposure_is_said_and_undone(tmp_path):
    save_pairs(tmp_path, eight_bits)
    save(tmp_path / "b/1.tif", eight_bits(0.5 * shot(texture(64, 1), 99)))
    source = pairs_in(tmp_path, crop=64)
    (note,) = source.notes
    assert "1 shot is at another exposure" in note
    assert "b/1.tif (0.5" in note
    noisy, target = drawn(source)
    assert abs(noisy.mean() - target.mean()) * 255 < 2
    assert np.std(noisy - target) * 255 < 2 * SIGMA


def test_another_scene_is_named(tmp_path):
    save_pairs(tmp_path, eight_bits)
    save(tmp_path / "b/1.tif", eight_bits(shot(texture(64, 7), 99)))
    source = pairs_in(tmp_path, crop=32)
    assert "1 shot is of another scene" in source.notes[0]
    assert source.images == 1


# -- bursts ---------------------------------------------------------------------------------------


def test_every_two_shots_of_a_burst_are_a_pair(tmp_path):
    for scene in range(2):
        for number in range(3):
            picture = shot(texture(64, scene), 10 * scene + number, SIGMA)
            save(tmp_path / f"{scene}/{number}.png", eight_bits(picture))
    save(tmp_path / "0/moved.png", eight_bits(shot(texture(64, 0, (1.2, 0)), 50)))
    source = Bursts(tmp_path, crop=32)
    assert source.describe().startswith("6 pairs of shots of 2 scenes")
    (note,) = source.notes
    assert re.search(r"0/moved\.png \(\+1\.[123] rows, .0\.\d columns\)", note)
    assert "9 pairs" in Bursts(tmp_path, crop=32, register=True).describe()
    _, validation = split(source)
    noisy, reference = validation.pairs[0]
    assert np.std(noisy - reference) * 255 < 1.35 * SIGMA  # a mean of two is less noisy than one


def test_shots_of_one_scene_need_no_folder_of_their_own(tmp_path):
    for number in range(3):
        save(tmp_path / f"{number}.png", eight_bits(shot(texture(96), number)))
    source = Bursts(tmp_path)
    assert (source.images, source.crop) == (1, 64)
    with pytest.raises(UserError, match=r"crop of at most 48"):
        split(source)
    rest, held = split(Bursts(tmp_path, crop=32))
    assert (rest.images, len(held.pairs)) == (1, 1)
    assert rest.smallest_side == 64
    assert held.pairs[0][0].shape == (1, 32, 32)


def test_a_scene_of_one_shot_is_refused(tmp_path):
    save(tmp_path / "a/0.png", eight_bits(texture(64)))
    with pytest.raises(UserError, match="a holds a single shot"):
        Bursts(tmp_path)


# -- stacks ---------------------------------------------------------------------------------------


def film(step: float, frames: int = 6, side: int = 64) -> np.ndarray:
    return np.stack(
        [eight_bits(shot(texture(side, 0, (0, step * n)), n, SIGMA)) for n in range(frames)]
    )


def test_neighbouring_frames_are_pairs_and_more_where_nothing_moves(tmp_path):
    tifffile.imwrite(tmp_path / "still.tif", film(0))
    source = StackFrames(tmp_path / "still.tif", crop=32)
    assert "the picture moves by 0.0" in source.notes[0]
    assert "frames up to 4 apart are pairs" in source.notes[0]
    assert source.describe().startswith("14 pairs of neighbouring frames of ")
    noisy, target = drawn(source)
    assert np.std(noisy - target) * 255 == pytest.approx(1.41 * SIGMA, rel=0.1)


def test_motion_says_how_far_apart_frames_may_be(tmp_path):
    tifffile.imwrite(tmp_path / "slow.tif", film(0.4))
    source = StackFrames(tmp_path / "slow.tif", crop=32)
    assert "the picture moves by 0.4" in source.notes[0]
    assert {b - a for scene in source._scenes for a, b in scene.pairs.tolist()} == {1}


def test_frames_that_move_fast_are_refused_or_registered(tmp_path):
    tifffile.imwrite(tmp_path / "fast.tif", film(2))
    with pytest.raises(UserError, match="--register"):
        StackFrames(tmp_path / "fast.tif", crop=32)
    source = StackFrames(tmp_path / "fast.tif", crop=32, register=True)
    assert "moved into place" in source.notes[0]
    noisy, target = drawn(source)
    assert np.std(noisy - target) * 255 < 1.7 * SIGMA


def test_channels_and_depths_are_films_of_their_own_and_a_folder_is_one(tmp_path):
    frames = film(0, 4)
    stack = np.stack([frames, frames[::-1]], 1)  # T, C, Y, X
    tifffile.imwrite(tmp_path / "c.tif", stack, imagej=True, metadata={"axes": "TCYX"})
    assert StackFrames(tmp_path / "c.tif", crop=32).images == 2
    for number, frame in enumerate(frames):
        save(tmp_path / f"frames/{number}.png", frame)
    source = StackFrames(tmp_path / "frames", crop=32)
    assert source.describe().startswith("6 pairs of neighbouring frames of ")
    with pytest.raises(UserError, match="holds one image"):
        StackFrames(tmp_path / "frames/0.png")


def test_long_films_are_several_scenes_of_which_some_are_held_back(tmp_path):
    tifffile.imwrite(tmp_path / "long.tif", film(0, 33))
    rest, held = split(StackFrames(tmp_path / "long.tif", crop=32))
    assert (rest.images, len(held.pairs)) == (1, 1)
