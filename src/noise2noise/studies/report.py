"""All studies in the order they are done, and the page of what came of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from chainrule.serialization import replacing
from noise2noise.studies import coldenhoff, data, david, hilsberg, mery, zhao
from noise2noise.studies.study import Lab, Page, Scale, Study
from noise2noise.studies.systems import write_table

_ALL = (
    *zhao.STUDIES,
    *coldenhoff.STUDIES,
    *mery.STUDIES,
    *david.STUDIES,
    *hilsberg.STUDIES,
)

STUDIES: dict[str, Study] = {
    study.name: study
    for main in (True, False)
    for study in _ALL
    if (study.system is not None) == main
}
"""Every study by name, the main runs first."""

PAGE = "reproduction.md"
FIGURES = "reproduction"


def write(lab: Lab, scale: Scale) -> Path:
    """Write the page from whatever results there are; returns its path.

    Arguments:
        lab: where the results are; the page and a folder of figures go there.
        scale: what a study that wasn't run yet would be run with.

    Raises:
        UserError: there are no data in the lab's folder, or a result is damaged.
        OSError: the disk refused.
    """
    data.describe(lab.folder)
    figures = lab.folder / FIGURES
    figures.mkdir(exist_ok=True)
    pages = {}
    for study in _ALL:
        asked = lab.asked(study.name)
        own = scale if asked is None else Scale(**asked["scale"])
        pages[study.name] = Page(study, own, lab, figures)
    path = lab.folder / PAGE
    with replacing(path, overwrite=True) as temporary:
        temporary.write_text("\n".join(_lines(lab, pages)).rstrip() + "\n", encoding="utf-8")
    return path


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
    if lab.quick:
        yield "**A quick run, to see that everything works: its numbers mean nothing.**"
        yield ""
    yield "## All systems"
    yield ""
    yield from write_table(pages.values())
    for page in pages.values():
        yield f"## {page.study.title}"
        yield ""
        yield from page.study.write(page)
        yield from page.missing()
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
