"""Noise models: that the noise has the mean, variance and independence its formula promises."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noise2noise.catalogue import CORRUPTIONS
from noise2noise.errors import UserError
from noise2noise.noise import Corruption, parse

SPECS = [
    "gaussian:25",
    "gaussian:0-50",
    "poisson:30",
    "poisson-gaussian:30,5",
    "bernoulli:0.5",
    "impulse:0.5",
    "text:0.25",
    "subpixel:6",
    "sensor:0.01,5",
    "sensor:0.0001-0.05,0-20",
    "sensor:0.01,5,10",
    "banding:5,2",
    "camera:0.0001-0.012,80-98",
    "micro:scmos,20-500,2",
    "micro:emccd,5-100,1",
    "grain:12,1",
]
BIASED = ("impulse:0.5", "text:0.25", "sensor:0.01,5,10", "camera:0.0001-0.012,80-98")
UNBIASED = [spec for spec in SPECS if spec not in BIASED]


def clean_image(channels: int = 3, height: int = 24, width: int = 36) -> np.ndarray:
    return np.random.default_rng(7).random((channels, height, width), dtype=np.float32)


def draws(corruption: Corruption, clean: np.ndarray, count: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.stack([corruption.draw(clean, rng) for _ in range(count)]).astype(np.float64)


def block_variance(image: np.ndarray, scale: int) -> np.ndarray:
    channels, height, width = image.shape
    blocks = image.astype(np.float64).reshape(
        channels, height // scale, scale, width // scale, scale
    )
    return blocks.var(axis=(2, 4))


VARIANCES = {
    "gaussian:25": lambda x: np.full(x.shape, (25 / 255) ** 2),
    # E[sigma^2] of a sigma uniform in [0, s] is s^2 / 3.
    "gaussian:0-50": lambda x: np.full(x.shape, (50 / 255) ** 2 / 3),
    "poisson:30": lambda x: x / 30,
    "poisson-gaussian:30,5": lambda x: x / 30 + (5 / 255) ** 2,
    "bernoulli:0.2": lambda x: x**2 * 0.2 / 0.8,
    "subpixel:6": lambda x: block_variance(x, 6),
    "sensor:0.002,5": lambda x: 0.002 * x + (5 / 255) ** 2,
    "sensor:0.1,0": lambda x: 0.1 * x,
    "micro:scmos,50,3": lambda x: x / 50 + (3 / 50) ** 2,
    "micro:emccd,50,2": lambda x: 2 * x / 50 + (2 / 50) ** 2,
    "grain:20": lambda x: (20 / 255) ** 2 * 4 * x * (1 - x),
}


@pytest.mark.parametrize("spec", VARIANCES)
def test_unbiased_noise_has_the_mean_and_variance_of_its_formula(spec):
    clean, corruption = clean_image(), parse(spec)
    assert corruption.unbiased
    count = 2000
    noisy = draws(corruption, clean, count)
    variance = VARIANCES[spec](clean)

    # Of some thousand z-scores the largest stays below 6, and all together have the spread 1.
    z = (noisy.mean(axis=0) - corruption.clean(clean)) / np.sqrt(variance / count)
    assert np.abs(z).max() < 6
    assert z.std() == pytest.approx(1, abs=0.15)
    # A blind draw has one level for the whole image, so fewer independent samples stand behind it.
    tolerance = 0.05 if spec == "gaussian:0-50" else 0.005
    assert noisy.var(axis=0).sum() == pytest.approx(variance.sum(), rel=tolerance)
    # Where the noise depends on the pixel, its variance follows the formula pixel by pixel.
    if np.ptp(variance) > 0:
        assert np.corrcoef(noisy.var(axis=0).ravel(), variance.ravel())[0, 1] > 0.97


@pytest.mark.parametrize("spec", UNBIASED)
def test_the_two_draws_of_a_pair_are_independent(spec):
    clean, corruption = clean_image(height=60, width=60), parse(spec)
    rng, reference = np.random.default_rng(3), corruption.clean(clean)
    pairs = [corruption.pair(clean, rng) for _ in range(40)]
    a, b = (np.stack(side) - reference for side in zip(*pairs, strict=True))
    assert np.any(a != b)
    # One number for each row and column, or one for each value.
    independent = 40 * (60 + 60) if spec.startswith("banding") else a.size
    assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5 / np.sqrt(independent)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_seed_repeats_a_draw(spec, channels):
    clean, corruption = clean_image(channels), parse(spec)
    before = clean.copy()
    first, second, other = (
        corruption.draw(clean, np.random.default_rng(seed)) for seed in (5, 5, 6)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    assert first.dtype == np.float32
    assert first.shape == corruption.clean(clean).shape
    assert np.array_equal(clean, before)


@pytest.mark.parametrize("spec", SPECS)
def test_a_worker_process_draws_the_same(spec):
    corruption = parse(spec)
    sent = pickle.loads(pickle.dumps(corruption))
    here, there = (c.draw(clean_image(), np.random.default_rng(0)) for c in (corruption, sent))
    assert sent == corruption
    assert np.array_equal(here, there)


def test_gaussian_noise_is_not_clipped():
    noisy = parse("gaussian:50").draw(np.zeros((1, 64, 64), np.float32), np.random.default_rng(0))
    assert noisy.min() < -0.3


def test_blind_noise_has_another_level_for_each_draw():
    clean = np.zeros((1, 64, 64), np.float32)
    levels = draws(parse("gaussian:10-40"), clean, 200).std(axis=(1, 2, 3)) * 255
    assert levels.min() == pytest.approx(10, abs=1.5)
    assert levels.max() == pytest.approx(40, abs=1.5)
    assert levels.mean() == pytest.approx(25, abs=2)


def test_poisson_noise_counts_photons():
    noisy = parse("poisson:30").draw(clean_image(), np.random.default_rng(0))
    assert np.allclose(noisy * 30, np.rint(noisy * 30), atol=1e-4)


def test_poisson_noise_of_values_below_zero():
    noisy = parse("poisson:30").draw(np.full((1, 4, 4), -0.1, "f4"), np.random.default_rng(0))
    assert np.array_equal(noisy, np.zeros((1, 4, 4)))


def test_bernoulli_loses_whole_pixels():
    clean = np.full((3, 100, 100), 0.4, np.float32)
    noisy = parse("bernoulli:0.2").draw(clean, np.random.default_rng(0))
    assert np.all((noisy == 0) | np.isclose(noisy, 0.5))
    assert np.all((noisy == 0).all(axis=0) == (noisy == 0).any(axis=0))
    assert (noisy[0] == 0).mean() == pytest.approx(0.2, abs=0.02)


def test_impulse_replaces_whole_pixels_with_uniform_colours():
    clean = np.full((3, 100, 100), 2, np.float32)  # a value that no replacement takes
    noisy = parse("impulse:0.3").draw(clean, np.random.default_rng(0))
    replaced = (noisy != 2).any(axis=0)
    assert replaced.mean() == pytest.approx(0.3, abs=0.03)
    colours = noisy[:, replaced]
    assert colours.min() >= 0
    assert colours.max() < 1
    assert colours.mean(axis=1) == pytest.approx([0.5] * 3, abs=0.03)
    assert colours.var(axis=1) == pytest.approx([1 / 12] * 3, abs=0.01)
    assert np.abs(np.corrcoef(colours) - np.eye(3)).max() < 0.1


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 64, 128)])
def test_text_covers_about_the_fraction(fraction, shape):
    clean = np.full(shape, 2, np.float32)  # a value that no colour takes
    noisy = draws(parse(f"text:{fraction}"), clean, 20)
    covered = (noisy != 2).any(axis=1)
    assert covered.mean() == pytest.approx(fraction, abs=0.015)
    assert np.all((noisy != 2).all(axis=1) == covered)
    assert len(np.unique(noisy[0])) > 2  # more than one colour
    # Every part of the image can be hit.
    assert covered.mean(axis=0).reshape(2, shape[1] // 2, -1).mean(axis=(1, 2)).min() > 0.05


def test_the_median_of_text_draws_is_the_clean_image():
    clean = clean_image(height=32, width=32)
    assert np.array_equal(np.median(draws(parse("text:0.2"), clean, 81), axis=0), clean)


def test_only_those_are_called_unbiased_that_are():
    assert {spec for spec in SPECS if parse(spec).unbiased} == set(UNBIASED)


def test_subpixel_takes_all_channels_from_one_place_of_the_block():
    height, width, scale = 12, 18, 6
    places = np.arange(height * width, dtype=np.float32).reshape(height, width)
    noisy = parse("subpixel:6").draw(np.stack([places, places + 1000]), np.random.default_rng(0))
    assert noisy.shape == (2, 2, 3)
    assert np.array_equal(noisy[1], noisy[0] + 1000)
    rows, columns = np.divmod(noisy[0].astype(int), width)
    assert np.array_equal(rows // scale, np.array([[0] * 3, [1] * 3]))
    assert np.array_equal(columns // scale, np.array([[0, 1, 2]] * 2))


def test_subpixel_crops_to_whole_blocks():
    corruption = parse("subpixel:4")
    assert corruption.scale == 4
    clean = clean_image(1, 11, 14)
    average = corruption.clean(clean)
    assert average.shape == corruption.draw(clean, np.random.default_rng(0)).shape == (1, 2, 3)
    assert average[0, 1, 2] == pytest.approx(clean[0, 4:8, 8:12].mean())


def test_images_of_the_wrong_shape():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"subpixel:6 needs images of at least 6 x 6 .* 5 x 40"):
        parse("subpixel:6").draw(np.zeros((3, 5, 40), np.float32), rng)
    with pytest.raises(ValueError, match=r"\(C, H, W\), got \(8, 8\)"):
        parse("gaussian:25").draw(np.zeros((8, 8), np.float32), rng)


@pytest.mark.parametrize(
    ("spec", "canonical"),
    [
        ("gaussian:25.0", "gaussian:25"),
        (" Gaussian:25 ", "gaussian:25"),
        ("gaussian:0-50", "gaussian:0-50"),
        ("gaussian:1e-3", "gaussian:0.001"),
        ("gaussian:1e-3-1", "gaussian:0.001-1"),
        ("poisson-gaussian", "poisson-gaussian:30,5"),
        ("impulse", "impulse:0.5"),
        ("text", "text:0.25"),
        ("subpixel:06", "subpixel:6"),
        ("sensor:0.010,5.0", "sensor:0.01,5"),
        ("sensor:1e-4-1e-2,5,0", "sensor:0.0001-0.01,5,0"),
        ("banding:5", "banding:5,0"),
        ("camera", "camera:0.0001-0.012,80-98"),
        ("micro:EMCCD,5-100,1", "micro:emccd,5-100,1"),
        ("grain:0-30", "grain:0-30,0"),
    ],
)
def test_the_canonical_spec(spec, canonical):
    corruption = parse(spec)
    assert corruption.spec == canonical
    assert parse(canonical) == corruption


@given(sigma=st.floats(1e-6, 1e6), peak=st.floats(1e-6, 1e8))
def test_the_canonical_spec_keeps_every_digit(sigma, peak):
    clean = np.full((1, 2, 2), 0.5, np.float32)
    first = parse(f"poisson-gaussian:{peak!r},{sigma!r}")
    again = parse(first.spec)
    assert again == first
    assert np.array_equal(
        first.draw(clean, np.random.default_rng(0)), again.draw(clean, np.random.default_rng(0))
    )


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("gausian:25", "did you mean gaussian:25"),
        ("fog", r"no corruption 'fog'; choose one of gaussian:25, .*subpixel:6"),
        ("", "no corruption ''"),
        ("gaussian", "sigma must be a number"),
        ("gaussian:", "sigma must be a number"),
        ("gaussian:0", "sigma must be above 0"),
        ("gaussian:-5", "sigma must be at least 0, got -5"),
        ("gaussian:nan", "sigma must be finite"),
        ("gaussian:50-10", "does not go from a low to a higher"),
        ("gaussian:0-inf", "sigma must be finite"),
        ("poisson:0", "the peak must be above 0"),
        ("poisson:1e300", "the peak must be below"),
        ("poisson-gaussian:3", "two numbers PEAK,SIGMA"),
        ("bernoulli:1", "the probability must be below 1"),
        ("bernoulli:0", "the probability must be above 0"),
        ("bernoulli", "the probability must be a number"),
        ("impulse:1.5", "the probability must be below 1"),
        ("impulse:", "the probability must be a number"),
        ("text:0.99", "the fraction must be below 0.95"),
        ("subpixel:1", "the block size must be at least 2"),
        ("subpixel:2.5", "the block size must be a whole number"),
        ("subpixel:inf", "the block size must be finite"),
        ("sensor:0.01", "expected SHOT,READ or SHOT,READ,BLACK"),
        ("sensor:0,0", "both 0"),
        ("sensor:-1,5", "shot noise must be at least 0"),
        ("sensor:0.1-0.01,5", "does not go from a low to a higher"),
        ("sensor:0.01,5,x", "the black level must be a number"),
        ("banding:0", "both 0"),
        ("banding:1,2,3", "expected ROWS or ROWS,COLUMNS"),
        ("camera:0,90", "shot noise must be above 0"),
        ("camera:0.01,0-90", "JPEG's quality must be at least 1"),
        ("camera:0.01", "expected SHOT,QUALITY"),
        ("micro:20,2", "expected scmos,PEAK,READ"),
        ("micro:ccd,20,2", "expected scmos,PEAK,READ"),
        ("micro:scmos,0,2", "the peak must be at least 0.001"),
        ("grain:0", "sigma must be above 0"),
        ("grain:5,100", "the size must be below 20"),
    ],
)
def test_specs_that_are_refused(spec, sentence):
    with pytest.raises(UserError, match=sentence):
        parse(spec)


def test_a_refused_number_comes_with_an_example():
    with pytest.raises(
        UserError, match=r"'subpixel:x' can't be used: .*; write for example subpix"
    ):
        parse("subpixel:x")


def test_every_example_that_is_shown_can_be_used():
    examples = [text.example for text in CORRUPTIONS.values()]
    assert {parse(example).spec for example in examples} <= set(SPECS)
    names = {spec.partition(":")[0] for spec in SPECS}
    assert {example.partition(":")[0] for example in examples} == names
