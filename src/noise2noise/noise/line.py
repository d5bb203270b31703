"""The straight line through what was measured of a channel's noise at several levels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_HALF_ENOUGH = 30


@dataclass(frozen=True, eq=False)
class Points:
    """The variance of one channel's noise by brightness.

    Attributes:
        level: (K,) brightness, ascending.
        variance: (K,) of the noise there.
        weight: (K,) how much each counts: of the order of the number of values behind it.
    """

    level: np.ndarray
    variance: np.ndarray
    weight: np.ndarray


def line(points: Points, black: float, tolerance: float = 0.2) -> tuple[float, float]:
    """Shot noise and read noise of the line through a channel's points, none of them below 0.

    Least squares of the relative errors, repeated: points above the line, where texture may be,
    count the less the higher they are; half as much where they lie `tolerance` of it above.
    """
    x = points.level - black
    scale = float(np.average(points.variance, weights=points.weight))
    if scale <= 0:
        return 0.0, 0.0
    fitted = np.full(len(x), scale)
    slope = constant = 0.0
    for _ in range(20):
        above = np.maximum(points.variance / fitted - 1, 0)
        weight = points.weight / fitted**2 / (1 + (above / tolerance) ** 2)
        slope, constant = _nonnegative_line(x, points.variance, weight)
        fitted = np.maximum(constant + slope * x, 1e-3 * scale)
    return slope, math.sqrt(constant)


def _nonnegative_line(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Slope and constant, at least 0, of the weighted least squares line; all x are at least 0."""
    centre, height = np.average(x, weights=weight), np.average(y, weights=weight)
    spread = float(weight @ (x - centre) ** 2)
    slope = float(weight @ ((x - centre) * y)) / spread if spread > 0 else 0.0
    if slope <= 0:
        return 0.0, float(height)
    constant = float(height - slope * centre)
    if constant >= 0:
        return slope, constant
    return float(weight @ (x * y)) / float(weight @ x**2), 0.0


def confidence(points: Points, shot: float, read: float, black: float) -> float:
    """From 0 to 1: how many squares there were to read from (half for 30 of them), times how near
    the points are to their line."""
    fitted = np.sqrt(shot * (points.level - black) + read**2)
    actual = np.sqrt(points.variance)
    usual = float(np.average(actual, weights=points.weight))
    off = float(np.average(np.abs(actual - fitted), weights=points.weight))
    near = 1 - min(off / usual, 1) if usual > 0 else 1.0
    return near * float(points.weight.sum() / (points.weight.sum() + _HALF_ENOUGH))
