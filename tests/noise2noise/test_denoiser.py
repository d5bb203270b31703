"""The Denoiser: what goes in comes out denoised and otherwise unchanged, whatever its size."""

import hashlib
import io
import json
import os
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import skimage.data
import torch
from hypothesis import given
from hypothesis import strategies as st

from chainrule import TapeError, summary
from chainrule.serialization import load_tensors, save_tensors
from noise2noise import networks
from noise2noise.denoiser import Denoiser, ModelInfo
from noise2noise.errors import UserError
from noise2noise.files import (
    ArrayStack,
    Header,
    Image,
    Stack,
    read_image,
    to_unit,
    write_image,
)
from noise2noise.inference import TILE, Settings
from noise2noise.metrics import psnr
from noise2noise.noise.corruptions import parse
from noise2noise.shipped import WEIGHTS, shipped_models
from noise2noise.suiting import default_model

NETWORKS = [
    ("compact", {"width": 8}),
    ("compact", {"width": 8, "depth": 0}),
    ("compact", {"width": 4, "depth": 2, "channels": 1}),
    ("guided", {"width": 4, "depth": 1}),
    ("unet", {"width": 4, "depth": 2}),
    ("drunet", {"width": 2, "blocks": 1}),
    *(
        (name, {"width": 4})
        for name in networks.ARCHITECTURES
        if name not in ("compact", "guided", "unet", "drunet")
    ),
]
IDS = [f"{name}-{sizes}" for name, sizes in NETWORKS]
DTYPES = ["uint8", "uint16", "float32", "float64"]


def denoiser_of(architecture: str = "compact", **sizes: int) -> Denoiser:
    """An untrained network in which every weight does something."""
    network = networks.build(architecture, **sizes)
    for weight in network.parameters():
        weight += 0.05 * torch.randn(weight.shape)
    complete = networks.sizes_of(architecture, sizes)
    return Denoiser(network, ModelInfo("test", architecture, complete, "", "", 0))


def noise(*shape: int, dtype: str = "uint8") -> np.ndarray:
    rng = np.random.default_rng(shape)
    if np.dtype(dtype).kind == "f":
        return rng.random(shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


@pytest.fixture(scope="module")
def small() -> dict[int, Denoiser]:
    torch.manual_seed(0)
    return {channels: denoiser_of(width=4, channels=channels) for channels in (1, 3)}


# Any image.


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    colour=st.booleans(),
    dtype=st.sampled_from(DTYPES),
    channels=st.sampled_from([1, 3]),
)
def test_what_comes_out_has_the_shape_and_dtype_of_what_went_in(
    small, height, width, colour, dtype, channels
):
    image = noise(height, width, *(3,) * colour, dtype=dtype)
    before = image.copy()
    clean = small[channels].denoise(image)
    assert (clean.shape, clean.dtype) == (image.shape, image.dtype)
    assert np.isfinite(clean).all()
    assert not np.shares_memory(clean, image)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(("architecture", "sizes"), NETWORKS, ids=IDS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 17), (9, 1), (2, 3), (31, 37)])
def test_every_network_takes_every_size(architecture, sizes, shape):
    clean = denoiser_of(architecture, **sizes).denoise(noise(*shape, 3))
    assert clean.shape == (*shape, 3)


def test_dtypes_differ_in_nothing_but_their_steps(small):
    eight_bits = noise(20, 24, 3)
    clean = small[3].denoise(eight_bits).astype(int)
    sixteen = small[3].denoise(eight_bits.astype(np.uint16) * 257) / 257
    for dtype in ("float32", "float64"):
        floats = small[3].denoise((eight_bits / 255).astype(dtype)).clip(0, 1) * 255
        np.testing.assert_allclose(floats, clean, atol=0.501)
        np.testing.assert_allclose(floats, sixteen, atol=0.003)


def test_a_grey_model_takes_each_channel_of_a_colour_image_for_itself(small):
    image = noise(12, 20, 3)
    clean = small[1].denoise(image)
    for channel in range(3):
        alone = small[1].denoise(np.ascontiguousarray(image[..., channel]))
        np.testing.assert_array_equal(clean[..., channel], alone)


def test_a_colour_model_takes_a_grey_image_for_a_colourless_one(small):
    image = noise(12, 20, dtype="float32")
    colourless = small[3].denoise(np.dstack([image] * 3))
    np.testing.assert_allclose(small[3].denoise(image), colourless.mean(-1), atol=1e-6)


# Any range of values.


