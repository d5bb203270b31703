"""Normalizations of single samples against central differences and against PyTorch."""

import pytest
import torch
from torch import Tensor

from chainrule import GroupNorm, InstanceNorm2d, LayerNorm, LayerNorm2d, Module, RMSNorm, gradcheck

nn = torch.nn


class TwinOfLayerNorm2d(nn.LayerNorm):
    """As torchvision writes it."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


CASES = [
    (lambda: LayerNorm(5), lambda: nn.LayerNorm(5), (3, 2, 5)),
    (lambda: LayerNorm((2, 5), eps=0.1), lambda: nn.LayerNorm([2, 5], eps=0.1), (3, 2, 5)),
    (lambda: LayerNorm(5, bias=False), lambda: nn.LayerNorm(5, bias=False), (5,)),
    (
        lambda: LayerNorm(5, elementwise_affine=False),
        lambda: nn.LayerNorm(5, elementwise_affine=False),
        (2, 5),
    ),
    (lambda: LayerNorm2d(4), lambda: TwinOfLayerNorm2d(4), (2, 4, 3, 2)),
    (lambda: RMSNorm(5), lambda: nn.RMSNorm(5), (3, 2, 5)),
    (lambda: RMSNorm((2, 3), 0.1), lambda: nn.RMSNorm([2, 3], 0.1), (3, 2, 3)),
    (
        lambda: RMSNorm(4, elementwise_affine=False),
        lambda: nn.RMSNorm(4, elementwise_affine=False),
        (3, 4),
    ),
    (lambda: GroupNorm(2, 4), lambda: nn.GroupNorm(2, 4), (2, 4, 3, 2)),
    (lambda: GroupNorm(1, 3), lambda: nn.GroupNorm(1, 3), (2, 3, 4)),
    (lambda: GroupNorm(3, 6, 0.1, False), lambda: nn.GroupNorm(3, 6, 0.1, False), (2, 6)),
    (lambda: InstanceNorm2d(3), lambda: nn.InstanceNorm2d(3), (2, 3, 2, 4)),
    (
        lambda: InstanceNorm2d(3, affine=True, track_running_stats=True),
        lambda: nn.InstanceNorm2d(3, affine=True, track_running_stats=True),
        (2, 3, 2, 4),
    ),
    (
        lambda: InstanceNorm2d(2, 0.1, 0.5, False, True),
        lambda: nn.InstanceNorm2d(2, 0.1, 0.5, False, True),
        (3, 2, 2, 2),
    ),
]


def with_weights(layer: Module) -> Module:
    """Weights and statistics that are not the ones and zeros they begin with."""
    for name, value in layer.named_tensors():
        if name in ("weight", "running_var"):
            value.uniform_(0.5, 2)
        elif value.is_floating_point():
            value.normal_()
    return layer


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("ours", "theirs", "shape"), CASES)
def test_equals_its_twin_pass_after_pass(
    assert_twin, arranged, ours, theirs, shape, training, dtype
):
    layer, twin = with_weights(ours()).train(training), theirs()
    for layout in ("contiguous", "gaps"):
        x = arranged(2 + 3 * torch.randn(shape, dtype=dtype), layout)
        assert_twin(layer, twin, x, layout)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("ours", "_theirs", "shape"), CASES)
def test_passes_gradcheck(ours, _theirs, shape, training):
    gradcheck(with_weights(ours()).train(training), torch.randn(shape))


@pytest.mark.parametrize(("ours", "theirs", "_shape"), CASES)
def test_starts_as_its_twin(assert_starts_alike, ours, theirs, _shape):
    assert_starts_alike(ours, theirs)


def test_layer_norm_2d_normalizes_the_channels_of_each_pixel():
    y = LayerNorm2d(64, eps=0).infer(5 + 3 * torch.randn(2, 64, 3, 3))
    torch.testing.assert_close(y.mean(1), torch.zeros(2, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var(1, correction=0), torch.ones(2, 3, 3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LayerNorm(0), "LayerNorm: normalized_shape must be positive, got 0"),
        (lambda: RMSNorm(()), r"RMSNorm: normalized_shape must be positive, got \(\)"),
        (
            lambda: LayerNorm((2, 3))(torch.zeros(2, 4)),
            r"LayerNorm: expected an input that ends in \(2, 3\), got \(2, 4\)",
        ),
        (
            lambda: LayerNorm(3)(torch.zeros(2, 3).long()),
            "LayerNorm: expected the input to be of a float dtype, got torch.int64",
        ),
        (
            lambda: LayerNorm(3)(torch.zeros(2, 3).double()),
            r"LayerNorm: the input is torch\.float64 and the weight torch\.float32",
        ),
        (lambda: GroupNorm(2, 3), "num_groups=2 must divide num_channels=3"),
        (
            lambda: GroupNorm(2, 4)(torch.zeros(2, 3, 5)),
            r"GroupNorm: expected \(N, 4, ...\), got \(2, 3, 5\)",
        ),
        (
            lambda: LayerNorm2d(4)(torch.zeros(2, 3, 5, 5)),
            r"LayerNorm2d: expected 4 channels, got 3 \(input is \(2, 3, 5, 5\)\)",
        ),
        (
            lambda: InstanceNorm2d(3)(torch.zeros(2, 3, 1, 1)),
            r"InstanceNorm2d: needs more than one pixel per image, got \(2, 3, 1, 1\)",
        ),
        (
            lambda: InstanceNorm2d(3)(torch.zeros(2, 3, 5)),
            r"InstanceNorm2d: expected the input to be \(N, C, H, W\), got \(2, 3, 5\)",
        ),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_repr_gives_the_arguments():
    assert repr(LayerNorm(5)) == "LayerNorm((5,), eps=1e-05)"
    assert repr(LayerNorm(5, bias=False)) == "LayerNorm((5,), eps=1e-05, bias=False)"
    assert repr(LayerNorm2d(5)) == "LayerNorm2d(5, eps=1e-05)"
    assert repr(RMSNorm((2, 3), 1e-6)) == "RMSNorm((2, 3), eps=1e-06)"
    assert repr(GroupNorm(2, 4, affine=False)) == "GroupNorm(2, 4, eps=1e-05, affine=False)"
    assert repr(InstanceNorm2d(4, affine=True)) == (
        "InstanceNorm2d(4, eps=1e-05, momentum=0.1, affine=True)"
    )
