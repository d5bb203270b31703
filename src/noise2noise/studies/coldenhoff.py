"""Coldenhoff and Sun: kernels of 4; which optimizer is best, and how long an epoch takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from noise2noise.studies.against_torch import VARIANTS, epoch_seconds
from noise2noise.studies.runs import Images, Spec, recipe
from noise2noise.studies.study import Key, Page, Scale, Study, System, decibels, table
from noise2noise.studies.systems import compare, seconds, system

SPEC = recipe("coldenhoff", "sgd", lr=0.5, momentum=0.9, batch=16, epochs=10)


def _optimizers(batch: int) -> dict[str, Spec]:
    return {
        "SGD no momentum": recipe("coldenhoff", "sgd", lr=0.5, batch=batch, epochs=10),
        "SGD with momentum": recipe(
            "coldenhoff", "sgd", lr=0.5, momentum=0.9, batch=batch, epochs=10
        ),
        "Adam": recipe("coldenhoff", "adam", lr=1e-2, batch=batch, epochs=10),
    }


def _runs(scale: Scale) -> dict[Key, Spec]:
    return {(name,): scale.part(spec) for name, spec in _optimizers(16).items()}


def _write_optimizers(page: Page) -> Iterator[str]:
    yield (
        "Learning rate 0.5 for SGD, momentum 0.9 where there is one; 0.01 for Adam; batch 16. In "
        "the report's figure 2 SGD with momentum is far ahead of the other two. "
        f"{page.conditions()} PSNR in dB."
    )
    yield ""
    yield from table(
        ("optimizer", "best epoch", "last epoch"),
        [
            (str(key[0]), decibels(page.results.get(key), "best"), decibels(page.results.get(key)))
            for key in page.specs
        ],
    )
    yield from compare(page, "Training loss and PSNR per epoch of the three optimizers")


def _time(scale: Scale, images: Images) -> Any:
    return {
        name: epoch_seconds(scale.whole(spec), images, scale.rounds)
        for name, spec in _optimizers(128).items()
    }


def _write_times(page: Page) -> Iterator[str]:
    if page.measured is None:
        yield from page.not_measured()
        return
    pairs = page.scale.pairs
    yield (
        f"The report's table I: seconds that an epoch of {pairs:,} pairs takes in batches of 128, "
        "with the standard deviation. The report's figures are of a laptop's RTX 3060, ours of "
        "this processor: single training steps, ours and PyTorch's in turn, scaled to an epoch."
    )
    yield ""
    reported = {
        "SGD no momentum": ("3.846 ± 0.187", "0.844 ± 0.070"),
        "SGD with momentum": ("3.932 ± 0.131", "0.770 ± 0.022"),
        "Adam": ("3.986 ± 0.143", "0.856 ± 0.060"),
    }
    head = ["optimizer", "report: theirs", "report: PyTorch", "ours"]
    yield from table(
        [*head, "PyTorch", "PyTorch, channels last"],
        [
            [name, *reported[name], *(_spread(times[each]) for each in ("ours", *VARIANTS))]
            for name, times in page.measured.items()
        ],
    )


def _spread(time: dict[str, float]) -> str:
    return f"{seconds(time['median'])} ± {seconds(time['spread'])}"


STUDIES = (
    system("coldenhoff", SPEC, System("Coldenhoff, Sun", 23.74, "coldenhoff")),
    Study("coldenhoff-optimizers", "Coldenhoff, Sun: three optimizers", _runs, _write_optimizers),
    Study(
        "coldenhoff-times",
        "Coldenhoff, Sun: seconds per epoch",
        lambda scale: {},
        _write_times,
        measure=_time,
    ),
)
