"""OME-Zarr, piece by piece, by the workers of a cluster."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noise2noise.batch import StoppedError
from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.files import Metadata, Wanted, bands_of, open_stack, write_stack
from noise2noise.inference import Settings
from noise2noise.scale import denoise_store, grid
from noise2noise.scale.making import folder_for
from tests.noise2noise.scale.conftest import noise, values


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that small images have several."""
    monkeypatch.setattr(grid, "LARGEST", 1)


def shared_out(client: Any, errand: Any) -> Any:
    with open_stack(errand.source, **errand.said) as stack:
        return denoise_store(client, errand, stack)


def alone(errand: Any, place: Path) -> np.ndarray:
    """The result of this process."""
    with open_stack(errand.source, **errand.said) as stack:
        Denoiser.load(errand.model).denoise_stack(stack, place, errand.settings)
    return values(place)


@pytest.mark.parametrize(
    ("shape", "chunks", "axes"),
    [
        ((100, 90), (32, 32), "yx"),
        ((3, 70, 64), (2, 40, 64), "zyx"),
        ((50, 2, 60), (25, 1, 20), "ycx"),
    ],
)
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_pieces_make_up_what_one_process_makes(
    client, store, errand, make_model, tmp_path, shape, chunks, axes, dtype
):
    model = make_model("told.safetensors", "guided", channels=1, width=8, depth=1, blocks=1)
    one = errand(store(noise(*shape, dtype=dtype), chunks, axes), model=str(model))
    outcome = shared_out(client, one)
    result, expected = values(tmp_path / "clean.zarr"), alone(one, tmp_path / "alone.zarr")
    assert result.dtype == expected.dtype
    away = np.abs(result.astype(float) - expected.astype(float))
    assert away.max() <= (1e-5 if dtype == "float32" else 1)
    assert np.count_nonzero(away > 1e-5) <= 1e-3 * away.size
    assert outcome.impulses >= 0
    assert not folder_for(tmp_path / "clean.zarr").exists()


def test_levels_metadata_and_another_dtype_are_those_of_one_process(
    client, store, errand, tmp_path
):
    plain = store(noise(1100, 70, dtype="uint8"), (1100, 70), "yx")
    pyramid = tmp_path / "pyramid.zarr"
    with open_stack(plain) as stack:
        anew = replace(stack.header, metadata=Metadata())
        write_stack(pyramid, anew, bands_of(stack))
    settings = Settings(wanted=Wanted.parse("uint16", None))
    one = errand(pyramid, settings)
    shared_out(client, one)
    expected = tmp_path / "alone.zarr"
    with open_stack(pyramid) as stack:
        Denoiser.load(one.model).denoise_stack(stack, expected, settings)
    made = tmp_path / "clean.zarr"
    for path in sorted(expected.rglob("*")):
        other = made / path.relative_to(expected)
        assert other.is_dir() if path.is_dir() else other.exists(), other
        if path.name == "zarr.json":
            assert json.loads(other.read_bytes()) == json.loads(path.read_bytes())
    for level in ("0", "1"):
        away = values(made / level).astype(int) - values(expected / level).astype(int)
        assert np.abs(away).max() <= 1


def test_impulses_are_counted_once(client, store, errand, make_model, tmp_path):
    image = noise(64, 64) * 0.1
    image[5:64:9, 5:64:9] = 1
    model = make_model("told.safetensors", "guided", channels=1, width=8, depth=1, blocks=1)
    one = errand(store(image, (16, 16), "yx"), model=str(model))
    with open_stack(one.source) as stack:
        run = Denoiser.load(model).run(stack)
        assert len([*run.bands()])
    assert shared_out(client, one).impulses == run.impulses > 0


def test_a_run_that_was_stopped_goes_on_with_what_is_missing(client, store, errand, tmp_path):
    source = store(noise(96, 96), (32, 32), "yx")
    undisturbed = errand(source, destination=tmp_path / "undisturbed.zarr")
    shared_out(client, undisturbed)
    one = errand(source)
    with pytest.raises(StoppedError):
        shared_out(client, replace(one, progress=lambda share: share > 0.4 and one.stop.set()))
    assert not (tmp_path / "clean.zarr").exists()
    lines = (folder_for(tmp_path / "clean.zarr") / "done").read_text().splitlines()
    assert 4 <= len(lines) < 9
    shares: list[float] = []
    shared_out(client, errand(source, progress=shares.append))
    assert len(shares) == 9 - len(lines)
    assert (values(tmp_path / "clean.zarr") == values(tmp_path / "undisturbed.zarr")).all()


def test_another_run_s_pieces_are_not_gone_on_with(client, store, errand, tmp_path):
    source = store(noise(512, 32), (32, 32), "yx")
    one = errand(source)
    with pytest.raises(StoppedError):
        shared_out(client, replace(one, progress=lambda share: one.stop.set()))
    other = errand(source, Settings(strength=0.5), key="two")
    with pytest.raises(UserError, match="other options; use these again to go on"):
        shared_out(client, other)
    shared_out(client, replace(other, overwrite=True))
    halves = values(tmp_path / "clean.zarr")
    np.testing.assert_allclose(halves, alone(other, tmp_path / "alone.zarr"), atol=1e-5)


def test_a_piece_that_fails_is_tried_again_and_reported_and_the_rest_is_done(
    client, store, errand, tmp_path
):
    source = store(noise(256, 32, dtype="uint8"), (16, 32), "yx")
    chunk = source / "c" / "7" / "0"
    kept = chunk.read_bytes()
    chunk.write_bytes(b"nothing of the kind")
    whole = errand(source, Settings(strength=0))  # nothing is looked at before
    with pytest.raises(UserError, match=r"of 16 pieces of .* could not be done") as told:
        shared_out(client, whole)
    failed = int(str(told.value).split()[0])
    first = 7 - failed // 2  # as many before it as after it look at it
    place = f"the first at Y {16 * first} to {16 * first + 15}, X 0 to 31: {source} is damaged"
    assert place in str(told.value)
    assert str(told.value).endswith("run the same command to go on")
    done = (folder_for(tmp_path / "clean.zarr") / "done").read_text().splitlines()
    assert len(done) == 16 - failed > 0
    chunk.write_bytes(kept)
    shared_out(client, whole)
    assert (values(tmp_path / "clean.zarr") == values(source)).all()


def test_what_stands_there_is_kept_unless_somebody_says_so(client, store, errand, tmp_path):
    source = store(noise(32, 32), (32, 32), "yx")
    shutil.copytree(source, tmp_path / "clean.zarr")
    with pytest.raises(UserError, match="exists already"):
        shared_out(client, errand(source))
    shared_out(client, errand(source, overwrite=True))
    assert (values(tmp_path / "clean.zarr") != values(source)).any()


def test_what_several_workers_can_t_do_is_said(client, store, errand, tmp_path):
    source = store(noise(32, 32), (32, 32), "yx")
    with pytest.raises(UserError, match=r"clean.tif is no OME-Zarr.*--format zarr"):
        shared_out(client, errand(source, destination=tmp_path / "clean.tif"))
    with pytest.raises(UserError, match=r"needs \d+ MB, and 1 MB are allowed"):
        shared_out(client, errand(source, Settings(memory=10**6)))


def test_a_worker_with_other_weights_says_so(client, store, errand, monkeypatch):
    monkeypatch.setattr("noise2noise.scale.store.digest_of", lambda model: "other")
    with pytest.raises(UserError, match=r"its noise: .*install the same version everywhere"):
        shared_out(client, errand(store(noise(32, 32, dtype="uint8"), (32, 32), "yx")))
