"""Fusion: the same parameters, the same names and the same numbers, in fewer steps."""

import copy
import pickle
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from chainrule import (
    MSE,
    SGD,
    Adam,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    FusedConvolution,
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
    Tanh,
    Tape,
    backend,
    fuse,
    gradcheck,
    summary,
    use_backend,
)
from noise2noise.networks import ARCHITECTURES, build


class Doubled(Conv2d):
    """A layer that says it is a convolution, and does something else."""

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        return super().run(x, tape) * 2

    def back(self, gy: Tensor, tape: Tape) -> Tensor | None:
        return super().back(gy * 2, tape)


class Shifted(ReLU):
    def run(self, x: Tensor, tape: Tape) -> Tensor:
        return super().run(x, tape) + 1


class Branches(Module):
    """A container of one's own: children in attributes and in a list, and a parameter."""

    def __init__(self) -> None:
        self.stem = Sequential(Conv2d(3, 4, 3, padding=1), ReLU())
        self.branches = [Sequential(Conv2d(4, 3, 1), Sigmoid()), Sequential(Conv2d(4, 3, 1))]
        self.strength = torch.full((1,), 0.5)

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        stem = self.stem.run(x, tape)
        first, second = (branch.run(stem, tape) for branch in self.branches)
        tape.push(self, second)
        return first + self.strength * second

    def back(self, gy: Tensor, tape: Tape) -> Tensor | None:
        (second,) = tape.take(self)
        self.strength.grad = (gy * second).sum().reshape(1)
        gstem = self.branches[1].back(gy * self.strength, tape)
        other = self.branches[0].back(gy, tape)
        assert gstem is not None
        assert other is not None
        return self.stem.back(gstem + other, tape)


def shared_layer() -> Sequential:
    """One convolution and one activation at two places."""
    layer, activation = Conv2d(3, 3, 3, padding=1), LeakyReLU(0.2)
    return Sequential(layer, activation, layer, activation)


def shared_container() -> Sequential:
    inner = Sequential(Conv2d(3, 3, 3, padding=1), Sigmoid())
    return Sequential(inner, Residual(inner), inner)


def normalized() -> Sequential:
    return Sequential(Conv2d(3, 4, 3), BatchNorm2d(4), ReLU(), Conv2d(4, 3, 1), Tanh())


NETS: dict[str, Callable[[], Module]] = {
    "all that merges": lambda: Sequential(
        Conv2d(3, 6, 3, padding="same"),
        ReLU(),
        Conv2d(6, 4, (4, 2), stride=2, padding=1, groups=2, bias=False),
        LeakyReLU(0.3),
        NearestUpsampling((2, 3)),
        Conv2d(4, 5, 3, padding="same"),
        NearestUpsampling(2),
        Conv2d(5, 4, 4, padding="same", bias=False),
        Sigmoid(),
        ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
        ReLU(),
        ConvTranspose2d(6, 3, 2, bias=False),
        Sigmoid(),
    ),
    "what does not merge": lambda: Sequential(
        NearestUpsampling(2),
        Conv2d(3, 4, 3, stride=2, padding=1),
        NearestUpsampling(2),
        Conv2d(4, 4, 3, dilation=2),
        NearestUpsampling(2),
        Conv2d(4, 4, 3, groups=2),
        NearestUpsampling(2),
        ConvTranspose2d(4, 3, 3),
        Tanh(),
        ReLU(),
        Sigmoid(),
        NearestUpsampling(2),
        NearestUpsampling(1),
        MaxPool2d(2),
        Conv2d(3, 3, 3),
    ),
    "batch normalization": normalized,
    "layers of one's own": lambda: Sequential(
        Doubled(3, 4, 3), ReLU(), Conv2d(4, 4, 1), Shifted(), NearestUpsampling(2), Doubled(4, 3, 1)
    ),
    "a layer twice": shared_layer,
    "a container twice": shared_container,
    "a container of one's own": Branches,
    "nested": lambda: Sequential(
        Sequential(NearestUpsampling(2)),
        Sequential(Sequential(Conv2d(3, 4, 3, padding=1)), Identity()),
        SkipConcat(Sequential(ReLU(), Sequential(Conv2d(4, 5, 3, padding=1), ReLU()))),
        Sequential(Conv2d(9, 3, 3)),
        LeakyReLU(),
    ),
    "named": lambda: Sequential({"encode": Conv2d(3, 3, 3), "activate": ReLU()}),
    "nothing": lambda: Sequential(),
    "one layer": lambda: Conv2d(3, 3, 3),
    "compact": lambda: build("compact", width=12),
    "unet": lambda: build("unet", width=12, depth=2),
    "leaky zhao": lambda: build("zhao", leaky=1, width=12),
    "mery without skip": lambda: build("mery-skip", width=8, skip=0),
    **{
        name: lambda name=name: build(name, width=12)
        for name, architecture in ARCHITECTURES.items()
        if name not in ("compact", "unet") and not architecture.told  # whose input is more
    },
}


