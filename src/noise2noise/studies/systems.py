"""The main run of each report, and the table of all of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from chainrule import load
from noise2noise import networks
from noise2noise.errors import UserError
from noise2noise.metrics import mean_psnr
from noise2noise.studies.against_torch import VARIANTS, epoch_seconds
from noise2noise.studies.figures import Panel, save_panels
from noise2noise.studies.run import Result
from noise2noise.studies.runs import Images, Spec, measure, unit
from noise2noise.studies.study import NONE, Key, Lab, Page, Scale, Study, System, decibels, table

PUBLISHED = "published"
"""What the published weights reach is kept under this name."""

_OPTIMIZERS = {"sgd": "SGD", "adam": "Adam"}


def system(name: str, spec: Spec, facts: System) -> Study:
    """The study of a report's main run."""

    def runs(scale: Scale) -> dict[Key, Spec]:
        return {(): scale.whole(spec)}

    def timed(scale: Scale, images: Images) -> Any:
        return epoch_seconds(scale.whole(spec), images, scale.rounds)

    return Study(name, f"{facts.report}: {name}", runs, _write, facts, timed)


def _write(page: Page) -> Iterator[str]:
    (spec,) = page.specs.values()
    facts = page.study.system
    assert facts is not None
    momentum = f" with momentum {spec.momentum:g}" if spec.momentum else ""
    yield (
        f"{_OPTIMIZERS[spec.optimizer]}{momentum}, learning rate {spec.lr:g}, batch {spec.batch}. "
        f"{page.conditions()} {facts.note}".rstrip()
    )
    yield ""
    if not page.results:
        return
    result = page.results[()]
    yield _beside_report(page, facts, result)
    yield ""
    epochs = range(1, len(result.epochs) + 1)

    def lines(name: str) -> dict[str, tuple[list[float], list[float]]]:
        return {
            kind: ([*map(float, epochs)], result.curve(f"{kind}_{name}"))
            for kind in ("training", "validation")
        }

    panels = [Panel("epoch", "MSE", lines("mse")), Panel("epoch", "PSNR (dB)", lines("psnr"))]
    text = "Loss and PSNR over the epochs"
    yield page.figure(page.study.name, text, lambda path: save_panels(path, panels))
    yield ""
    yield (
        "Training curves are of 500 training pairs against the noisy targets, whose own noise "
        "counts as error; validation curves are against clean images."
    )
    yield ""


def _published(lab: Lab) -> Any:
    """What `measure_published` kept."""
    return lab.measured(PUBLISHED) or {"noisy": None, "weights": {}}


def _beside_report(page: Page, facts: System, result: Result) -> str:
    """How the run's PSNR compares with the published weights', or else with the reported one."""
    published = _published(page.lab)["weights"].get(page.study.name)
    theirs = facts.psnr if published is None else published
    whose = (
        "on its own images the report has" if published is None else "its published weights have"
    )
    best, last = result.best, result.last.validation_psnr
    return (
        f"Best epoch, {best.epoch}: {best.validation_psnr:.2f} dB; {whose} {theirs:.2f} "
        f"({best.validation_psnr - theirs:+.2f}). Last epoch: {last:.2f} ({last - theirs:+.2f})."
    )


def longer(name: str, report: str, spec: Spec, epochs: int, wanted: float, text: str) -> Study:
    """The study of a main run's recipe with more epochs than the report took.

    Arguments:
        name: of the study.
        report: its authors.
        spec: of the main run.
        epochs: in all.
        wanted: the PSNR to reach, in dB.
        text: what the report says, in a sentence or two.
    """

    def runs(scale: Scale) -> dict[Key, Spec]:
        return {(): scale.part(replace(spec, epochs=epochs))}

    def write(page: Page) -> Iterator[str]:
        yield f"{text} Here the same recipe goes on for longer. {page.conditions()}"
        yield ""
        if not page.results:
            return
        result = page.results[()]
        reached = [each.epoch for each in result.epochs if each.validation_psnr >= wanted]
        when = f"first after epoch {reached[0]}" if reached else "not reached"
        best = result.best
        yield f"{wanted:.2f} dB: {when}. Best epoch: {best.epoch}, {best.validation_psnr:.2f} dB."
        yield ""
        yield from compare(page, "Loss and PSNR in a longer run", lambda key: "")

    return Study(name, f"{report}: more epochs", runs, write)


