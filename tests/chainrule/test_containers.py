"""Containers: modules made of modules, up to whole U-Nets."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from chainrule import (
    Conv2d,
    ConvTranspose2d,
    Identity,
    LeakyReLU,
    MaxPool2d,
    Module,
    NearestUpsampling,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    SkipConcat,
    gradcheck,
)
from chainrule.gradcheck import gradcheck_direction


class TwinSkip(nn.Module):
    """Residual or SkipConcat as PyTorch would have it, with the same parameter names."""

    def __init__(self, inner: nn.Module, concatenates: bool) -> None:
        super().__init__()
        self.inner = inner
        self.concatenates = concatenates

    def forward(self, x: Tensor) -> Tensor:
        inner = self.inner(x)
        return torch.cat((x, inner), 1) if self.concatenates else x + inner


def u_net() -> Sequential:
    """Two levels, channels that share no divisor, both ways to enlarge. Takes (N, 3, 9, 7)."""
    deepest = Sequential(MaxPool2d((5, 4)), Conv2d(5, 7, 1), ReLU(), NearestUpsampling((5, 4)))
    middle = Sequential(
        Conv2d(3, 5, 3, stride=2, padding=1),
        LeakyReLU(0.1),
        SkipConcat(deepest),
        Residual(Sequential(Conv2d(12, 12, 3, padding="same"), Sigmoid())),
        ConvTranspose2d(12, 2, 3, stride=2, padding=1),
    )
    return Sequential(SkipConcat(middle), Conv2d(5, 3, 3, padding=1))


def u_net_twin() -> nn.Sequential:
    deepest = nn.Sequential(
        nn.MaxPool2d((5, 4)), nn.Conv2d(5, 7, 1), nn.ReLU(), nn.Upsample(scale_factor=(5, 4))
    )
    middle = nn.Sequential(
        nn.Conv2d(3, 5, 3, stride=2, padding=1),
        nn.LeakyReLU(0.1),
        TwinSkip(deepest, concatenates=True),
        TwinSkip(nn.Sequential(nn.Conv2d(12, 12, 3, padding="same"), nn.Sigmoid()), False),
        nn.ConvTranspose2d(12, 2, 3, stride=2, padding=1),
    )
    return nn.Sequential(TwinSkip(middle, concatenates=True), nn.Conv2d(5, 3, 3, padding=1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("batch", [1, 3])
def test_nested_skip_connections_equal_their_twin(assert_twin, dtype, batch):
    assert_twin(u_net(), u_net_twin(), torch.randn(batch, 3, 9, 7, dtype=dtype))


def test_nested_skip_connections_pass_gradcheck_along_a_direction():
    gradcheck_direction(u_net(), torch.randn(2, 3, 9, 7))


@pytest.mark.parametrize(
    "module",
    [
        Sequential(Conv2d(2, 3, 2), Sigmoid(), Conv2d(3, 1, 1)),
        Residual(Sequential(Conv2d(2, 2, 3, padding=1), Sigmoid())),
        SkipConcat(Sequential(Conv2d(2, 3, 1), Sigmoid())),
        SkipConcat(SkipConcat(Identity())),
        Residual(Residual(Sequential())),
        Sequential(),
    ],
)
def test_passes_gradcheck(module):
    gradcheck(module, torch.randn(2, 2, 3, 2))


def test_sequential_runs_in_order_and_may_be_empty(assert_near):
    x = torch.randn(1, 2, 4, 4)
    net = Sequential(ReLU(), Conv2d(2, 3, 3))
    conv = net[1]
    assert isinstance(conv, Conv2d)
    assert_near(net.infer(x), functional.conv2d(x.relu(), conv.weight, conv.bias))
    assert torch.equal(Sequential().infer(x), x)


def test_sequential_is_a_sequence_of_its_modules():
    conv, relu = Conv2d(1, 1, 1), ReLU()
    net = Sequential(conv, relu)
    assert len(net) == 2
    assert list(net) == [conv, relu]
    assert net[0] is conv
    assert net[-1] is relu


def test_names_begin_the_names_in_the_state_dict():
    net = Sequential({"encode": Conv2d(3, 4, 1), "out": Sequential(ReLU(), Conv2d(4, 1, 1))})
    assert list(net.state_dict()) == [
        "encode.weight",
        "encode.bias",
        "out.1.weight",
        "out.1.bias",
    ]
    assert list(SkipConcat(Conv2d(1, 1, 1)).state_dict()) == ["inner.weight", "inner.bias"]


@pytest.mark.parametrize(
    ("modules", "error", "message"),
    [
        ((ReLU(), torch.relu), TypeError, "Sequential: 1 is .*, not a chainrule module"),
        ((nn.ReLU(),), TypeError, r"Sequential: 0 is ReLU\(\), not a chainrule module"),
        (([ReLU()],), TypeError, "Sequential: 0 is .*, not a chainrule module"),
        (({"a.b": ReLU()},), ValueError, "Sequential: 'a.b' can't name a module; use a name"),
        (({"": ReLU()},), ValueError, "Sequential: '' can't name a module; use a name"),
    ],
)
def test_what_is_no_module_or_name_is_refused(modules, error, message):
    with pytest.raises(error, match=message):
        Sequential(*modules)


def half(channels: int) -> Module:
    return Sequential(Conv2d(channels, 5, 3, stride=2, padding=1), NearestUpsampling(2))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            Residual(Conv2d(3, 1, 1)),
            "Residual: the inner module turns (1, 3, 9, 8) into (1, 1, 9, 8); "
            "to be added, the shapes must be the same",
        ),
        (
            SkipConcat(half(3)),
            "SkipConcat: the inner module turns (1, 3, 9, 8) into (1, 5, 10, 8); only the channels "
            "may differ (with strides or pooling inside, pad the image to a multiple)",
        ),
    ],
)
def test_branches_that_do_not_meet_are_named_with_their_shapes(module, message):
    with pytest.raises(ValueError, match="inner module") as caught:
        module.forward(torch.randn(1, 3, 9, 8))
    assert str(caught.value) == message
