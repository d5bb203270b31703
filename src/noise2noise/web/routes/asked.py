"""What a request asks for, checked: nothing of it is believed."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
from starlette.requests import Request

from noise2noise.batch import QUALITIES
from noise2noise.inference import MOST_STRENGTH
from noise2noise.noise import NoiseProfile
from noise2noise.web.limits import RefusedError
from noise2noise.web.ways import KINDS, Ask, Way

MOST_SIDE = 16
"""Columns and rows of tiles that are asked for at once."""

_MOST_JSON = 2**20
_MOST_PROFILE = 2**14  # letters; in an address, which may have four times as many


def length_of(request: Request) -> int:
    """How many bytes are announced.

    Raises:
        RefusedError: it isn't said.
    """
    text = request.headers.get("content-length", "")
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise RefusedError(411, "say how long the file is")
    return int(text)


async def received(request: Request, path: Path, size: int) -> None:
    """Write the body to a file; no more than was announced.

    Raises:
        RefusedError: it is of another length.
    """
    count = 0
    async with await anyio.open_file(path, "xb") as file:
        async for piece in request.stream():
            count += len(piece)
            if count > size:
                break
            await file.write(piece)
    if count != size:
        raise RefusedError(400, f"{path.name} came with another length than was announced")


async def json_of(request: Request) -> dict[str, Any]:
    """The body as a JSON object.

    Raises:
        RefusedError: it is none.
    """
    if length_of(request) > _MOST_JSON:
        raise RefusedError(413, "that is too much to ask for at once")
    try:
        asked = await request.json()
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise RefusedError(400, "the request is no JSON object")
    return asked


def names_of(asked: dict[str, Any], kind: str) -> list[str]:
    """A list of the page's files, or jobs.

    Raises:
        RefusedError: it is none.
    """
    names = asked.get(kind)
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        raise RefusedError(400, f"{kind} must be a list of the page's {kind}")
    return names


def ask_of(request: Request) -> Ask:
    """Which tiles.

    Raises:
        RefusedError: there can't be such.
    """
    kind = request.query_params.get("kind")
    for known in KINDS:
        if kind == known:
            level, x, y, plane, sample = (
                whole(request, name) for name in ("level", "x", "y", "plane", "sample")
            )
            columns, rows = (whole(request, name, 1) for name in ("columns", "rows"))
            if not (0 < columns <= MOST_SIDE and 0 < rows <= MOST_SIDE):
                raise RefusedError(400, f"columns and rows must lie in 1 to {MOST_SIDE}")
            way = way_of(request.query_params.get)
            return Ask(known, level, x, y, plane, sample, way, columns, rows)
    raise RefusedError(400, f"kind must be one of {', '.join(KINDS)}")


def way_of(asked: Callable[[str], Any]) -> Way:
    """How to denoise.

    Raises:
        RefusedError: it can't be done so.
    """
    model, quality = asked("model") or "", asked("quality") or "balanced"
    if not isinstance(model, str) or quality not in QUALITIES:
        raise RefusedError(400, f"quality must be one of {', '.join(QUALITIES)}")
    if model and quality == "fast":
        raise RefusedError(400, "fast chooses the model; leave the model out")
    given = asked("strength")
    try:
        strength = float(1 if given is None else given)
    except (TypeError, ValueError):
        strength = math.nan
    if not 0 <= strength <= MOST_STRENGTH:
        raise RefusedError(400, f"strength must lie in 0 to {MOST_STRENGTH}")
    single = asked("single") in (True, "true", "1")
    return Way(model, quality, strength, _noise(asked("noise")), single)


def _noise(given: Any) -> NoiseProfile | None:
    """A standard deviation, or all of a profile that `noise2noise inspect --save` wrote.

    Raises:
        RefusedError: neither.
    """
    if given in (None, ""):
        return None
    text = str(given)
    if len(text) > _MOST_PROFILE:
        raise RefusedError(413, "that is no noise profile, or one of very many channels")
    try:
        sigma = float(text)
    except ValueError:
        try:
            return NoiseProfile.from_json(text)
        except ValueError as error:
            sentence = f"that is no noise profile: {error}; noise2noise inspect --save writes one"
            raise RefusedError(400, sentence, "profile") from error
    if not (math.isfinite(sigma) and sigma >= 0):
        sentence = f"the noise's standard deviation must be finite and at least 0, got {text:.40}"
        raise RefusedError(400, sentence, "deviation")
    return NoiseProfile.gaussian(sigma)


def whole(request: Request, name: str, otherwise: int = 0) -> int:
    """A whole number from 0 on.

    Raises:
        RefusedError: it is none.
    """
    text = request.query_params.get(name, str(otherwise))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise RefusedError(400, f"{name} must be a whole number")
    return int(text)
