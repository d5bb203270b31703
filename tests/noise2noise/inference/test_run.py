"""A stack on its way: tiles change nothing, impulses go and stars stay, memory is kept to."""

from typing import Any

import numpy as np
import pytest
import torch

from noise2noise import networks
from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.files import STREAMED, ArrayStack, Header, Held, Stack
from noise2noise.inference import Network, Settings, needed, parse_memory, tile_side
from noise2noise.model_info import ModelInfo
from noise2noise.shipped import shipped_models

BACKGROUND, SIGMA, WIDTH = 0.1, 0.01, 1.2


def stack_of(pixels: np.ndarray) -> Stack:
    header = Header("YX", pixels.shape, pixels.dtype)
    return ArrayStack(header, pixels[None, ..., None])


def denoised(model: Denoiser, pixels: np.ndarray, **asked: Any) -> tuple[np.ndarray, int]:
    run = model.run(stack_of(pixels), Settings(**asked))
    return np.concatenate(list(run.bands()))[..., 0], run.impulses


def star_field(signal: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Stars on a dark sky, (H, W), without noise; and where each is, in their own (19, 19)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:250, :250]
    sky, places = np.full((250, 250), BACKGROUND), []
    for row in range(20, 240, 25):
        for column in range(20, 240, 25):
            top, left = row + rng.uniform(-0.5, 0.5), column + rng.uniform(-0.5, 0.5)
            distance = (y - top) ** 2 + (x - left) ** 2
            sky += signal * SIGMA * np.exp(-distance / (2 * WIDTH**2))
            places.append((row, column))
    return sky, np.array(places)


def flux(sky: np.ndarray, places: np.ndarray) -> float:
    """The light of all stars together."""
    return sum(
        float((sky[row - 6 : row + 7, column - 6 : column + 7] - BACKGROUND).sum())
        for row, column in places
    )


@pytest.mark.parametrize("model", ["grey", "photo"])
@pytest.mark.parametrize("signal", [10, 20])
def test_stars_keep_their_light_and_hot_pixels_go(model, signal):
    """Stars of 1.2 pixels (standard deviation), their peak 10 times the noise or more."""
    rng = np.random.default_rng(1)
    sky, places = star_field(signal)
    noisy = sky + rng.normal(0, SIGMA, sky.shape)
    hot = rng.choice(sky.size, 60, replace=False)
    noisy.flat[hot] += 0.5
    clean, count = denoised(Denoiser.load(model), noisy.astype(np.float32))
    assert 57 <= count <= 61
    assert flux(clean, places) == pytest.approx(flux(sky, places), rel=0.05)
    left = np.abs(clean - sky).flat[hot] > 0.1
    assert left.sum() <= 60 - count + 1  # those in the midst of a star


def test_impulses_are_kept_on_request_and_where_a_network_is_not_told_the_noise():
    rng = np.random.default_rng(2)
    noisy = (0.5 + rng.normal(0, 0.01, (60, 70))).astype(np.float32)
    noisy[30, 30] = 1
    clean, count = denoised(Denoiser.load("grey"), noisy, impulses=False)
    assert count == 0
    assert clean[30, 30] > 0.8
    assert denoised(Denoiser.load("fast-grey"), noisy)[1] == 0


@pytest.mark.parametrize("name", shipped_models())
def test_tiles_of_a_shipped_model_change_nothing(name):
    """With impulses among the pixels, in the smallest tiles."""
    model = Denoiser.load(name)
    network = Network(model.model, networks.needs_of(model.info.architecture, model.info.sizes))
    rng = np.random.default_rng(3)
    height, width = network.least_tile + 13, network.least_tile + 37
    y = np.linspace(0, 3, height)[:, None]
    noisy = 0.5 + 0.2 * np.sin(y + np.linspace(0, 5, width)) + rng.normal(0, 0.03, (height, width))
    noisy.flat[rng.choice(noisy.size, 30, replace=False)] = 1
    noisy = noisy.astype(np.float32)
    whole, count = denoised(model, noisy, tile=network.best_tile)
    tiled, again = denoised(model, noisy, tile=network.least_tile + network.multiple)
    assert np.abs(tiled - whole).max() < 1e-5
    assert count == again
    assert (count > 20) == model.told


def test_turns_are_the_mean_in_tiles_too():
    model = Denoiser.load("fast-grey")
    noisy = np.random.default_rng(4).random((90, 130), dtype=np.float32)
    whole, _ = denoised(model, noisy, turns=True)
    tiled, _ = denoised(model, noisy, turns=True, tile=72)
    assert np.abs(tiled - whole).max() < 1e-5
    np.testing.assert_allclose(model.denoise(noisy, turns=True), whole)
    assert np.abs(whole - denoised(model, noisy)[0]).max() > 1e-3


