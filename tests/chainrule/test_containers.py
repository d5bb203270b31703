"""Containers: modules made of modules, up to whole U-Nets."""

import copy
import pickle
from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from chainrule import (
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Identity,
    LeakyReLU,
    MaxPool2d,
    Module,
    ModuleDict,
    ModuleList,
    NearestUpsampling,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    SkipConcat,
    Tape,
    fuse,
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


# -- lists that grow -------------------------------------------------------------------------------


def same_names(ours: Module, theirs: nn.Module) -> bool:
    return [*ours.state_dict()] == [*theirs.state_dict()]


@pytest.mark.parametrize("index", [slice(1), slice(1, None), slice(0, 3, 2), slice(-1, None)])
def test_a_slice_keeps_names_and_parameters(index):
    ours = Sequential({name: Conv2d(2, 2, 1) for name in "abc"})[index]
    theirs = nn.Sequential(OrderedDict({name: nn.Conv2d(2, 2, 1) for name in "abc"}))[index]
    assert same_names(ours, theirs)
    whole = Sequential(Conv2d(2, 3, 1), ReLU(), Conv2d(3, 2, 1))
    x = torch.randn(1, 2, 3, 3)
    assert torch.equal(whole[1:](whole[:1](x)), whole(x))
    assert whole[:1][0] is whole[0]
    assert len(whole) == 3


@pytest.mark.parametrize("kinds", [(Sequential, nn.Sequential), (ModuleList, nn.ModuleList)])
def test_lists_grow_as_pytorchs(kinds):
    ours, theirs = kinds[0](), kinds[1]()
    assert ours.append(Conv2d(2, 3, 1)) is ours
    theirs.append(nn.Conv2d(2, 3, 1))
    ours.extend([ReLU(), Conv2d(3, 2, 1)])
    theirs.extend([nn.ReLU(), nn.Conv2d(3, 2, 1)])
    ours.insert(1, BatchNorm2d(3))
    theirs.insert(1, nn.BatchNorm2d(3))
    ours.insert(3, Sigmoid())
    theirs.insert(3, nn.Sigmoid())
    assert [type(each).__name__ for each in ours] == [type(each).__name__ for each in theirs]
    assert [name for name in ours.state_dict() if "num_batches" not in name] == [
        name for name in theirs.state_dict() if "num_batches" not in name
    ]


def test_what_was_appended_runs_also_where_the_sequential_stands_in_another(assert_near):
    inner = Sequential(Conv2d(2, 2, 1))
    outer = Sequential(Sequential(inner), Sigmoid())
    twins = [copy.deepcopy(outer), pickle.loads(pickle.dumps(outer))]
    inner.append(ReLU()).insert(0, LeakyReLU(0.5))
    x = torch.randn(1, 2, 3, 3)
    assert_near(outer(x), inner.infer(x).sigmoid())
    for twin in twins:
        twin[0][0].append(ReLU())
        assert_near(twin(x), twin[0][0].infer(x).sigmoid())
        assert float(twin(x).min()) >= 0.5


def test_a_fused_model_stays_fused_when_the_original_grows():
    inner = Sequential(Conv2d(2, 2, 1), ReLU())
    outer = Sequential(inner)
    fused = fuse(outer)
    assert isinstance(fused, Sequential)
    steps = [type(step).__name__ for step in fused.steps]
    inner.append(ReLU())
    assert [type(step).__name__ for step in fused.steps] == steps == ["FusedConvolution"]
    assert len(outer.steps) == 3


def test_lists_refuse_what_does_not_fit():
    with pytest.raises(TypeError, match=r"ModuleList: 1 is .*, not a chainrule module"):
        ModuleList([ReLU()]).append(torch.relu)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a module is named '1' already"):
        Sequential({"1": ReLU()}).append(ReLU())
    with pytest.raises(ValueError, match=r"only numbered modules make room .* named 'a', 'b'"):
        Sequential({"a": ReLU(), "b": ReLU()}).insert(0, ReLU())


class Routed(Module):
    """Runs the module of a dict that was chosen, then all of a list."""

    def __init__(self) -> None:
        self.entrances = ModuleDict({"a": Conv2d(2, 3, 1), "b": Conv2d(2, 3, 3, padding=1)})
        self.layers = ModuleList([Sigmoid(), Conv2d(3, 2, 1)])
        self.chosen = "b"

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        x = self.entrances[self.chosen].run(x, tape)
        for layer in self.layers:
            x = layer.run(x, tape)
        return x

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        for layer in reversed([*self.layers]):
            gy = layer.back(gy, tape)
        return self.entrances[self.chosen].back(gy, tape)


def test_lists_and_dicts_of_modules_are_children_by_pytorchs_names():
    module = Routed()
    module.entrances["c"] = Conv2d(2, 3, 1, bias=False)
    assert [*module.entrances] == [*module.entrances.keys()] == ["a", "b", "c"]
    assert "b" in module.entrances
    assert "d" not in module.entrances
    assert [each for _, each in module.entrances.items()] == [*module.entrances.values()]
    assert [*module.state_dict()] == [
        "entrances.a.weight",
        "entrances.a.bias",
        "entrances.b.weight",
        "entrances.b.bias",
        "entrances.c.weight",
        "layers.1.weight",
        "layers.1.bias",
    ]
    module.zero_grad()
    gradcheck(module, torch.randn(1, 2, 3, 3))


@pytest.mark.parametrize("module", [ModuleList([ReLU()]), ModuleDict({"a": ReLU()})])
def test_what_only_holds_modules_says_so_when_it_is_called(module):
    with pytest.raises(NotImplementedError, match="only holds modules: call their run"):
        module(torch.ones(1))
