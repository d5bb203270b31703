"""The table of formats, and what finds the right one: by content to read, by suffix to write.

A package of somebody else adds a format by an entry point of the group `noise2noise.files` that
names an instance of `Format`; it comes before those in the table.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from chainrule.serialization import replacing
from noise2noise.errors import UserError
from noise2noise.files.avif import AVIF
from noise2noise.files.bmp import BMP
from noise2noise.files.colour import in_colour
from noise2noise.files.convert import Outgoing, Wanted
from noise2noise.files.dicom import DICOM
from noise2noise.files.fits import FITS, PACKED_FITS
from noise2noise.files.fits_gz import ZIPPED_FITS
from noise2noise.files.format import HEAD, Format
from noise2noise.files.gif import GIF
from noise2noise.files.guard import UnusableError, reading
from noise2noise.files.heif import HEIF
from noise2noise.files.jpeg import JPEG
from noise2noise.files.jxl import JXL
from noise2noise.files.merged import with_axes, with_channel_axis
from noise2noise.files.micro import CZI, LIF, ND2
from noise2noise.files.mrc import MRC
from noise2noise.files.npy import NPY
from noise2noise.files.place import replacing_folder
from noise2noise.files.png import PNG
from noise2noise.files.raw import RAW
from noise2noise.files.stack import Header, Stack
from noise2noise.files.tiff import TIFF
from noise2noise.files.webp import WEBP
from noise2noise.files.zarr import ZARR

FORMATS: tuple[Format, ...] = (
    *(PNG, JPEG, TIFF, BMP, WEBP, GIF, JXL, AVIF, HEIF),
    *(FITS, PACKED_FITS, ZIPPED_FITS, DICOM, MRC, ZARR, NPY, CZI, ND2, LIF, RAW),
)

GROUP = "noise2noise.files"


@functools.cache
def formats() -> tuple[Format, ...]:
    """All formats, those of other packages first."""
    added = importlib.metadata.entry_points(group=GROUP)
    return (*(entry.load() for entry in added), *FORMATS)


def suffixes() -> frozenset[str]:
    """The suffixes of files that can be read, in lower case."""
    return frozenset(suffix for each in formats() for suffix in each.suffixes)


def result_name(source: str | Path, stem: str) -> str:
    """The name of a file's result: its own suffix, or that which its format is written as.

    Arguments:
        source: the file's path.
        stem: of the result.
    """
    suffix = Path(source).suffix
    written = {own: each.written_as for each in formats() for own in each.suffixes}
    other = written.get(suffix.lower())
    if not other:
        return stem + suffix
    return stem if stem.lower().endswith(other) else stem + other  # a.fits.fz becomes a.fits


def ending(path: str | Path) -> str:
    """The part of a name that tells the format, in lower case: the suffix, or the last two."""
    path = Path(path)
    both = "".join(path.suffixes[-2:]).lower()
    return both if both.count(".") > 1 and both in suffixes() else path.suffix.lower()


def suffix_named(text: str) -> str:
    """The suffix of results in a format that is asked for, by its name or by a suffix.

    Raises:
        UserError: there is no such format, or it can only be read.
    """
    said = text.lower()
    for each in formats():
        if each.written_as:
            continue
        if said == each.name.lower():
            return each.suffixes[0]
        suffix = "." + said.removeprefix(".")
        if suffix in each.suffixes:
            return suffix
    writable = [each for each in formats() if not each.written_as]
    known = _in_words(suffix[1:] for each in writable for suffix in each.suffixes)
    raise UserError(f"--format {text} is no format that can be written; choose {known}")


def open_stack(
    path: str | Path,
    axes: str | None = None,
    channel_axis: int | None = None,
    white: float | None = None,
) -> Stack:
    """Open an image file, told apart by its content.

    Arguments:
        path: of the file.
        axes, channel_axis, white: what is so where the file doesn't say, or is wrong; as
            `Stack.with_axes`, `with_channel_axis` and `with_white` take it.

    Raises:
        UserError: there is no such file, it is damaged, or it holds something that can't be
            denoised, or not with these axes; one sentence that names the file and says what to do.
    """
    path = Path(path)
    if axes is not None and channel_axis is not None:
        raise UserError(
            f"--axes {axes} names the channels already; leave --channel-axis {channel_axis} out"
        )
    if not path.exists():
        if path.is_symlink():
            raise UserError(f"{path} is a link that leads to no file; mend or remove it")
        what = "file" if path.suffix else "file or folder"
        raise UserError(f"there is no {what} {path}; check the name")
    stack = _open(path)
    try:
        if axes is not None:
            stack = with_axes(stack, axes)
        if channel_axis is not None:
            stack = with_channel_axis(stack, channel_axis)
    except UserError:
        stack.close()
        raise
    if white is not None:
        stack.with_white(white)
    return stack


def _open(path: Path) -> Stack:
    with reading(path):
        return in_colour(_recognised(path).open(path))


def suffix_of(path: str | Path) -> str:
    """The suffix that fits the content of a file, whatever its name.

    Raises:
        UserError: it is no image.
    """
    with reading(path):
        return _recognised(Path(path)).suffixes[0]


def _recognised(path: Path) -> Format:
    if path.is_dir():
        folder_format = _format_of_folder(path)
        if folder_format is None:
            raise UnusableError("is a folder where an image file is needed")
        return folder_format
    head = _head(path)
    for each in formats():
        if each.recognises(head):
            return each
    raise UnusableError(f"is not an image that can be read; use {_names_in_words()}")


def is_image_folder(path: str | Path) -> bool:
    """Whether something is a folder that is one image: an OME-Zarr, for one."""
    return _format_of_folder(Path(path)) is not None


def _format_of_folder(path: Path) -> Format | None:
    if not path.is_dir():
        return None
    return next((each for each in formats() if each.recognises_folder(path)), None)


def write_stack(
    path: str | Path, header: Header, bands: Iterable[np.ndarray], overwrite: bool = False
) -> None:
    """Write an image file, whole or not at all, in the format that its suffix names.

    Arguments:
        path: ends in one of `suffixes()`.
        header: what is to be written; its metadata go along as far as the format holds them.
        bands: rows, (h, W, samples) of the header's dtype, as `Format.write` takes them. They are
            asked for one after the other, while the file is written.
        overwrite: replace a file that stands at `path`; it stays untouched if anything fails.

    Raises:
        UserError: the suffix is unknown, the format can't hold this, the file exists and
            `overwrite` is false, or the disk refused.
    """
    path = Path(path)
    file_format = format_for(path, header)
    try:
        with _replacing(file_format, path, overwrite) as temporary:
            file_format.write(temporary, header, bands)
    except FileExistsError:
        raise UserError(f"{path} exists already; choose another name or add --overwrite") from None
    except UserError:
        raise
    except (OSError, ValueError, OverflowError, struct.error) as error:
        # The disk's errors have a number; encoders that are given too much raise the others.
        if isinstance(error, OSError) and error.errno is not None:
            raise UserError(f"{path} could not be written: {error.strerror or error}") from error
        raise UserError(
            f"{path} can't be written as {file_format.name} ({error}); end the name in .tif or .png"
        ) from error


def _replacing(
    file_format: Format, path: Path, overwrite: bool
) -> contextlib.AbstractContextManager[Path]:
    if file_format.is_folder:
        return replacing_folder(path, overwrite, file_format.recognises_folder)
    return replacing(path, overwrite)


def format_for(path: str | Path, header: Header | None = None) -> Format:
    """The format that a suffix names, if it can hold what the header says.

    Raises:
        UserError: it names none, or one that can't.
    """
    path = Path(path)
    for each in formats():
        if ending(path) in each.suffixes:
            refusal = each.refusal(header) if header else ""
            if refusal:
                raise UserError(f"{path}: {refusal}")
            return each
    raise UserError(
        f"{path} names no image format that can be written; end it in {_suffixes_in_words()}"
    )


def result_of(path: str | Path, stack: Stack, wanted: Wanted | None = None) -> Outgoing:
    """What of a stack is to be written to `path`, and what makes it of denoised bands.

    Raises:
        UserError: the suffix names no format, or one that can't hold it.
    """
    file_format = format_for(path)

    def final(header: Header) -> Header:
        return wanted.header(header) if wanted and wanted.changes(header) else header

    header, finish = stack.result(lambda header: not file_format.refusal(final(header)))
    format_for(path, final(header))
    changes = wanted if wanted and wanted.changes(header) else None
    return Outgoing(final(header), header, finish, changes, stack.redrawn)


def refuse_existing(destination: str | Path, overwrite: bool) -> None:
    """Say that a file is in the way before work is put into its replacement, not after.

    Raises:
        UserError: there is something at `destination`, and `overwrite` is false.
    """
    if Path(destination).exists() and not overwrite:
        raise UserError(f"{destination} exists already; choose another name or add --overwrite")


def list_images(folder: str | Path) -> list[Path]:
    """The image files directly in a folder, sorted by name: those whose suffix is in `suffixes()`.

    Upper and lower case are alike; hidden files (names that start with a dot) are left out.

    Raises:
        UserError: there is no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.exists():
        raise UserError(f"there is no folder {folder}; check the name")
    if not folder.is_dir():
        raise UserError(f"{folder} is a file where a folder of images is needed")
    known = suffixes()
    try:
        images = sorted(
            path
            for path in folder.iterdir()
            if ending(path) in known
            and path.name[0] != "."
            and (path.is_file() or is_image_folder(path))
        )
    except OSError as error:
        raise UserError(f"{folder} could not be listed: {error.strerror}") from error
    if not images:
        raise UserError(
            f"there is no image in {folder}; it needs files that end in {_suffixes_in_words()}"
        )
    return images


def _head(path: Path) -> bytes:
    """The first bytes of a file: all that its format is told by."""
    if not path.is_file():
        raise UnusableError("is not a regular file; copy the image into one")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise UnusableError(f"could not be read: {error.strerror}") from error
    if not head:
        raise UnusableError("is empty (0 bytes); copy or save it again")
    return head


def _in_words(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}"


def _names_in_words() -> str:
    return _in_words(dict.fromkeys(each.name for each in formats()))


def _suffixes_in_words() -> str:
    """Those that can be written, too: raw files alone have a dozen others."""
    return _in_words(
        suffix for each in formats() if not each.written_as for suffix in each.suffixes
    )
