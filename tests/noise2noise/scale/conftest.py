"""Workers, stores and the order that a run gives to others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noise2noise.batch import Errand
from noise2noise.inference import USUAL, Settings

pytest.importorskip("dask")
pytest.importorskip("distributed")
zarr = pytest.importorskip("zarr")


@pytest.fixture(scope="session")
def client() -> Iterator[Any]:
    """Two workers that are threads of this process."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=False,
            memory_limit=0,
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture
def store(tmp_path: Path) -> Callable[..., Path]:
    """store(pixels, chunks, "zyx"): a Zarr array of these pixels."""

    def make(
        pixels: np.ndarray, chunks: tuple[int, ...], axes: str = "zyx", name: str = "cells.zarr"
    ) -> Path:
        path = tmp_path / name
        array: Any = zarr.create_array(
            str(path),
            shape=pixels.shape,
            chunks=chunks,
            dtype=pixels.dtype,
            dimension_names=list(axes),
        )
        array[:] = pixels
        return path

    return make


@pytest.fixture
def errand(tmp_path: Path, make_model: Any) -> Callable[..., Errand]:
    """errand(source, ...): to be denoised to clean.zarr by a small model."""
    model = str(make_model("small.safetensors", channels=1))

    def make(source: Path, settings: Settings = USUAL, **others: Any) -> Errand:
        usual: dict[str, Any] = {
            "said": {},
            "destination": tmp_path / "clean.zarr",
            "model": model,
            "key": "one",
            "overwrite": False,
            "stop": threading.Event(),
            "progress": lambda share: None,
        }
        return Errand(source=source, settings=settings, **{**usual, **others})

    return make


def values(path: Path) -> np.ndarray:
    """The pixels of a Zarr array."""
    found: Any = zarr.open_array(str(path), mode="r")
    return np.asarray(found[:])


def noise(*shape: int, dtype: str = "float32") -> np.ndarray:
    """Something to be denoised, in 0 to 1 or, of integers, in 0 to 4000."""
    drawn = np.random.default_rng(0).random(shape)
    return (drawn * (4000 if dtype != "float32" else 1)).astype(dtype)
