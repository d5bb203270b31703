"""What goes in comes out as the same kind of thing: dtype, range, shape, order, labels, mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

import noise2noise
from noise2noise import Denoiser, UserError, denoise, networks, open_image
from noise2noise.files import Image
from noise2noise.model_info import ModelInfo

NOISE = np.random.default_rng(0)


def denoiser(channels: int) -> Denoiser:
    """A guided network that smooths: it returns its input until it has learned, so weights are
    drawn that do something."""
    sizes = {"width": 4, "depth": 1, "blocks": 1, "channels": channels}
    with networks.seeded(0):
        model = networks.build("guided", **sizes)
        for weight in model.parameters():
            weight += 0.05 * torch.randn(weight.shape)
    return Denoiser(model, ModelInfo("test", "guided", sizes, "", "", 0))


GREY, COLOUR = denoiser(1), denoiser(3)


def pixels(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    """Noise about a step; integers use a part of their range."""
    values = 60 + 100 * (np.arange(shape[-2]) % 16 > 7)[:, None] + NOISE.normal(0, 9, shape)
    return values.clip(0, 255).astype(dtype)


def assert_denoised(clean: np.ndarray, noisy: np.ndarray) -> None:
    assert (clean.shape, clean.dtype, type(clean)) == (noisy.shape, noisy.dtype, type(noisy))
    assert (np.asarray(clean) != np.asarray(noisy)).any()
    change = abs(clean.astype(float).mean() - noisy.astype(float).mean())
    assert change < 0.1 * float(noisy.max())


@pytest.mark.parametrize(
    "dtype", ["u1", ">u2", "<u2", ">i2", "i4", ">u4", "i8", "f2", "f4", ">f4", ">f8", "longdouble"]
)
def test_every_dtype_and_byte_order_comes_back(dtype):
    noisy = pixels(20, 24).astype(dtype)
    clean = GREY.denoise(noisy)
    assert_denoised(clean, noisy)
    native = GREY.denoise(noisy.astype(noisy.dtype.newbyteorder("=")))
    np.testing.assert_array_equal(clean, native)


@pytest.mark.parametrize("shape", [(1, 20, 24), (20, 24, 1), (3, 20, 24), (2, 2, 20, 24)])
def test_planes_of_an_array_are_denoised_on_their_own_scale_together(shape):
    noisy = pixels(20, 24)[..., None] if shape[-1] == 1 else pixels(*shape)
    assert_denoised(GREY.denoise(noisy), noisy)


def test_axes_can_be_said():
    colour = pixels(20, 24, 3)
    first = COLOUR.denoise(np.moveaxis(colour, 2, 0), axes="SYX")
    np.testing.assert_array_equal(np.moveaxis(first, 0, 2), COLOUR.denoise(colour))
    again = COLOUR.denoise(np.moveaxis(colour, 2, 0), channel_axis=0)
    np.testing.assert_array_equal(first, again)
    with pytest.raises(UserError, match="channel_axis 0"):
        COLOUR.denoise(colour, axes="YXS", channel_axis=0)


def test_the_order_in_memory_stays_and_changes_no_value():
    noisy = pixels(20, 24, 3)
    expected = COLOUR.denoise(noisy)
    for other in (np.asfortranarray(noisy), noisy[::-1][::-1], np.repeat(noisy, 2, 1)[:, ::2]):
        clean = COLOUR.denoise(other)
        np.testing.assert_array_equal(clean, expected)
        assert clean.flags.f_contiguous == other.flags.f_contiguous


def test_black_and_white_stays_so():
    noisy = pixels(20, 24) > 110
    clean = GREY.denoise(noisy)
    assert clean.dtype == bool
    assert 0.3 < clean.mean() < 0.7


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "f4"])
def test_masked_values_stay_and_are_kept_out_of_sight(dtype):
    values = pixels(20, 24).astype(dtype)
    mask = np.zeros(values.shape, bool)
    mask[5:8, 5:9] = True
    noisy = np.ma.MaskedArray(values, mask)
    values[mask] = 255
    bright = GREY.denoise(noisy)
    assert_denoised(bright, noisy)
    np.testing.assert_array_equal(bright.mask, mask)
    assert (bright.data[mask] == 255).all()
    values[mask] = 0
    np.testing.assert_array_equal(GREY.denoise(noisy).data[~mask], bright.data[~mask])


def test_a_masked_array_without_a_mask_is_an_array():
    values = pixels(20, 24)
    clean = GREY.denoise(np.ma.MaskedArray(values))
    assert clean.mask is np.ma.nomask
    np.testing.assert_array_equal(clean.data, GREY.denoise(values))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16, torch.int16])
def test_tensors_have_channels_first(dtype):
    values = pixels(20, 24, 3)
    noisy = torch.from_numpy(np.moveaxis(values, 2, 0).copy()).to(dtype)
    clean = COLOUR.denoise(noisy)
    assert (clean.shape, clean.dtype, clean.stride()) == (noisy.shape, dtype, noisy.stride())
    if dtype is torch.uint8:
        np.testing.assert_array_equal(clean.permute(1, 2, 0).numpy(), COLOUR.denoise(values))


def test_a_batch_of_tensors_is_images_on_their_own():
    one, other = (torch.from_numpy(pixels(3, 20, 24)).float() for _ in range(2))
    batch = torch.stack([one, 100 * other]).to(memory_format=torch.channels_last)
    clean = COLOUR.denoise(batch.requires_grad_())
    torch.testing.assert_close(clean[0], COLOUR.denoise(one), rtol=0, atol=0)
    torch.testing.assert_close(clean[1], COLOUR.denoise(100 * other), rtol=0, atol=0)
    assert clean.is_contiguous(memory_format=torch.channels_last)
    assert not clean.requires_grad


@pytest.mark.parametrize(
    "mode",
    ["1", "L", "LA", "La", "I", "F", "I;16", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"],
)
def test_pil_images_keep_mode_and_info(mode):
    if mode == "I;16":
        noisy = PIL.Image.fromarray(pixels(20, 24).astype(np.uint16) * 16)
    else:
        base = PIL.Image.fromarray(pixels(20, 24, 3))
        via = {"La": "LA", "RGBa": "RGBA"}.get(mode, mode)
        noisy = base.convert("L").convert("LA").convert("La") if mode == "La" else base.convert(via)
        noisy = noisy.convert(mode)
    noisy.info["dpi"] = (72, 72)
    clean = COLOUR.denoise(noisy)
    assert (clean.mode, clean.size, clean.info) == (noisy.mode, noisy.size, noisy.info)
    assert clean.tobytes() != noisy.tobytes() or mode == "1"
    if mode in ("LA", "RGBA", "La", "RGBa"):
        assert (
            clean.tobytes()[len(mode) - 1 :: len(mode)]
            == noisy.tobytes()[len(mode) - 1 :: len(mode)]
        )


def test_a_palette_becomes_colours():
    noisy = PIL.Image.fromarray(pixels(20, 24, 3)).quantize(16)
    assert COLOUR.denoise(noisy).mode == "RGB"
    noisy.info["transparency"] = 0
    clean = COLOUR.denoise(noisy)
    assert clean.mode == "RGBA"
    assert clean.getchannel(3).tobytes() == noisy.convert("RGBA").getchannel(3).tobytes()


@pytest.mark.parametrize("dims", [("c", "y", "x"), ("y", "x", "c"), ("x", "time", "y")])
def test_xarray_keeps_names_coordinates_and_attributes(dims):
    xarray = pytest.importorskip("xarray")
    sizes = {"y": 20, "x": 24}
    noisy = xarray.DataArray(
        pixels(*(sizes.get(name, 2) for name in dims)),
        dims=dims,
        coords={"x": np.arange(24) / 4},
        attrs={"units": "counts"},
        name="cells",
    )
    clean = GREY.denoise(noisy)
    xarray.testing.assert_identical(clean.copy(data=noisy.data), noisy)
    assert_denoised(clean.data, noisy.data)
    planes = noisy.transpose(..., "y", "x")
    again = clean.transpose(..., "y", "x").data
    # The noise of samples that lie side by side is measured in all of them at once.
    apart = GREY.denoise(planes.data, axes="CYX" if "c" in dims else "TYX")
    np.testing.assert_allclose(again, apart, atol=dims[-1] == "c")


def test_paths_open_files_and_images(tmp_path: Path):
    values = pixels(20, 24, 3)
    path = tmp_path / "a.png"
    PIL.Image.fromarray(values).save(path)
    expected = COLOUR.denoise(values)
    np.testing.assert_array_equal(COLOUR.denoise(path), expected)
    np.testing.assert_array_equal(COLOUR.denoise(str(path)), expected)
    with open_image(path) as stack:
        np.testing.assert_array_equal(np.asarray(stack), values)
        np.testing.assert_array_equal(COLOUR.denoise(stack), expected)
    image = COLOUR.denoise(Image(values))
    assert isinstance(image, Image)
    np.testing.assert_array_equal(image.pixels, expected)


def test_lists_are_denoised_one_by_one():
    values = pixels(20, 24)
    first, second = GREY.denoise([values, PIL.Image.fromarray(values)])
    np.testing.assert_array_equal(first, np.asarray(second))
    with pytest.raises(UserError, match=r"numpy\.asarray"):
        GREY.denoise([[1, 2], [3, 4]])


@pytest.mark.parametrize(
    "image", [None, 3, {}, object(), np.array(["a"]), np.zeros(4), np.zeros((0, 3))]
)
def test_what_is_no_image_is_refused_in_one_sentence(image):
    with pytest.raises(UserError):
        GREY.denoise(image)


def test_the_function_does_what_the_command_does(tmp_path: Path):
    values = pixels(40, 48)
    path, out = tmp_path / "a.png", tmp_path / "b.png"
    PIL.Image.fromarray(values).save(path)
    clean = denoise(values, quality="fast")
    assert denoise(path, quality="fast", out=out) == out
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(out)), clean)
    np.testing.assert_array_equal(denoise(values, "fast-grey"), clean)
    np.testing.assert_array_equal(denoise(values, Denoiser.load("fast-grey")), clean)
    with pytest.raises(UserError, match="exists already"):
        denoise(path, quality="fast", out=out)
    with pytest.raises(UserError, match="give its path"):
        denoise(values, out=out)
    with pytest.raises(UserError, match="no quality 'good'"):
        denoise(values, quality="good")


def test_the_noise_can_be_said():
    values = pixels(40, 48).astype(np.uint16)
    kept = GREY.denoise(values, noise=0)
    np.testing.assert_array_equal(kept, values)
    assert (denoise(values, GREY, noise="9", memory="1GB") != values).any()


def test_names_are_there():
    assert {"denoise", "Denoiser", "open_image"} <= set(noise2noise.__all__)
