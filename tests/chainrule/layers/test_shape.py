"""Layers that move values, and paddings, against central differences and against PyTorch."""

from typing import Any, cast

import pytest
import torch

from chainrule import (
    Flatten,
    PixelShuffle,
    PixelUnshuffle,
    ReflectionPad2d,
    ReplicationPad2d,
    Unflatten,
    ZeroPad2d,
    gradcheck,
)

nn = torch.nn
CASES = [
    (Flatten(), nn.Flatten(), (2, 3, 2, 3)),
    (Flatten(0), nn.Flatten(0), (2, 3, 2)),
    (Flatten(-3, -2), nn.Flatten(-3, -2), (2, 3, 2, 3)),
    (Unflatten(1, (3, 2)), nn.Unflatten(1, (3, 2)), (2, 6)),
    (Unflatten(-2, (-1, 2)), nn.Unflatten(-2, (-1, 2)), (2, 6, 3)),
    (PixelShuffle(2), nn.PixelShuffle(2), (2, 8, 3, 2)),
    (PixelShuffle(3), nn.PixelShuffle(3), (1, 9, 2, 3)),
    (PixelUnshuffle(2), nn.PixelUnshuffle(2), (2, 3, 4, 6)),
    (ZeroPad2d(2), nn.ZeroPad2d(2), (2, 3, 2, 3)),
    (ZeroPad2d((0, 1, 2, 3)), nn.ZeroPad2d((0, 1, 2, 3)), (2, 3, 1, 3)),
    (ReflectionPad2d(1), nn.ReflectionPad2d(1), (2, 3, 2, 4)),
    (ReflectionPad2d((0, 3, 2, 1)), nn.ReflectionPad2d((0, 3, 2, 1)), (2, 2, 3, 4)),
    (ReplicationPad2d(3), nn.ReplicationPad2d(3), (2, 3, 1, 2)),
    (ReplicationPad2d((0, 3, 2, 1)), nn.ReplicationPad2d((0, 3, 2, 1)), (2, 2, 3, 4)),
]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("ours", "theirs", "shape"), CASES)
def test_equals_its_twin(assert_twin, arranged, ours, theirs, shape, dtype):
    assert_twin(ours, theirs, torch.randn(shape, dtype=dtype))
    if len(shape) == 4:
        assert_twin(ours, theirs, arranged(torch.randn(shape, dtype=dtype), "transposed"))


@pytest.mark.parametrize(("ours", "_theirs", "shape"), CASES)
def test_passes_gradcheck(ours, _theirs, shape):
    gradcheck(ours, torch.randn(shape))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Flatten(1, 4)(torch.zeros(2, 3)), "Flatten: there is no dimension 4"),
        (lambda: Flatten(1, 0)(torch.zeros(2, 3)), "start_dim=1 is after end_dim=0"),
        (
            lambda: Unflatten(1, (2, 2))(torch.zeros(2, 6)),
            r"dimension 1 of an input of \(2, 6\) can't be cut into \(2, 2\)",
        ),
        (lambda: Unflatten(1, (-1, 4))(torch.zeros(2, 6)), r"can't be cut into \(-1, 4\)"),
        (lambda: Unflatten(1, (-1, -1))(torch.zeros(2, 6)), r"can't be cut into \(-1, -1\)"),
        (
            lambda: PixelShuffle(2)(torch.zeros(1, 6, 2, 2)),
            r"PixelShuffle: the channels must be a multiple of 4, got 6",
        ),
        (
            lambda: PixelUnshuffle(2)(torch.zeros(1, 6, 2, 3)),
            r"PixelUnshuffle: height and width must be multiples of 2, got .*\(1, 6, 2, 3\)",
        ),
        (
            lambda: ReflectionPad2d(2)(torch.zeros(1, 1, 2, 5)),
            r"needs an image larger than that, got an input of \(1, 1, 2, 5\)",
        ),
        (lambda: ZeroPad2d(-1), "ZeroPad2d: padding must be at least 0, got -1"),
        (
            lambda: ZeroPad2d(cast(Any, (1, 2))),
            r"an int or \(left, right, top, bottom\), got \(1, 2\)",
        ),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_repr_gives_the_arguments():
    assert repr(Flatten()) == "Flatten(start_dim=1, end_dim=-1)"
    assert repr(Unflatten(1, (2, 3))) == "Unflatten(dim=1, unflattened_size=(2, 3))"
    assert repr(PixelShuffle(2)) == "PixelShuffle(upscale_factor=2)"
    assert repr(PixelUnshuffle(2)) == "PixelUnshuffle(downscale_factor=2)"
    assert repr(ZeroPad2d(1)) == "ZeroPad2d((1, 1, 1, 1))"
