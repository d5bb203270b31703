"""What a study is: the runs it needs, what it measures besides, and its part of the page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from chainrule.serialization import replacing
from noise2noise.benchmark.machine import this_machine
from noise2noise.data import Track
from noise2noise.device import CPU
from noise2noise.errors import UserError
from noise2noise.studies import against_torch, data, paper_data
from noise2noise.studies.paper_data import PaperImages
from noise2noise.studies.run import BaseSpec, Result, result_of
from noise2noise.studies.runs import PAIRS, Images, Spec, train

QUICK_PAIRS = 32
QUICK_EPOCHS = 2
QUICK_VALUES = 2
QUICK_VALIDATION = 8
"""What `--quick` leaves: pairs, epochs, values of a grid, validation images."""

NONE = "-"
"""In a table, for what isn't there."""

Key = tuple[Any, ...]
"""Which of a study's runs: the value of what is varied, such as `(50,)`, and the repetition."""


@dataclass(frozen=True)
class Scale:
    """How much of the reports' work is done.

    Attributes:
        seed: of every run.
        fraction: share of the pairs that the studies beside the main runs learn from at most, and
            of the steps of the paper's runs.
        quick: a few pairs and epochs only, to see that everything works.
    """

    seed: int = 0
    fraction: float = 1.0
    quick: bool = False

    @property
    def pairs(self) -> int:
        """Pairs to make."""
        return QUICK_PAIRS if self.quick else PAIRS

    @property
    def rounds(self) -> int:
        """Measurements of a time."""
        return 1 if self.quick else against_torch.ROUNDS

    def whole(self, spec: Spec) -> Spec:
        """A main run: as the report has it."""
        return self._quickened(replace(spec, seed=self.seed))

    def part(self, spec: Spec, repetition: int = 0) -> Spec:
        """Another run: with `fraction` of the pairs, or as few as the report took."""
        pairs = max(1, min(spec.pairs, round(self.fraction * PAIRS)))
        return self._quickened(replace(spec, seed=self.seed + repetition, pairs=pairs))

    def some(self, values: Sequence[Any]) -> Sequence[Any]:
        """Of a grid of values: all, or the first few."""
        return values[:QUICK_VALUES] if self.quick else values

    def _quickened(self, spec: Spec) -> Spec:
        if not self.quick:
            return spec
        return replace(spec, pairs=QUICK_PAIRS, epochs=min(spec.epochs, QUICK_EPOCHS))


class System(NamedTuple):
    """What a report publishes of a network.

    Attributes:
        report: its authors.
        psnr: in dB, on the course's own validation images.
        weights: the file of its published weights, or None.
        note: what of the recipe the report leaves open; a sentence, or nothing.
    """

    report: str
    psnr: float
    weights: str | None
    note: str = ""


def _train_on_pairs(spec: Any, lab: Lab, track: Track, say: Callable[[str], None]) -> Result:
    return train(spec, lab.images, lab.runs, track, say, lab.device)


class Study(NamedTuple):
    """One experiment of a report, or of the paper.

    Attributes:
        name: what the command line calls it.
        title: its heading on the page; also in `--list`.
        runs: the specs it needs.
        write: its part of the page, line by line.
        system: for a report's main run.
        measure: what is measured once the runs are done, as JSON can hold it.
        train: does one of the runs; by default on the pairs that all reports share.
    """

    name: str
    title: str
    runs: Callable[[Scale], Mapping[Key, BaseSpec]]
    write: Callable[[Page], Iterator[str]]
    system: System | None = None
    measure: Callable[[Scale, Images], Any] | None = None
    train: Callable[[Any, Lab, Track, Callable[[str], None]], Result] = _train_on_pairs


