"""The course's data made anew: pairs of photographs, once for an output folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noise2noise.errors import UserError
from noise2noise.files import Image, write_image
from noise2noise.studies import data


def plain(items: Iterable[Any], description: str, total: int) -> Iterable[Any]:
    return items


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two photographs of random pixels, one in a folder of its own, and one too small."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, height, width in (("a.png", 192, 192), ("more/b.png", 240, 200), ("c.png", 100, 300)):
        write_image(folder / name, Image(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)))
    return folder


@pytest.fixture
def val(tmp_path: Path) -> Path:
    path = tmp_path / "val.pkl"
    torch.save(tuple(torch.randint(0, 256, (2, 4, 3, 32, 32), dtype=torch.uint8)), path)
    return path


def prepared(folder: Path, photos: Path | None, val: Path | None, count: int = 6, seed: int = 0):
    data.prepare(folder, photos, val, count, seed, plain)
    return data.load(folder)


def test_the_first_pair_of_a_photograph_is_drawn_out_of_its_centre_square(photos):
    from noise2noise.files import read_image

    first, second = data.make_pairs([photos / "a.png"], 1, 0, plain)
    pixels = read_image(photos / "a.png").pixels.transpose(2, 0, 1)
    blocks = pixels.reshape(3, 32, 6, 32, 6).transpose(1, 3, 2, 4, 0).reshape(32, 32, 36, 3)
    for side in (first, second):
        drawn = side[0].permute(1, 2, 0).numpy()[:, :, None]
        assert (blocks == drawn).all(-1).any(-1).all()  # all channels from the same sub-pixel
    assert (first != second).any()


def test_further_pairs_show_other_squares_of_the_photograph(tmp_path):
    column = np.arange(400) * 255 // 400  # rises to the right, so that mirrors are seen
    write_image(
        tmp_path / "a.png", Image(np.tile(column[None, :, None], (300, 1, 3)).astype(np.uint8))
    )
    first, _ = data.make_pairs([tmp_path / "a.png"], 40, 0, plain)
    means = first.float().mean((1, 2, 3))
    rising = first[..., -1].float().mean((1, 2)) > first[..., 0].float().mean((1, 2))
    assert float(means[0]) == pytest.approx(127, abs=2)
    assert float(means.std()) > 5
    assert 8 < int(rising[1:].sum()) < 32


def test_a_larger_count_adds_pairs_and_another_seed_draws_others(photos):
    paths = [photos / "a.png", photos / "more" / "b.png"]
    few, many = (data.make_pairs(paths, count, 0, plain) for count in (3, 6))
    assert all(torch.equal(a, b[:3]) for a, b in zip(few, many, strict=True))
    assert not torch.equal(few[0], data.make_pairs(paths, 3, 1, plain)[0])
    assert len({bytes(image.numpy().tobytes()) for image in [*many[0], *many[1]]}) == 12


def test_it_is_made_once(photos, val, tmp_path):
    folder = tmp_path / "out"
    made = prepared(folder, photos, val)
    assert made.first.shape == made.second.shape == (6, 3, 32, 32)
    assert torch.equal(made.clean, torch.load(val, weights_only=True)[1])
    assert data.describe(folder)["photographs"].startswith("2 photographs")  # not the small one
    for name in ("a.png", "c.png", "more/b.png"):
        (photos / name).unlink()
    assert torch.equal(prepared(folder, None, None).first, made.first)


def test_other_data_in_the_same_folder_are_refused(photos, val, tmp_path):
    folder = tmp_path / "out"
    prepared(folder, photos, val)
    with pytest.raises(UserError, match=r"other data \(seed: 0 then, 1 now\); choose"):
        prepared(folder, photos, val, seed=1)
    with pytest.raises(UserError, match=r"other data \(pairs: "):
        prepared(folder, None, None, count=7)
    (photos / "a.png").rename(photos / "z.png")
    with pytest.raises(UserError, match=r"other data \(photographs: "):
        prepared(folder, photos, val)
    torch.save(tuple(torch.randint(0, 256, (2, 4, 3, 32, 32), dtype=torch.uint8)), val)
    with pytest.raises(UserError, match=r"other data \(validation: "):
        prepared(folder, None, val)


def test_what_is_missing_or_unfit_is_named(photos, val, tmp_path):
    with pytest.raises(UserError, match="to begin one, give --photos"):
        prepared(tmp_path / "out", photos, None)
    with pytest.raises(UserError, match=r"there is no folder .*out of results; run a study"):
        data.load(tmp_path / "out")
    torch.save(tuple(torch.randint(0, 256, (2, 4, 3, 16, 16), dtype=torch.uint8)), val)
    with pytest.raises(UserError, match=r"expected uint8 images .N, 3, 32, 32. as the course has"):
        prepared(tmp_path / "out", photos, val)
    (photos / "a.png").unlink()
    (photos / "more" / "b.png").unlink()
    with pytest.raises(UserError, match=r"no photograph in .* has at least 192 x 192 pixels"):
        prepared(tmp_path / "out", photos, val)
    with pytest.raises(UserError, match=r"there is no folder .*nowhere"):
        prepared(tmp_path / "out", tmp_path / "nowhere", val)
    assert not (tmp_path / "out").exists()