def relative(clean: np.ndarray, black: float, white: float) -> np.ndarray:
    return (clean.astype(np.float64) - black) / (white - black)


@pytest.mark.parametrize(
    ("dtype", "white"),
    [("uint16", 4095), ("uint32", 65535), ("int16", 32767), ("float32", 3e5), ("float64", 1e6)],
)
def test_what_is_white_is_told_by_the_values(small, dtype, white):
    unit = noise(20, 24, dtype="float32").clip(0, 1)
    unit[0, 0] = 1
    image = np.rint(unit * white).astype(dtype)
    clean = small[1].denoise(image)
    assert clean.dtype == dtype
    expected = small[1].denoise(relative(image, 0, white).astype(np.float32))
    if image.dtype.kind != "f":
        expected = expected.clip(0, 1)
    np.testing.assert_allclose(relative(clean, 0, white), expected, atol=2e-4)


def test_values_below_zero_keep_their_scale(small):
    image = np.linspace(-1000, 3000, 480).reshape(20, 24)
    clean = small[1].denoise(image.astype(np.int16))
    assert clean.dtype == np.int16
    expected = small[1].denoise(relative(image, -1024, 4095).astype(np.float32))
    np.testing.assert_allclose(relative(clean, -1024, 4095), expected.clip(0, 1), atol=1e-3)


def test_a_few_values_far_above_the_others_do_not_darken_them(small):
    image = 100 * noise(80, 60, dtype="float32")
    alone = small[1].denoise(image)
    image[0, 0] = 1e6
    np.testing.assert_allclose(small[1].denoise(image)[50:], alone[50:], atol=0.5)


