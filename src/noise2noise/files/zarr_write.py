"""OME-Zarr out: like the store that was read, or anew.

Like it: everything but the pixels of the image is copied as it is, labels, tables and what others
keep there; the arrays' own metadata too, so that chunks, shards and compression stay. The smaller
levels are built again, as means of the one before. Anew: OME-Zarr 0.5, chunks of one plane, and
half as large levels while one is larger than a chunk.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from noise2noise.errors import UserError
from noise2noise.files import slabs, zarr_store
from noise2noise.files.axes import Axes
from noise2noise.files.extras import missing, needed
from noise2noise.files.guard import quiet
from noise2noise.files.scale import Scale
from noise2noise.files.stack import Header, Held
from noise2noise.files.zarr_store import METADATA, Json, Picture

_CHUNK = 1024  # pixels of a chunk's side, where there is no source to follow
_ORDER = "TQICZYX"  # of axes in OME-Zarr: time, others, channels, space
_KINDS = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}
_RED_GREEN_BLUE = (("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF"))


@dataclass(frozen=True)
class ZarrLayout:
    """The store that was read.

    Attributes:
        picture: what it says.
        axes: of its arrays.
        dtype: of them, byte order included.
        packed: the shape of what is packed at once, a shard or a chunk, of the largest.
    """

    picture: Picture
    axes: Axes
    dtype: np.dtype
    packed: tuple[int, ...]


def library() -> Any:
    """The zarr library.

    Raises:
        UnusableError: it isn't installed.
    """
    with needed("zarr", "a Zarr store (for Python 3.11 or newer)"):
        import zarr
    return zarr


def refusal(header: Header) -> str:
    """Why OME-Zarr can't hold this; "" if it can."""
    lacking = missing("zarr", "zarr", "OME-Zarr (for Python 3.11 or newer)")
    if lacking or _own(header) is not None:
        return lacking
    if header.dtype.kind not in "uif":
        return f"OME-Zarr can't hold {header.dtype} pixels"
    if header.alpha or header.colour in ("cmyk", "lab"):
        kind = "transparency" if header.alpha else f"{header.colour} pixels"
        return f"OME-Zarr can't hold {kind}; end the name in .tif"
    stored = _stored(header)
    if sum(letter in "CQI" for letter in stored) > 1 or len(stored) > len(set(stored)):
        return f"OME-Zarr can't hold axes {header.axes}; end the name in .tif or .npy"
    return ""


def held(header: Header) -> Held:
    """What writing takes: a few rows of chunks."""
    axes, packed = arrangement(header)
    size = slabs.held(axes, packed, header.dtype.itemsize)
    return Held(size, size)


def arrangement(header: Header) -> tuple[Axes, tuple[int, ...]]:
    """The axes of the largest array, and the shape of what is packed at once, along them."""
    own = _own(header)
    if own is not None:
        return own.axes, own.packed
    axes = _new_axes(header)
    return axes, _new_chunk(axes)


def write(path: Path, header: Header, bands: Iterable[np.ndarray]) -> None:
    """Write a store into an empty folder."""
    (largest, *smaller), axes = prepare(path, header)
    slabs.fill(largest, axes, largest.shards or largest.chunks, bands, path / ".planes")
    for array in smaller:
        slabs.shrink(largest, array, array.shards or array.chunks)
        largest = array


def prepare(path: Path, header: Header) -> tuple[list[Any], Axes]:
    """Make a store in an empty folder: everything but the pixels.

    Returns:
        The arrays, the largest first; and the axes of them all but for their sizes.
    """
    own = _own(header)
    with quiet():
        return _like(path, header, own) if own else _new(path, header)


def _own(header: Header) -> ZarrLayout | None:
    layout = header.metadata.layout
    same = isinstance(layout, ZarrLayout) and layout.axes.sizes == header.shape
    return layout if same else None


# Like a store that was read.


def _like(path: Path, header: Header, layout: ZarrLayout) -> tuple[list[Any], Axes]:
    source, levels = layout.picture.root.folder, layout.picture.levels
    if source.resolve() in path.resolve().parents:
        raise UserError(f"the result would lie in {source} itself; choose another place")
    if "" not in levels:
        _copy(source, path, {source / level for level in levels})
    arrays = []
    for level in levels:
        version = _copy_metadata(source / level, path / level)
        if layout.dtype.newbyteorder("=") != header.dtype:
            _change_dtype(path / level, header.dtype)
        arrays.append(library().open_array(str(path / level), mode="r+", zarr_format=version))
    if layout.dtype.newbyteorder("=") != header.dtype:
        _forget_values(path)
    return arrays, layout.axes


def _copy(source: Path, target: Path, left_out: set[Path]) -> None:
    """Everything in a folder but the arrays that are written anew."""
    for entry in sorted(source.iterdir()):
        if entry in left_out:
            continue
        if entry.is_dir() and not entry.is_symlink():
            (target / entry.name).mkdir()
            _copy(entry, target / entry.name, left_out)
        else:
            _copy_file(entry, target / entry.name)


def _copy_metadata(source: Path, target: Path) -> int:
    """What is said of an array; and the version of Zarr."""
    found = zarr_store.node(source)
    zarr_store.check_array(found)
    target.mkdir(parents=True, exist_ok=True)
    for name in METADATA:
        if (source / name).exists():
            _copy_file(source / name, target / name)
    return found.version


