"""Files from strangers: what is bounded before anything is decoded, and how failures are told.

A picture's size is looked at before memory is taken for it, and so is how many bytes there are to
make it from: no codec can make so many pixels out of so few.
"""

import contextlib
import logging
import threading
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

import PIL.Image

from noise2noise.errors import UserError

MAX_PIXELS = 500_000_000
"""The largest image that is read, in pixels: five times the largest cameras."""

MAX_BYTES = 4 * 2**30
"""The largest plane that is decoded at once, in bytes."""

_PACKAGE = Path(__file__).resolve().parents[1]
# Whoever is talking: loggers have no switch for all below them.
_TALKERS = (
    "tifffile",
    "bioio_czi.aicspylibczi_reader.reader",
    "bioio_czi.reader",
    "nd2",
    "liffile",
)
_READING = threading.RLock()


class UnusableError(Exception):
    """A file that can't be used; the text goes on after the file's name."""


def shown(text: object) -> str:
    """Words out of a file as they may be shown: a few, and none that moves a cursor."""
    kept = "".join(letter for letter in str(text)[:64] if letter.isprintable())
    return kept.strip() or "?"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """One reader at a time, and no word from it.

    Pillow, tifffile and bioio say little things through warnings and logs, and Pillow limits sizes
    by a global: all are set aside for the time of a reading.
    """
    with _READING:
        loggers, limit = [logging.getLogger(name) for name in _TALKERS], PIL.Image.MAX_IMAGE_PIXELS
        before = [logger.disabled for logger in loggers]
        for logger in loggers:
            logger.disabled = True
        PIL.Image.MAX_IMAGE_PIXELS = None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            PIL.Image.MAX_IMAGE_PIXELS = limit
            for logger, disabled in zip(loggers, before, strict=True):
                logger.disabled = disabled


@contextlib.contextmanager
def reading(name: str | Path) -> Iterator[None]:
    """Whatever goes wrong with a file while it is decoded is one sentence with its name.

    Raises:
        UserError: in the place of anything else but names and modules that aren't there.
    """
    try:
        with quiet():
            yield
    except UserError:
        raise
    except UnusableError as reason:
        raise UserError(f"{name} {reason}") from reason
    except MemoryError as error:
        raise UserError(f"{name} does not fit into memory") from error
    except (NameError, ImportError):  # mistakes of the program, whatever the file holds
        raise
    except Exception as error:
        if place := _own_line(error):
            raise UserError(
                f"{name} could not be read: it is damaged, or a kind that this program has a "
                f"mistake with ({type(error).__name__} in {place}); if others open it, report that"
            ) from error
        # Decoders that meet bytes they don't expect raise whatever their code happens to run into:
        # struct.error, IndexError, KeyError, SyntaxError, RecursionError, ... Only the text of an
        # OSError is meant for people; that of UnidentifiedImageError says nothing new.
        told = isinstance(error, OSError) and not isinstance(error, PIL.UnidentifiedImageError)
        reason = f" ({' '.join(str(error).split())})" if told else ""
        raise UserError(f"{name} is damaged or cut short{reason}; copy or save it again") from error


def _own_line(error: Exception) -> str:
    """Where this package's own code stumbled over a type, such as "tiff.py:312", or nothing.

    Over a damaged file's, or by a mistake of its own: nobody can tell.
    """
    if not isinstance(error, (TypeError, AttributeError, AssertionError)):
        return ""
    innermost, line = list(traceback.walk_tb(error.__traceback__))[-1]
    file = Path(innermost.f_code.co_filename)
    return f"{file.name}:{line}" if file.is_relative_to(_PACKAGE) else ""


def check_size(width: int, height: int) -> None:
    """Refuse sizes that no picture has.

    Raises:
        UnusableError: nothing, or more than `MAX_PIXELS`.
    """
    if width <= 0 or height <= 0:
        raise UnusableError(f"has no pixels ({width} x {height}); save it again")
    if width * height > MAX_PIXELS:
        raise UnusableError(
            f"has {width} x {height} pixels, more than the {MAX_PIXELS // 10**6} million that are "
            "read; cut it into parts"
        )


def check_growth(width: int, height: int, decoded: int, encoded: int, growth: float) -> None:
    """Refuse data that can't be what they are said to be.

    Arguments:
        width, height: to be named.
        decoded, encoded: bytes of the pixels, and of the data that they are to come from.
        growth: how many times its size a codec can make of its data at most.

    Raises:
        UnusableError: `decoded` is more than `growth` times `encoded`, or more than `MAX_BYTES`.
    """
    if decoded > growth * encoded:
        raise UnusableError(
            f"is damaged ({encoded} bytes of data can't be {width} x {height} pixels); "
            "copy or save it again"
        )
    if decoded > MAX_BYTES:
        raise UnusableError(
            f"has {width} x {height} pixels in one piece of {decoded / 2**30:.1f} GB; "
            "save it in tiles or strips, or cut it into parts"
        )
