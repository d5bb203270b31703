"""The Noise2Noise paper's own experiment: the same network by clean targets, by noisy ones, and by
means of several noisy ones.

J. Lehtinen et al., "Noise2Noise: Learning Image Restoration without Clean Data", ICML 2018,
https://arxiv.org/abs/1803.04189: its table 1 and section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from noise2noise.data import Track
from noise2noise.fit import Checkpoint
from noise2noise.metrics import psnr
from noise2noise.studies import paper_data
from noise2noise.studies.figures import Panel, save_grid, save_panels
from noise2noise.studies.paper_plan import (
    CLEAN,
    LONGER,
    LONGER_NOISES,
    MEAN,
    NOISES,
    NOISY,
    SHOTS,
    SPEC,
    STEPS,
    Noise,
    longer_runs,
    runs,
    scaled,
)
from noise2noise.studies.paper_runs import (
    PaperSpec,
    multiple_of,
    network_of,
    noisy_tests,
    predict,
    train,
)
from noise2noise.studies.run import LAST, Result
from noise2noise.studies.study import NONE, Lab, Page, Study, table

_LOSSES = {"mse": "squared error", "l1": "L1", "l0": "annealed L0"}


def _train(spec: Any, lab: Lab, track: Track, say: Callable[[str], None]) -> Result:
    return train(spec, lab.paper, lab.runs, track, say, lab.device)


def write_head(page: Page) -> Iterator[str]:
    """What stands at the top of the paper's page; `page` is of the first study."""
    yield "# The Noise2Noise paper, reproduced"
    yield ""
    yield (
        "A network that learns from noisy targets becomes as good as one that learns from clean "
        "ones: the claim of J. Lehtinen et al., *Noise2Noise: Learning Image Restoration without "
        "Clean Data*, ICML 2018, [arXiv:1803.04189](https://arxiv.org/abs/1803.04189). Here the "
        "same network, begun with the same weights, sees the same crops with the same noise, and "
        "learns from clean targets, from noisy ones, and from means of "
        f"{SHOTS} noisy ones."
    )
    yield ""
    if page.lab.quick:
        yield "**A quick run, to see that everything works: its numbers mean nothing.**"
        yield ""


def _write(page: Page) -> Iterator[str]:
    facts = paper_data.describe(page.lab.folder)
    spec: PaperSpec = scaled(page.scale)
    width = dict(spec.sizes)["width"]
    yield (
        f"Every run: network `{spec.architecture}` of width {width}, "
        f"{spec.steps * spec.epochs:,} steps of {spec.batch} crops of {spec.crop} x {spec.crop} "
        f"pixels, Adam with a cosine from {spec.lr:g}, seed {spec.seed}. Crops are taken of "
        f"{facts['squares']:,} squares of {facts['photographs'].partition(',')[0]}. "
        f"{_span(page)}The paper trains a larger network, a U-Net, on 50,000 images of ImageNet "
        "with the noise's strength drawn anew for each; here it is the strength that is tested. "
        "What can be compared with the paper is first of all the difference between its columns."
    )
    yield ""
    yield from _write_table(page)
    yield from _write_nearness(page)
    yield from _write_curves(page)
    yield from _write_losses(page)
    yield from _write_pictures(page)


def _span(page: Page) -> str:
    if page.scale.fraction == 1 or page.scale.quick:
        return ""
    return (
        f"That is {page.scale.fraction:g} of the {STEPS * SPEC.epochs:,} steps that the command "
        "takes if it isn't told `--fraction`. "
    )


def _score(page: Page, noise: Noise, kind: str, name: str, what: str = "output") -> float | None:
    result = page.results.get((noise.spec, kind, noise.loss))
    return None if result is None else result.scores.get(name, {}).get(what)


def _text(value: float | None, sign: str = "") -> str:
    return NONE if value is None else f"{value:{sign}.2f}"


def _published(noise: Noise, name: str) -> tuple[float, float] | None:
    """The paper's figures for a folder of test images of this name."""
    for known, figures in noise.published.items():
        if known in name.lower():
            return figures
    return None