# Memory.


HEADER = Header("YXS", (10_000, 10_000, 3), np.dtype(np.uint8), "rgb")


def network() -> Network:
    model = Denoiser.load("photo")
    return Network(model.model, networks.needs_of(model.info.architecture, model.info.sizes))


def test_less_memory_makes_smaller_tiles_and_too_little_is_said():
    photo = network()
    sides = [
        tile_side(photo, HEADER, memory, STREAMED, STREAMED)
        for memory in (None, 4 * 10**9, 800 * 10**6, 500 * 10**6)
    ]
    assert sides[0] == sides[1] == photo.best_tile
    assert sides[1] > sides[2] > sides[3] >= photo.least_tile
    for side, memory in zip(sides[1:], (4e9, 800e6, 500e6), strict=True):
        assert needed(photo, HEADER, side, STREAMED, STREAMED) <= memory
    with pytest.raises(
        UserError, match=r"\d+ MB of memory are needed at least, and 100 MB"
    ) as told:
        tile_side(photo, HEADER, 100 * 10**6, STREAMED, STREAMED)
    least = parse_memory(str(told.value).split(" of memory")[0])
    assert tile_side(photo, HEADER, least, STREAMED, STREAMED) == photo.least_tile


def test_what_a_format_takes_counts():
    photo = network()
    whole = Held(3 * 10**8, 9 * 10**8)
    alone = needed(photo, HEADER, 512, STREAMED, STREAMED)
    assert needed(photo, HEADER, 512, STREAMED, whole) > max(alone, 9 * 10**8)
    assert needed(photo, HEADER, 512, whole, whole) >= alone + 6 * 10**8


def test_too_little_memory_names_the_file(tmp_path):
    stack = ArrayStack(HEADER, np.zeros((1, 1, 1, 3), np.uint8), "sky.tif")
    with pytest.raises(UserError, match=r"sky\.tif: .* are needed at least"):
        Denoiser.load("photo").run(stack, Settings(memory=10**6))


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GB", 2 * 10**9), ("1.5 GiB", 3 * 2**29), ("800m", 8 * 10**8), ("123", 123), ("1k", 1000)],
)
def test_memory_is_said_as_people_say_it(text, size):
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "much", "2 apples", "GB", "-1GB", "1e400", "nan", "0"])
def test_other_words_for_memory_are_refused(text):
    with pytest.raises(UserError, match="is no amount of memory; say it like 2GB"):
        parse_memory(text)


@pytest.mark.parametrize("architecture", ["compact", "guided"])
def test_a_window_is_what_the_whole_has_there(architecture):
    rng = np.random.default_rng(0)
    noisy = (40 + 20 * rng.random((150, 170))).astype(np.float32)
    model = made(architecture)
    run = model.run(stack_of(noisy), Settings())
    whole = np.concatenate(list(run.bands()))
    for rows, columns in ((slice(0, 150), slice(0, 170)), (slice(37, 81), slice(149, 170))):
        window = run.window(0, rows, columns)
        np.testing.assert_allclose(window, whole[rows, columns], rtol=1e-5, atol=1e-4)
    near = run.window(0, slice(70, 80), slice(80, 90), overlap=8)
    assert near.shape == (10, 10, 1)
    assert (
        np.abs(near - whole[70:80, 80:90]).mean() < np.abs(noisy[70:80, 80:90, None] - near).mean()
    )


def test_another_strength_of_a_run_is_a_run_of_that_strength():
    rng = np.random.default_rng(0)
    noisy = (40 + 20 * rng.random((60, 70))).astype(np.float32)
    model = made("guided")
    half = np.concatenate(list(model.run(stack_of(noisy), Settings()).at(0.5).bands()))
    expected = np.concatenate(list(model.run(stack_of(noisy), Settings(strength=0.5)).bands()))
    np.testing.assert_array_equal(half, expected)


def made(architecture: str) -> Denoiser:
    """A network that was never trained, whose weights all do something."""
    sizes = networks.sizes_of(architecture, {"channels": 1, "width": 8})
    with networks.seeded(0):
        network = networks.build(architecture, **sizes)
        for weight in network.parameters():
            weight += 0.05 * torch.randn(weight.shape)
    return Denoiser(network, ModelInfo("made", architecture, sizes, "", "", 0))
