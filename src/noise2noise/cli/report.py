"""`denoise --report` and `--residual` at work."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noise2noise.batch import Source
from noise2noise.cli.common import say
from noise2noise.cli.found import version
from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.files import Image, Stack, write_image
from noise2noise.inference import Settings, read_plane
from noise2noise.report import Entry, examine, removed, write_page

if TYPE_CHECKING:
    from noise2noise.cli.denoise import Asked


class Reporter:
    """Looks at each result, and writes the page at the end.

    Arguments:
        settings: that images are denoised with.
        page: where the report goes; None for none.
        residual: where the picture of what was removed goes; None for none.
        order: the images' paths, as they were named.
        overwrite: replace what stands there.
    """

    def __init__(
        self,
        settings: Settings,
        page: Path | None,
        residual: Path | None,
        order: Sequence[Path],
        overwrite: bool,
    ) -> None:
        self._settings, self._page, self._residual = settings, page, residual
        self._order = {path: place for place, path in enumerate(order)}
        self._overwrite = overwrite
        self._entries: dict[Path, Entry] = {}
        self._lock = threading.Lock()

    def __call__(
        self,
        denoiser: Denoiser,
        stack: Stack,
        source: Source,
        place: Path,
        facts: Mapping[str, Any],
    ) -> dict[str, Any]:
        if self._residual is not None:
            self._draw(denoiser, stack, self._residual)
        if self._page is None:
            return {}
        found = examine(denoiser, stack, self._settings)
        with self._lock:
            self._entries[source.path] = Entry(str(source.path), str(place), facts, found)
        return {"report": found.as_dict()}

    def write(self) -> None:
        """The page, of what was denoised; of nothing none."""
        if self._page is None or not self._entries:
            return
        entries = [
            self._entries[path] for path in sorted(self._entries, key=self._order.__getitem__)
        ]
        write_page(self._page, entries, version(), self._overwrite)
        say(f"report: {self._page}")

    def _draw(self, denoiser: Denoiser, stack: Stack, path: Path) -> None:
        run, plane = denoiser.run(stack, self._settings), stack.header.planes // 2
        noisy, guide = read_plane(run.view(plane)), run.guides()(plane)
        told = None if guide is None else guide.noise
        clean = denoiser.denoise_unit(noisy, self._settings.strength, noise=told)
        write_image(path, Image(removed(noisy, clean)), self._overwrite)


def reporter_of(asked: Asked, settings: Settings, sources: Sequence[Source]) -> Reporter:
    """What the options ask for.

    Raises:
        UserError: they can't be, or something stands there.
    """
    if asked.residual is not None and len(sources) != 1:
        raise UserError(
            f"--residual {asked.residual} takes one image, and there are {len(sources)}; "
            "--report shows what was removed from each"
        )
    page, residual = (
        None if name is None else Path(name) for name in (asked.report, asked.residual)
    )
    for place in (page, residual):
        if place is not None and place.exists() and not asked.overwrite:
            raise UserError(f"{place} exists already; choose another name or add --overwrite")
    order = [source.path for source in sources]
    return Reporter(settings, page, residual, order, asked.overwrite)
