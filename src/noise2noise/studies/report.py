"""All studies in the order they are done, and the pages of what came of them: one of the reports,
one of the paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from chainrule.serialization import replacing
from noise2noise.studies import (
    coldenhoff,
    data,
    david,
    hilsberg,
    mery,
    paper,
    paper_data,
    zhao,
)
from noise2noise.studies.study import Lab, Page, Scale, Study
from noise2noise.studies.systems import write_table

_ALL = (
    *zhao.STUDIES,
    *coldenhoff.STUDIES,
    *mery.STUDIES,
    *david.STUDIES,
    *hilsberg.STUDIES,
)

REPORTS: dict[str, Study] = {
    study.name: study
    for main in (True, False)
    for study in _ALL
    if (study.system is not None) == main
}
"""The studies of the five reports by name, the main runs first."""

STUDIES: dict[str, Study] = {**REPORTS, **{study.name: study for study in paper.STUDIES}}
"""Every study by name."""

PAGE, PAPER_PAGE = "reproduction.md", "noise2noise-paper.md"
FIGURES = "reproduction"


def write(lab: Lab, scale: Scale) -> list[Path]:
    """Write the pages from whatever results there are; returns their paths.

    Arguments:
        lab: where the results are; the pages and a folder of figures go there.
        scale: what a study that wasn't run yet would be run with.

    Raises:
        UserError: there are no data in the lab's folder, or a result is damaged.
        OSError: the disk refused.
    """
    of_paper = paper_data.are_there(lab.folder)
    if not of_paper:
        data.describe(lab.folder)
    figures = lab.folder / FIGURES
    figures.mkdir(exist_ok=True)
    written = []
    if data.are_there(lab.folder):
        pages = {study.name: _page(study, scale, lab, figures) for study in _ALL}
        written.append(_written(lab.folder / PAGE, _lines(lab, pages)))
    if of_paper:
        pages = {study.name: _page(study, scale, lab, figures) for study in paper.STUDIES}
        written.append(_written(lab.folder / PAPER_PAGE, _paper_lines(lab, pages)))
    return written


def _page(study: Study, scale: Scale, lab: Lab, figures: Path) -> Page:
    asked = lab.asked(study.name)
    return Page(study, scale if asked is None else Scale(**asked["scale"]), lab, figures)


def _written(path: Path, lines: Iterator[str]) -> Path:
    with replacing(path, overwrite=True) as temporary:
        temporary.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return path


def _paper_lines(lab: Lab, pages: dict[str, Page]) -> Iterator[str]:
    yield from paper.write_head(pages[paper.STUDY.name])
    yield from _parts(pages)
    yield from _history(lab, pages)


def _parts(pages: dict[str, Page]) -> Iterator[str]:
    for page in pages.values():
        yield f"## {page.study.title}"
        yield ""
        yield from page.study.write(page)
        yield from page.missing()


def _lines(lab: Lab, pages: dict[str, Page]) -> Iterator[str]:
    yield "# The five reports, reproduced"
    yield ""
    facts = data.describe(lab.folder)
    yield (
        "Every network of the five reports, trained by its own recipe on noisy pairs alone: "
        f"{facts['pairs']:,} pairs of 32 x 32 pixels with the noise `subpixel:6` (each "
        "pixel is one of the 6 x 6 that it covers, drawn at random), made of "
        f"{facts['photographs'].partition(',')[0]} (seed {facts['seed']}); validated on "
        f"{len(lab.images.noisy)} images. The first pair of each photograph shows its centre "
        "square, the others random squares, half of them mirrored."
    )
    yield ""
    if paper_data.are_there(lab.folder):
        yield f"The Noise2Noise paper's own experiment has [a page of its own]({PAPER_PAGE})."
        yield ""
    if lab.quick:
        yield "**A quick run, to see that everything works: its numbers mean nothing.**"
        yield ""
    yield "## All systems"
    yield ""
    yield from write_table(pages.values())
    yield from _parts(pages)
    yield from _history(lab, pages)


def _history(lab: Lab, pages: dict[str, Page]) -> Iterator[str]:
    yield "## How this was run"
    yield ""
    found: dict[tuple[str, str], list[str]] = {}
    for name in pages:
        asked = lab.asked(name)
        if asked is not None:
            found.setdefault((asked["command"], asked["machine"]), []).append(name)
    for (command, machine), names in found.items():
        yield f"- {machine}: {', '.join(names)}."
        yield ""
        yield f"  `{command}`"
        yield ""