def test_dark_floats_are_denoised_as_well_as_bright_ones(small):
    image = noise(20, 24, dtype="float32").clip(0, 1)
    image[0, 0] = 1
    expected = small[1].denoise(image)
    np.testing.assert_allclose(small[1].denoise(image / 128) * 128, expected, atol=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("colour", [False, True])
def test_pixels_that_are_no_numbers_stay_and_harm_no_others(small, bad, colour):
    image = noise(20, 24, *(3,) * colour, dtype="float32")
    image[2:7, 5:10] = image[4, 7]  # what all around have
    expected = small[3].denoise(image)
    image[4, 7] = expected[4, 7] = bad
    np.testing.assert_allclose(small[3].denoise(image), expected, atol=1e-6)


def test_an_image_without_a_single_number_comes_back(small):
    image = np.full((5, 6), np.nan, np.float32)
    np.testing.assert_array_equal(small[1].denoise(image), image)


# Stacks.


def stack_of(pixels: np.ndarray, axes: str, **header: Any) -> Stack:
    planes = pixels.reshape(-1, *pixels.shape[axes.index("Y") :])
    planes = planes if axes.endswith("S") else planes[..., None]
    return ArrayStack(Header(axes, pixels.shape, pixels.dtype, **header), planes)


def together(model: Denoiser, stack: Stack, tile: int | None = None) -> np.ndarray:
    bands = np.concatenate(list(model.run(stack, Settings(tile=tile)).bands()))
    return bands.reshape(stack.header.shape)


@pytest.mark.parametrize("tile", [None, 68])
def test_the_planes_of_a_stack_are_denoised_one_by_one(small, tile):
    image = noise(2, 3, 75, 80)
    clean = together(small[1], stack_of(image, "TZYX"), tile)
    for time, depth in np.ndindex(2, 3):
        alone = small[1].denoise(image[time, depth], tile=tile)
        np.testing.assert_array_equal(clean[time, depth], alone)


def test_one_scale_serves_all_planes(small):
    image = noise(2, 20, 24, dtype="float32") * np.array([1, 50], np.float32)[:, None, None]
    image[1, 0, 0] = 50
    clean = together(small[1], stack_of(image, "TYX"))
    alone = small[1].denoise_unit(image[:1] / 50)
    np.testing.assert_allclose(clean[:1], 50 * alone, atol=0.01)


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_that_are_no_colours_do_not_leak_into_each_other(small, channels):
    image = noise(20, 24, 5)
    clean = together(small[channels], stack_of(image, "YXS", colour="channels"))
    for channel in range(5):
        alone = small[channels].denoise(np.ascontiguousarray(image[..., channel]))
        np.testing.assert_array_equal(clean[..., channel], alone)


def test_transparency_is_not_denoised(small):
    image = noise(70, 90, 4)
    clean = together(small[3], stack_of(image, "YXS", colour="rgb", alpha="straight"), 68)
    np.testing.assert_array_equal(clean[..., 3], image[..., 3])
    np.testing.assert_array_equal(clean[..., :3], small[3].denoise(image[..., :3], tile=68))


# Tiles.


@pytest.mark.parametrize(("architecture", "sizes"), NETWORKS, ids=IDS)
def test_tiles_change_nothing(architecture, sizes):
    model = denoiser_of(architecture, **sizes)
    least = smallest_tile(model)
    noisy = to_unit(noise(least + 21, least + 35, *(3,) * (model.channels == 3)))
    whole = model.denoise_unit(noisy, tile=512)
    for tile in (least + 8, least + 17):
        tiled = model.denoise_unit(noisy, tile=tile)
        assert np.abs(tiled - whole).max() < 1e-5


def smallest_tile(model: Denoiser) -> int:
    """The least size that is not refused."""
    with pytest.raises(UserError, match=r"a tile must be at least (\d+) pixels") as refusal:
        model.check(Settings(tile=1))
    least = int(str(refusal.value).split("at least ")[1].split()[0])
    model.check(Settings(tile=least))
    with pytest.raises(UserError, match=f"got {least - 1}"):
        model.check(Settings(tile=least - 1))
    return least


@pytest.mark.parametrize("shape", [(20, 300), (300, 20), (68, 136)])
def test_tiles_along_one_side_change_nothing(small, shape):
    noisy = to_unit(noise(*shape, 3))
    tiled = small[3].denoise_unit(noisy, tile=68)
    assert np.abs(tiled - small[3].denoise_unit(noisy, tile=512)).max() < 1e-5


def test_a_large_image_is_worked_on_in_tiles_without_asking():
    model, sizes = denoiser_of(width=4), []
    infer = model.model.infer

    def watched(*inputs: torch.Tensor) -> torch.Tensor:
        sizes.extend(inputs[0].shape[2:])
        return infer(*inputs)

    model.model.infer = watched
    model.denoise(noise(40, 2000, 3))
    assert set(sizes[::2]) == {40}
    (width,) = set(sizes[1::2])
    assert 2000 // 4 < width <= TILE


@pytest.mark.parametrize("channels", [1, 3])
def test_beside_the_image_and_the_result_memory_is_needed_for_tiles_alone(channels):
    model = denoiser_of(width=4, channels=channels)
    model.model.infer = lambda x: x  # type: ignore[method-assign]  # needs memory of its own
    image = noise(600, 800, 3)
    tracemalloc.start()
    model.denoise(image, strength=0.5, tile=100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert image.nbytes < peak < 2 * image.nbytes


def test_progress_is_told_of_every_tile(small):
    told: list[tuple[str, int]] = []

    def track(items, description, total):
        for item in items:
            told.append((description, total))
            yield item

    small[3].denoise(noise(70, 90, 3), tile=68, track=track)
    assert len(told) == told[0][1] > 1
    assert {description for description, _ in told} == {"Denoising"}


# Strength.


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("colour", [False, True])
def test_strength_goes_from_the_image_to_the_networks_result(small, dtype, colour):
    image = noise(14, 18, *(3,) * colour, dtype=dtype)
    none, half, full = (small[3].denoise(image, strength=s) for s in (0, 0.5, 1))
    if dtype != "float64":  # which has more digits than are computed with
        np.testing.assert_array_equal(none, image)
    np.testing.assert_allclose(none, image, rtol=1e-6)
    np.testing.assert_array_equal(full, small[3].denoise(image))
    assert not np.array_equal(full, image)
    if np.dtype(dtype).kind == "f":
        np.testing.assert_allclose(half, (image + full) / 2, atol=1e-6)


@pytest.mark.parametrize("strength", [-0.1, 1.5, float("nan"), float("inf")])
def test_other_strengths_are_refused(small, strength):
    with pytest.raises(UserError, match=f"strength must lie in 0 to 1 .*, got {strength}"):
        small[3].denoise(noise(4, 4), strength=strength)


@pytest.mark.parametrize("tile", [-5, 0, 67])
def test_tiles_that_leave_nothing_between_their_edges_are_refused(small, tile):
    with pytest.raises(UserError, match=f"a tile must be at least 68 pixels .* got {tile}"):
        small[3].denoise(noise(4, 4), tile=tile)


# What is refused.


@pytest.mark.parametrize("image", [np.zeros(4, np.uint8), np.zeros((4, 4), complex)])
def test_other_shapes_and_dtypes_are_refused(small, image):
    with pytest.raises(ValueError, match="expected pixels of"):
        small[3].denoise(image)


# Inference keeps nothing, and merges layers.


def test_layers_are_merged_which_changes_rounding_alone(small):
    image = noise(20, 24, dtype="float32")
    rows = summary(small[1].model, (1, 1, 16, 16)).rows
    assert "Conv2d + ReLU" in {row.layer for row in rows}
    alone = networks.build("compact", width=4, channels=1)
    alone.load_state_dict(small[1].model.state_dict())
    expected = alone.infer(torch.from_numpy(image)[None, None])[0, 0].numpy()
    np.testing.assert_allclose(small[1].denoise(image), expected, atol=1e-5)


def test_nothing_is_kept_for_a_backward_pass():
    model = denoiser_of(width=4)
    assert all(not module.training for _, module in model.model.named_modules())
    model.denoise(noise(20, 20, 3))
    assert not any(gradient.any() for _, gradient in model.model.param())
    with pytest.raises(TapeError):
        model.model.backward(torch.zeros(1, 3, 20, 20))


# Loading.


def test_a_model_is_found_by_name_file_and_run(make_model, stand_ins, tmp_path):
    run = make_model("run/best.safetensors")
    image = noise(9, 9, 3)
    results = [
        Denoiser.load(where).denoise(image)
        for where in ("photo", run, str(run), run.parent, str(run.parent))
    ]
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)
    assert Denoiser.load("photo").info.name == "photo"
    assert Denoiser.load(run).info.name == str(run)


def test_a_model_file_says_what_it_is(make_model):
    path = make_model(channels=1, width=4)
    info = Denoiser.load(path).info
    assert (info.architecture, info.title, info.noise) == ("compact", "a stand-in", "gaussian:25")
    assert info.sizes == {"channels": 1, "width": 4, "depth": 1, "blocks": 1}
    tensors, _ = load_tensors(path)
    assert info.parameters == sum(tensor.numel() for tensor in tensors.values())


def test_what_an_optimizer_left_in_the_file_is_no_weight(make_model):
    path = make_model()
    tensors, metadata = load_tensors(path)
    save_tensors(path, {**tensors, "optimizer/step": torch.ones(1)}, metadata, overwrite=True)
    Denoiser.load(path)


def test_a_folder_of_the_same_name_does_not_hide_a_shipped_model(stand_ins, tmp_path, monkeypatch):
    (tmp_path / "here" / "photo").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert Denoiser.load("photo").info.name == "photo"


def test_an_unknown_model_is_answered_with_the_nearest(stand_ins):
    with pytest.raises(UserError, match=r"no model 'fotos'; did you mean photo\?"):
        Denoiser.load("fotos")
    with pytest.raises(
        UserError, match="no model 'xyz'; choose one of camera, grey, photo, or a file"
    ):
        Denoiser.load("xyz")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"holds no best\.safetensors"):
        Denoiser.load(tmp_path)


