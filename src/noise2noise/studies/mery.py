"""Mery: a network with a skip connection, and the experiments that led to it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from noise2noise.studies.figures import Panel, save_panels
from noise2noise.studies.run import Result
from noise2noise.studies.runs import PAIRS, Spec, recipe
from noise2noise.studies.study import NONE, Key, Page, Scale, Study, System, decibels, table
from noise2noise.studies.systems import compare, system

SKIP = recipe("mery-skip", "adam", lr=1e-3, batch=8, epochs=10)
SECOND = recipe("mery", "sgd", lr=0.1, batch=8, epochs=50)

TENTH = PAIRS // 10
"""The report tries most things on a tenth of the pairs."""

DEPTHS = {
    4: ({"width": 32}, 23.69),
    6: ({"width": 26, "inner": 22}, 22.63),
    8: ({"width": 20, "inner": 18, "outer": 2}, 20.91),
    10: ({"width": 18, "inner": 16}, 20.10),
    12: ({"width": 16, "inner": 14, "outer": 2}, 19.31),
}
"""Table 2: sizes and PSNR of each depth."""

DEPTH_EPOCHS = 10
WIDTHS = (*range(10, 101, 10), *range(150, 401, 50))
BATCHES = (50, 40, 25, 20, 16, 10, 8, 5, 4, 2, 1)
REPETITIONS = (0, 1, 2, 3, 4)


def _initial(batch: int, epochs: int, pairs: int, **sizes: int) -> Spec:
    """The report's first model, without a skip connection unless the sizes have one."""
    sizes = {"width": 32, "skip": 0, **sizes}
    return recipe(
        "mery-skip", "adam", lr=1e-3, batch=batch, epochs=epochs, pairs=pairs, sizes=sizes
    )


def _depths(scale: Scale) -> dict[Key, Spec]:
    return {
        (depth,): scale.part(_initial(50, DEPTH_EPOCHS, TENTH, depth=depth, **DEPTHS[depth][0]))
        for depth in scale.some([*DEPTHS])
    }


def _write_depths(page: Page) -> Iterator[str]:
    yield (
        "The report's table 2: five networks with about as many parameters each, half of the "
        "layers convolutions and half transposed. The report trains on a tenth of the pairs with "
        f"batches of 50 and doesn't say how long. {page.conditions()} PSNR of the last epoch, "
        "in dB."
    )
    yield ""
    rows = []
    for (depth,), spec in page.specs.items():
        result = page.results.get((depth,))
        parameters = f"{result.parameters:,}" if result else NONE
        channels = dict(spec.sizes)
        between = channels["inner"] or channels["width"]
        rows.append(
            (
                str(depth),
                f"{channels['width']}, {between}",
                parameters,
                f"{DEPTHS[depth][1]:.2f}",
                decibels(result),
            )
        )
    yield from table(
        ("layers", "channels, outer and inner", "parameters", "reported", "ours"), rows
    )
    text = "Depth against width at equal parameters"
    yield from compare(page, text, lambda key: f"{key[0]} layers")


def _widths(scale: Scale) -> dict[Key, Spec]:
    return {
        (width,): scale.part(_initial(5, 1, TENTH, width=width)) for width in scale.some(WIDTHS)
    }


def _write_widths(page: Page) -> Iterator[str]:
    yield (
        "Channels of the hidden layers of the first model, from 10 to 400, after one epoch over a "
        "tenth of the pairs with batches of 5. The report's grid has steps of 10 throughout; this "
        "one has steps of 50 above 100. The report sees little gain beyond 100 and takes 100. "
        f"{page.conditions()} PSNR in dB."
    )
    yield ""
    rows = [
        (str(key[0]), f"{result.parameters:,}", decibels(result))
        for key, result in page.results.items()
    ]
    yield from table(("channels", "parameters", "PSNR"), rows)
    yield from _grid(page, "channels of the hidden layers")


def _skips(scale: Scale) -> dict[Key, Spec]:
    return {
        ("without",): scale.part(_initial(50, 25, TENTH)),
        ("with",): scale.part(_initial(50, 25, TENTH, skip=1)),
    }


