"""Answers as the browser gets them: files of the page, pictures, and mistakes as sentences."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from noise2noise.errors import UserError, out_of_memory
from noise2noise.web.limits import RefusedError
from noise2noise.web.ways import Gone

STATIC = Path(__file__).parents[1] / "static"

_NOBODY_WAITS = 499

Answer = Callable[[Request], Awaitable[Response]]


def route(method: str, path: str, answer: Answer) -> Route:
    """An address, of which every mistake is told as one sentence, in JSON."""
    return Route(path, _excused(answer), methods=[method])


def static(path: str, name: str) -> Route:
    """The address of a file of `static/`."""

    async def answer(request: Request) -> Response:
        del request
        return FileResponse(STATIC / name)

    return Route(path, answer)


def png(data: bytes) -> Response:
    """A picture."""
    return Response(data, media_type="image/png")


def _excused(answer: Answer) -> Answer:
    async def answered(request: Request) -> Response:
        try:
            return await answer(request)
        except RefusedError as error:
            return _answer_of(error)
        except UserError as error:
            return JSONResponse({"error": _without_folders(str(error))}, 422)
        except (Gone, ClientDisconnect):
            return Response(status_code=_NOBODY_WAITS)
        except OSError as error:
            return _answer_of(RefusedError(507, error.strerror or "the disk refused", "disk"))
        except Exception as error:
            if out_of_memory(error):
                sentence = "the memory is not enough for this picture"
                return _answer_of(RefusedError(507, sentence, "memory"))
            logging.getLogger(__name__).exception("a mistake of the program")
            told = " ".join(str(error).split())
            sentence = f"a mistake of the program ({type(error).__name__}: {told})"
            return JSONResponse({"error": _without_folders(sentence)}, 500)

    return answered


def _answer_of(error: RefusedError) -> Response:
    return JSONResponse(error.as_json(), error.status)


def _without_folders(sentence: str) -> str:
    """Without the temporary folder that a file lies in, which nobody chose."""
    return " ".join(
        Path(word).name if "noise2noise-web-" in word else word for word in sentence.split(" ")
    )
