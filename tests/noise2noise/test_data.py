"""Pairs from files, folders, photographs and generated images, and their mini-batches."""

import builtins
import os
import pickle
import threading
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from noise2noise.data import (
    CorruptedPhotographs,
    FolderPairs,
    GeneratedImages,
    PairSource,
    TensorPairs,
    batches,
    load_pair_file,
    split,
    steps_per_epoch,
    validation_set,
)
from noise2noise.errors import UserError
from noise2noise.noise.corruptions import parse


def random_pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    PIL.Image.fromarray(pixels).save(path)


def numbered_pairs(count: int, side: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Images that say who they are: channel 0 of image i holds i, channel 1 tells the side."""
    first = torch.zeros(count, 3, side, side, dtype=torch.uint8)
    first[:, 0] = torch.arange(count)[:, None, None]
    second = first.clone()
    second[:, 1] = 200
    return first, second


def place_pairs(count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Images whose every pixel has its own value, the same on both sides plus one."""
    first = torch.arange(count * 3 * 9 * 12).reshape(count, 3, 9, 12).remainder(251).to(torch.uint8)
    return first, first + 1


def all_pairs(source: PairSource, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    inputs, targets = source.batch(range(len(source)), np.random.default_rng(seed))
    return list(zip(inputs, targets, strict=True))


def one_pair(source: PairSource, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    inputs, targets = source.batch([0], np.random.default_rng(seed))
    return inputs[0], targets[0]


class TestTensorPairs:
    def test_a_crop_is_a_region_of_its_image_in_one_of_eight_views_alike_on_both_sides(self):
        first, second = place_pairs(1)
        source = TensorPairs(first, second, crop=5, target_is_clean=True)
        image = first[0].numpy()
        views = {}
        for top in range(9 - 5 + 1):
            for left in range(12 - 5 + 1):
                crop = image[:, top : top + 5, left : left + 5]
                for turns in range(4):
                    turned = np.rot90(crop, turns, (1, 2))
                    views[turned.tobytes()] = (top, left, turns, False)
                    views[turned[:, :, ::-1].tobytes()] = (top, left, turns, True)
        seen = set()
        for seed in range(500):
            x, y = one_pair(source, seed)
            assert x.dtype == y.dtype == np.float32
            np.testing.assert_allclose(y - x, 1 / 255, atol=1e-6)
            seen.add(views[np.rint(255 * x).astype(np.uint8).tobytes()])
        assert {view[:2] for view in seen} == {(t, left) for t in range(5) for left in range(8)}
        assert {view[2:] for view in seen} == {(t, flip) for t in range(4) for flip in (0, 1)}

    def test_either_noisy_image_may_be_the_input(self):
        pairs = all_pairs(TensorPairs(*numbered_pairs(200)))
        share = np.mean([x[1, 0, 0] > y[1, 0, 0] for x, y in pairs])
        assert 0.35 < share < 0.65
        assert all((x[1, 0, 0] > 0) != (y[1, 0, 0] > 0) for x, y in pairs)

    def test_a_clean_image_is_always_the_target(self):
        pairs = all_pairs(TensorPairs(*numbered_pairs(50), target_is_clean=True))
        assert all(x[1, 0, 0] == 0 and y[1, 0, 0] == np.float32(200 / 255) for x, y in pairs)

    def test_floats_and_bytes_of_the_same_values_are_the_same_pairs(self):
        first, second = place_pairs()
        as_bytes = TensorPairs(first, second)
        as_floats = TensorPairs(first.double(), second.half())
        for (x, y), (u, v) in zip(all_pairs(as_bytes), all_pairs(as_floats), strict=True):
            assert np.array_equal(x, u)
            assert np.array_equal(y, v)

    def test_bytes_are_not_copied(self):
        first, second = place_pairs()
        source = TensorPairs(first, second)
        first.zero_()
        second.zero_()
        assert not any(x.any() or y.any() for x, y in all_pairs(source))

    def test_an_epoch_covers_each_image_about_once(self):
        first, second = numbered_pairs(4, side=33)
        source = TensorPairs(first, second, crop=16)
        assert (source.images, len(source)) == (4, 16)
        owners = [round(255 * float(x[0, 0, 0])) for x, _ in all_pairs(source)]
        assert owners == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4

    @pytest.mark.parametrize(
        ("first", "second", "words"),
        [
            (torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 9), r"\(2, 3, 8, 8\).*\(2, 3, 8, 9\)"),
            (torch.zeros(2, 8, 8, 3), torch.zeros(2, 8, 8, 3), r"\(N, C, H, W\).*\(2, 8, 8, 3\)"),
            (torch.zeros(2, 8, 8), torch.zeros(2, 8, 8), r"\(N, C, H, W\).*\(2, 8, 8\)"),
            (torch.zeros(0, 3, 8, 8), torch.zeros(0, 3, 8, 8), r"no images.*\(0, 3, 8, 8\)"),
            (torch.zeros(1, 1, 2, 2).long(), torch.zeros(1, 1, 2, 2).long(), "torch.int64"),
            (torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8), "from 0 to 255, got"),
            (torch.full((1, 1, 8, 8), 4000.0), torch.ones(1, 1, 8, 8), "got 4000 to 4000"),
            (torch.full((1, 1, 8, 8), torch.nan), torch.ones(1, 1, 8, 8), "NaN"),
            (torch.ones(1, 1, 8, 8).to_sparse(), torch.ones(1, 1, 8, 8), "N, C, H, W"),
        ],
    )
    def test_other_tensors_are_refused(self, first, second, words):
        with pytest.raises(UserError, match=words):
            TensorPairs(first, second)

    def test_a_crop_that_does_not_fit_is_refused(self):
        with pytest.raises(UserError, match=r"crop of 10 x 10.*12 x 9"):
            TensorPairs(*place_pairs(), crop=10)


class Hostile:
    """Unpickling this creates a folder: what a malicious file would do, made visible."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class HostilePrint:
    def __reduce__(self):
        return builtins.print, ("code from the file ran",)


class TestPairFile:
    def test_the_tensors_come_back_as_bytes(self, tmp_path):
        first, second = place_pairs()
        for name, content in (("a.pkl", (first, second)), ("b.pth", [first, second])):
            torch.save(content, tmp_path / name)
            a, b = load_pair_file(tmp_path / name)
            assert a.dtype == b.dtype == torch.uint8
            assert torch.equal(a, first)
            assert torch.equal(b, second)

    def test_the_older_format_of_torch_opens_too(self, tmp_path):
        first, second = place_pairs()
        path = tmp_path / "old.pkl"
        torch.save((first, second), path, _use_new_zipfile_serialization=False)
        assert torch.equal(load_pair_file(path)[1], second)

    @pytest.mark.parametrize("zipped", [True, False])
    def test_code_in_a_file_never_runs(self, tmp_path, capsys, zipped):
        trap = tmp_path / "trap"
        first, second = place_pairs()
        contents = {
            "alone.pkl": Hostile(trap),
            "beside.pkl": (first, second, Hostile(trap)),
            "print.pkl": (first, HostilePrint()),
        }
        for name, content in contents.items():
            torch.save(content, tmp_path / name, _use_new_zipfile_serialization=zipped)
            with pytest.raises(UserError, match=f"{name}.*it could run code"):
                load_pair_file(tmp_path / name)
        assert not trap.exists()
        assert capsys.readouterr().out == ""

    def test_code_in_a_plain_pickle_never_runs(self, tmp_path):
        trap = tmp_path / "trap"
        (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Hostile(trap)))
        with pytest.raises(UserError, match=r"plain\.pkl"):
            load_pair_file(tmp_path / "plain.pkl")
        assert not trap.exists()

    def test_the_trap_is_real(self, tmp_path):
        # Without this the three tests above could pass because the trap never snaps.
        pickle.loads(pickle.dumps(Hostile(tmp_path / "trap")))
        assert (tmp_path / "trap").is_dir()

    def test_an_older_torch_is_refused_before_the_file_is_opened(self, tmp_path, monkeypatch):
        torch.save(place_pairs(), tmp_path / "pairs.pkl")
        for version in ("2.5.1+cpu", "1.13.1"):
            monkeypatch.setattr(torch, "__version__", version)
            with pytest.raises(UserError, match=r"2\.6 or newer.*" + version[:5]):
                load_pair_file(tmp_path / "pairs.pkl")
        for version in ("2.6.0", "2.13.0+cpu", "2.10.0a0+git1234", "3.0.0"):
            monkeypatch.setattr(torch, "__version__", version)
            load_pair_file(tmp_path / "pairs.pkl")

    def test_every_cut_of_a_file_is_refused(self, tmp_path):
        path = tmp_path / "pairs.pkl"
        torch.save(place_pairs(), path)
        whole = path.read_bytes()
        for length in [0, 1, 10, *range(100, len(whole) - 1, 311)]:
            path.write_bytes(whole[:length])
            with pytest.raises(UserError, match=r"pairs\.pkl can't be opened"):
                load_pair_file(path)

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (torch.zeros(2, 3, 8, 8), "holds a Tensor"),
            ({"a": torch.zeros(1)}, "holds a dict"),
            ((torch.zeros(1, 1, 8, 8),), r"holds 1 things \(Tensor\)"),
            ((torch.zeros(1, 1, 8, 8), "text"), r"holds 2 things \(Tensor, str\)"),
            ((torch.zeros(1, 1, 8, 8).byte(), torch.zeros(2, 1, 8, 8).byte()), "differ in shape"),
            ((torch.full((1, 1, 8, 8), torch.nan),) * 2, "NaN"),
        ],
    )
    def test_anything_but_two_tensors_of_images_is_refused(self, tmp_path, content, words):
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(UserError, match=r"other\.pth.*" + words):
            load_pair_file(tmp_path / "other.pth")

    def test_text_and_missing_files_and_folders_are_refused(self, tmp_path):
        (tmp_path / "text.pkl").write_text("these are not pairs\n" * 50)
        with pytest.raises(UserError, match=r"text\.pkl can't be opened"):
            load_pair_file(tmp_path / "text.pkl")
        for path in (tmp_path / "missing.pkl", tmp_path):
            with pytest.raises(UserError, match="there is no file"):
                load_pair_file(path)

    def test_the_validation_file_of_the_course_opens(self, shared):
        source = TensorPairs(
            *load_pair_file(shared / "data/ee559/val_data.pkl"), target_is_clean=True
        )
        validation = validation_set(source)
        assert len(validation.pairs) == 200
        assert validation.reference_is_clean
        errors = [np.mean((x - y) ** 2) for x, y in validation.pairs]
        assert np.mean(-10 * np.log10(errors)) == pytest.approx(21.49, abs=0.01)


class TestFolderPairs:
    def test_images_are_matched_by_name_whatever_their_ending(self, tmp_path):
        for i, name in enumerate(("x", "y", "z")):
            pixels = random_pixels(10, 14, 3, seed=i) // 2
            pixels[:5] += 100  # 8 bits that use much of their range have all of it
            save(tmp_path / "a" / f"{name}.png", pixels)
            save(tmp_path / "b" / f"{name}.{'bmp' if i else 'tif'}", pixels + 1)
        source = FolderPairs(tmp_path / "a", tmp_path / "b", crop=6)
        assert (source.images, len(source), source.channels) == (3, 6, 3)
        for x, y in all_pairs(source):
            assert x.shape == y.shape == (3, 6, 6)
            np.testing.assert_allclose(np.abs(x - y), 1 / 255, atol=1e-6)
        assert "3 pairs" in source.describe()

    def test_files_of_different_dtypes_are_scaled_to_their_white(self, tmp_path):
        grey = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
        for folder in ("a", "b"):
            (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / "a/x.tif", grey)
        tifffile.imwrite(tmp_path / "b/x.tif", (grey / 65535 + 1e-4).astype(np.float32))
        source = FolderPairs(tmp_path / "a", tmp_path / "b", crop=8, target_is_clean=True)
        ((x, y),) = all_pairs(source)
        np.testing.assert_allclose(x, y, atol=3e-4)
        assert 1 <= np.ptp(x) < 2

    def refused(self, tmp_path: Path, crop: int = 4) -> str:
        with pytest.raises(UserError) as refusal:
            FolderPairs(tmp_path / "a", tmp_path / "b", crop=crop)
        assert "\n" not in str(refusal.value)
        return str(refusal.value)

    def test_every_image_without_a_partner_is_named(self, tmp_path):
        for name in ("x", "y", "z"):
            save(tmp_path / "a" / f"{name}.png", random_pixels(8, 8))
        for name in ("y", "other"):
            save(tmp_path / "b" / f"{name}.png", random_pixels(8, 8, seed=1))
        message = self.refused(tmp_path)
        assert "3 images" in message
        assert all(name in message for name in ("a/x.png", "a/z.png", "b/other.png"))
        assert "y.png" not in message

    def test_a_long_list_of_names_is_shortened(self, tmp_path):
        for i in range(30):
            save(tmp_path / "a" / f"{i:02}.png", random_pixels(8, 8))
        save(tmp_path / "b" / "00.png", random_pixels(8, 8, seed=1))
        message = self.refused(tmp_path)
        assert message.startswith("29 images")
        assert "10.png" in message
        assert "11.png" not in message
        assert "19 more" in message

    def test_a_pair_of_different_sizes_is_named_with_both_sizes(self, tmp_path):
        for name, a, b in (("x", (8, 9), (8, 9)), ("y", (8, 9), (10, 8)), ("z", (8, 9), (8, 9, 3))):
            save(tmp_path / "a" / f"{name}.png", random_pixels(*a))
            save(tmp_path / "b" / f"{name}.png", random_pixels(*b, seed=1))
        message = self.refused(tmp_path)
        assert f"{tmp_path}/a/y.png is 9 x 8 grey and {tmp_path}/b/y.png is 8 x 10 grey" in message
        assert "z.png is 9 x 8 grey" in message
        assert "z.png is 9 x 8 colour" in message
        assert "x.png" not in message

    def test_grey_and_colour_pairs_do_not_mix(self, tmp_path):
        for name, shape in (("x", (8, 8)), ("y", (8, 8, 3))):
            for seed, folder in enumerate(("a", "b")):
                save(tmp_path / folder / f"{name}.png", random_pixels(*shape, seed=seed))
        message = self.refused(tmp_path)
        assert "x.png is grey" in message
        assert "y.png" in message

    def test_images_smaller_than_the_crop_are_named(self, tmp_path):
        for name, shape in (("x", (8, 8)), ("y", (20, 7))):
            for seed, folder in enumerate(("a", "b")):
                save(tmp_path / folder / f"{name}.png", random_pixels(*shape, seed=seed))
        message = self.refused(tmp_path, crop=8)
        assert "y.png (7 x 20 grey)" in message
        assert "8 x 8" in message
        assert "x.png" not in message

    def test_two_files_of_one_name_in_a_folder_are_reported(self, tmp_path):
        for folder, name in (("a", "x.png"), ("a", "x.bmp"), ("b", "x.png")):
            save(tmp_path / folder / name, random_pixels(8, 8))
        message = self.refused(tmp_path)
        assert "x.png" in message
        assert "x.bmp" in message

    def test_a_folder_paired_with_itself_or_its_copy_is_refused(self, tmp_path):
        for folder in ("a", "b"):
            save(tmp_path / folder / "x.png", random_pixels(8, 8))
        assert "its own noise" in self.refused(tmp_path)
        with pytest.raises(UserError, match="both folders are"):
            FolderPairs(tmp_path / "a", tmp_path / "a", crop=4)

    def test_a_damaged_image_is_named_before_anything_starts(self, tmp_path):
        for folder in ("a", "b"):
            save(tmp_path / folder / "x.png", random_pixels(40, 40))
        whole = (tmp_path / "b/x.png").read_bytes()
        (tmp_path / "b/x.png").write_bytes(whole[: len(whole) // 2])
        assert "b/x.png" in self.refused(tmp_path)

    def test_floats_may_have_any_scale(self, tmp_path):
        rng = np.random.default_rng(0)
        for folder in ("a", "b"):
            (tmp_path / folder).mkdir()
            noisy = rng.normal(900, 1, (8, 8)).astype(np.float32)
            tifffile.imwrite(tmp_path / folder / "x.tif", noisy)
        source = FolderPairs(tmp_path / "a", tmp_path / "b", crop=8)
        ((x, y),) = all_pairs(source)
        assert abs(x - y).mean() > 0.1


class TestCorruptedPhotographs:
    def test_both_images_are_noisy_draws_of_one_crop(self, tmp_path):
        save(tmp_path / "p" / "x.png", np.full((40, 50, 3), 128, np.uint8))
        source = CorruptedPhotographs(tmp_path / "p", parse("gaussian:25"), crop=32)
        x, y = one_pair(source)
        assert x.shape == y.shape == (3, 32, 32)
        assert x.dtype == y.dtype == np.float32
        x, y = x - 128 / 255, y - 128 / 255
        assert x.std() == pytest.approx(25 / 255, rel=0.05)
        assert y.std() == pytest.approx(25 / 255, rel=0.05)
        assert abs(np.mean(x * y)) < 0.05 * (25 / 255) ** 2

    def test_noise_is_new_each_time_and_repeatable(self, tmp_path):
        save(tmp_path / "p" / "x.png", random_pixels(40, 40, 3))
        source = CorruptedPhotographs(tmp_path / "p", parse("poisson:30"), crop=40)
        one, again, other = (one_pair(source, s)[0] for s in (1, 1, 2))
        assert np.array_equal(one, again)
        assert not np.array_equal(one, other)

    def test_a_corruption_that_shrinks_takes_a_larger_region(self, tmp_path):
        save(tmp_path / "p" / "x.png", random_pixels(70, 60, 3))
        source = CorruptedPhotographs(tmp_path / "p", parse("subpixel:6"), crop=8)
        x, y = one_pair(source)
        assert x.shape == y.shape == (3, 8, 8)
        noisy, reference = validation_set(source).pairs[0]
        assert noisy.shape == reference.shape == (3, 8, 8)

    def test_grey_photographs_join_coloured_ones(self, tmp_path):
        save(tmp_path / "p" / "grey.png", random_pixels(16, 16))
        save(tmp_path / "p" / "colour.png", random_pixels(16, 16, 3))
        corruption = parse("gaussian:1")
        both = CorruptedPhotographs(tmp_path / "p", corruption, crop=16)
        assert both.channels == 3
        _, clean = both.validation_pair(1, 16)
        assert np.array_equal(clean[0], clean[2])
        grey = CorruptedPhotographs(tmp_path / "p", corruption, crop=16, channels=1)
        _, luma = grey.validation_pair(0, 16)
        expected = np.tensordot((0.299, 0.587, 0.114), random_pixels(16, 16, 3), (0, 2)) / 255
        np.testing.assert_allclose(luma[0], expected, atol=0.6 / 255)
        (tmp_path / "p" / "colour.png").unlink()
        assert CorruptedPhotographs(tmp_path / "p", corruption, crop=16).channels == 1

    @pytest.mark.parametrize(
        ("dtype", "white"),
        [(np.uint16, 4095), (np.uint16, 65535), (np.float32, 1), (np.float32, 900)],
    )
    def test_what_is_white_follows_from_the_values(self, tmp_path, dtype, white):
        photograph = random_pixels(16, 16).astype(np.float64) / 255
        photograph[0, 0] = 1
        tifffile.imwrite(tmp_path / "x.tif", (white * photograph).astype(dtype))
        source = CorruptedPhotographs(tmp_path, parse("gaussian:0.001"), crop=16)
        ((x, _),) = all_pairs(source)
        np.testing.assert_allclose(np.sort(x.ravel()), np.sort(photograph.ravel()), atol=4e-4)

    def test_small_photographs_are_named_with_what_is_needed(self, tmp_path):
        save(tmp_path / "p" / "large.png", random_pixels(48, 48, 3))
        save(tmp_path / "p" / "small.png", random_pixels(47, 60, 3))
        with pytest.raises(UserError, match=r"48 x 48.*small\.png \(60 x 47 colour\)") as refusal:
            CorruptedPhotographs(tmp_path / "p", parse("subpixel:6"), crop=8)
        assert "large.png" not in str(refusal.value)


class TestGeneratedImages:
    def test_the_seed_decides_the_pictures_and_more_pictures_keep_the_first(self):
        corruption = parse("gaussian:25")
        few, more = (GeneratedImages(count, corruption, crop=16, seed=4) for count in (2, 3))
        other = GeneratedImages(2, corruption, crop=16, seed=5)
        for index in range(2):
            (_, one), (_, two), (_, three) = (
                source.validation_pair(index, 64) for source in (few, more, other)
            )
            assert np.array_equal(one, two)
            assert not np.array_equal(one, three)

    def test_crops_have_the_size_and_channels_asked_for(self):
        source = GeneratedImages(2, parse("subpixel:3"), crop=16, channels=1)
        x, y = one_pair(source)
        assert x.shape == y.shape == (1, 16, 16)
        assert source.channels == 1

    def test_progress_is_shown(self):
        told = []

        def track(items, description, total):
            told.append((description, total))
            yield from items

        assert GeneratedImages(3, parse("gaussian:25"), crop=8, track=track).images == 3
        assert told == [("Generating images", 3)]

    @pytest.mark.parametrize(
        ("changes", "words"),
        [({"count": 0}, "count"), ({"crop": 0}, "crop"), ({"channels": 2}, "channels")],
    )
    def test_impossible_numbers_are_refused(self, changes, words):
        arguments = {"count": 1, "corruption": parse("gaussian:25"), "crop": 8} | changes
        with pytest.raises(ValueError, match=words):
            GeneratedImages(**arguments)


class TestSplit:
    @settings(max_examples=30, deadline=None)
    @given(st.integers(2, 250))
    def test_no_image_is_both_learned_from_and_validated_on(self, count):
        source = TensorPairs(*numbered_pairs(count, side=4))
        training, validation = split(source)
        learned = {round(255 * float(x[0, 0, 0])) for x, _ in all_pairs(training)}
        held = {round(255 * float(x[0, 0, 0])) for x, _ in validation.pairs}
        assert not learned & held
        assert learned | held == set(range(count))
        assert len(held) == max(1, count // 20)

    def test_validation_is_always_the_same(self):
        sources = [GeneratedImages(3, parse("gaussian:25"), crop=16) for _ in range(2)]
        one, again = (split(source)[1] for source in sources)
        assert one.reference_is_clean
        for (x, y), (u, v) in zip(one.pairs, again.pairs, strict=True):
            assert np.array_equal(x, u)
            assert np.array_equal(y, v)
            assert np.std(x - y) == pytest.approx(25 / 255, rel=0.1)
            assert y.min() >= 0
            assert y.max() <= 1

    def test_a_noisy_partner_is_no_clean_reference(self):
        _, validation = split(TensorPairs(*numbered_pairs(4)))
        assert not validation.reference_is_clean
        assert split(TensorPairs(*numbered_pairs(4), target_is_clean=True))[1].reference_is_clean

    def test_validation_images_are_of_one_size_a_multiple_of_the_crop(self, tmp_path):
        for i, shape in enumerate([(70, 90), (50, 64), (300, 700)]):
            save(tmp_path / "p" / f"{i}.png", random_pixels(*shape, seed=i))
        source = CorruptedPhotographs(tmp_path / "p", parse("gaussian:25"), crop=16)
        assert {x.shape for x, _ in validation_set(source).pairs} == {(1, 48, 48)}
        assert validation_set(source.subset([2])).pairs[0][0].shape == (1, 256, 256)

    def test_validation_stays_small(self, monkeypatch):
        monkeypatch.setattr("noise2noise.data.validation.VALIDATION_PIXELS", 4 * 16**2)
        training, validation = split(TensorPairs(*numbered_pairs(200)))
        assert (training.images, len(validation.pairs)) == (196, 4)

    def test_one_image_can_not_be_split(self):
        with pytest.raises(UserError, match=r"at least two images.*1 pair"):
            split(TensorPairs(*numbered_pairs(1)))


@pytest.fixture(scope="module")
def source() -> PairSource:
    return GeneratedImages(5, parse("poisson-gaussian:30,5"), crop=16)


class TestBatches:
    def collect(self, *arguments, **options) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return list(batches(*arguments, **options))

    def same(self, left, right) -> bool:
        return len(left) == len(right) and all(
            torch.equal(x, u) and torch.equal(y, v)
            for (x, y), (u, v) in zip(left, right, strict=True)
        )

    def test_an_epoch_visits_every_pair_once_in_random_order(self):
        source = TensorPairs(*numbered_pairs(50))
        epoch = self.collect(source, 8, seed=1, epoch=0)
        assert [len(x) for x, _ in epoch] == [8] * 6 + [2]
        assert len(epoch) == steps_per_epoch(source, 8)
        x = torch.cat([x for x, _ in epoch])
        assert x.dtype == torch.float32
        assert x.shape == (50, 3, 16, 16)
        order = (255 * x[:, 0, 0, 0]).round().int().tolist()
        assert sorted(order) == list(range(50))
        assert order != sorted(order)

    @pytest.mark.parametrize("batch_size", [1, 6])
    def test_pairs_of_a_batch_are_drawn_apart(self, batch_size):
        source = TensorPairs(*place_pairs(60), crop=5)
        inputs, targets = zip(*batches(source, batch_size, seed=0, epoch=0), strict=True)
        x, y = torch.cat(inputs), torch.cat(targets)
        swapped = x[:, 0, 0, 0] > y[:, 0, 0, 0]
        assert 0.3 < swapped.float().mean() < 0.7
        steps = (255 * (x[:, 0, 0, 1] - x[:, 0, 0, 0])).round().int().unique().tolist()
        assert {1, -1, 12, -12} <= set(steps)  # along rows and columns, forward and back

    def test_any_number_of_workers_gives_the_same_bytes(self, source):
        one = self.collect(source, 7, seed=3, epoch=2, workers=1)
        for workers in (2, 5):
            assert self.same(one, self.collect(source, 7, seed=3, epoch=2, workers=workers))

    def test_starting_in_the_middle_gives_the_rest_of_the_same_epoch(self, source):
        whole = self.collect(source, 7, seed=3, epoch=2)
        for start in range(len(whole) + 1):
            rest = self.collect(source, 7, seed=3, epoch=2, start=start)
            assert self.same(whole[start:], rest)

    def test_seed_and_epoch_each_change_order_and_noise(self, source):
        base = self.collect(source, 8, seed=3, epoch=2)
        assert not self.same(base, self.collect(source, 8, seed=3, epoch=3))
        assert not self.same(base, self.collect(source, 8, seed=4, epoch=2))
        assert not self.same(base, self.collect(source, 8, seed=2, epoch=3))

    def test_no_noise_is_drawn_twice(self, tmp_path):
        save(tmp_path / "p" / "flat.png", np.full((64, 64), 99, np.uint8))
        flat = CorruptedPhotographs(tmp_path / "p", parse("gaussian:25"), crop=16)
        epochs = [pair for epoch in (0, 1) for pair in batches(flat, 3, seed=0, epoch=epoch)]
        images = [image for inputs, targets in epochs for image in (*inputs, *targets)]
        assert len(images) == 2 * 2 * 16
        assert len({image.numpy().tobytes() for image in images}) == len(images)

    def threads(self) -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name.startswith("pairs")]

    def test_few_batches_are_made_ahead_and_closing_ends_the_threads(self):
        made = []

        class Counting(GeneratedImages):
            def batch(self, indices, rng):
                made.append(indices)
                return super().batch(indices, rng)

        many = Counting(20, parse("gaussian:25"), crop=4, channels=1)
        epoch = batches(many, 1, seed=0, epoch=0, workers=2)
        next(epoch)
        assert self.threads()
        deadline = time.monotonic() + 20
        while len(made) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)  # enough for what must not come: more batches than asked for
        assert len(made) == 5
        epoch.close()
        assert not self.threads()

    def test_an_error_in_a_worker_is_raised_and_ends_the_threads(self):
        class Failing(GeneratedImages):
            def batch(self, indices, rng):
                if 30 in indices:
                    raise UserError("the disk is gone")
                return super().batch(indices, rng)

        failing = Failing(2, parse("gaussian:25"), crop=4, channels=1)
        with pytest.raises(UserError, match="the disk is gone"):
            self.collect(failing, 4, seed=0, epoch=0)
        assert not self.threads()

    def test_recorded_pairs_take_no_thread(self):
        epoch = batches(TensorPairs(*numbered_pairs(40)), 4, seed=0, epoch=0)
        next(epoch)
        assert not self.threads()

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"batch_size": 0}, "batch_size"),
            ({"workers": 0}, "workers"),
            ({"start": 6}, "start must be from 0 to 5"),
            ({"start": -1}, "start"),
        ],
    )
    def test_impossible_numbers_are_refused_at_once(self, changes, words):
        arguments = {"batch_size": 2, "seed": 0, "epoch": 0} | changes
        with pytest.raises(ValueError, match=words):
            batches(TensorPairs(*numbered_pairs(10)), **arguments)
