"""`noise2noise denoise`: where results go, what they keep, and what never happens to an input."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
import tifffile

from chainrule.serialization import load_tensors, save_tensors
from noise2noise.denoiser import Denoiser, Outcome
from noise2noise.files import ArrayStack, Header, Image, Stack, read_image, write_image
from noise2noise.noise import NoiseProfile

SIZE = (20, 26, 3)
ICC = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
ORIENTATION, MAKE = 274, 271


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stand_ins: Path) -> Path:
    """An empty folder to stand in."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def photo(here: Path, picture: Callable[..., np.ndarray]) -> Path:
    path = Path("photo.png")
    write_image(path, Image(picture(*SIZE)))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """The files in a folder; the hidden one, of what was done, left out."""
    return {
        str(path): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name[0] != "."
    }


def names_in(folder: Path | str) -> list[str]:
    return [Path(path).name for path in contents(Path(folder))]


# Where results go.


def test_with_no_other_argument_the_result_lies_beside_the_photo(done, photo):
    before = photo.read_bytes()
    said = done("denoise", photo)
    assert said.startswith("photo.png -> photo_denoised.png  (")
    assert photo.read_bytes() == before
    expected = Denoiser.load("photo").denoise(read_image(photo).pixels)
    np.testing.assert_array_equal(read_image("photo_denoised.png").pixels, expected)
    assert not np.array_equal(expected, read_image(photo).pixels)


def test_grey_and_colour_images_get_the_model_that_suits_them(done, photo, picture):
    grey = picture(20, 26, 1)
    write_image("grey.png", Image(grey))
    write_image("scan.png", Image(np.dstack([grey] * 3)))
    done("denoise", photo, "grey.png", "scan.png")
    for name, model in {"photo": "photo", "grey": "grey", "scan": "grey"}.items():
        expected = Denoiser.load(model).denoise(read_image(f"{name}.png").pixels)
        np.testing.assert_array_equal(read_image(f"{name}_denoised.png").pixels, expected)


def test_a_file_or_a_folder_can_be_named_for_the_result(done, photo, here):
    done("denoise", photo, "-o", "clean.tif")
    done("denoise", photo, "-o", "new/folder")
    done("denoise", photo, "--output", here / "new")
    pixels = read_image("clean.tif").pixels
    for path in ("new/folder/photo.png", "new/photo.png"):
        np.testing.assert_array_equal(read_image(path).pixels, pixels)


def test_a_folder_with_a_suffix_in_its_name_is_a_folder(done, photo):
    Path("clean.v2.png").mkdir()
    done("denoise", photo, "-o", "clean.v2.png")
    assert Path("clean.v2.png/photo.png").is_file()


def test_all_images_of_a_folder_are_done_and_those_of_an_earlier_call_left_out(done, folder_of):
    folder = folder_of("scans", {"a.png": SIZE, "b.TIF": SIZE, "c.bmp": SIZE})
    (folder / "notes.txt").write_text("no image")
    lines = done("denoise", folder).splitlines()
    assert len(lines) == 3
    first = contents(folder)
    assert len(first) == 7
    assert len(done("denoise", folder, "--overwrite").splitlines()) == 3
    assert contents(folder) == first
    assert len(done("denoise", folder, "-o", "clean").splitlines()) == 3


def test_an_image_named_twice_is_done_once(done, photo):
    assert done("denoise", photo, "./photo.png").count("->") == 1


def test_names_are_no_markup(done, photo):
    photo.rename("[red]:cat:.png")
    assert "[red]:cat:.png -> [red]:cat:_denoised.png" in done("denoise", "[red]:cat:.png")


def test_an_array_of_channels_first_is_denoised_as_the_picture_it_is(done, photo):
    pixels = read_image(photo).pixels
    np.save("first.npy", np.moveaxis(pixels, -1, 0))
    np.save("stains.npy", np.moveaxis(pixels, -1, 0))
    done("denoise", "first.npy", "--channel-axis", "0", "--model", "photo")
    expected = Denoiser.load("photo").denoise(pixels)
    np.testing.assert_array_equal(np.load("first_denoised.npy"), np.moveaxis(expected, -1, 0))
    done("denoise", "stains.npy", "--axes", "CYX", "--model", "grey")
    alone = [Denoiser.load("grey").denoise(pixels[..., i]) for i in range(3)]
    np.testing.assert_array_equal(np.load("stains_denoised.npy"), alone)