def _write_table(page: Page) -> Iterator[str]:
    counts = {name: len(images) for name, images in page.lab.paper.tests.items()}
    sets = ", ".join(f"{count} images of {name}" for name, count in counts.items())
    yield (
        f"As the paper's table 1, on {sets}: PSNR in dB, the mean over the images, predictions "
        "clipped to 0..1. *Noisy - clean* is what noisy targets cost. The loss of a run is the "
        "same whatever its targets: the squared error for the first three noises (for Bernoulli "
        "noise without the pixels that the target has lost), L1 for text, whose median is the "
        "clean image, and for impulses the paper's annealed L0, $(|f - y| + 10^{-8})^\\gamma$ with "
        "$\\gamma$ falling from 2 to 0, which looks for the mode. *Paper* is the U-Net's table 1; "
        "its BSD300 are other images of the kind of CBSD68."
    )
    yield ""
    rows = []
    for noise in NOISES:
        for name in counts:
            clean, noisy = (_score(page, noise, kind, name) for kind in (CLEAN, NOISY))
            cost = None if clean is None or noisy is None else noisy - clean
            published = _published(noise, name)
            rows.append(
                (
                    noise.title,
                    name,
                    _text(_score(page, noise, NOISY, name, "input")),
                    _text(clean),
                    _text(noisy),
                    _text(_score(page, noise, MEAN, name)),
                    _text(cost, "+"),
                    *(_text(each) for each in published or (None, None)),
                )
            )
    heads = ("noise", "images", "input", "clean targets", "noisy targets", f"means of {SHOTS}")
    yield from table((*heads, "noisy - clean", "paper, clean", "paper, noisy"), rows)
    yield (
        "Noisy targets make noisy gradients, of which a short training averages fewer than a long "
        "one: the paper's difference is that of a long one."
    )
    yield ""
    if any(kind == MEAN for _, kind, _ in page.results):
        yield from _on_means()


def _on_means() -> Iterator[str]:
    yield (
        f"A mean of {SHOTS} noisy versions is a better target where noise averages out. Where it "
        f"doesn't, under text and impulses, it is a worse one: clean only where all {SHOTS} are."
    )
    yield ""


def _write_nearness(page: Page) -> Iterator[str]:
    lines = []
    for noise in NOISES:
        for name in page.lab.paper.tests:
            published, noisy = _published(noise, name), _score(page, noise, NOISY, name)
            if published is None or noisy is None:
                continue
            words = f"- **{noise.title}, {name}**: {noisy:.2f} dB, the paper {published[1]:.2f} "
            words += f"({noisy - published[1]:+.2f})"
            restored = _score(page, noise, NOISY, name, "restored")
            if restored is not None:
                words += (
                    f"; with the surviving pixels put back {restored:.2f} "
                    f"({restored - published[1]:+.2f}), which the paper doesn't say it does"
                )
            lines.append(f"{words}.")
    if lines:
        yield "How near the noisy targets bring this network to the paper's figures:"
        yield ""
        yield from lines
        yield ""


def _write_curves(page: Page) -> Iterator[str]:
    panels = []
    for noise in NOISES:
        lines = {}
        for kind in (CLEAN, NOISY, MEAN):
            result = page.results.get((noise.spec, kind, noise.loss))
            if result is not None:
                steps = [each.epoch * scaled(page.scale).steps for each in result.epochs]
                lines[f"{kind} targets" if kind != MEAN else f"means of {SHOTS}"] = (
                    steps,
                    result.curve("validation_psnr"),
                )
        if lines:
            panels.append(Panel(f"step ({noise.spec})", "PSNR (dB)", lines))
    if not panels:
        return
    yield "### Learning curves"
    yield ""
    yield "PSNR in dB on the centres of 16 of the test images at most, as training goes on."
    yield ""
    for number, row in enumerate((panels[:3], panels[3:]), start=1):
        if row:
            text = "PSNR over the steps by clean and by noisy targets"

            def draw(path: Path, row: list[Panel] = row) -> None:
                save_panels(path, row)

            yield page.figure(f"{page.study.name}-curves-{number}", text, draw)
            yield ""


def _write_losses(page: Page) -> Iterator[str]:
    rows = []
    names = [*page.lab.paper.tests]
    for noise in NOISES:
        for loss in (noise.loss, *noise.others) if noise.others else ():
            result = page.results.get((noise.spec, NOISY, loss))
            scores = result.scores if result else {}
            figures = [_text(scores.get(name, {}).get("output")) for name in names]
            rows.append((f"{noise.title}, {_LOSSES[loss]}", *figures))
    yield "### Which loss"
    yield ""
    yield (
        "Text and impulses are not unbiased: the squared error, which looks for the mean, learns "
        "washed-out colours from noisy targets. All rows are of noisy targets; PSNR in dB."
    )
    yield ""
    yield from table(("noise and loss", *names), rows)