def _copy_file(source: Path, target: Path) -> None:
    # What is written must not reach what a link leads to.
    if source.is_symlink() or not source.is_file():
        raise UserError(f"{source} is a link, or no file; make a copy with cp -rL and use that")
    shutil.copyfile(source, target)


def _change_dtype(folder: Path, dtype: np.dtype) -> None:
    """Let an array that has no chunks yet hold another dtype."""
    for name, change in ((".zarray", _change_second), ("zarr.json", _change_third)):
        if (folder / name).exists():
            said = json.loads((folder / name).read_bytes())
            change(said, dtype)
            (folder / name).write_text(json.dumps(said, indent=2))


def _change_second(said: Json, dtype: np.dtype) -> None:
    said |= {"dtype": dtype.str, "fill_value": 0, "filters": None}


def _change_third(said: Json, dtype: np.dtype) -> None:
    said |= {"data_type": dtype.name, "fill_value": 0}
    said["codecs"] = _codecs_for(said["codecs"], dtype)


def _codecs_for(codecs: list[Json], dtype: np.dtype) -> list[Json]:
    """The same codecs for another dtype, without those that are made for one."""
    kept = []
    for codec in codecs:
        name = codec["name"].removeprefix("numcodecs.")
        settings: Json = codec.get("configuration", {})
        if name in zarr_store.FILTERS:
            continue
        if name == "bytes":
            settings = {"endian": settings.get("endian", "little")}
        if name == "blosc" and "typesize" in settings:
            settings = settings | {"typesize": dtype.itemsize}
        if "codecs" in settings:
            settings = settings | {"codecs": _codecs_for(settings["codecs"], dtype)}
        kept.append({**codec, "configuration": settings} if settings else codec)
    return kept


def _forget_values(path: Path) -> None:
    """Take out what was true of the old dtype: repeated metadata, and windows of values."""
    (path / ".zmetadata").unlink(missing_ok=True)
    for name in (".zattrs", "zarr.json"):
        if not (path / name).exists():
            continue
        said = json.loads((path / name).read_bytes())
        said.pop("consolidated_metadata", None)
        attributes = said.get("attributes", {}) if name == "zarr.json" else said
        omero = attributes.get("ome", attributes).get("omero", {})
        for channel in omero.get("channels", []):
            channel.pop("window", None)
        (path / name).write_text(json.dumps(said, indent=2))


# Anew.


def _stored(header: Header) -> str:
    """The axes in OME-Zarr's order; the samples of a pixel are its channels."""
    return "".join(sorted(header.axes.replace("S", "C"), key=_ORDER.index))


def _new_axes(header: Header) -> Axes:
    stored, letters = _stored(header), header.axes.replace("S", "C")
    shape = tuple(header.shape[letters.index(letter)] for letter in stored)
    samples = stored.replace("C", "S") if header.axes.endswith("S") else stored
    return Axes(samples, shape, header.axes[: header.axes.index("Y")])


def _new_chunk(axes: Axes) -> tuple[int, ...]:
    return tuple(
        min(size, _CHUNK) if letter in "YX" else 1
        for size, letter in zip(axes.shape, axes.stored, strict=True)
    )


def _new(path: Path, header: Header) -> tuple[list[Any], Axes]:
    axes, stored = _new_axes(header), _stored(header)
    chunk = _new_chunk(axes)
    shapes = [axes.shape]
    while max(shapes[-1][-2:]) > _CHUNK:
        shapes.append((*axes.shape[:-2], *(-(-size // 2) for size in shapes[-1][-2:])))
    zarr = library()
    group = zarr.create_group(str(path), zarr_format=3, attributes=_attributes(header, shapes))
    names = [letter.lower() for letter in stored]
    arrays = [
        group.create_array(
            str(level), shape=each, dtype=header.dtype, chunks=chunk, dimension_names=names
        )
        for level, each in enumerate(shapes)
    ]
    return arrays, axes


def _attributes(header: Header, shapes: list[tuple[int, ...]]) -> Json:
    stored = _stored(header)
    steps = {step.axis: step for step in header.metadata.steps}
    axes = [
        {"name": letter.lower()}
        | ({"type": _KINDS[letter]} if letter in _KINDS else {})
        | ({"unit": steps[letter].unit} if letter in steps and steps[letter].unit else {})
        for letter in stored
    ]
    sizes = [steps[letter].size if letter in steps else 1.0 for letter in stored]
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": [
                {
                    "type": "scale",
                    "scale": [
                        size * round(whole / part)
                        for size, whole, part in zip(sizes, shapes[0], shape, strict=True)
                    ],
                }
            ],
        }
        for level, shape in enumerate(shapes)
    ]
    ome = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets, "name": "image"}]}
    channels = _channels(header)
    return {"ome": ome | ({"omero": {"channels": channels}} if channels else {})}


def _channels(header: Header) -> list[Json]:
    named = [(each.name, each.colour) for each in header.metadata.channels]
    if header.colour == "rgb":
        named = list(_RED_GREEN_BLUE)
    white = header.white or Scale.of(header.dtype).white
    window = {"min": 0.0, "start": 0.0, "max": white, "end": white}
    return [
        {"label": name, "color": colour or "FFFFFF", "active": True, "window": window}
        for name, colour in named
    ]