class Lab:
    """Where studies are done: the output folder and what is in it.

    Arguments:
        folder: `data.prepare` has put the images there.
        quick: whether only some of the validation images are used.
        device: what trains.
    """

    def __init__(self, folder: Path, quick: bool, device: torch.device = CPU) -> None:
        self.folder, self.quick, self.device = folder, quick, device

    @cached_property
    def images(self) -> Images:
        images = data.load(self.folder)
        if not self.quick:
            return images
        return replace(
            images, noisy=images.noisy[:QUICK_VALIDATION], clean=images.clean[:QUICK_VALIDATION]
        )

    @cached_property
    def paper(self) -> PaperImages:
        return paper_data.load(self.folder)

    @cached_property
    def machine(self) -> str:
        return str(this_machine())

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    def do(
        self, study: Study, scale: Scale, command: str, track: Track, say: Callable[[str], None]
    ) -> None:
        """Note how the study was asked for; train and measure what it needs and nobody did yet."""
        asked = {"scale": asdict(scale), "command": command, "machine": self.machine}
        self._write("asked", study.name, asked)
        for spec in dict.fromkeys(study.runs(scale).values()):
            study.train(spec, self, track, say)
        if study.measure is not None and self.measured(study.name) is None:
            say(f"{study.name}: measuring")
            self.keep(study.name, study.measure(scale, self.images))

    def measured(self, name: str) -> Any:
        """What was measured under that name, or None."""
        return self._read("measured", name)

    def keep(self, name: str, value: object) -> None:
        """Keep what was measured."""
        self._write("measured", name, value)

    def asked(self, name: str) -> dict[str, Any] | None:
        """How the study was asked for when it was done: scale, command, and the machine with
        the day."""
        return self._read("asked", name)

    def _write(self, folder: str, name: str, value: object) -> None:
        (self.folder / folder).mkdir(parents=True, exist_ok=True)
        path = self.folder / folder / f"{name}.json"
        with replacing(path, overwrite=True) as temporary:
            temporary.write_text(json.dumps(value, indent=1) + "\n")

    def _read(self, folder: str, name: str) -> Any:
        path = self.folder / folder / f"{name}.json"
        if not path.exists():
            return None
        try:
            return json.loads(path.read_text())
        except ValueError as error:
            raise UserError(f"{path} is damaged; remove it and run {name} again") from error


class Page:
    """What a study may ask for while it writes its part of the page.

    Attributes:
        study: whose part it is.
        scale: with which it was done, or would be.
        lab: where.
        figures: the folder for its pictures.
    """

    def __init__(self, study: Study, scale: Scale, lab: Lab, figures: Path) -> None:
        self.study, self.scale, self.lab, self.figures = study, scale, lab, figures

    @cached_property
    def specs(self) -> Mapping[Key, Any]:
        """The specs of the study's runs: `Spec` of the reports, `PaperSpec` of the paper."""
        return self.study.runs(self.scale)

    @cached_property
    def finished(self) -> dict[Key, Result]:
        """The runs that are finished, those that diverged among them."""
        found = {key: result_of(spec, self.lab.runs) for key, spec in self.specs.items()}
        return {key: each for key, each in found.items() if each is not None}

    @cached_property
    def results(self) -> dict[Key, Result]:
        """The runs that are finished and have at least one epoch to show."""
        return {key: each for key, each in self.finished.items() if each.epochs}

    @property
    def measured(self) -> Any:
        return self.lab.measured(self.study.name)

    def figure(self, name: str, text: str, draw: Callable[[Path], None]) -> str:
        """Draw a figure and return the Markdown that shows it."""
        path = self.figures / f"{name}.png"
        draw(path)
        return f"![{text}]({self.figures.name}/{path.name})"

    def missing(self) -> Iterator[str]:
        """Lines on the runs that diverged and on those that weren't run yet."""
        diverged = [
            f"{' '.join(map(str, key))} in epoch {each.diverged}".strip()
            for key, each in self.finished.items()
            if each.diverged is not None
        ]
        if diverged:
            yield f"Diverged: {', '.join(diverged)}."
            yield ""
        left = len(self.specs) - len(self.finished)
        if left:
            yield f"*Not run yet: {left} of {len(self.specs)} runs. {self._how}*"
            yield ""

    def not_measured(self) -> Iterator[str]:
        """The line in the place of a table of what wasn't measured yet."""
        yield f"*Not measured yet. {self._how}*"
        yield ""

    @property
    def _how(self) -> str:
        quick = " --quick" if self.scale.quick else ""
        return f"To do it: `noise2noise reproduce {self.study.name}{quick}`."

    def conditions(self) -> str:
        """One sentence: how many pairs and epochs the runs had."""
        pairs = _span(spec.pairs for spec in self.specs.values())
        epochs = _span(spec.epochs for spec in self.specs.values())
        seeds = _span(spec.seed for spec in self.specs.values())
        unit = "epoch" if epochs == "1" else "epochs"
        return f"Trained on {pairs} pairs, {epochs} {unit}, seed {seeds}."


def _span(values: Iterable[int]) -> str:
    low, *_, high = [*sorted(values)] * 2
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A Markdown table whose first column is text and whose others are numbers."""
    yield f"| {' | '.join(head)} |"
    yield f"|---|{'---:|' * (len(head) - 1)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def decibels(result: Result | None, epoch: Literal["best", "last"] = "last") -> str:
    """A run's validation PSNR for a table, `NONE` if there is none."""
    if result is None:
        return NONE
    return f"{(result.best if epoch == 'best' else result.last).validation_psnr:.2f}"