def one_sentence(path: Path) -> str:
    with pytest.raises(UserError) as refusal:
        Denoiser.load(path)
    text = str(refusal.value)
    assert str(path) in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 0.999])
def test_a_model_file_that_was_cut_short_is_refused(make_model, part):
    path = make_model()
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    assert "cut short" in one_sentence(path)


def test_a_text_file_is_no_model(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a model at all, though long enough to hold a header\n")
    assert "not a whole safetensors file" in one_sentence(path)


class Bomb:
    """What runs code when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def test_a_pickle_is_never_opened(tmp_path):
    fired, path = tmp_path / "fired", tmp_path / "model.pth"
    path.write_bytes(pickle.dumps(Bomb(fired)))
    one_sentence(path)
    torch.save(Bomb(fired), path)
    one_sentence(path)
    assert not fired.exists()


def rewritten(
    path: Path, tensors: dict[str, torch.Tensor] | None = None, **metadata: str | None
) -> Path:
    """The model file with other tensors or other metadata; None takes an entry away."""
    old_tensors, old_metadata = load_tensors(path)
    new = {k: v for k, v in {**old_metadata, **metadata}.items() if v is not None}
    save_tensors(path, old_tensors if tensors is None else tensors, new, overwrite=True)
    return path


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"architecture": None}, "doesn't say its architecture"),
        ({"sizes": None}, "doesn't say its sizes"),
        ({"architecture": "resnet"}, "no architecture 'resnet'"),
        ({"sizes": "{"}, ""),
        ({"sizes": "[8]"}, ""),
        ({"sizes": json.dumps({"width": 9})}, "shape"),
        ({"sizes": json.dumps({"width": 8, "channels": 2})}, "channels"),
        ({"sizes": json.dumps({"width": 8, "height": 2})}, "no size 'height'"),
    ],
)
def test_a_safetensors_file_of_something_else_is_no_model(make_model, metadata, reason):
    path = rewritten(make_model(), **metadata)
    assert f"is not a model of this package: {reason}" in one_sentence(path) or (
        reason and reason in one_sentence(path)
    )


def test_a_model_with_broken_weights_is_refused(make_model):
    path = make_model()
    tensors, _ = load_tensors(path)
    name = next(iter(tensors))
    tensors[name].view(-1)[0] = float("nan")
    assert f"its weight {name} holds NaN" in one_sentence(rewritten(path, tensors))


# Files.


def test_a_file_keeps_everything_but_its_noise(make_model, tmp_path):
    exif = PIL.Image.Exif()
    exif[271] = "Camera works"
    source, destination = tmp_path / "in.png", tmp_path / "out.png"
    PIL.Image.fromarray(noise(20, 30, 4), "RGBA").save(source, exif=exif, dpi=(300, 300))
    before = source.read_bytes()
    noisy, clean = Denoiser.load(make_model()).denoise_file(source, destination)
    assert source.read_bytes() == before
    written = read_image(destination)
    np.testing.assert_array_equal(written.pixels, clean.pixels)
    np.testing.assert_array_equal(written.alpha, noisy.alpha)
    assert not np.array_equal(written.pixels, noisy.pixels)
    assert written.metadata == noisy.metadata


def test_a_file_in_the_way_is_met_before_the_work_is_done(make_model, tmp_path):
    there = tmp_path / "out.png"
    write_image(there, Image(noise(4, 4)))
    before = there.read_bytes()
    model = Denoiser.load(make_model())
    with pytest.raises(UserError, match=r"out\.png exists already; .* --overwrite"):
        model.denoise_file(tmp_path / "never read.png", there)
    assert there.read_bytes() == before
    write_image(tmp_path / "in.png", Image(noise(5, 5)))
    model.denoise_file(tmp_path / "in.png", there, overwrite=True)
    assert read_image(there).pixels.shape == (5, 5)


# What comes with the package.

SHIPPED = {"photo": 3, "grey": 1, "camera": 3, "fast": 3, "fast-grey": 1}


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_models_are_there_and_small(name):
    path = WEIGHTS / f"{name}.safetensors"
    assert path.is_file(), f"{name} does not come with the package yet"
    assert path.stat().st_size < 10 * 2**20
    assert name in shipped_models()
    model = Denoiser.load(name)
    assert model.channels == SHIPPED[name]
    assert model.info.title
    assert model.info.noise


TOLD = ["photo", "grey"]


@pytest.mark.parametrize("name", [*TOLD, "camera"])
def test_the_manifest_is_the_model_s(name):
    path = WEIGHTS / f"{name}.json"
    manifest = json.loads(path.read_text())
    weights = path.with_suffix(".safetensors").read_bytes()
    assert manifest["sha256"] == hashlib.sha256(weights).hexdigest()
    assert manifest["recipe"] == f"recipes/{name}.toml"


def test_all_models_together_leave_room_in_the_wheel():
    sizes = [path.stat().st_size for path in WEIGHTS.iterdir()]
    assert sum(sizes) < 25 * 2**20


@pytest.mark.parametrize(("factor", "offset"), [(1e-3, 0), (300, 0), (7, 50)])
@pytest.mark.parametrize("name", TOLD)
def test_shipped_models_work_in_any_units(name, factor, offset):
    photograph = skimage.data.camera() if name == "grey" else skimage.data.astronaut()
    clean = to_unit(photograph)[:, 100:196, 200:296]
    noisy = parse("sensor:0.01,5").draw(clean, np.random.default_rng(0)).transpose(1, 2, 0)
    noisy = noisy[..., 0] if name == "grey" else noisy
    model = Denoiser.load(name)
    expected = factor * model.denoise(noisy) + offset
    result = model.denoise((factor * noisy + offset).astype(np.float32))
    np.testing.assert_allclose(result, expected, rtol=0, atol=2e-3 * factor)


@pytest.mark.parametrize("name", TOLD)
def test_shipped_models_remove_noise_from_a_small_part_of_the_range(name):
    photograph = skimage.data.camera() if name == "grey" else skimage.data.astronaut()
    clean = photograph[100:228, 200:328].astype(float)
    noisy = np.rint((clean + np.random.default_rng(0).normal(0, 15, clean.shape)).clip(0, 255))
    counts = Denoiser.load(name).denoise(noisy.astype(np.uint16))  # 0 to 255 of 65,535
    before, after = (np.mean((each - clean) ** 2) for each in (noisy, counts))
    assert after < before / 2.5  # 4 dB
    assert counts.mean() == pytest.approx(noisy.mean(), abs=0.2)


@pytest.mark.parametrize("name", TOLD)
def test_shipped_models_leave_flat_images_flat(name):
    shape = (64, 72) if name == "grey" else (64, 72, 3)
    for level in (0, 37, 255):
        flat = np.full(shape, level, np.uint8)
        np.testing.assert_array_equal(Denoiser.load(name).denoise(flat), flat)


@pytest.mark.parametrize("name", TOLD)
def test_shipped_models_in_tiles_give_what_they_give_at_once(name):
    image = noise(400, 420, 3)[..., 0] if name == "grey" else noise(400, 420, 3)
    model = Denoiser.load(name)
    whole = model.denoise(image / np.float32(255))
    np.testing.assert_allclose(
        model.denoise(image / np.float32(255), tile=320), whole, rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("sigma", [5, 25])
@pytest.mark.parametrize("quality", [75, 95])
def test_jpeg_s_shared_noise_is_told_from_noise_in_each_channel(sigma, quality):
    clean = skimage.data.astronaut()
    noisy = clean + np.random.default_rng(0).normal(0, sigma, clean.shape)
    noisy = np.rint(noisy.clip(0, 255)).astype(np.uint8)
    assert default_model(noisy) == "photo"
    file = io.BytesIO()
    PIL.Image.fromarray(noisy).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    assert default_model(np.asarray(PIL.Image.open(file))) == "grey"


def test_noise_that_a_camera_left_is_for_the_model_that_knows_it():
    clean = to_unit(skimage.data.astronaut())[:, :256, :256]
    unit = parse("camera:0.004,92").draw(clean, np.random.default_rng(0))
    noisy = np.rint(unit.transpose(1, 2, 0) * 255).astype(np.uint8)
    assert default_model(noisy) == "camera"
    assert default_model(noisy, told=True) == "grey"
    assert default_model(noisy.astype(np.uint16) * 257) == "grey"
    noisy[::20, ::20] = 255  # impulses, which only models that are told the noise have taken out
    assert default_model(noisy) == "grey"


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 9, 3), (8, 8, 3)])
def test_an_image_without_details_has_a_model_too(shape):
    flat = np.full(shape, 7, np.uint8)
    assert default_model(flat) == "grey"
    flat[..., 0] = 9
    assert default_model(flat) == "photo"


def test_an_image_is_grey_if_its_channels_are_the_same():
    colour = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert default_model(colour) == "photo"
    assert default_model(colour[..., 0]) == "grey"
    assert default_model(colour[..., :1].repeat(3, 2)) == "grey"


def test_a_grey_image_in_three_channels_stays_grey(small):
    grey = np.random.default_rng(0).random((20, 24), dtype=np.float32)
    three = small[1].denoise(grey[..., None].repeat(3, 2))
    assert np.array_equal(three, small[1].denoise(grey)[..., None].repeat(3, 2))


@pytest.mark.parametrize(("sigma", "gain"), [(15, 4), (25, 6), (50, 8)])
@pytest.mark.parametrize("name", [*TOLD, "fast", "fast-grey"])
def test_the_shipped_models_take_most_of_the_noise_away(name, sigma, gain):
    photograph = skimage.data.camera() if SHIPPED[name] == 1 else skimage.data.astronaut()
    clean = to_unit(photograph)[:, 100:228, 200:328]
    noisy = parse(f"gaussian:{sigma}").draw(clean, np.random.default_rng(0))
    denoised = Denoiser.load(name).denoise_unit(noisy)
    assert psnr(denoised, clean) > psnr(noisy, clean) + gain


def test_the_camera_s_model_removes_what_cameras_leave_and_leaves_the_rest_alone():
    clean = to_unit(skimage.data.astronaut())[:, 100:292, 200:392]
    camera, model = parse("camera:0.004,92"), Denoiser.load("camera")
    shots = [camera.pair(clean, np.random.default_rng(seed)) for seed in range(3)]
    for first, second in shots:
        left = np.square(model.denoise_unit(first) - second).mean()
        assert left < 0.75 * np.square(first - second).mean()  # a half is the second shot's own
    assert psnr(model.denoise_unit(clean), clean) > 43
