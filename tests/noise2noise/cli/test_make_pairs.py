"""`noise2noise make-pairs`: what is written can be trained on, and its noise averages out."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from noise2noise.data import load_pair_file
from noise2noise.files import Image, read_image, to_unit, write_image
from noise2noise.noise.corruptions import parse

NAMES = {"black.png": (48, 60, 3), "sea.png": (50, 40, 3), "sky.tif": (60, 90, 1)}


@pytest.fixture(autouse=True)
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder_of) -> Path:
    """photos/ with three pictures, one of them black, in the folder to stand in."""
    monkeypatch.chdir(tmp_path)
    folder_of("photos", NAMES)
    write_image("photos/black.png", Image(np.zeros((48, 60, 3), np.uint8)), overwrite=True)
    return Path("photos")


def make(*options: object) -> tuple[object, ...]:
    return ("make-pairs", "photos", "--corruption", "gaussian:25", *options)


def contents(folder: str) -> dict[str, bytes]:
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


# Folders.


def test_folders_get_two_draws_and_the_clean_image_as_floats(done):
    done(*make("--out", "pairs"))
    stems = ["black", "sea", "sky"]
    assert sorted(contents("pairs")) == [
        f"{folder}/{stem}.tif" for folder in ("a", "b", "clean") for stem in stems
    ]
    for name in NAMES:
        stem = Path(name).stem
        a, b, clean = (tifffile.imread(f"pairs/{f}/{stem}.tif") for f in ("a", "b", "clean"))
        assert a.dtype == b.dtype == clean.dtype == np.float32
        photo = read_image(f"photos/{name}").pixels
        np.testing.assert_allclose(clean, photo / np.float32(255), atol=1e-6)
        for noisy in (a, b):
            assert np.std(noisy - clean) == pytest.approx(25 / 255, rel=0.05)
            assert abs(np.mean(noisy - clean)) < 5 * 25 / 255 / clean.size**0.5
        assert abs(np.corrcoef((a - clean).ravel(), (b - clean).ravel())[0, 1]) < 0.05
    assert tifffile.imread("pairs/a/black.tif").min() < 0  # not clipped, which would bias it


def test_more_pairs_than_photographs_are_all_different(done):
    done(*make("--out", "pairs", "--count", 7))
    files = contents("pairs")
    assert len(files) == 3 * 7
    assert {f"a/{stem}_{n:05d}.tif" for stem in ("black", "sea", "sky") for n in (0, 1)} < {*files}
    noisy = [data for name, data in files.items() if not name.startswith("clean")]
    assert len(set(noisy)) == len(noisy)


def test_fewer_pairs_than_photographs(done):
    done(*make("--out", "pairs", "--count", 2))
    assert sorted(contents("pairs")) == [
        f"{folder}/{stem}.tif" for folder in ("a", "b", "clean") for stem in ("black", "sea")
    ]


def test_a_seed_repeats_every_byte(done):
    for out, seed in (("one", 4), ("again", 4), ("other", 5)):
        done(*make("--out", out, "--seed", seed))
        done(*make("--out", f"{out}.pkl", "--seed", seed, "--size", 16))
    assert contents("one") == contents("again")
    for name, data in contents("other").items():
        assert (data == contents("one")[name]) == name.startswith("clean")
    one, again, other = (load_pair_file(f"{out}.pkl") for out in ("one", "again", "other"))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one[0], other[0])


def test_pairs_in_folders_can_be_trained_on(done, run):
    Path("photos/sky.tif").unlink()  # grey, and grey and colour are learned apart
    done(*make("--out", "pairs"))
    tiny = ("--crop", 16, "--size", "width=4", "--epochs", 1, "--out", "run")
    assert run("train", "--pairs", "pairs/a", "pairs/b", *tiny).status == 0
    scores = done("evaluate", "pairs/clean", "--noisy", "pairs/a", "--model", "run")
    assert "2 images, recorded noise in pairs/a" in scores


def test_a_reduced_image_comes_with_its_averages(done):
    done("make-pairs", "photos", "--corruption", "subpixel:6", "--out", "pairs")
    photo = to_unit(read_image("photos/sea.png"))
    clean = to_unit(read_image("pairs/clean/sea.tif"))
    np.testing.assert_allclose(clean, parse("subpixel:6").clean(photo), atol=1e-6)
    assert clean.shape == (3, 8, 6)


def test_a_folder_in_use_is_kept_without_overwrite(done, refused):
    Path("pairs/a").mkdir(parents=True)
    Path("pairs/a/sea.tif").write_bytes(b"precious")
    assert refused(*make("--out", "pairs")) == (
        "pairs is not empty; choose another folder or add --overwrite"
    )
    assert contents("pairs") == {"a/sea.tif": b"precious"}
    done(*make("--out", "pairs", "--overwrite"))
    assert len(contents("pairs")) == 9
    read_image("pairs/a/sea.tif")


# A file of two tensors.


@pytest.mark.parametrize("suffix", [".pkl", ".pth", ".PT"])
def test_a_file_holds_two_tensors_of_bytes_that_can_be_trained_on(done, run, suffix):
    name = f"train{suffix}"
    done(*make("--out", name, "--count", 10))
    first, second = load_pair_file(name)
    assert first.dtype == second.dtype == torch.uint8
    assert first.shape == second.shape == (10, 3, 32, 32)
    assert not torch.equal(first, second)
    assert len({image.numpy().tobytes() for image in torch.cat([first, second])}) == 20
    if suffix == ".pkl":
        tiny = ("--crop", 32, "--size", "width=4", "--epochs", 1, "--out", "run")
        assert run("train", "--pairs-file", name, *tiny).status == 0


def test_a_file_is_made_as_the_course_made_its_own(done):
    """Each pixel is one of the 6 x 6 that it stands for, all channels from the same place."""
    for name in NAMES:
        Path("photos", name).unlink()
    sharp = np.random.default_rng(0).integers(0, 255, (40, 36, 3)).astype(np.uint8)
    write_image("photos/only.png", Image(sharp))
    done("make-pairs", "photos", "--corruption", "subpixel:6", "--out", "p.pkl", "--size", 6)
    blocks = sharp[2:38].reshape(6, 6, 6, 6, 3).swapaxes(1, 2).reshape(6, 6, 36, 3)
    sides = [side[0].permute(1, 2, 0).numpy() for side in load_pair_file("p.pkl")]
    for side in sides:
        assert (blocks == side[:, :, None]).all(axis=-1).any(axis=-1).all()
    assert not np.array_equal(sides[0], sides[1])


def test_a_file_to_validate_on_holds_the_clean_images(done, run):
    for name in NAMES:
        Path("photos", name).unlink()
    sharp = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    write_image("photos/only.png", Image(sharp))
    subpixel = ("make-pairs", "photos", "--corruption", "subpixel:4", "--size", 8)
    done(*subpixel, "--count", 4, "--out", "pairs.pkl")
    done(*subpixel, "--out", "val.pkl", "--clean")
    noisy, clean = load_pair_file("val.pkl")
    assert torch.equal(noisy[0], load_pair_file("pairs.pkl")[0][0])
    means = sharp.reshape(8, 4, 8, 4, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    assert np.abs(clean[0].numpy() - means).max() <= 0.51  # rounded
    tiny = ("--crop", 8, "--size", "width=4", "--epochs", 1, "--out", "run")
    assert run("train", "--pairs-file", "pairs.pkl", "--validation", "val.pkl", *tiny).status == 0


def test_folders_have_their_clean_images_anyway(refused):
    assert refused(*make("--out", "pairs", "--clean")) == (
        "--clean is for a .pkl file; folders have their clean images in clean/"
    )


def test_photographs_are_averaged_down_to_the_size(done):
    for name in NAMES:
        Path("photos", name).unlink()
    photo = np.random.default_rng(0).integers(0, 255, (40, 72, 3)).astype(np.uint8)
    write_image("photos/wide.png", Image(photo))
    fine = ("make-pairs", "photos", "--corruption", "gaussian:0.001", "--size", "10")
    done(*fine, "--out", "p.pkl")
    averages = photo[:, 16:56].reshape(10, 4, 10, 4, 3).mean((1, 3))
    first, _ = load_pair_file("p.pkl")
    np.testing.assert_allclose(first[0].permute(1, 2, 0), averages, atol=1)  # rounded twice


def test_a_file_in_use_is_kept_without_overwrite(done, refused):
    Path("p.pkl").write_bytes(b"precious")
    assert "p.pkl exists already" in refused(*make("--out", "p.pkl"))
    assert Path("p.pkl").read_bytes() == b"precious"
    done(*make("--out", "p.pkl", "--overwrite"))
    load_pair_file("p.pkl")


# What is refused.


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("nowhere", "--corruption", "gaussian:25", "--out", "pairs"), "no folder nowhere"),
        (("photos", "--corruption", "gauss:25", "--out", "pairs"), "did you mean gaussian:25?"),
        (("photos", "--corruption", "subpixel:50", "--out", "pairs"), "at least 50 x 50 pixels"),
        (("photos", "--corruption", "subpixel:6", "--out", "p.pkl"), "at least 192 x 192"),
        (("photos", "--corruption", "gaussian:9", "--out", "pairs", "--size", "9"), "--size 9 is"),
        (("photos", "--corruption", "gaussian:9", "--out", "no/p.pkl"), "the folder no does not"),
        (("photos", "--corruption", "gaussian:9", "--out", "photos/sea.png/x"), "can't be made"),
    ],
)
def test_what_can_not_be_done_is_refused(refused, options, reason):
    assert reason in refused("make-pairs", *options)
    assert not Path("p.pkl").exists()


def test_bad_photographs_are_refused_by_name(refused):
    Path("photos/bad.png").write_bytes(b"no image")
    for out in ("pairs", "p.pkl"):
        assert "photos/bad.png is not an image" in refused(*make("--out", out))
    Path("photos/bad.png").unlink()
    tifffile.imwrite("photos/a_counts.tif", np.full((40, 40), 900, np.float32))
    for out in ("more", "p.pkl"):
        sentence = refused(*make("--out", out))
        assert "photos/a_counts.tif: float pixels must lie" in sentence


def test_photographs_whose_pairs_would_have_one_name_are_refused(refused):
    write_image("photos/sea.bmp", read_image("photos/sea.png"))
    sentence = refused(*make("--out", "pairs"))
    assert "photos/sea.bmp and sea.png have the same name" in sentence
    assert not Path("pairs").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="the size of files is limited as POSIX does it")
@pytest.mark.parametrize("out", ["pairs", "pairs.pkl"])
def test_a_disk_that_fails_in_the_middle_of_a_file_is_told(tmp_path, out):
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"sys.argv[1:] = ['make-pairs', 'photos', '--corruption', 'gaussian:9', '--out', {out!r}]\n"
        "from noise2noise.cli import main\n"
        "main()\n"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith("error: pairs")
    assert result.stderr.endswith("File too large\n")
    assert [path for path in tmp_path.rglob("pairs*") if path.is_file()] == []
    assert [path for path in tmp_path.rglob(".*") if path.is_file()] == []
