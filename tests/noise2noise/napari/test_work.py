"""Denoising and training on what layers hold: no window is needed for that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from noise2noise import denoise
from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.files import read_image
from noise2noise.napari import samples
from noise2noise.napari.fitting import Lesson, train
from noise2noise.napari.layers import View, pixels_of
from noise2noise.napari.pairs import frame_pairs, write_pairs
from noise2noise.napari.work import Stopped, Watch, Wishes, denoise_pixels, denoise_view
from noise2noise.single import Options


def test_a_layer_comes_out_as_the_function_has_it(layer, noisy) -> None:
    made = denoise_pixels(pixels_of(layer(noisy[0, 0])), Wishes(), Watch())
    assert np.array_equal(made.data, denoise(noisy[0, 0]))
    assert made.facts == {"model": "grey", "strength": 1.0, "quality": "balanced"}
    assert made.words == "Denoised with grey, since it has no colours"


@pytest.mark.parametrize("wishes", [Wishes(strength=0.5), Wishes(quality="fast"), Wishes("photo")])
def test_what_is_chosen_counts(layer, noisy, wishes: Wishes) -> None:
    made = denoise_pixels(pixels_of(layer(noisy[0, 0])), wishes, Watch())
    model = None if wishes.quality == "fast" else wishes.model
    expected = denoise(
        noisy[0, 0],
        None if model is None or " " in model else model,
        quality=wishes.quality,
        strength=wishes.strength,
    )
    assert np.array_equal(made.data, expected)
    assert not np.array_equal(made.data, denoise(noisy[0, 0]))


def test_channels_that_are_named_have_noise_of_their_own(layer, noisy) -> None:
    expected = denoise(noisy, axes="TCYX")
    by_label = pixels_of(layer(noisy, ("t", "c", "y", "x")))
    by_choice = pixels_of(layer(noisy), channel_axis=1)
    for pixels in (by_label, by_choice):
        assert np.array_equal(denoise_pixels(pixels, Wishes(), Watch()).data, expected)
    together = denoise_pixels(pixels_of(layer(noisy)), Wishes(), Watch())
    assert not np.array_equal(together.data, expected)


def test_rows_and_columns_may_lie_anywhere(layer, noisy) -> None:
    turned = np.moveaxis(noisy[0], 0, -1)  # y, x, c
    made = denoise_pixels(pixels_of(layer(turned, ("y", "x", "c"))), Wishes(), Watch())
    assert np.array_equal(made.data, denoise(turned, axes="YXC"))


def test_transparency_of_a_coloured_layer_stays(layer) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (2, 32, 40, 4), np.uint8)
    made = denoise_pixels(pixels_of(layer(pixels, rgb=True)), Wishes(), Watch())
    assert np.array_equal(made.data[..., 3], pixels[..., 3])
    assert np.array_equal(made.data[..., :3], denoise(pixels[..., :3]))


def test_dask_is_read_plane_by_plane(layer, noisy) -> None:
    array = pytest.importorskip("dask.array")
    sizes = []

    def seen(block: np.ndarray) -> np.ndarray:
        sizes.append(block.size)
        return block

    lazy = array.from_array(noisy, chunks=(1, 1, 48, 56)).map_blocks(
        seen, dtype=noisy.dtype, meta=np.empty((0, 0, 0, 0), noisy.dtype)
    )
    made = denoise_pixels(pixels_of(layer(lazy, ("t", "c", "y", "x"))), Wishes(), Watch())
    assert isinstance(made.data, np.memmap)
    assert np.array_equal(made.data, denoise(noisy, axes="TCYX"))
    assert max(sizes) == 48 * 56


def test_a_model_is_fitted_to_the_layer_first(
    layer, noisy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noise2noise.single.adaptation.Options", lambda: Options(0.005))
    pixels, watch = pixels_of(layer(noisy[0, 0])), Watch()
    made = denoise_pixels(pixels, Wishes(single=True), watch)
    assert made.facts["single"] in made.words
    assert made.data.shape == noisy[0, 0].shape
    watch.stopping.set()
    with pytest.raises(Stopped):
        denoise_pixels(pixels, Wishes(single=True), watch)


def test_a_view_is_a_part_of_its_plane(layer, noisy) -> None:
    pixels = pixels_of(layer(noisy, ("t", "c", "y", "x")))
    view = View(pixels, (slice(1, 2), slice(0, 1), slice(8, 40), slice(16, 50)))
    made = denoise_view(view, Wishes(), Watch())
    whole = denoise(noisy[1, 0])
    assert view.start == (1, 0, 8, 16)
    assert np.array_equal(made.data, whole[None, None, 8:40, 16:50])


def test_progress_is_told_and_work_can_be_stopped(layer, noisy) -> None:
    watch = Watch()
    denoise_pixels(pixels_of(layer(noisy)), Wishes(), watch)
    assert (watch.done, watch.words) == (1, "Denoising")
    watch.stopping.set()
    with pytest.raises(Stopped):
        denoise_pixels(pixels_of(layer(noisy)), Wishes(), watch)


@pytest.mark.parametrize(
    ("data", "wishes", "says"),
    [
        (np.zeros((8, 8), bool), Wishes(), "holds bool"),
        (np.zeros((0, 8), np.uint8), Wishes(), "no pixel"),
        (np.zeros((8, 8), np.uint8), Wishes("grey", quality="fast"), "chooses the model"),
        (np.zeros((8, 8), np.uint8), Wishes("nowhere.onnx"), "no model"),
    ],
)
def test_what_cannot_be_is_said(layer, data: np.ndarray, wishes: Wishes, says: str) -> None:
    with pytest.raises(UserError, match=says):
        denoise_pixels(pixels_of(layer(data)), wishes, Watch())


def test_channels_cannot_lie_along_rows(layer, noisy) -> None:
    with pytest.raises(UserError, match="can't lie along axis 2"):
        pixels_of(layer(noisy), channel_axis=2)


def test_frames_are_paired_with_the_next_ones(layer) -> None:
    frames = np.arange(5 * 8 * 8, dtype=np.uint16).reshape(5, 8, 8)
    first, second = frame_pairs(pixels_of(layer(frames)))
    assert np.array_equal(first.data, frames[[0, 2]])
    assert np.array_equal(second.data, frames[[1, 3]])
    with pytest.raises(UserError, match="at least two frames"):
        frame_pairs(pixels_of(layer(frames[0])))


def test_pieces_of_both_layers_show_the_same_place(layer, tmp_path: Path) -> None:
    image = np.arange(40 * 56, dtype=np.uint16).reshape(40, 56)
    pixels = pixels_of(layer(image)), pixels_of(layer(image + 1))
    count = write_pairs(*pixels, 16, tmp_path, Watch())
    assert count == 6
    for number in range(count):
        a, b = (read_image(tmp_path / side / f"{number:06d}.tif").pixels for side in "ab")
        assert a.shape == (16, 16)
        assert np.allclose(4095 * (b - a), 1, atol=1e-3)  # the largest value needs 12 bits
    with pytest.raises(UserError, match="smaller crop"):
        write_pairs(*pixels, 64, tmp_path, Watch())
    with pytest.raises(UserError, match="same pixels"):
        write_pairs(pixels[0], pixels_of(layer(image[:20])), 16, tmp_path, Watch())


def test_a_network_is_trained_on_two_layers(layer, noisy, tmp_path: Path) -> None:
    first, second = (pixels_of(layer(each, ("c", "y", "x"))) for each in noisy)
    watch, lesson = Watch(), Lesson(tmp_path / "run", epochs=1, crop=16)
    learned = train(first, second, lesson, watch)
    assert learned.epochs == 1
    assert watch.done == 1
    made = denoise_pixels(first, Wishes(str(learned.folder)), Watch())
    assert np.array_equal(made.data, Denoiser.load(learned.folder).denoise(noisy[0], axes="CYX"))
    with pytest.raises(UserError, match="isn't empty"):
        train(first, second, lesson, Watch())


def test_training_stopped_at_once_leaves_no_model(layer, noisy, tmp_path: Path) -> None:
    first, second = (pixels_of(layer(each, ("c", "y", "x"))) for each in noisy)
    watch = Watch(closing=lambda: watch.words.startswith("Training"))
    with pytest.raises(Stopped):
        train(first, second, Lesson(tmp_path / "run", crop=16), watch)


def test_samples_are_noisy_shots_of_the_same_scene(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "SIDE", 64)
    (first, said, _), (second, _, _) = samples.noisy_pair()
    assert said["units"] == ("um", "um")
    assert first.shape == second.shape == (64, 64)
    assert 0.2 < np.corrcoef(first.ravel(), second.ravel())[0, 1] < 0.999
    assert samples.two_channels()[0][0].shape == (4, 2, 64, 64)
    assert samples.photograph()[0][0].shape == (64, 64, 3)