def compare(
    page: Page, text: str, label: Callable[[Key], str] = lambda key: key[0]
) -> Iterator[str]:
    """A figure of all runs of a study: training loss and validation PSNR, epoch by epoch."""
    if not page.results:
        return

    def panel(up: str, name: str) -> Panel:
        lines = {
            label(key): ([each.epoch for each in result.epochs], result.curve(name))
            for key, result in page.results.items()
        }
        return Panel("epoch", up, lines)

    panels = [panel("training loss", "loss"), panel("validation PSNR (dB)", "validation_psnr")]
    yield page.figure(page.study.name, text, lambda path: save_panels(path, panels))
    yield ""


def measure_published(lab: Lab, studies: Iterable[Study], folder: Path | None) -> None:
    """Keep the PSNR of the noisy validation images, and of each report's published weights.

    Arguments:
        lab: where.
        studies: those with a system whose weights are in `folder` are measured.
        folder: of safetensors files, or None.

    Raises:
        UserError: a file is missing or doesn't fit its network.
    """
    kept = lab.measured(PUBLISHED)
    if kept is not None and (folder is None or kept["weights"]):
        return
    noisy, clean = lab.images.noisy, lab.images.clean
    weights = {}
    for study in studies if folder is not None else ():
        if study.system is not None and study.system.weights is not None:
            assert folder is not None
            (spec,) = study.runs(Scale()).values()
            model = networks.build(spec.architecture, **dict(spec.sizes))
            try:
                load(folder / f"{study.system.weights}.safetensors", model)
            except (OSError, ValueError) as error:
                raise UserError(f"--published {folder}: {error}") from error
            weights[study.name] = measure(model, noisy, clean)[1]
    lab.keep(PUBLISHED, {"noisy": mean_psnr(unit(noisy), unit(clean)), "weights": weights})


def write_table(pages: Iterable[Page]) -> Iterator[str]:
    """The table of all systems, and what its columns are."""
    pages = [page for page in pages if page.study.system is not None]
    published = _published(pages[0].lab)
    weights = published["weights"]
    head = ["system", "parameters", "reported", *(["published weights"] if weights else [])]
    head += [
        "ours, best epoch",
        "ours, last",
        "epochs",
        "s / epoch",
        "steps, ours",
        "steps, PyTorch",
    ]
    yield from table(head, [_row(page, weights) for page in pages])
    if published["noisy"] is not None:
        yield f"The noisy validation images themselves have {published['noisy']:.2f} dB."
        yield ""
    here = "*published weights* and *ours* are" if weights else "*ours* is"
    yield (
        "PSNR in dB, the mean over the validation images. *Reported* is on the course's own "
        f"validation images, which can't be had; {here} on those given here. As the reports did, "
        "ours keeps the epoch with the best validation PSNR; the last one stands beside it. "
        "*s / epoch* is the median "
        "over the run's epochs. The last two columns are seconds an epoch as well, but of single "
        "training steps on one batch, ours and those of the twin in `torch.nn`, taken in turn "
        "in one process and scaled to an epoch; of PyTorch's memory layouts (contiguous, "
        "channels last) the faster one."
    )
    yield ""


def _row(page: Page, weights: Mapping[str, float]) -> list[str]:
    study = page.study
    assert study.system is not None
    result = page.results.get(())
    row = [study.name, f"{result.parameters:,}" if result else NONE, f"{study.system.psnr:.2f}"]
    if weights:
        row.append(f"{weights[study.name]:.2f}" if study.name in weights else NONE)
    row += [f"**{decibels(result, 'best')}**", decibels(result)]
    row.append(str(len(result.epochs)) if result else NONE)
    row.append(seconds(statistics.median(result.curve("seconds"))) if result else NONE)
    times = page.measured
    row.append(seconds(times["ours"]["median"]) if times else NONE)
    row.append(seconds(min(times[name]["median"] for name in VARIANTS)) if times else NONE)
    return row


def seconds(value: float) -> str:
    """Two or three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