def test_an_ome_zarr_is_denoised_beside_itself_plane_by_plane(done, photo):
    zarr = pytest.importorskip("zarr")
    pixels = np.moveaxis(read_image(photo).pixels, -1, 0)
    scale = {"axes": [{"name": name} for name in "zyx"], "datasets": [{"path": "0"}]}
    group = zarr.create_group("cells.ome.zarr", attributes={"ome": {"multiscales": [scale]}})
    group.create_array("0", shape=pixels.shape, dtype="u1", chunks=(2, 8, 8))[...] = pixels
    said = done("denoise", "cells.ome.zarr", "--model", "grey")
    assert said.startswith("cells.ome.zarr -> cells_denoised.ome.zarr  (grey")
    result = zarr.open_group("cells_denoised.ome.zarr", mode="r")
    planes = [Denoiser.load("grey").denoise(plane) for plane in pixels]
    np.testing.assert_array_equal(result["0"][...], planes)
    assert done("denoise", ".", "-o", "all").count("->") == 2


def test_another_format_dtype_and_number_of_bits_can_be_asked_for(done, photo):
    said = done("denoise", photo, "--format", "TIFF", "--dtype", "uint16")
    assert said.startswith("photo.png -> photo_denoised.tif")
    coarse = Denoiser.load("photo").denoise(read_image(photo).pixels)
    fine = tifffile.imread("photo_denoised.tif")
    assert fine.dtype == np.uint16
    np.testing.assert_allclose(fine / 257, coarse, atol=0.51)
    done("denoise", photo, "--bit-depth", "10", "-o", "ten.png")
    assert 255 < imagecodecs.png_decode(Path("ten.png").read_bytes()).max() <= 1023
    done("denoise", photo, "--format", ".npy", "--name", "{stem}-{model}{suffix}")
    np.testing.assert_array_equal(np.load("photo-photo.npy"), coarse)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "tga"), "--format tga is no format that can be written; choose png, apng"),
        (("--format", "png", "-o", "a.tif"), "a.tif doesn't end in .png, which --format says"),
        (("--dtype", "float32"), "photo_denoised.png: PNG can't hold float pixels; end the name"),
        (("--dtype", "double"), "--dtype double is unknown; choose one of uint8, uint16"),
        (("--bit-depth", "4"), "--bit-depth must lie in 8 to 32, got 4"),
        (("--format", "zarr", "-o", "-"), "OME-Zarr is a folder, which standard output can't take"),
    ],
)
def test_what_a_format_can_not_hold_is_said(run, photo, options, message):
    status, _, err = run("denoise", photo, *options)
    assert status == 2
    assert message in err
    assert [path.name for path in Path().iterdir()] == ["photo.png"]


def test_json_says_the_same_for_programs(run, photo, make_model):
    model = make_model("m.safetensors")
    status, out, err = run("denoise", photo, "missing.png", "--json", "--model", model)
    record, failure = json.loads(out)
    missing = "there is no file missing.png; check the name"
    assert failure == {"input": "missing.png", "status": "failed", "error": missing}
    assert record.pop("seconds") > 0
    assert record == {
        "status": "done",
        "why": "",
        "input": "photo.png",
        "output": "photo_denoised.png",
        "model": str(model),
        "width": 26,
        "height": 20,
        "planes": 1,
        "notes": [],
    }
    assert (status, err) == (2, f"error: {missing}\n")


def test_a_progress_bar_does_not_take_the_results_with_it(run, folder_of, monkeypatch):
    folder = folder_of("scans", {"a.png": SIZE, "b.png": SIZE})
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if messages went to a terminal
    status, out, err = run("denoise", folder)
    assert status == 0
    assert out.count("->") == 2
    assert "->" not in err
    assert len(json.loads(run("denoise", folder, "--json", "--overwrite").out)) == 2


