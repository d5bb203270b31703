"""The framework of the second mini-project takes PyTorch's arguments and computes the same."""

from collections import OrderedDict
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

# Name here, name in torch.nn, positional arguments, keyword arguments, shape of the input.
LAYERS = [
    ("Conv2d", "Conv2d", (3, 5, 3), {}, (2, 3, 9, 8)),
    ("Conv2d", "Conv2d", (3, 5, (3, 2), 2, (1, 0), 1, 1, False), {}, (2, 3, 9, 8)),
    ("Conv2d", "Conv2d", (4, 6, 3, 1, "same", 2, 2, True, "zeros"), {}, (2, 4, 7, 8)),
    (
        "Conv2d",
        "Conv2d",
        (),
        {
            "in_channels": 3,
            "out_channels": 4,
            "kernel_size": 4,
            "stride": (2, 1),
            "padding": 1,
            "dilation": 1,
            "groups": 1,
            "bias": True,
            "padding_mode": "zeros",
            "device": "cpu",
            "dtype": torch.float64,
        },
        (1, 3, 8, 9),
    ),
    ("TransposeConv2d", "ConvTranspose2d", (4, 3, 3, 2, 1, 1), {}, (2, 4, 5, 6)),
    ("TransposeConv2d", "ConvTranspose2d", (4, 6, 3, 1, 0, 0, 2, False, 2), {}, (2, 4, 5, 6)),
    (
        "ConvTranspose2d",
        "ConvTranspose2d",
        (4, 3),
        {
            "kernel_size": (4, 3),
            "stride": 2,
            "padding": 1,
            "output_padding": (0, 1),
            "groups": 1,
            "bias": True,
            "dilation": 1,
            "padding_mode": "zeros",
            "device": None,
            "dtype": None,
        },
        (1, 4, 4, 5),
    ),
    ("Upsampling", "ConvTranspose2d", (4, 3, 3, 2), {"output_padding": 1}, (1, 4, 4, 5)),
    ("NearestUpsampling", "UpsamplingNearest2d", (), {"scale_factor": 3}, (2, 3, 4, 5)),
    ("NearestUpsampling", "UpsamplingNearest2d", (), {"scale_factor": (2, 1)}, (2, 3, 4, 5)),
    ("Upsample", "Upsample", (), {"scale_factor": 2, "mode": "nearest"}, (2, 3, 4, 5)),
    ("Upsample", "Upsample", (None, 2.0), {}, (2, 3, 4, 5)),
    ("Upsample", "Upsample", (None, (3.0, 2.0), "nearest", None, None), {}, (2, 3, 4, 5)),
    ("ReLU", "ReLU", (), {"inplace": False}, (2, 3, 4, 5)),
    ("ReLU", "ReLU", (False,), {}, (2, 7)),
    ("LeakyReLU", "LeakyReLU", (), {}, (2, 3, 4, 5)),
    ("LeakyReLU", "LeakyReLU", (0.2, False), {}, (2, 3, 4, 5)),
    ("LeakyReLU", "LeakyReLU", (), {"negative_slope": 0.1, "inplace": False}, (2, 3, 4, 5)),
    ("Sigmoid", "Sigmoid", (), {}, (2, 3, 4, 5)),
]


@pytest.mark.parametrize(("name", "torchs", "positional", "keywords", "shape"), LAYERS)
def test_a_layer_is_its_twin(second, name, torchs, positional, keywords, shape):
    ours = getattr(second, name)(*positional, **keywords)
    theirs = getattr(nn, torchs)(*positional, **keywords)
    assert_twin(ours, theirs, torch.randn(shape))


def near(got: Tensor | None, expected: Tensor | None) -> bool:
    return got is not None and expected is not None and torch.allclose(got, expected)


def assert_twin(ours, theirs: nn.Module, x: Tensor) -> None:
    dtypes = {name: value.dtype for name, value in ours.state_dict().items()}
    assert dtypes == {name: value.dtype for name, value in theirs.state_dict().items()}
    ours.to(torch.float64)
    theirs.to(torch.float64)
    theirs.load_state_dict(ours.state_dict())
    source = x.double().requires_grad_()
    expected = theirs(source)
    y = ours.forward(source)
    gy = torch.randn_like(expected)
    expected.backward(gy)
    gx = ours.backward(gy)
    assert near(y, expected)
    assert near(gx, source.grad)
    gradients = dict(theirs.named_parameters())
    for name, value in ours.named_parameters():
        assert near(value.grad, gradients.pop(name).grad)
        assert not value.requires_grad
    assert not gradients
    assert not y.requires_grad


