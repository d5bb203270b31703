"""The files of a run. Each is replaced at once, so that it is always whole.

config.json         what was asked for
last.safetensors    everything needed to go on: weights, optimizer, position, history
best.safetensors    the weights of the epoch with the best validation PSNR: the model to use
history.csv         a line an epoch
curves.png          the same, drawn
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from chainrule.serialization import replacing, save_tensors
from noise2noise import figures
from noise2noise.errors import UserError
from noise2noise.fit.checkpoint import Checkpoint
from noise2noise.fit.observer import Epoch


class RunFolder:
    """Where a run is kept. Every method that writes raises a UserError where the disk refuses."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.last = self.path / "last.safetensors"
        self.best = self.path / "best.safetensors"
        self.history = self.path / "history.csv"
        self.curves = self.path / "curves.png"

    def begin(self) -> None:
        """Make the folder, and remove what an older run left in it."""
        with _refusal_explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            for path in (self.best, self.history, self.curves):
                path.unlink(missing_ok=True)

    def read_checkpoint(self) -> Checkpoint:
        """The checkpoint to go on from.

        Raises:
            UserError: there is none, or it is damaged.
        """
        try:
            return Checkpoint.read(self.last)
        except (OSError, ValueError) as error:
            raise UserError(f"can't go on with this run: {error}") from error

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        with _refusal_explained(self.last):
            checkpoint.write(self.last)

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

    def draw_curves(self, history: Sequence[Epoch]) -> None:
        with _refusal_explained(self.curves):
            figures.save_curves([asdict(row) for row in history], self.curves, overwrite=True)


@contextmanager
def _refusal_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"can't write {path}: {error.strerror or error}; what was saved before is still there"
        ) from error