# What is kept.


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_metadata_survive(done, picture, suffix):
    exif = PIL.Image.Exif()
    exif[ORIENTATION], exif[MAKE] = 6, "Camera works"
    source = Path(f"photo{suffix}")
    PIL.Image.fromarray(picture(*SIZE)).save(
        source, exif=exif.tobytes(), icc_profile=ICC, dpi=(300, 300)
    )
    done("denoise", source)
    with PIL.Image.open(f"photo_denoised{suffix}") as result:
        assert result.getexif()[ORIENTATION] == 6
        assert result.getexif()[MAKE] == "Camera works"
        assert result.info["icc_profile"] == ICC
        if suffix != ".webp":  # which has no place for it
            assert result.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert read_image(f"photo_denoised{suffix}").pixels.shape == SIZE


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
def test_bit_depth_stays(done, picture, dtype, channels):
    photometric = "rgb" if channels == 3 else "minisblack"
    tifffile.imwrite("cell.tif", picture(20, 26, channels, dtype), photometric=photometric)
    done("denoise", "cell.tif")
    result = tifffile.imread("cell_denoised.tif")
    assert (result.dtype, result.shape) == (dtype, picture(20, 26, channels).shape)
    if dtype == "uint16":
        assert len(np.unique(result % 257)) > 10  # not 8 bits made wide


def test_transparency_stays(done, picture):
    pixels = np.dstack([picture(*SIZE), picture(20, 26, 1)])
    PIL.Image.fromarray(pixels).save("logo.png")
    done("denoise", "logo.png")
    result = np.asarray(PIL.Image.open("logo_denoised.png"))
    np.testing.assert_array_equal(result[..., 3], pixels[..., 3])


def test_strength_and_tile_reach_the_network(done, photo):
    done("denoise", photo, "--strength", 0, "-o", "same.png")
    np.testing.assert_array_equal(read_image("same.png").pixels, read_image(photo).pixels)
    done("denoise", photo, "--strength", 0.5, "-o", "half.png")
    expected = Denoiser.load("photo").denoise(read_image(photo).pixels, strength=0.5)
    np.testing.assert_array_equal(read_image("half.png").pixels, expected)
    done("denoise", photo, "--tile", 70, "-o", "tiled.png")
    done("denoise", photo)
    assert Path("tiled.png").read_bytes() == Path("photo_denoised.png").read_bytes()


def test_the_noise_can_be_given_as_a_number_or_as_a_profile(done, photo, make_model):
    told = make_model("told.safetensors", "guided", width=4, depth=0, blocks=1)
    pixels = read_image(photo).pixels
    profile = NoiseProfile((0.5, 0.5, 0.5), (3.0, 3.0, 3.0))
    profile.save("camera.json")
    for given, noise in {"12": NoiseProfile.gaussian(12), "camera.json": profile}.items():
        done("denoise", photo, "--model", told, "--noise", given, "-o", f"{given}.png")
        expected = Denoiser.load(told).denoise(pixels, noise=noise)
        np.testing.assert_array_equal(read_image(f"{given}.png").pixels, expected)


def test_noise_that_can_t_be_used_is_refused_before_anything_is_read(refused):
    assert "at least 0, got -3" in refused("denoise", "nothing.png", "--noise=-3")
    words = refused("denoise", "nothing.png", "--noise", "camera.json")
    assert words == "there is no file camera.json"
    words = refused("denoise", "nothing.png", "--noise", "12", "--model", "grey")
    assert "the model grey can't be told the noise" in words


# Bad images among good ones.