@pytest.mark.parametrize("arguments", [{}, {"reduction": "sum"}, {"reduction": "mean"}])
@pytest.mark.parametrize("name", ["MSE", "MSELoss"])
def test_the_loss_is_its_twin(second, name, arguments):
    prediction = torch.rand(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    target = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    ours = getattr(second, name)(**arguments)
    expected = nn.MSELoss(**arguments)(prediction, target)
    assert near(ours.forward(prediction, target), expected)
    expected.backward()
    assert near(ours.backward(), prediction.grad)


OPTIMIZERS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "maximize": False, "foreach": None, "differentiable": False}),
    ("Adam", {}),
    ("Adam", {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": 0.01}),
    ("Adam", {"amsgrad": False, "maximize": False, "capturable": False, "fused": None}),
]


def sequence(of: ModuleType) -> OrderedDict[str, object]:
    """The network of one of the reports, with names, out of the classes of `of`."""
    transposed = getattr(of, "TransposeConv2d", nn.ConvTranspose2d)
    layers = [
        of.Conv2d(3, 6, 4, stride=2, padding=1),
        of.ReLU(),
        of.Conv2d(6, 8, 4, stride=2),
        of.LeakyReLU(0.1),
        transposed(8, 6, 4, stride=2),
        of.ReLU(),
        of.Upsample(scale_factor=2, mode="nearest"),
        of.Conv2d(6, 3, 3, padding=1),
        of.Sigmoid(),
    ]
    return OrderedDict((f"layer{index}", layer) for index, layer in enumerate(layers))


@pytest.mark.parametrize(("name", "arguments"), OPTIMIZERS)
@pytest.mark.parametrize("take", ["param", "parameters"])
def test_a_whole_training_is_its_twin(second, name, arguments, take):
    ours = second.Sequential(sequence(second)).to(torch.float64)
    theirs = nn.Sequential(sequence(nn)).to(torch.float64)  # type: ignore[arg-type]
    theirs.load_state_dict(ours.state_dict())
    our_loss, their_loss = second.MSE(), nn.MSELoss()
    our_steps = getattr(second, name)(getattr(ours, take)(), **arguments)
    their_steps = getattr(torch.optim, name)(theirs.parameters(), **arguments)
    target = torch.rand(2, 3, 16, 20, dtype=torch.float64)
    for _ in range(4):
        x = torch.rand(2, 3, 16, 20, dtype=torch.float64)
        our_steps.zero_grad()
        our_loss.forward(ours.forward(x), target)
        ours.backward(our_loss.backward())
        our_steps.step()
        their_steps.zero_grad()
        their_loss(theirs(x), target).backward()
        their_steps.step()
    state = theirs.state_dict()
    for key, value in ours.state_dict().items():
        assert torch.allclose(value, state[key], atol=1e-7), key


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("Conv2d", {"padding_mode": "reflect"}, "padding_mode='reflect' .* leave it at 'zeros'"),
        ("Conv2d", {"dtype": torch.int32}, "float dtype, got torch.int32"),
        ("ConvTranspose2d", {"padding_mode": "circular"}, "padding_mode='circular'"),
        ("Upsample", {"size": 64}, "size=64 is not supported; give a scale_factor"),
        ("Upsample", {"scale_factor": 2, "mode": "bilinear"}, "mode='bilinear'"),
        ("Upsample", {"scale_factor": 2, "align_corners": True}, "align_corners=True"),
        ("Upsample", {"scale_factor": 1.5}, "scale_factor must be an int .* got 1.5"),
        ("Upsample", {}, "scale_factor must be an int .* got None"),
        ("ReLU", {"inplace": True}, "inplace=True is not supported"),
        ("LeakyReLU", {"inplace": True}, "inplace=True is not supported"),
        ("MSE", {"reduction": "median"}, '"mean", "sum" or "none", got \'median\''),
        ("MSE", {"size_average": True}, "size_average is not supported; write reduction='mean'"),
        ("MSE", {"reduce": False}, "reduce is not supported"),
        ("SGD", {"maximize": True}, "maximize=True is not supported; leave it at False"),
        ("SGD", {"differentiable": True}, "differentiable=True"),
        ("Adam", {"amsgrad": True}, "amsgrad=True is not supported"),
        ("Adam", {"maximize": True}, "maximize=True"),
        ("Adam", {"differentiable": True}, "differentiable=True"),
        ("Adam", {"decoupled_weight_decay": True}, "decoupled_weight_decay=True"),
    ],
)
def test_what_is_not_supported_is_refused_in_one_sentence(second, name, arguments, words):
    if "Conv" in name:
        arguments = {"in_channels": 3, "out_channels": 3, "kernel_size": 3, **arguments}
    if name in ("SGD", "Adam"):
        arguments = {"params": second.Conv2d(1, 1, 1).param(), **arguments}
    with pytest.raises((TypeError, ValueError), match=words):
        getattr(second, name)(**arguments)


def test_the_same_names_mean_the_same(second):
    assert second.TransposeConv2d is second.ConvTranspose2d is second.Upsampling
    assert second.MSELoss is second.MSE
