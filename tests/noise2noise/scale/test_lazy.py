"""Dask arrays, lazily: the same values as in one piece, whatever the chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import noise2noise
from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.inference import Settings
from noise2noise.kinds import Said
from noise2noise.scale import denoise_dask, lazy
from noise2noise.scale.again import again
from tests.noise2noise.scale.conftest import noise

da = pytest.importorskip("dask.array")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that small arrays are worked on in several."""
    monkeypatch.setattr(lazy, "_LEAST", 8)


def assert_same(got: Any, expected: np.ndarray) -> None:
    """Within 1e-5 of the range of values; integers may be rounded to the other neighbour."""
    assert got.dtype == expected.dtype
    away = np.abs(got.astype(float) - expected.astype(float))
    if got.dtype.kind == "f":
        assert away.max() <= 1e-5 * np.ptp(expected)
    else:
        assert away.max() <= 1
        assert np.count_nonzero(away) <= 1e-3 * away.size


@pytest.mark.parametrize("chunks", [(7, 130), (64, 50), (33, (1, 60, 69)), (101, 130)])
@pytest.mark.parametrize("dtype", ["float32", "uint16", "uint8"])
def test_chunks_of_any_size_give_the_values_of_one_piece(make_model, dtype, chunks):
    image = noise(101, 130, dtype=dtype)
    model = make_model("told.safetensors", "guided", channels=1, width=8, depth=1, blocks=1)
    x = da.from_array(image, chunks=chunks)
    result = denoise_dask(x, str(model))
    assert result.chunks == x.chunks
    assert_same(result.compute(scheduler="sync"), Denoiser.load(model).denoise(image))


def test_nothing_is_computed_before_the_result_is(make_model):
    computed: list[int] = []

    def read(block: np.ndarray) -> np.ndarray:
        computed.append(1)
        return block

    x = da.from_array(noise(40, 50), chunks=(20, 25)).map_blocks(read, dtype="float32")
    computed.clear()
    result = denoise_dask(x, str(make_model(channels=1)))
    assert computed == []
    result.compute(scheduler="sync")
    assert len(computed) >= 8  # each chunk is read twice rather than kept


def test_no_chunk_waits_in_memory_for_the_others_to_be_looked_at(make_model):
    events: list[str] = []

    def read(block: np.ndarray) -> np.ndarray:
        events.append("read")
        return block

    x = da.from_array(noise(64, 64), chunks=(16, 16)).map_blocks(read, dtype="float32")
    events.clear()
    facts = da.map_blocks(lambda b: events.append("looked") or b[:1, :1], again(x), dtype="float32")
    from dask.delayed import delayed

    known = delayed(lambda blocks: events.append("known"))(facts.sum())
    again(x, known).compute(scheduler="sync")
    assert events[events.index("known") + 1 :] == ["read"] * 16


def test_planes_colours_and_any_order_of_axes(make_model):
    colour = noise(40, 30, 3, dtype="uint8")
    model = str(make_model("colour.safetensors", channels=3))
    x = da.from_array(colour, chunks=(16, 16, 1))
    result = denoise_dask(x, model).compute(scheduler="sync")
    assert_same(result, Denoiser.load(model).denoise(colour))
    stains = noise(3, 26, 40).transpose(2, 1, 0)  # X, Y, C
    grey = str(make_model("grey.safetensors", "guided", channels=1, width=8, depth=1, blocks=1))
    result = denoise_dask(da.from_array(stains, chunks=(18, 26, 2)), grey, said=Said("XYC"))
    # C last is read with the pixels, so each channel has a profile of its own.
    one = denoise_dask(da.from_array(stains, chunks=-1), grey, said=Said("XYC"))
    assert_same(result.compute(scheduler="sync"), one.compute(scheduler="sync"))
    stack = noise(2, 3, 30, 41)
    result = denoise_dask(da.from_array(stack, chunks=(1, 2, 20, 20)), grey, said=Said("TCYX"))
    assert result.compute(scheduler="sync").shape == stack.shape


def test_the_model_is_chosen_by_the_first_plane(stand_ins):
    grey = np.repeat(noise(48, 40, 1, dtype="uint8"), 3, 2)  # its colours share their noise
    for image, name in ((grey, "grey"), (noise(48, 40, 3, dtype="uint8"), "photo")):
        result = denoise_dask(da.from_array(image, chunks=(24, 20, 3))).compute(scheduler="sync")
        assert_same(result, Denoiser.load(name).denoise(image))


def test_what_cannot_be_is_said_at_once(make_model):
    model = str(make_model(channels=1))
    x = da.from_array(noise(20, 20), chunks=10)
    with pytest.raises(UserError, match="compute_chunk_sizes"):
        denoise_dask(x[x.sum(1) > 3], model)
    with pytest.raises(UserError, match="complex"):
        denoise_dask(x.astype(complex), model)
    with pytest.raises(UserError, match="strength must lie in 0 to 1"):
        denoise_dask(x, model, Settings(strength=2))
    with pytest.raises(UserError, match="ZYX"):
        denoise_dask(x, model, said=Said("ZYX"))


@pytest.mark.parametrize("make", ["array", "sum", "rechunked", "random", "persisted"])
def test_an_array_is_computed_again(make):
    x = da.from_array(noise(20, 30), chunks=(8, 9))
    x = {
        "array": lambda: x,
        "sum": lambda: x + 1,
        "rechunked": lambda: (x + 1).rechunk((20, 7)),
        "random": lambda: da.random.default_rng(0).random((20, 30), chunks=(8, 9)),
        "persisted": lambda: (x + 1).persist(scheduler="sync"),
    }[make]()
    from dask.delayed import delayed

    largest = delayed(float)(again(x).max())
    result = again(x, largest).map_blocks(np.add, largest, dtype="float64")
    expected = x.compute(scheduler="sync")
    np.testing.assert_allclose(result.compute(scheduler="sync"), expected + expected.max())


def test_the_front_doors_take_dask_arrays(make_model):
    image, model = noise(48, 40), str(make_model(channels=1))
    x = da.from_array(image, chunks=(24, 20))
    expected = Denoiser.load(model).denoise(image)
    for named in (model, Denoiser.load(model)):
        result = noise2noise.denoise(x, named)
        assert isinstance(result, da.Array)
        assert_same(result.compute(scheduler="sync"), expected)
    with pytest.raises(UserError, match=r"use noise2noise.denoise"):
        Denoiser.load(model).denoise(x)
    xarray = pytest.importorskip("xarray")
    labelled = xarray.DataArray(x.T, dims=("x", "y"), attrs={"unit": "counts"})
    result = noise2noise.denoise(labelled, model)
    assert isinstance(result.data, da.Array)
    assert result.attrs == labelled.attrs
    assert_same(result.compute(scheduler="sync").values.T, expected)
