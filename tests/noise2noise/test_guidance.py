"""Networks that are told the noise: what they see of an image, and what doesn't depend on it."""

import numpy as np
import pytest
import torch

from noise2noise import networks
from noise2noise.denoiser import Denoiser, ModelInfo
from noise2noise.errors import UserError
from noise2noise.files import ArrayStack, Header, Scale
from noise2noise.guidance import ChannelPlanes, Guidance, PlaneView
from noise2noise.noise import NoiseProfile, estimate_together


@pytest.fixture(scope="module", params=[1, 3], ids=["grey", "colour"])
def told(request: pytest.FixtureRequest) -> Denoiser:
    """An untrained network in which every weight does something."""
    sizes = {"channels": request.param, "width": 4, "depth": 1, "blocks": 1}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = networks.build("guided", **sizes)
        for weight in network.parameters():
            weight += 0.1 * torch.randn(weight.shape)
    complete = networks.sizes_of("guided", sizes)
    return Denoiser(network, ModelInfo("test", "guided", complete, "", "", 0))


def noisy(height: int, width: int, channels: int = 1, sigma: float = 0.05) -> np.ndarray:
    """(H, W) or (H, W, 3) floats: a ramp with noise."""
    rng = np.random.default_rng(height)
    ramp = np.linspace(0.2, 0.8, width)[None, :, None]
    image = ramp + sigma * rng.standard_normal((height, width, channels))
    return image.astype(np.float32).squeeze()


@pytest.mark.parametrize(("factor", "offset"), [(1e-3, 0), (250, 0), (1, 3), (40, -7)])
def test_units_do_not_matter(told, factor, offset):
    image = noisy(60, 80, told.channels)
    expected = factor * told.denoise(image) + offset
    result = told.denoise(factor * image + offset)
    np.testing.assert_allclose(result, expected, rtol=0, atol=2e-4 * factor)
    assert np.abs(result - (factor * image + offset)).max() > 0.01 * factor  # it does something


def test_tiles_change_nothing(told):
    image = noisy(150, 170, told.channels)
    whole = told.denoise(image)
    np.testing.assert_allclose(told.denoise(image, tile=100), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_a_constant_image_comes_back_bit_for_bit(told, dtype):
    shape = (40, 50, 3) if told.channels == 3 else (40, 50)
    image = np.full(shape, 37, dtype) if dtype != "float32" else np.full(shape, 0.3, dtype)
    np.testing.assert_array_equal(told.denoise(image), image)


def test_strength_zero_gives_the_image_back_and_two_is_the_most(told):
    image = noisy(40, 50, told.channels)
    np.testing.assert_array_equal(told.denoise(image, strength=0), image)
    results = [told.denoise(image, strength=strength) for strength in (0.5, 1, 2)]
    assert not np.array_equal(results[0], results[1])
    assert not np.array_equal(results[1], results[2])
    with pytest.raises(UserError, match=r"strength must lie in 0 to 2 for this model, got 2\.1"):
        told.denoise(image, strength=2.1)


def test_strength_multiplies_the_noise_that_is_told(told):
    image = noisy(40, 50, told.channels)
    once = NoiseProfile.gaussian(0.05, told.channels)
    twice = NoiseProfile.gaussian(0.1, told.channels)
    result = told.denoise(image, strength=2, noise=once)
    np.testing.assert_allclose(result, told.denoise(image, noise=twice), rtol=0, atol=1e-6)


def test_the_noise_is_given_in_the_units_of_the_image(told):
    stored = np.clip(noisy(40, 50, told.channels) * 4000, 0, 4095).astype(np.uint16)
    by_itself = told.denoise(stored, noise=NoiseProfile.gaussian(200, told.channels))
    floats = told.denoise(stored / np.float32(4095), noise=NoiseProfile.gaussian(200 / 4095))
    np.testing.assert_allclose(by_itself / 4095, floats.clip(0, 1), rtol=0, atol=0.6 / 4095)


def test_noise_can_only_be_given_to_a_network_that_is_told_it():
    sizes = networks.sizes_of("compact", {"width": 4, "channels": 1})
    blind = Denoiser(
        networks.build("compact", width=4, channels=1),
        ModelInfo("blind", "compact", sizes, "", "", 0),
    )
    with pytest.raises(UserError, match="blind can't be told the noise"):
        blind.denoise(noisy(20, 20), noise=NoiseProfile.gaussian(0.1))


def test_each_channel_of_a_stack_has_noise_of_its_own(told):
    quiet, loud = (noisy(64, 64, sigma=sigma) for sigma in (0.001, 0.1))
    header = Header("TCYXS", (2, 2, 64, 64, 1), np.dtype(np.float32))
    pixels = np.stack([quiet, loud, quiet, loud])[..., None]
    bands = list(told.run(ArrayStack(header, pixels)).bands())
    for band, plane in zip(bands, pixels, strict=True):
        its = estimate_together([plane.transpose(2, 0, 1)] * 2)  # of both planes of the channel
        alone = told.denoise(plane[..., 0], noise=its)
        np.testing.assert_allclose(band[..., 0], alone, rtol=0, atol=1e-6)


def test_pixels_that_are_no_numbers_stay_and_spoil_nothing(told):
    image = noisy(60, 70, told.channels)
    image[10, 20], image[11, 21] = np.nan, np.inf
    result = told.denoise(image)
    kept = np.isfinite(image)
    np.testing.assert_array_equal(result[~kept], image[~kept])
    assert np.isfinite(result[kept]).all()


def disk(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.hypot(y - height / 2, x - width / 2) < 0.3 * width


GAPS = {
    "half": lambda height, width: np.arange(width) < 0.4 * width + 0 * np.arange(height)[:, None],
    "all but a disk": disk,
    "one in five": lambda *size: np.random.default_rng(0).random(size) < 0.8,
}


@pytest.mark.parametrize("side", [160, 1300])  # looked at as a whole, and through crops
@pytest.mark.parametrize("name", GAPS)
def test_what_is_not_known_tells_nothing_of_the_noise(name, side):
    image = noisy(side, side, sigma=0.05)
    image[~GAPS[name](side, side)] = np.nan
    stack = ArrayStack(Header("YX", image.shape, image.dtype), image[None, ..., None])
    noise = Guidance.of([PlaneView(stack, Scale(0, 1), 0)]).noise
    assert noise.sigma(np.full((1, 8, 8), 0.5, np.float32)).mean() == pytest.approx(0.05, rel=0.15)
    assert noise.pixel == pytest.approx(0.05, rel=0.2)


@pytest.mark.parametrize("axes", ["YX", "TYX", "CYX", "TCYX", "CTYX", "TCZYX", "CYXS"])
def test_the_planes_of_a_channel(axes):
    shape = tuple({"T": 3, "C": 2, "Z": 5, "Y": 4, "X": 4, "S": 3}[axis] for axis in axes)
    header = Header(axes, shape, np.dtype(np.uint8))
    before = header.axes.index("Y")
    place = axes.find("C", 0, before)
    expected = (
        np.indices((*shape[:before], 1))[place].ravel().tolist()
        if place >= 0
        else [0] * header.planes
    )
    planes = ChannelPlanes.of(header)
    assert [planes.channel(plane) for plane in range(header.planes)] == expected
    for channel in range(planes.channels):
        its = [plane for plane, each in enumerate(expected) if each == channel]
        assert planes.some(channel, 100) == its
        assert planes.some(channel, 2) == its[:: -(-len(its) // 2)]