def bad_images() -> dict[str, bytes]:
    png = io.BytesIO()
    PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 50, 3), np.uint8)).save(
        png, "PNG"
    )
    waves = io.BytesIO()
    tifffile.imwrite(waves, np.full((9, 9), 1j, np.complex64))
    return {
        "text.png": b"this is no image, whatever its name says",
        "cut.png": png.getvalue()[: len(png.getvalue()) // 2],
        "empty.png": b"",
        "waves.tif": waves.getvalue(),
    }


BAD = bad_images()
REASONS = {
    "text.png": "is not an image",
    "cut.png": "is damaged or cut short",
    "empty.png": "is empty (0 bytes)",
    "waves.tif": "has complex64 pixels",
}


@pytest.mark.parametrize("name", BAD)
def test_an_image_that_can_not_be_used_is_refused_in_one_sentence(refused, name):
    Path(name).write_bytes(BAD[name])
    sentence = refused("denoise", name)
    assert sentence.startswith(name)
    assert REASONS[name] in sentence
    assert list(Path().iterdir()) == [Path(name)]


def test_a_missing_file_is_refused(refused):
    assert refused("denoise", "nothing.png") == "there is no file nothing.png; check the name"


def test_good_images_are_done_and_bad_ones_reported(run, folder_of):
    folder = folder_of("scans", {"a.png": SIZE, "z.png": SIZE})
    for name, data in BAD.items():
        (folder / name).write_bytes(data)
    status, out, err = run("denoise", folder, "missing.png", "-o", "clean")
    assert status == 2
    assert names_in("clean") == ["a.png", "z.png"]
    assert out.count("->") == 2
    assert err.count("error: ") == len(BAD) + 1
    for name in (*BAD, "missing.png"):
        assert name in err


FAILURES = [MemoryError(), RuntimeError("DefaultCPUAllocator: can't"), KeyError("mean")]


@pytest.mark.parametrize("error", FAILURES, ids=repr)
def test_whatever_goes_wrong_with_one_image_the_others_are_done(run, folder_of, monkeypatch, error):
    folder = folder_of("scans", {"a.png": SIZE, "b.png": (20, 27, 3), "c.png": SIZE})
    denoise_stack = Denoiser.denoise_stack

    def failing(self: Denoiser, stack: Stack, *rest: Any, **options: Any) -> Outcome:
        if stack.header.width == 27:
            raise error
        return denoise_stack(self, stack, *rest, **options)

    monkeypatch.setattr(Denoiser, "denoise_stack", failing)
    status, out, err = run("denoise", folder, "-o", "clean")
    assert status == 2
    assert names_in("clean") == ["a.png", "c.png"]
    assert err.count("error: ") == 1
    assert "b.png" in err
    assert ("does not fit into memory" in err) == (not isinstance(error, KeyError))
    assert out.count("->") == 2


def test_what_was_not_denoised_is_said(done, picture):
    pixels = picture(20, 26, 1, "float32")
    pixels[3, 4] = np.nan
    with tifffile.TiffWriter("cell.tif") as file:
        file.write(pixels, metadata=None)
        file.write(pixels[:7, :3], metadata=None)
    said = done("denoise", "cell.tif")
    assert "; 1 smaller page left out; 1 NaN or infinite values stay as they are)" in said
    assert np.isnan(tifffile.imread("cell_denoised.tif")).sum() == 1


def test_what_is_white_can_be_said(done, picture):
    pixels = np.rint(picture(20, 26, 1, "float32") * 1000).astype(np.uint16)
    tifffile.imwrite("cell.tif", pixels)
    done("denoise", "cell.tif", "--white", 4095)
    result = tifffile.imread("cell_denoised.tif")
    stack = ArrayStack(
        Header("YX", pixels.shape, pixels.dtype, white=4095), pixels[None, ..., None]
    )
    (band,) = Denoiser.load("grey").run(stack).bands()
    np.testing.assert_array_equal(result, band[..., 0])


def test_a_stack_is_denoised_plane_by_plane(done, picture):
    planes = np.stack([picture(20, 26, 1, "uint16", seed) for seed in range(3)])
    tifffile.imwrite("movie.tif", planes, imagej=True, metadata={"axes": "TYX", "unit": "um"})
    done("denoise", "movie.tif")
    with tifffile.TiffFile("movie_denoised.tif") as file:
        assert file.series[0].axes == "TYX"
        assert (file.imagej_metadata or {})["unit"] == "um"
        clean = file.asarray()
    for plane, result in zip(planes, clean, strict=True):
        np.testing.assert_allclose(result, Denoiser.load("grey").denoise(plane), atol=1)


# What never happens to a file that was there.


def test_a_result_in_the_way_is_kept_without_overwrite(refused, done, photo):
    taken = Path("photo_denoised.png")
    taken.write_bytes(b"precious")
    assert "photo_denoised.png exists already" in refused("denoise", photo)
    assert "--overwrite" in refused("denoise", photo, "-o", taken)
    early = refused("denoise", "not even looked at.png", "-o", taken)
    assert "photo_denoised.png exists already" in early
    assert taken.read_bytes() == b"precious"
    done("denoise", photo, "--overwrite")
    read_image(taken)


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_an_input_is_never_written_to(refused, photo, here, overwrite):
    Path("link.png").symlink_to(photo)
    Path("way").symlink_to(here)
    write_image("photo_denoised.png", read_image(photo))
    before = contents(here)
    for output in (photo, Path("link.png"), here, Path("way"), Path("way/photo.png")):
        assert "would replace photo.png" in refused("denoise", photo, "-o", output, *overwrite)
    both = refused("denoise", photo, "photo_denoised.png", *overwrite)
    assert "the result of photo.png would replace photo_denoised.png" in both
    assert contents(here) == before


def test_a_link_is_replaced_and_not_what_it_points_to(done, photo):
    Path("other.png").write_bytes(b"precious")
    Path("link.png").symlink_to("other.png")
    done("denoise", photo, "-o", "link.png", "--overwrite")
    assert Path("other.png").read_bytes() == b"precious"
    assert not Path("link.png").is_symlink()


def test_two_images_for_one_place_are_refused_before_anything_is_written(refused, folder_of, here):
    one, two = (folder_of(name, {"a.png": SIZE}, seed=len(name)) for name in ("one", "other"))
    sentence = refused("denoise", one, two, "-o", "clean")
    assert f"{one / 'a.png'} and {two / 'a.png'} would both be written to clean" in sentence
    sentence = refused("denoise", one, two, "-o", "clean.png")
    assert sentence == "clean.png is one file, but there are 2 images; name a folder"
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("photo.png/clean", "can't be made: Not a directory"),
        ("clean.ppm", "ends in no image format that can be written"),
        ("nowhere/clean.png", "the folder nowhere does not exist"),
    ],
)
def test_an_output_that_can_not_be_is_refused(refused, photo, here, output, reason):
    assert reason in refused("denoise", photo, "-o", output)
    assert list(here.iterdir()) == [here / photo]