def _write_skips(page: Page) -> Iterator[str]:
    yield (
        "The report's first model has two convolutions and two transposed ones, 3 x 3 without "
        "padding, with 32 channels, and learns by Adam. Here it is with and without a skip "
        "connection from its first to its last layer, on a tenth of the pairs with batches of 50. "
        f"{page.conditions()} PSNR in dB."
    )
    yield ""
    reported = {("without",): "24.43", ("with",): "24.69"}
    yield from table(
        ("skip connection", "reported", "ours, last epoch", "ours, best epoch"),
        [
            (
                str(key[0]),
                reported[key],
                decibels(page.results.get(key)),
                decibels(page.results.get(key), "best"),
            )
            for key in page.specs
        ],
    )
    text = "With and without the skip connection"
    yield from compare(page, text, lambda key: f"{key[0]} skip")


def _batches(scale: Scale) -> dict[Key, Spec]:
    return {
        (batch, repetition): scale.part(_initial(batch, 1, PAIRS), repetition)
        for batch in scale.some(BATCHES)
        for repetition in scale.some(REPETITIONS)
    }


def _write_batches(page: Page) -> Iterator[str]:
    yield (
        "The first model after one epoch, for every batch size up to 50 that divides 50,000; the "
        "mean and the standard deviation over five runs, as in the report, which takes batches of "
        f"8. {page.conditions()} PSNR in dB."
    )
    yield ""
    found = _by_first(page.results)
    rows = [
        (str(batch), f"{statistics.fmean(values):.2f}", f"{statistics.pstdev(values):.2f}")
        for batch, values in sorted(found.items())
    ]
    yield from table(("batch size", "mean PSNR", "spread"), rows)
    yield from _grid(page, "batch size")


def _epochs(scale: Scale) -> dict[Key, Spec]:
    return {
        ("run", repetition): scale.part(_initial(8, 15, PAIRS), repetition)
        for repetition in scale.some(REPETITIONS)
    }


def _write_epochs(page: Page) -> Iterator[str]:
    yield (
        "The first model with batches of 8 after 1 to 15 epochs, the mean over five runs. The "
        "report trains anew for every number of epochs; with a constant learning rate a run of 15 "
        "epochs passes through all of them. The report takes 10, after which it sees overfitting. "
        f"{page.conditions()}"
    )
    yield ""
    text = "Training loss and PSNR after 1 to 15 epochs"
    yield from compare(page, text, lambda key: f"seed {page.specs[key].seed}")
    if page.results:
        by_epoch = zip(
            *(each.curve("validation_psnr") for each in page.results.values()), strict=False
        )
        means = [f"{statistics.fmean(values):.2f}" for values in by_epoch]
        yield from table(
            ("epochs", *map(str, range(1, len(means) + 1))), [("mean PSNR, dB", *means)]
        )


def _by_first(results: dict[Key, Result]) -> dict[int, list[float]]:
    """The PSNRs of the last epoch, by the value that is varied."""
    found: dict[int, list[float]] = {}
    for key, result in results.items():
        found.setdefault(key[0], []).append(result.last.validation_psnr)
    return found


def _grid(page: Page, across: str) -> Iterator[str]:
    found = sorted(_by_first(page.results).items())
    if found:
        points = [key for key, _ in found], [statistics.fmean(values) for _, values in found]
        panels = [Panel(across, "validation PSNR (dB)", {"": points})]
        text = f"PSNR against {across}"
        yield page.figure(page.study.name, text, lambda path: save_panels(path, panels))
        yield ""


STUDIES = (
    system("mery", SECOND, System("Mery, mini-project 2", 23.42, "mery")),
    system("mery-skip", SKIP, System("Mery, mini-project 1", 25.32, "mery_skip")),
    Study("mery-depths", "Mery: deep or wide", _depths, _write_depths),
    Study("mery-skips", "Mery: with and without skip connection", _skips, _write_skips),
    Study("mery-widths", "Mery: channels of the hidden layers", _widths, _write_widths),
    Study("mery-batches", "Mery: batch sizes", _batches, _write_batches),
    Study("mery-epochs", "Mery: number of epochs", _epochs, _write_epochs),
)
