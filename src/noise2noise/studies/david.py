"""David, Nitu and Raileanu: Zhao's network with plain SGD at a learning rate of 5."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from chainrule import load
from noise2noise import networks
from noise2noise.metrics import psnr
from noise2noise.studies.against_torch import ABSOLUTE, RELATIVE, differences
from noise2noise.studies.data import SIDE
from noise2noise.studies.figures import save_grid, save_network
from noise2noise.studies.runs import Images, Spec, new_network, predict, recipe, unit
from noise2noise.studies.study import Key, Page, Scale, Study, System, table
from noise2noise.studies.systems import system

SPEC = recipe("david", "sgd", lr=5.0, batch=16, epochs=50, snapshots=(1, 10, 25, 50))

PICTURES = 4


def _main(scale: Scale) -> dict[Key, Spec]:
    return {(): scale.whole(SPEC)}


def _write_pictures(page: Page) -> Iterator[str]:
    (spec,) = page.specs.values()
    yield (
        f"The report's table I: {PICTURES} validation images, what the network makes of them "
        "after some epochs, with the PSNR in dB, and the target."
    )
    yield ""
    if page.results:
        text = "Input, predictions after some epochs, and target"
        yield page.figure(page.study.name, text, lambda path: _draw_pictures(page, spec, path))
        yield ""


def _draw_pictures(page: Page, spec: Spec, path: Any) -> None:
    noisy, clean = (
        side[:: max(1, len(side) // PICTURES)][:PICTURES]
        for side in (page.lab.images.noisy, page.lab.images.clean)
    )
    reached = len(page.results[()].epochs)  # fewer than asked for where the run diverged
    epochs = [epoch for epoch in spec.snapshots if epoch <= reached]
    predictions = []
    for epoch in epochs:
        model = networks.build(spec.architecture, **dict(spec.sizes))
        load(page.lab.runs / spec.key / f"epoch-{epoch}.safetensors", model)
        predictions.append(predict(model, noisy))
    targets = unit(clean).numpy()
    columns: list[np.ndarray] = [unit(noisy).numpy(), *(each.numpy() for each in predictions)]
    rows = [
        [
            *(
                (column[place], f"{psnr(column[place], targets[place]):.2f} dB")
                for column in columns
            ),
            (targets[place], ""),
        ]
        for place in range(len(targets))
    ]
    heads = ["input", *(f"epoch {epoch}" for epoch in epochs), "target"]
    save_grid(path, heads, rows)


def _write_network(page: Page) -> Iterator[str]:
    yield (
        "The report's figure 1. Each block is an image: its height stands for the height in "
        "pixels, its depth for the number of channels; both are written below it."
    )
    yield ""
    model = new_network(SPEC)
    text = "The network: two strided convolutions down, two transposed ones up"
    shape = (1, 3, SIDE, SIDE)
    yield page.figure(page.study.name, text, lambda path: save_network(path, model, shape))
    yield ""


def _differ(scale: Scale, images: Images) -> Any:
    return differences(scale.whole(SPEC), images)


def _write_tolerance(page: Page) -> Iterator[str]:
    yield (
        "The report finds its results equal to PyTorch's within a relative tolerance of "
        f"{RELATIVE:g} and an absolute one of {ABSOLUTE:g}. Here: the same weights and one "
        f"batch of {SPEC.batch} in both, float32, the largest difference of the prediction and of "
        "every gradient, for a random gradient of the prediction."
    )
    yield ""
    if page.measured is None:
        yield from page.not_measured()
        return
    yield from table(
        ("what", "largest difference", "largest value", "within the tolerance"),
        [
            (
                name if name == "prediction" else f"gradient of {name}",
                f"{each['largest']:.1e}",
                f"{each['scale']:.1e}",
                f"{each['within']:.2%}",
            )
            for name, each in page.measured.items()
        ],
    )


STUDIES = (
    system(
        "david",
        SPEC,
        System(
            "David, Nitu, Raileanu",
            24.46,
            "david",
            note=f"The report doesn't say the batch size; {SPEC.batch} is an assumption.",
        ),
    ),
    Study("david-pictures", "David, Nitu, Raileanu: epoch by epoch", _main, _write_pictures),
    Study(
        "david-network",
        "David, Nitu, Raileanu: the network",
        lambda scale: {},
        _write_network,
    ),
    Study(
        "david-tolerance",
        "David, Nitu, Raileanu: tolerance against PyTorch",
        lambda scale: {},
        _write_tolerance,
        measure=_differ,
    ),
)
