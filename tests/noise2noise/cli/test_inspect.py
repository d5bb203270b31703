"""`noise2noise inspect`: noise in the file's own units, and what is written of it."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow
from skimage import data

from noise2noise.files import Image, write_image
from noise2noise.noise import NoiseProfile

WHITE = {"uint8": 255, "uint16": 65535, "float32": 1}


@pytest.fixture
def noisy(tmp_path):
    """noisy("a.png", sigma=20 / 255, dtype="uint8", grey=False): a photograph with noise."""

    def write(name, sigma=20 / 255, dtype="uint8", grey=False):
        clean = (data.camera() if grey else data.astronaut()) / 255 * 0.6 + 0.2
        values = clean + np.random.default_rng(0).normal(0, sigma, clean.shape)
        values = values.clip(0, 1) * WHITE[dtype]
        stored = values if dtype == "float32" else np.rint(values)
        write_image(tmp_path / name, Image(stored.astype(dtype)))
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    ("name", "dtype"), [("a.png", "uint8"), ("a.tif", "uint16"), ("a.tif", "float32")]
)
def test_noise_is_told_in_the_units_of_the_file(done, noisy, name, dtype):
    (record,) = json.loads(done("inspect", noisy(name, dtype=dtype), "--json"))
    expected = 20 / 255 * WHITE[dtype]
    assert record["white"] == WHITE[dtype]
    for place in ("darkest", "brightest"):
        assert record[place]["deviation"] == pytest.approx(expected, rel=0.15)
    assert record["spectrum"][0] == pytest.approx(expected, rel=0.1)
    assert record["correlated"] is False
    assert record["confidence"] > 0.8


def test_planes_of_a_stack_are_measured_together_and_channels_apart(done, tmp_path):
    clean = np.stack([data.camera()[:256, :256]] * 2) * 16.0 + 1000
    noise = np.random.default_rng(0).normal(0, 1, (3, *clean.shape))
    stack = clean + noise * np.array([40, 160])[:, None, None]
    tifffile.imwrite(
        tmp_path / "a.tif", np.rint(stack).astype(np.uint16), imagej=True, metadata={"axes": "TCYX"}
    )
    (record,) = json.loads(done("inspect", tmp_path / "a.tif", "--json"))
    assert record["white"] == 65535
    assert record["read"] == pytest.approx([40, 160], rel=0.2)


def test_the_table_and_the_sentence(done, noisy):
    lines = done("inspect", noisy("a.png")).splitlines()
    assert lines[0].split()[:4] == ["file", "noise", "dark", "bright"]
    assert lines[1].split()[0] == "a.png"
    assert float(lines[1].split()[1]) == pytest.approx(20, rel=0.1)
    assert (
        "a.png: the noise is independent from pixel to pixel and the same at every brightness; "
        "the model photo suits (confidence 0."
    ) in lines[2]


def test_what_a_camera_smoothed_is_called_correlated(done, tmp_path):
    rng = np.random.default_rng(0)
    image = Pillow.fromarray(rng.normal(128, 40, (200, 200, 3)).clip(0, 255).astype(np.uint8))
    image.resize((400, 400), Pillow.Resampling.BICUBIC).save(tmp_path / "large.jpg", quality=90)
    assert "the noise is correlated between pixels" in done("inspect", tmp_path / "large.jpg")


def test_grey_images_are_told_the_grey_model(done, noisy):
    assert "the model grey suits" in done("inspect", noisy("a.png", grey=True))


def test_a_profile_of_several_files_is_saved(done, noisy, tmp_path):
    done("inspect", noisy("a.png"), noisy("b.png"), "--save", tmp_path / "camera.json")
    profile = NoiseProfile.load(tmp_path / "camera.json")
    deviations = [np.sqrt(profile.variance(128, channel)) for channel in range(3)]
    assert deviations == pytest.approx([20] * 3, rel=0.1)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_plot(done, noisy, tmp_path, suffix):
    done("inspect", noisy("a.png"), "--plot", tmp_path / f"plot{suffix}")
    assert (tmp_path / f"plot{suffix}").stat().st_size > 1000


def test_nothing_is_overwritten_unasked(refused, done, noisy, tmp_path):
    image, profile = noisy("a.png"), tmp_path / "p.json"
    profile.write_text("mine")
    assert "exists already" in refused("inspect", image, "--save", profile)
    assert profile.read_text() == "mine"
    done("inspect", image, "--save", profile, "--overwrite")
    assert NoiseProfile.load(profile).confidence > 0.8


def test_one_bad_file_leaves_the_others(run, noisy, tmp_path):
    (tmp_path / "bad.png").write_text("no image")
    outcome = run("inspect", tmp_path / "bad.png", noisy("a.png"), "--json")
    assert outcome.status == 2
    assert "bad.png is not an image" in outcome.err
    assert len(json.loads(outcome.out)) == 1


def test_files_of_other_bits_have_no_noise_together(run, noisy, tmp_path):
    images = noisy("a.png"), noisy("b.tif", dtype="uint16")
    outcome = run("inspect", *images, "--save", tmp_path / "p.json")
    assert outcome.status == 2
    assert "differ in their bits" in outcome.err


def test_grey_and_colour_have_no_noise_together(run, noisy, tmp_path):
    outcome = run(
        "inspect", noisy("a.png"), noisy("b.png", grey=True), "--save", tmp_path / "p.json"
    )
    assert outcome.status == 2
    assert "those of one kind together" in outcome.err
    assert not (tmp_path / "p.json").exists()


@pytest.mark.parametrize(("shape", "said"), [((4, 5), "too little"), ((64, 64), "no noise")])
def test_images_that_tell_nothing(done, tmp_path, shape, said):
    pixels = np.full(shape, 100, np.uint8)
    pixels[0, 0] += shape[0] == 4
    write_image(tmp_path / "a.png", Image(pixels))
    assert said in done("inspect", tmp_path / "a.png")
