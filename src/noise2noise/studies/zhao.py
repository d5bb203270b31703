"""Zhao, Gao and Sun: two strided convolutions, two transposed ones, SGD with momentum."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from chainrule.initializers import INITIALIZERS
from noise2noise.studies.runs import Spec, recipe
from noise2noise.studies.study import NONE, Key, Page, Scale, Study, System, decibels, table
from noise2noise.studies.systems import compare, longer, system

SPEC = recipe("zhao", "sgd", lr=0.01, momentum=0.9, batch=16, epochs=50)

REPORTED = 24.20
"""PSNR in dB, on the course's own validation images."""


def _activations(scale: Scale) -> dict[Key, Spec]:
    sizes = tuple(sorted((dict(SPEC.sizes) | {"leaky": 1}).items()))
    leaky = replace(SPEC, sizes=sizes)
    return {("ReLU",): scale.part(SPEC), ("LeakyReLU",): scale.part(leaky)}


def _write_activations(page: Page) -> Iterator[str]:
    yield (
        "The report tried leaky ReLU in the place of each ReLU and found it worse. It doesn't say "
        f"the slope; here it is 0.01. {page.conditions()} PSNR of the best epoch, in dB."
    )
    yield ""
    reported = {("ReLU",): f"{REPORTED:.2f}", ("LeakyReLU",): "23.66"}
    yield from table(
        ("activation", "reported", "ours"),
        [(key[0], reported[key], decibels(page.results.get(key), "best")) for key in page.specs],
    )
    yield from compare(page, "Training loss and PSNR with ReLU and with leaky ReLU")


def _initializations(scale: Scale) -> dict[Key, Spec]:
    return {(name,): scale.part(replace(SPEC, weight_init=name)) for name in INITIALIZERS}


def _write_initializations(page: Page) -> Iterator[str]:
    yield (
        "The report's framework offers three ways to begin: `normal`, PyTorch's uniform default, "
        "with which it trained; `xavier` and `kaiming`, for which it gives no results. "
        f"{page.conditions()} PSNR in dB."
    )
    yield ""
    yield from table(
        ("initialisation", "after the first epoch", "best epoch", "last epoch"),
        [
            (
                str(key[0]),
                f"{result.epochs[0].validation_psnr:.2f}" if result else NONE,
                decibels(result, "best"),
                decibels(result),
            )
            for key in page.specs
            for result in [page.results.get(key)]
        ],
    )
    yield from compare(page, "Training loss and PSNR of the three initialisations")


STUDIES = (
    system("zhao", SPEC, System("Zhao, Gao, Sun", REPORTED, None)),
    longer(
        "zhao-longer",
        "Zhao, Gao, Sun",
        SPEC,
        65,
        REPORTED,
        'The report trained for "about 50 epochs" in several stretches, each of which began with '
        "the best weights of the one before, and has 24.20 dB on its own images.",
    ),
    Study(
        "zhao-activations",
        "Zhao, Gao, Sun: ReLU or leaky ReLU",
        _activations,
        _write_activations,
    ),
    Study(
        "zhao-initialisations",
        "Zhao, Gao, Sun: three initialisations",
        _initializations,
        _write_initializations,
    ),
)
