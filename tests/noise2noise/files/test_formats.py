"""The house of formats: what every format and its callers rely on, and how one is added."""

import importlib.metadata
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from noise2noise.errors import UserError
from noise2noise.files import (
    ArrayStack,
    Format,
    Header,
    Stack,
    bands_of,
    formats,
    list_images,
    open_stack,
    suffixes,
    whole_planes,
    write_stack,
)

PIXELS = np.arange(2 * 5 * 7, dtype=np.uint8).reshape(2, 5, 7, 1)
HEADER = Header("TYX", (2, 5, 7), PIXELS.dtype)


class _Planes(Format):
    """A made-up format: three bytes of sizes, then the planes."""

    name, suffixes = "Planes", (".planes",)

    def recognises(self, head: bytes) -> bool:
        return head.startswith(b"PLNS")

    def open(self, path: Path) -> Stack:
        shape = tuple(path.read_bytes()[4:7])
        pixels = np.fromfile(path, np.uint8, offset=7).reshape(*shape, 1)
        return ArrayStack(Header("TYX", shape, pixels.dtype), pixels, path)

    def refusal(self, header: Header) -> str:
        return "" if header.axes == "TYX" else "holds TYX only; end the name in .tif"

    def write(self, path: Path, header: Header, bands: Iterable[np.ndarray]) -> None:
        planes = b"".join(plane.tobytes() for plane in whole_planes(header, bands))
        path.write_bytes(b"PLNS" + bytes(header.shape) + planes)


PLANES = _Planes()


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if a package with this format were installed."""
    entry = importlib.metadata.EntryPoint("planes", f"{__name__}:PLANES", formats.GROUP)
    monkeypatch.setattr(importlib.metadata.EntryPoint, "load", lambda _: PLANES)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [entry])
    formats.formats.cache_clear()
    yield
    formats.formats.cache_clear()


@pytest.mark.usefixtures("added")
def test_another_package_adds_a_format(tmp_path):
    path = tmp_path / "a.planes"
    write_stack(path, HEADER, bands_of(ArrayStack(HEADER, PIXELS), 2))
    with open_stack(path) as stack:
        np.testing.assert_array_equal(stack.read(1, slice(2, 4)), PIXELS[1, 2:4])
    assert list_images(tmp_path) == [path]
    with pytest.raises(UserError, match=r"b\.planes: holds TYX only"):
        write_stack(tmp_path / "b.planes", Header("YX", (5, 7), PIXELS.dtype), [PIXELS[0]])


def test_the_added_format_is_gone_again():
    assert ".planes" not in suffixes()


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_what_fails_half_way_leaves_nothing(tmp_path, suffix):
    def bands() -> Iterator[np.ndarray]:
        yield PIXELS[0]
        raise UserError("the second plane is missing")

    with pytest.raises(UserError, match="the second plane is missing"):
        write_stack(tmp_path / f"a{suffix}", HEADER, bands())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rows", [1, 2, 5, 100])
def test_bands_put_together_are_the_planes(rows):
    bands = bands_of(ArrayStack(HEADER, PIXELS), rows)
    for plane, expected in zip(whole_planes(HEADER, bands), PIXELS, strict=True):
        np.testing.assert_array_equal(plane, expected)


@pytest.mark.parametrize("suffix", [".jpg", ".bmp"])
def test_a_stack_in_a_format_of_one_image_is_refused(tmp_path, suffix):
    with pytest.raises(UserError, match=r"can't hold 2 images; end the name in \.tif"):
        write_stack(tmp_path / f"a{suffix}", HEADER, [])


def test_a_file_is_not_read_before_its_pixels_are_asked_for(tmp_path):
    """Opening is cheap: damage in the pixels shows when they are read."""
    path = tmp_path / "a.tif"
    write_stack(path, HEADER, PIXELS)
    path.write_bytes(path.read_bytes()[:-10])
    with open_stack(path) as stack:
        assert stack.header.shape == (2, 5, 7)
