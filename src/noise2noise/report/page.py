"""The report: one HTML file that holds its pictures, and asks for nothing from elsewhere."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainrule.serialization import replacing
from noise2noise.errors import UserError
from noise2noise.report.examine import Examination
from noise2noise.report.pictures import as_text, correlations, details, profile, removed

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 62em; padding: 0 1em;
  color: #222; background: #fff }
h2 { border-top: 1px solid #ccc; padding-top: 1em; overflow-wrap: anywhere }
figure { display: inline-block; margin: 0 1em 1em 0; vertical-align: top; max-width: 100% }
img { max-width: 100%; height: auto; image-rendering: pixelated }
figcaption { color: #555; font-size: 14px; max-width: 30em }
td { padding: 0 1.5em 0 0; vertical-align: top }
.doubt { border-left: 4px solid #c4312b; padding-left: 0.7em }
.good { border-left: 4px solid #2a7d3f; padding-left: 0.7em }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #1b1b1b } }
"""


@dataclass(frozen=True)
class Entry:
    """One image of a report.

    Attributes:
        name: of its file.
        result: where it is.
        facts: what was done, as JSON has it: model, why, notes, single.
        found: what was found of it.
    """

    name: str
    result: str
    facts: Mapping[str, Any]
    found: Examination


def write_page(
    path: str | Path, entries: Sequence[Entry], made_by: str, overwrite: bool = False
) -> None:
    """Write the report of some images.

    Arguments:
        path: ends in .html, by custom.
        entries: the images, in order.
        made_by: program and version.
        overwrite: replace what stands there.

    Raises:
        UserError: something stands there.
        OSError: the disk refused.
    """
    text = _page(entries, made_by)
    try:
        with replacing(Path(path), overwrite) as temporary:
            Path(temporary).write_text(text, "utf-8")
    except FileExistsError:
        raise UserError(f"{path} exists already; choose another name or add --overwrite") from None


def _page(entries: Sequence[Entry], made_by: str) -> str:
    sections = "\n".join(_section(entry) for entry in entries)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>What was denoised</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>What was denoised</h1>\n{sections}\n"
        f"<footer><p>Made by {html.escape(made_by)}. The PSNR is estimated from the noisy image "
        "alone, in a square in its middle; docs/single.md says how well.</p></footer>\n"
        "</body></html>\n"
    )


def _section(entry: Entry) -> str:
    found = entry.found
    kind = "good" if found.trusted else "doubt"
    before, after = details(found.noisy, found.clean)
    pictures = [
        (as_text(before), "before: the busiest part of the square that was looked at"),
        (as_text(after), "after"),
        (
            as_text(removed(found.noisy, found.clean)),
            "what was removed: grey is nothing, black and white are four standard deviations; "
            "edges to be seen here were lost",
        ),
        (
            as_text(correlations(found.alike)),
            "its correlation with itself, up to four pixels away: even grey for noise that is "
            "independent from pixel to pixel",
        ),
        (profile(found.noise, found.points), "the noise: its variance by brightness"),
    ]
    figures = "\n".join(
        f'<figure><img src="{source}" alt="{html.escape(text)}">'
        f"<figcaption>{html.escape(text)}</figcaption></figure>"
        for source, text in pictures
    )
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>"
        for name, value in _rows(entry)
    )
    return (
        f"<h2>{html.escape(entry.name)}</h2>\n"
        f'<p class="{kind}">{html.escape(found.sentence)}</p>\n'
        f"<table>{rows}</table>\n{figures}"
    )


def _rows(entry: Entry) -> list[tuple[str, str]]:
    found, facts = entry.found, entry.facts
    psnr = "none: there is no noise" if found.psnr is None else f"about {found.psnr:.1f} dB"
    model = " ".join(str(facts.get(name, "")) for name in ("model", "why")).strip()
    rows = [("result", entry.result), ("PSNR", psnr), ("model", model)]
    rows += [("done", note) for note in facts.get("notes", [])]
    noise = found.noise
    lines = ", ".join(
        f"{255 * read:.2g} in the dark, variance grows by {255**2 * shot:.3g} to the brightest"
        for shot, read in zip(noise.shot, noise.read, strict=True)
    )
    return [*rows, ("noise, of 255", lines)]