@pytest.fixture(params=["native", "reference"])
def both_backends(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "native" and backend() == "reference":
        pytest.skip("the kernels are not compiled, or kept out")
    with use_backend(request.param):
        yield request.param


def randomized(name: str) -> Module:
    """The network with no parameter zero, as `compact` has them at first."""
    model = NETS[name]()
    for value in model.parameters():
        value.normal_(0, 0.3)
    return model


def output_gradient(y: Tensor) -> Tensor:
    """All of one sign: what cancels in a sum leaves nothing to measure float32's error by."""
    return torch.linspace(0.1, 1, y.numel()).reshape(y.shape).to(y)


def results(model: Module, x: Tensor) -> dict[str, Tensor]:
    """Output, gradients and inference of one pass."""
    model.zero_grad()
    y = model.forward(x)
    gx = model.backward(output_gradient(y))
    assert gx is not None
    gradients = {key: gradient.clone() for key, gradient in gradients_of(model).items()}
    return {"y": y, "gx": gx, "infer": model.infer(x), **gradients}


def gradients_of(model: Module) -> dict[str, Tensor]:
    found = {}
    for name, value in model.named_parameters():
        assert value.grad is not None
        found[name] = value.grad
    return found


def assert_same(got: dict[str, Tensor], expected: dict[str, Tensor], most: float) -> None:
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        assert got[name].shape == value.shape
        error, largest = float((got[name] - value).abs().max()), float(value.abs().max())
        assert error <= most * largest, f"{name}: {error} beside {largest}"


# -- the same model -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
def test_same_names_same_tensors(name):
    model = NETS[name]()
    fused = fuse(model)
    assert type(fused) is type(model)
    state, expected = fused.state_dict(), model.state_dict()
    assert list(state) == list(expected)
    assert all(state[key] is expected[key] for key in state)
    assert [key for key, _ in fused.named_parameters()] == [
        key for key, _ in model.named_parameters()
    ]
    assert repr(fused) == repr(model)


@pytest.mark.parametrize("name", NETS)
def test_same_numbers(name, both_backends):
    model, x = randomized(name), torch.rand(2, 3, 16, 16)
    assert_same(results(fuse(model), x), results(model, x), 1e-4)


@pytest.mark.parametrize("name", NETS)
def test_same_numbers_in_float64(name):
    """Here nothing is rounded that one could take for a mistake, or a mistake for it."""
    model, x = randomized(name).to(torch.float64), torch.rand(2, 3, 16, 16, dtype=torch.float64)
    assert_same(results(fuse(model), x), results(model, x), 1e-11)


@pytest.mark.parametrize("name", NETS)
def test_what_is_fused_comes_out_the_same(name):
    model, x = randomized(name).to(torch.float64), torch.rand(1, 3, 16, 16, dtype=torch.float64)
    once = fuse(model)
    twice = fuse(once)
    assert steps(twice) == steps(once)
    assert list(twice.state_dict()) == list(model.state_dict())
    assert_same(results(twice, x), results(model, x), 1e-11)


def steps(model: Module) -> list[str]:
    """What the Sequentials of a model do, step by step."""
    return [
        "+".join(type(one).__name__ for one in step.merged())
        if isinstance(step, FusedConvolution)
        else type(step).__name__
        for _, module in model.named_modules()
        if isinstance(module, Sequential)
        for step in module.steps
    ]


def test_what_merges():
    assert steps(fuse(NETS["all that merges"]())) == [
        "Conv2d+ReLU",
        "Conv2d+LeakyReLU",
        "NearestUpsampling+Conv2d",
        "NearestUpsampling+Conv2d+Sigmoid",
        "ConvTranspose2d+ReLU",
        "ConvTranspose2d+Sigmoid",
    ]


@pytest.mark.parametrize(
    "name", ["what does not merge", "batch normalization", "layers of one's own"]
)
def test_what_does_not_merge(name):
    model = NETS[name]()
    assert steps(fuse(model)) == steps(model)


@pytest.mark.parametrize("before", [[], [NearestUpsampling(2)]])
def test_a_convolution_without_activation_keeps_its_input_and_not_its_output(before):
    tape, x = Tape(), torch.rand(1, 3, 8, 8)
    fuse(Sequential(*before, Conv2d(3, 4, 3))).run(x, tape)
    ((_, kept),) = tape
    assert [value for value in kept if value is not None] == [x]


def test_the_model_itself_is_left_as_it_was():
    model = NETS["nested"]()
    before, x = steps(model), torch.rand(1, 3, 8, 8)
    expected = model.infer(x)
    fuse(model)
    assert steps(model) == before
    assert torch.equal(model.infer(x), expected)


def test_a_pass_that_waits_for_its_backward_is_not_taken_over():
    model = Sequential(Conv2d(3, 3, 3), ReLU())
    y = model.forward(torch.rand(1, 3, 8, 8))
    with pytest.raises(RuntimeError, match="needs a forward pass of its own"):
        fuse(model).backward(y)
    model.backward(y)


def test_the_errors_are_those_of_the_layers():
    model = Sequential(NearestUpsampling(2), Conv2d(3, 4, 3), ReLU(), ConvTranspose2d(5, 1, 1))
    for x, sentence in [
        (
            torch.zeros(1, 4, 8, 8),
            "Conv2d: expected 3 input channels (weight is (4, 3, 3, 3)), got",
        ),
        (torch.zeros(1, 3, 1, 1), "Conv2d: the window spans (3, 3)"),
        (torch.zeros(3, 8, 8), "expected the input to be (N, C, H, W), got (3, 8, 8)"),
        (torch.zeros(1, 3, 8, 8), "ConvTranspose2d: expected 5 input channels"),
    ]:
        with pytest.raises(ValueError, match=re.escape(sentence)):
            fuse(model).forward(x)
    with pytest.raises(TypeError, match=r"Conv2d: the input is torch.float64 and the weight"):
        fuse(Sequential(Conv2d(3, 4, 3), ReLU())).infer(torch.zeros(1, 3, 8, 8).double())


# -- training -------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [SGD, Adam])
def test_training_one_trains_the_other(make, both_backends):
    """Step by step the fused model learns what the model itself would have learned."""
    models = [randomized("all that merges")]
    models.append(copy.deepcopy(models[0]))
    x = torch.rand(2, 3, 8, 8)
    target = torch.rand(models[0].infer(x).shape)
    runs: list[list[float]] = []
    for trained in (fuse(models[0]), models[1]):
        optimizer, loss = make(trained.param(), lr=0.01), MSE()
        runs.append([])
        for _ in range(5):
            runs[-1].append(float(loss.forward(trained.forward(x), target)))
            trained.zero_grad()
            trained.backward(loss.backward(), input_gradient=False)
            optimizer.step()
    assert runs[0] == pytest.approx(runs[1], rel=1e-4)
    for value, expected in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.allclose(value, expected, rtol=1e-3, atol=1e-4)


def test_weights_loaded_into_either_are_in_both():
    model, other = randomized("nested"), randomized("nested")
    fused = fuse(model)
    fused.load_state_dict(other.state_dict())
    x = torch.rand(1, 3, 8, 8)
    assert torch.equal(model.infer(x), other.infer(x))
    model.to(torch.float64)
    assert fused.infer(x.double()).dtype is torch.float64


def test_evaluation_reaches_the_layers(both_backends):
    model = normalized()
    fused, x = fuse(model), torch.randn(4, 3, 8, 8)
    fused.forward(x)
    fused.eval()
    assert not any(module.training for _, module in fused.named_modules())
    assert_same({"y": fused.infer(x)}, {"y": model.eval().infer(x)}, 1e-5)
    assert not torch.allclose(fused.infer(x), fused.train().infer(x))


def test_copies_and_pickles_are_models_of_their_own():
    fused, x = fuse(randomized("a layer twice")), torch.rand(1, 3, 8, 8)
    expected = fused.infer(x)
    for twin in (copy.deepcopy(fused), pickle.loads(pickle.dumps(fused))):
        assert steps(twin) == steps(fused)
        assert torch.equal(twin.infer(x), expected)
        for value in twin.parameters():
            value.zero_()
        assert not twin.infer(x).any()
        assert torch.equal(fused.infer(x), expected)


def test_a_summary_counts_what_the_layers_do():
    model = randomized("all that merges")
    plain, merged = (summary(one, (1, 3, 8, 8)) for one in (model, fuse(model)))
    assert merged.parameters == plain.parameters
    assert merged.multiply_adds == plain.multiply_adds
    assert merged.training_bytes <= plain.training_bytes


# -- the tape -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["all that merges", "nested", "mery-skip"])
def test_no_activation_is_alive_after_backward(name, live_bytes):
    fused, x = fuse(randomized(name)), torch.rand(2, 3, 16, 16)
    fused.zero_grad()
    before = live_bytes()
    y = fused.forward(x)
    assert live_bytes() > before + y.untyped_storage().nbytes()
    fused.backward(torch.ones_like(y), input_gradient=False)
    del y
    assert live_bytes() == before


def test_inference_keeps_nothing(live_bytes):
    fused, x = fuse(randomized("nested")), torch.rand(2, 3, 16, 16)
    before = live_bytes()
    y = fused.infer(x)
    assert live_bytes() == before + y.untyped_storage().nbytes()


@pytest.mark.parametrize("name", ["a layer twice", "nested", "a container twice"])
def test_several_forward_passes_before_their_backward_passes(name, both_backends):
    model = randomized(name)
    fused, inputs = fuse(model), [torch.rand(1, 3, 12, 9 + size) for size in range(3)]
    expected = [results(model, x) for x in inputs]
    fused.zero_grad()
    passes = [fused.pullback(x) for x in inputs]
    for at in (1, 0, 2):
        y, back = passes[at]
        gx = back(output_gradient(y))
        assert_same({"y": y, "gx": gx}, {key: expected[at][key] for key in ("y", "gx")}, 1e-4)
    sums = {
        key: sum((one[key] for one in expected), torch.zeros(()))
        for key in expected[0]
        if key not in ("y", "gx", "infer")
    }
    assert_same(gradients_of(fused), sums, 1e-4)


def test_the_gradient_of_the_input_is_left_out_when_nobody_wants_it(both_backends):
    model = randomized("all that merges")
    x = torch.rand(1, 3, 8, 8)
    expected = results(model, x)
    fused = fuse(model)
    fused.zero_grad()
    y = fused.forward(x)
    gy = output_gradient(y)
    assert fused.backward(gy, input_gradient=False) is None
    got = gradients_of(fused)
    assert_same(got, {key: expected[key] for key in got}, 1e-4)


# -- the step itself ------------------------------------------------------------------------------

UP = NearestUpsampling((2, 3))
STEPS: list[Callable[[], Any]] = [
    lambda: FusedConvolution(Conv2d(2, 3, 3, padding=1), None, ReLU()),
    lambda: FusedConvolution(Conv2d(4, 6, (2, 3), 2, 1, groups=2, bias=False), None, LeakyReLU()),
    lambda: FusedConvolution(Conv2d(2, 3, 3, dilation=2, padding=2), None, Sigmoid()),
    lambda: FusedConvolution(Conv2d(2, 3, 3, padding="same"), UP),
    lambda: FusedConvolution(Conv2d(2, 1, (2, 4), padding="same"), UP, ReLU()),
    lambda: FusedConvolution(Conv2d(2, 3, 5), NearestUpsampling(3), Sigmoid()),
    lambda: FusedConvolution(ConvTranspose2d(2, 3, 3, 2, 1, 1), None, LeakyReLU(0.1)),
    lambda: FusedConvolution(ConvTranspose2d(4, 2, (3, 2), (1, 3), groups=2), None, Sigmoid()),
]


def in_channels(step: FusedConvolution) -> int:
    first, second = step.layer.weight.shape[:2]
    return first if isinstance(step.layer, ConvTranspose2d) else second * step.layer.groups


@pytest.mark.parametrize("make", STEPS)
def test_gradients_pass_gradcheck(make):
    step = make()
    gradcheck(step, torch.randn(2, in_channels(step), 4, 3))


@pytest.mark.parametrize("make", STEPS)
def test_a_step_does_what_its_layers_do(make, both_backends):
    step = make()
    x = torch.randn(3, in_channels(step), 7, 6)
    expected = results(Sequential(*step.merged()), x)
    weights = {"weight": "layer.weight", "bias": "layer.bias"}
    renamed = {weights.get(key.rpartition(".")[2], key): value for key, value in expected.items()}
    assert_same(results(step, x), renamed, 1e-5)
    names = "+".join(type(one).__name__ for one in step.merged())
    assert step.arguments().replace(" ", "") == names