def _write_pictures(page: Page) -> Iterator[str]:
    def done(noise: Noise, kind: str) -> bool:
        return (noise.spec, kind, noise.loss) in page.results

    shown = [noise for noise in NOISES if done(noise, CLEAN) and done(noise, NOISY)]
    if not shown:
        return
    kinds = {CLEAN: "clean targets", NOISY: "noisy targets"}
    if all(done(noise, MEAN) for noise in shown):
        kinds[MEAN] = f"means of {SHOTS}"
    yield "### Pictures"
    yield ""
    yield "The centre of a test image, with the PSNR of what is shown."
    yield ""
    heads = ("input", *kinds.values(), "original")
    rows = [_picture_row(page, noise, kinds) for noise in shown]

    def draw(path: Path) -> None:
        save_grid(path, heads, rows)

    yield page.figure(f"{page.study.name}-pictures", "What the networks make of noisy images", draw)
    yield ""


_SHOWN = 96
"""Side in pixels of the pictures."""


def _picture_row(page: Page, noise: Noise, kinds: Iterable[str]) -> list[tuple[np.ndarray, str]]:
    """Of the picture: the noisy image, what the runs of these targets make of it, the original."""
    images = page.lab.paper
    name = next(iter(images.tests))
    pairs = noisy_tests(noise.spec, images, name)
    clean, given = pairs[len(pairs) // 2]
    middle = tuple(
        slice(start := (size - min(size, _SHOWN)) // 2, start + _SHOWN) for size in clean.shape[1:]
    )
    window = (slice(None), *middle)
    row = [(given[window], f"{noise.spec}: {psnr(given[window], clean[window]):.2f} dB")]
    for kind in kinds:
        spec: PaperSpec = page.specs[noise.spec, kind, noise.loss]
        model = network_of(spec)
        model.load_state_dict(Checkpoint.read(page.lab.runs / spec.key / LAST).weights)
        made = predict(model, given, multiple_of(spec))[window]
        row.append((made, f"{psnr(made, clean[window]):.2f} dB"))
    return [*row, (clean[window], "")]


def _write_longer(page: Page) -> Iterator[str]:
    spec = scaled(page.scale)
    yield (
        f"By noisy targets, the same recipe with {LONGER} times the steps, "
        f"{LONGER * spec.steps * spec.epochs:,}. PSNR in dB; in the last two columns the pixels "
        "that survive are put back in the result, which the paper doesn't say it does. "
        "`noise2noise denoise --model` takes a run's `best.safetensors`."
    )
    yield ""
    rows = []
    for noise in LONGER_NOISES:
        for name in page.lab.paper.tests:
            published, longer = _published(noise, name), _score(page, noise, NOISY, name)
            theirs = None if published is None else published[1]
            restored = _score(page, noise, NOISY, name, "restored")
            rows.append(
                (
                    noise.title,
                    f"`runs/{page.specs[noise.spec, NOISY, noise.loss].key}`",
                    name,
                    _text(theirs),
                    _text(longer),
                    _text(_difference(longer, theirs), "+"),
                    _text(restored),
                    _text(_difference(restored, theirs), "+"),
                )
            )
    heads = (
        "noise",
        "run",
        "images",
        "paper, noisy",
        "ours",
        "ours - paper",
        "put back",
        "- paper",
    )
    yield from table(heads, rows)
    panels = []
    for noise in LONGER_NOISES:
        result = page.results.get((noise.spec, NOISY, noise.loss))
        if result is not None:
            steps = [each.epoch * LONGER * spec.steps for each in result.epochs]
            points = {"noisy targets": (steps, result.curve("validation_psnr"))}
            panels.append(Panel(f"step ({noise.spec})", "PSNR (dB)", points))
    if panels:
        text = "PSNR over the steps of the longer runs"
        yield page.figure(page.study.name, text, lambda path: save_panels(path, panels))
        yield ""


def _difference(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or theirs is None else ours - theirs


_PAPER = "Noise2Noise paper"

STUDY = Study(
    "noise2noise-paper",
    f"{_PAPER}: clean targets and noisy ones",
    runs,
    _write,
    train=_train,
)

STUDIES = (
    STUDY,
    Study(
        "noise2noise-longer",
        f"{_PAPER}: two of the noises for longer",
        longer_runs,
        _write_longer,
        train=_train,
    ),
)
