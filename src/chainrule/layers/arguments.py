"""What constructors of layers refuse."""

from __future__ import annotations


def check_positive(layer: str, /, **values: object) -> None:
    """Raise ValueError unless every value is an int above 0."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{layer}: {name} must be a positive int, got {value!r}")


def check_probability(layer: str, p: float) -> None:
    """Raise ValueError unless 0 <= p <= 1."""
    if not 0 <= p <= 1:
        raise ValueError(f"{layer}: p must lie in [0, 1], got {p!r}")
