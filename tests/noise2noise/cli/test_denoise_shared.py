"""`noise2noise denoise --workers`: what is said before any worker is there."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest

from noise2noise.batch import Errand
from noise2noise.denoiser import Outcome
from noise2noise.files import Survey, open_stack


@pytest.fixture
def photo(tmp_path):
    np.save(tmp_path / "photo.npy", np.zeros((20, 20), np.uint8))
    return tmp_path / "photo.npy"


def test_a_scheduler_has_its_workers(run, photo):
    result = run("denoise", photo, "--workers", 2, "--scheduler", "tcp://node1:8786")
    assert result.status == 2
    assert "tcp://node1:8786 has its workers; leave --workers 2 out" in result.err


def test_without_dask_one_sentence_says_how_to_get_it(run, photo, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "distributed" else found(name)
    )
    result = run("denoise", photo, "-o", photo.with_suffix(".zarr"), "--workers", 2)
    assert result.status == 2
    assert "several workers need distributed; install it with: pip install" in result.err
    assert "noise2noise[scale]" in result.err


def test_a_scheduler_that_does_not_answer_is_named(run, photo, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("noise2noise.scale.cluster._PATIENCE", 0.2)
    place = "tcp://127.0.0.1:9"
    result = run("denoise", photo, "-o", photo.with_suffix(".zarr"), "--scheduler", place)
    assert result.status == 2
    assert f"no scheduler answers at {place}" in result.err


def test_nothing_of_dask_is_loaded_to_plan(run, photo):
    pytest.importorskip("zarr")
    before = {*sys.modules}
    place = photo.with_suffix(".zarr")
    result = run("denoise", photo, "-o", place, "--workers", 2, "--dry-run")
    assert result.status == 0
    assert not {"dask", "distributed"} & ({*sys.modules} - before)


def test_workers_get_what_was_asked_for(run, photo, monkeypatch, stand_ins):
    pytest.importorskip("zarr")
    given: list[Errand] = []

    class Joined:
        def __init__(self, wish):
            assert (wish.workers, wish.threads) == (3, 1)

        def __enter__(self):
            return "the client"

        def __exit__(self, *_):
            return None

    def shared_out(client, errand, stack, threads, device):
        assert (client, threads) == ("the client", 1)
        given.append(errand)
        return Outcome(Survey(0, 0, 0, 0), 7)

    monkeypatch.setattr("noise2noise.scale.joined", Joined, raising=False)
    monkeypatch.setattr("noise2noise.scale.denoise_store", shared_out, raising=False)
    place = photo.with_suffix(".zarr")
    options = ("--workers", 3, "--threads", 1, "--memory", "1GB", "--strength", 0.5)
    result = run("denoise", photo, "-o", place, *options)
    assert result.status == 0, result.err
    assert "7 impulses removed" in result.out
    (errand,) = given
    assert (errand.source, errand.destination, errand.model) == (photo, place, "grey")
    assert (errand.settings.memory, errand.settings.strength) == (10**9, 0.5)
    assert not errand.overwrite
    assert errand.key
    assert open_stack(photo).header.planes == 1


def test_a_model_is_fitted_before_it_is_given_to_workers(run, photo):
    result = run("denoise", "--single", photo, "--workers", 2)
    assert result.status == 2
    assert "fit it to an image before, with --save-model" in result.err
