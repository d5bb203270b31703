"""How ONNX writes the functions of one value: docs/gradients.md#splines."""

from __future__ import annotations

import numpy as np

from chainrule.export.graph import Writer, translates
from chainrule.export.sequences import LAYERS
from chainrule.layers.spline import Inverse, MonotoneSpline, PiecewiseLinear, PositiveSpline
from chainrule.recording import Call

__all__ = ["LAYERS"]

Inputs = tuple[str, ...]


@translates(PiecewiseLinear)
def piecewise_linear(write: Writer, call: Call, inputs: Inputs) -> str:
    return _evaluated(write, inputs[0], write.weight(call, "weight"), _ends(write, call), call)


@translates(PositiveSpline)
def positive(write: Writer, call: Call, inputs: Inputs) -> str:
    low, high = _ends(write, call)
    inside = write.node("Clip", inputs[0], low, high)
    values = write.node("Exp", write.weight(call, "weight"))
    return _evaluated(write, inside, values, (low, high), call)


@translates(MonotoneSpline)
def monotone(write: Writer, call: Call, inputs: Inputs) -> str:
    ends = _ends(write, call)
    return _evaluated(write, inputs[0], _growing(write, call, ends), ends, call)


@translates(Inverse)
def inverse(write: Writer, call: Call, inputs: Inputs) -> str:
    """The piece is found by how many of its values, but for the first and the last, y reaches."""
    (y,), place = inputs, "spline."
    ends = _ends(write, call, place)
    values = _growing(write, call, ends, place)
    knots = _knots(call)
    inner = write.node("Slice", values, write.integers(1), write.integers(knots - 1))
    reached = write.node("GreaterOrEqual", write.node("Unsqueeze", y, write.integers(-1)), inner)
    counted = write.node("Cast", reached, to=_INT64)
    piece = write.node("ReduceSum", counted, write.integers(-1), keepdims=0)
    left, right = _around(write, values, piece)
    share = write.node("Div", write.node("Sub", y, left), write.node("Sub", right, left))
    steps = write.node("Add", write.node("CastLike", piece, y), share)
    return write.node("Add", ends[0], write.node("Mul", steps, _step(write, ends, knots)))


_INT64 = 7  # ONNX's number of the type


def _knots(call: Call) -> int:
    module = call.module
    spline = module.spline if isinstance(module, Inverse) else module
    assert isinstance(spline, PiecewiseLinear)
    return spline.knots


def _ends(write: Writer, call: Call, place: str = "") -> tuple[str, str]:
    """The first and the last knot, scalars."""
    ends = write.weight(call, f"{place}ends")
    low, high = (write.node("Gather", ends, write.array(np.array(i))) for i in (0, 1))
    return low, high


def _step(write: Writer, ends: tuple[str, str], knots: int) -> str:
    return write.node("Div", write.node("Sub", ends[1], ends[0]), write.number(knots - 1))


def _growing(write: Writer, call: Call, ends: tuple[str, str], place: str = "") -> str:
    """A monotone spline's values at the knots."""
    slopes = write.node("Exp", write.weight(call, f"{place}weight"))
    rises = write.node("Mul", slopes, _step(write, ends, _knots(call)))
    first = write.weight(call, f"{place}bias")
    above = write.node("CumSum", rises, write.array(np.array(0)))
    return write.node("Concat", first, write.node("Add", first, above), axis=0)


def _evaluated(write: Writer, x: str, values: str, ends: tuple[str, str], call: Call) -> str:
    knots = _knots(call)
    steps = write.node("Div", write.node("Sub", x, ends[0]), _step(write, ends, knots))
    bounds = write.number(0), write.number(knots - 2)
    whole = write.node("Clip", write.node("Floor", steps), *bounds)
    left, right = _around(write, values, write.node("Cast", whole, to=_INT64))
    rise = write.node("Mul", write.node("Sub", right, left), write.node("Sub", steps, whole))
    return write.node("Add", left, rise)


def _around(write: Writer, values: str, piece: str) -> tuple[str, str]:
    """The values at the ends of the piece of this number."""
    following = write.node("Add", piece, write.array(np.array(1)))
    left, right = (write.node("Gather", values, place) for place in (piece, following))
    return left, right
