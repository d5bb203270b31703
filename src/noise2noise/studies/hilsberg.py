"""Hilsberg, Pillet and Savioz: nearest upsampling and convolution, plain SGD, learning rate 2."""

from __future__ import annotations

from noise2noise.studies.runs import recipe
from noise2noise.studies.study import System
from noise2noise.studies.systems import longer, system

_REPORT = "Hilsberg, Pillet, Savioz"

PUBLISHED = recipe("hilsberg-published", "sgd", lr=2.0, batch=50, epochs=20)

STUDIES = (
    system(
        "hilsberg",
        recipe("hilsberg", "sgd", lr=2.0, batch=50, epochs=20),
        System(
            f"{_REPORT}, table 1",
            24.07,
            None,
            note="What the report gives, 24.07 dB, may be of the network of its published weights, "
            "which is larger than that of its table 1.",
        ),
    ),
    system(
        "hilsberg-published",
        PUBLISHED,
        System(f"{_REPORT}, network of the published weights", 24.07, "hilsberg"),
    ),
    longer(
        "hilsberg-longer",
        _REPORT,
        PUBLISHED,
        30,
        24.41,
        "The published weights are not of the network that the report describes, and may have "
        "seen more epochs than it says. On the 200 images of the rebuilt course data they reach "
        "24.41 dB.",
    ),
)
