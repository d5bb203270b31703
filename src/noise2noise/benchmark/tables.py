"""What was measured, as tables for people: on the screen, and in Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from noise2noise.benchmark.speed import PhotoRow, Result, Row
from noise2noise.benchmark.steps import CONTENDERS, OURS
from noise2noise.benchmark.twins import VARIANTS

_HEADINGS = {
    OURS: "ours",
    "eager": "torch.nn",
    "channels_last": "channels last",
}

_NOTES = {
    "training": "Milliseconds for forward, mean squared error, backward and optimizer.",
    "inference": "Milliseconds for one forward pass that keeps nothing for a backward one.",
    "memory": (
        "MiB by which training steps raise the resident memory at most, each in a process of its "
        "own."
    ),
    "photo": (
        "One noisy photograph through the shipped model photo, in tiles, each in a process of its "
        "own; the rival is the same network in torch.nn with channels last, on the same tiles. "
        "Memory is the peak beyond the photograph itself."
    ),
}

_LEGEND = (
    "Medians of {rounds} in which all took turns in one process. Ratio: ours over the best "
    "of PyTorch's three. Spread: interquartile range over median, the larger of those two. Peak: "
    "our speed, counting the arithmetic of the direct algorithm, over the machine's measured peak; "
    "it may pass 100% where another way needs less arithmetic."
)


class Table(NamedTuple):
    """A title, column heads, rows of cells, and a note; the first column holds names."""

    title: str
    heads: list[str]
    rows: list[list[str]]
    note: str


def tables(result: Result) -> list[Table]:
    """Those that have any rows: training steps, inference passes, memory, photographs."""
    found = [
        _of_times(result, "training", "Training step"),
        _of_times(result, "inference", "Inference pass"),
        _of_memory(result.networks),
        _of_photos(result.photos),
    ]
    return [table for table in found if table.rows]


def remarks(result: Result) -> list[str]:
    """What the tables leave out: how to read them, and why a contender has no time."""
    legend = [_LEGEND.format(rounds=_counted(result.rounds, "round"))] if result.networks else []
    failures = {
        f"{_heading(name)} could not run here: {why}"
        for row in result.networks
        for name, why in row.failures.items()
    }
    return [*legend, *sorted(failures)]


def markdown(result: Result) -> str:
    """The tables as docs/performance.md has them."""
    parts = [f"{result.machine}."]
    for title, heads, rows, note in tables(result):
        rule = ["---", *("---:" for _ in heads[1:])]
        lines = [_line(cells) for cells in (heads, rule, *rows)]
        parts += [f"### {title}", note, "\n".join(lines)]
    return "\n\n".join([*parts, *remarks(result)])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _of_times(result: Result, task: str, title: str) -> Table:
    heads = ["network", "batch", *map(_heading, CONTENDERS), "ratio", "spread", "peak"]
    rows = [[*_times(row)] for row in result.networks if row.task == task]
    return Table(title, heads, rows, _NOTES[task])


def _heading(contender: str) -> str:
    return _HEADINGS.get(contender, contender)


def _times(row: Row) -> Iterator[str]:
    yield from (row.network, str(row.batch))
    for name in CONTENDERS:
        yield _number(row.timings[name].milliseconds) if name in row.timings else "-"
    rivals = [row.timings[name] for name in VARIANTS if name in row.timings]
    ours, best = row.timings[OURS], min(rivals, key=lambda timing: timing.milliseconds)
    yield f"{row.ratio:.2f}"
    yield f"{max(each.spread / each.milliseconds for each in (ours, best)):.0%}"
    yield f"{ours.peak_share:.0%}"


def _of_memory(rows: list[Row]) -> Table:
    heads = ["network", "batch", "ours", "torch.nn, channels last"]
    cells = [
        [row.network, str(row.batch), *map(_mebibytes, row.memory.values())]
        for row in rows
        if row.memory
    ]
    return Table("Memory of a training step", heads, cells, _NOTES["memory"])


def _of_photos(photos: list[PhotoRow]) -> Table:
    heads = ["megapixels", "ours, s", "s / megapixel", "torch.nn, s", "ratio"]
    heads += ["our memory, MiB", "torch.nn's"]
    return Table("Photograph", heads, [[*_photo(row)] for row in photos], _NOTES["photo"])


def _photo(row: PhotoRow) -> Iterator[str]:
    ours, rival = row.seconds.values()
    yield f"{row.megapixels:g}"
    yield _number(ours)
    yield f"{ours / row.megapixels:.3f}"
    yield _number(rival)
    yield f"{ours / rival:.2f}"
    yield from map(_mebibytes, row.memory.values())


def _number(value: float) -> str:
    """With three digits, or with all before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}"


def _mebibytes(count: int | None) -> str:
    return "-" if count is None else _number(count / 2**20)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