def test_a_format_that_can_not_hold_the_pixels_is_refused(refused, picture):
    tifffile.imwrite("deep.tif", picture(20, 26, 3, "uint16"), photometric="rgb")
    assert "JPEG can't hold 16-bit colour" in refused("denoise", "deep.tif", "-o", "deep.jpg")


# Options.


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--model", "foto"], "there is no model 'foto'; did you mean photo?"),
        (["--strength", "1.5"], "strength must lie in 0 to 1 for this model, got 1.5"),
        (["--strength", "nan"], "strength must lie in 0 to 1 for this model, got nan"),
        (["--tile", "20"], "a tile must be at least 68 pixels for this model, got 20"),
    ],
)
def test_a_wrong_option_is_said_once_and_nothing_is_made(refused, folder_of, here, options, reason):
    folder = folder_of("scans", {"a.png": SIZE, "b.png": SIZE})
    assert refused("denoise", folder, "-o", "clean", *options) == reason
    assert not list(here.iterdir())


def test_a_model_that_was_cut_in_half_is_refused(refused, photo, make_model):
    path = make_model("half.safetensors")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    sentence = refused("denoise", photo, "--model", path)
    assert str(path) in sentence
    assert "cut short" in sentence


def test_a_checkpoint_with_its_optimizer_is_a_model_too(done, photo, make_model):
    path = make_model("last.safetensors")
    tensors, metadata = load_tensors(path)
    momenta = {f"optimizer/{name}": tensor for name, tensor in tensors.items()}
    save_tensors(path, {**tensors, **momenta}, metadata, overwrite=True)
    done("denoise", photo, "--model", path)


def test_a_folder_without_images_is_refused(refused, here):
    (here / "empty").mkdir()
    assert "there is no image in empty" in refused("denoise", "empty")
