"""Pieces of an image, and what is looked at around each."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.files import array_stack
from noise2noise.scale.grid import Grid, around, grid_for, in_words, needed_for


def test_pieces_cover_an_array_once():
    grid = Grid((3, 10, 7), (2, 4, 7))
    covered = np.zeros(grid.shape, int)
    for piece in grid:
        covered[piece] += 1
    assert len(grid) == 6
    assert (covered == 1).all()
    with pytest.raises(IndexError):
        grid[6]


@given(st.data(), st.integers(1, 200), st.sampled_from([1, 2, 8]), st.integers(0, 5))
def test_what_is_looked_at_begins_on_the_network_s_grid(data, length, multiple, overlaps):
    start = data.draw(st.integers(0, length - 1))
    stop = data.draw(st.integers(start + 1, length))
    network: Any = SimpleNamespace(multiple=multiple, overlap=overlaps * multiple)
    seen = around(slice(start, stop), length, network)
    assert seen.start % multiple == 0
    assert seen.start <= max(start - network.overlap, 0)
    assert seen.stop >= min(stop + network.overlap, length)
    assert seen.stop == length or seen.stop % multiple == 0
    assert seen.stop < length or seen.stop - seen.start >= min(16, length)


def test_a_place_is_told_by_its_axes():
    assert in_words("TYXS", Grid((4, 20, 30, 3), (1, 10, 30, 3))[3]) == "T 1, Y 10 to 19, X 0 to 29"


def test_small_chunks_are_joined_and_large_ones_kept(make_model):
    network = Denoiser.load(make_model(channels=1)).network
    for size, chunk, least, most in ((5000, 64, 512, 2048), (9000, 3000, 3000, 3000)):
        stack = array_stack(np.broadcast_to(np.float32(0), (size, size, 1)))
        grid = grid_for(network, stack, stack.header, (chunk, chunk, 1), None)
        assert grid.step[0] % chunk == 0
        assert least <= grid.step[0] <= most


def test_less_memory_makes_smaller_pieces_and_too_little_is_told(make_model):
    network = Denoiser.load(make_model(channels=1)).network
    stack = array_stack(np.broadcast_to(np.float32(0), (4000, 4000, 1)))
    stack.name = "cells.zarr"
    stack._pixels = np.empty((0,))  # pyright: ignore[reportAttributeAccessIssue]
    enough = needed_for(Grid((4000, 4000, 1), (512, 512, 1)), network, stack, stack.header)
    assert grid_for(network, stack, stack.header, (256, 256, 1), 2 * 10**9).step > (512, 512, 1)
    assert grid_for(network, stack, stack.header, (256, 256, 1), enough).step == (512, 512, 1)
    with pytest.raises(UserError, match=r"cells.zarr has chunks for which a worker needs \d+ MB"):
        grid_for(network, stack, stack.header, (256, 256, 1), 10**6)
