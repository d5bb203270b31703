"""The files of a run. Each is replaced at once, so that it is always whole.

config.json         what was asked for
last.safetensors    everything needed to go on: weights, optimizer, position, history
best.safetensors    the weights of the epoch with the best validation PSNR: the model to use
history.csv         a line an epoch
curves.png          the same, drawn
validation/         what epochs made of one validation image, in small pictures
train.log           what a run said that was resumed from a page
.lock               while a process writes
.stop               asks that process to stop
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
from torch import Tensor

from chainrule.serialization import replacing, save_tensors
from noise2noise import figures
from noise2noise.errors import UserError
from noise2noise.fit.checkpoint import Checkpoint
from noise2noise.fit.lock import locked
from noise2noise.fit.observer import Epoch
from noise2noise.fit.pictures import Pictures

LOG = "train.log"

_LOOK_SECONDS = 0.5  # between two looks at whether somebody asks to stop


class RunFolder:
    """Where a run is kept. Every method that writes raises a UserError where the disk refuses."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.last = self.path / "last.safetensors"
        self.best = self.path / "best.safetensors"
        self.history = self.path / "history.csv"
        self.curves = self.path / "curves.png"
        self.pictures = self.path / "validation"
        self._stop = self.path / ".stop"
        self._looked_at = 0.0
        self._known: tuple[int, int] | None = None

    @contextmanager
    def open(self) -> Iterator[None]:
        """Write here, alone. What a process that was killed left half written is removed.

        Raises:
            UserError: another process writes here, or has gone on with the run since it was read.
        """
        with ExitStack() as held:
            with _refusal_explained(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
                held.enter_context(locked(self.path))
            if self._known is not None and self._known != _version_of(self.last):
                raise UserError(
                    f"another process has gone on with the run in {self.path}; resume it again"
                )
            self._sweep()
            with suppress(OSError):
                self._stop.unlink()  # it was meant for a process that has ended
            yield

    def _sweep(self) -> None:
        for path in (self.config, self.last, self.best, self.history, self.curves):
            for leftover in self.path.glob(f".{path.stem}-*{path.suffix}"):  # as `replacing` names
                with suppress(OSError):
                    leftover.unlink()

    def begin(self) -> None:
        """Remove what an older run left."""
        with _refusal_explained(self.path):
            for path in (self.best, self.history, self.curves):
                path.unlink(missing_ok=True)
            Pictures(self.pictures).clear()

    def ask_to_stop(self) -> None:
        """Have the process that writes here save and stop, as Ctrl-C has it."""
        with _refusal_explained(self._stop):
            self._stop.touch()

    def is_asked_to_stop(self) -> bool:
        """Whether somebody asked this process to; looked at twice a second at most."""
        now = time.monotonic()
        if now - self._looked_at < _LOOK_SECONDS:
            return False
        self._looked_at = now
        return self._stop.exists()

    def read_checkpoint(self) -> Checkpoint:
        """The checkpoint to go on from.

        Raises:
            UserError: there is none, or it is damaged.
        """
        try:
            checkpoint = Checkpoint.read(self.last)
            self._known = _version_of(self.last)
            return checkpoint
        except (OSError, ValueError) as error:
            raise UserError(f"can't go on with this run: {error}") from error

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        with _refusal_explained(self.last):
            checkpoint.write(self.last)
            self._known = _version_of(self.last)

    def write_model(self, weights: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
        with _refusal_explained(self.best):
            save_tensors(self.best, weights, facts, overwrite=True)

    def write_config(self, text: str) -> None:
        with _refusal_explained(self.config), replacing(self.config, overwrite=True) as temporary:
            temporary.write_text(text)

    def write_history(self, history: Sequence[Epoch]) -> None:
        rows = [asdict(row) for row in history]
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        with _refusal_explained(self.history), replacing(self.history, overwrite=True) as temporary:
            temporary.write_text(text.getvalue())

    def keep_picture(
        self, epoch: int, epochs: int, pair: tuple[np.ndarray, np.ndarray], clean: np.ndarray
    ) -> None:
        """As `Pictures.keep`."""
        with _refusal_explained(self.pictures):
            Pictures(self.pictures).keep(epoch, epochs, pair, clean)

    def draw_curves(self, history: Sequence[Epoch]) -> None:
        with _refusal_explained(self.curves):
            figures.save_curves([asdict(row) for row in history], self.curves, overwrite=True)


def _version_of(path: Path) -> tuple[int, int]:
    """What differs between a file and the one that took its place."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


@contextmanager
def _refusal_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"can't write {path}: {error.strerror or error}; what was saved before is still there"
        ) from error
