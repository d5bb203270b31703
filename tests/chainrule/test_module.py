"""The tape and what stands on it: the promises that everything else relies on."""

import contextlib
import copy
import gc
import io
import itertools
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chainrule import (
    MSE,
    SGD,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    MaxPool2d,
    Module,
    NearestUpsampling,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    SkipConcat,
    StateDictError,
    Tape,
    TapeError,
    accumulate,
    ops,
    parameter,
)


def small_net() -> Sequential:
    return Sequential(
        Conv2d(3, 4, 3, padding=1), ReLU(), BatchNorm2d(4), Conv2d(4, 2, 3, padding=1), Sigmoid()
    )


def small_twin() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 2, 3, padding=1),
        nn.Sigmoid(),
    )


def every_layer() -> Sequential:
    """Takes (N, 3, 8, 8)."""
    return Sequential(
        SkipConcat(
            Sequential(
                Conv2d(3, 4, 3, stride=2, padding=1),
                BatchNorm2d(4),
                ReLU(),
                Residual(Sequential(Conv2d(4, 4, 3, padding="same"), ReLU())),
                MaxPool2d(2),
                NearestUpsampling(2),
                ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=1),
            )
        ),
        Conv2d(5, 3, 1),
        Sigmoid(),
    )


def gradients(module: Module) -> list[Tensor]:
    return [gradient.clone() for _, gradient in module.param()]


# -- the classic interface ----------------------------------------------------------------------


def test_forward_and_backward_of_a_network_equal_autograd(assert_twin):
    assert_twin(small_net(), small_twin(), torch.randn(2, 3, 5, 6).double())


def test_calling_a_module_is_its_forward_pass():
    net, x = small_net().eval(), torch.randn(2, 3, 5, 5)
    assert torch.equal(net(x), net.forward(x))
    assert torch.equal(net(x), net.infer(x))


def test_param_pairs_each_parameter_with_its_gradient_itself():
    net = small_net()
    net.forward(torch.randn(2, 3, 5, 5))
    net.backward(torch.ones(2, 2, 5, 5))
    pairs = net.param()
    assert [value for value, _ in pairs] == net.parameters()
    assert all(gradient is value.grad for value, gradient in pairs)
    assert any(gradient.abs().max() > 0 for _, gradient in pairs)

    net.zero_grad()
    assert all(gradient is value.grad for value, gradient in pairs)
    assert all(gradient.abs().max() == 0 for _, gradient in pairs)


def test_gradients_add_up_until_they_are_zeroed(assert_near):
    net, x, gy = (
        small_net().to(torch.float64),
        torch.randn(2, 3, 5, 5).double(),
        torch.randn(2, 2, 5, 5),
    )
    for _ in range(3):
        net.forward(x)
        net.backward(gy.double())
    thrice = gradients(net)
    net.zero_grad()
    net.forward(x)
    net.backward(gy.double())
    for got, once in zip(thrice, gradients(net), strict=True):
        assert_near(got, 3 * once)


def test_gradients_set_to_none_by_torch_begin_anew():
    net, x, gy = small_net(), torch.randn(2, 3, 5, 5), torch.randn(2, 2, 5, 5)
    net.forward(x)
    net.backward(gy)
    once = gradients(net)
    torch.optim.SGD(net.parameters(), lr=0.1).zero_grad(set_to_none=True)
    assert all(value.grad is None for value in net.parameters())
    net.zero_grad()
    torch.optim.SGD(net.parameters(), lr=0.1).zero_grad(set_to_none=True)
    net.forward(x)
    net.backward(gy)
    assert all(map(torch.equal, gradients(net), once))


def test_backward_twice_or_without_forward_is_an_error():
    conv = Conv2d(3, 8, 3)
    needs_forward = r"^Conv2d\(3, 8, kernel_size=\(3, 3\)\): backward needs a forward pass"
    with pytest.raises(TapeError, match=needs_forward):
        conv.backward(torch.ones(1, 8, 3, 3))
    conv.forward(torch.ones(1, 3, 5, 5))
    conv.backward(torch.ones(1, 8, 3, 3))
    with pytest.raises(TapeError, match=needs_forward):
        conv.backward(torch.ones(1, 8, 3, 3))

    _, back = conv.pullback(torch.ones(1, 3, 5, 5))
    back(torch.ones(1, 8, 3, 3))
    with pytest.raises(TapeError, match="has been backed already"):
        back(torch.ones(1, 8, 3, 3))


@pytest.mark.parametrize(
    ("gy", "error", "message"),
    [
        (torch.ones(1, 1, 3, 3), ValueError, "shape (1, 8, 3, 3), got (1, 1, 3, 3)"),
        (torch.ones(8, 3, 3), ValueError, "shape (1, 8, 3, 3), got (8, 3, 3)"),
        (torch.ones(()), ValueError, "shape (1, 8, 3, 3), got ()"),
        (torch.ones(1, 8, 3, 3).double(), TypeError, "is torch.float32 and its gradient torch.fl"),
        (1.0, TypeError, "to be a tensor of shape (1, 8, 3, 3), got float"),
    ],
)
def test_an_output_gradient_that_does_not_fit_is_refused_before_any_harm(gy, error, message):
    conv = Conv2d(3, 8, 3)
    _, back = conv.pullback(torch.ones(1, 3, 5, 5))
    with pytest.raises(error) as caught:
        back(gy)
    assert str(caught.value).startswith("Conv2d(3, 8, kernel_size=(3, 3)): ")
    assert message in str(caught.value)
    assert all(gradient.abs().max() == 0 for _, gradient in conv.param())
    assert back(torch.ones(1, 8, 3, 3)).shape == (1, 3, 5, 5)


@pytest.mark.parametrize(
    ("inputs", "message"), [((), "expected an input, got none"), (([1, 2],), "tensor, got list")]
)
@pytest.mark.parametrize("use", [Module.forward, Module.pullback, Module.infer])
def test_what_is_no_input_is_refused(use, inputs, message):
    with pytest.raises(TypeError, match=message):
        use(ReLU(), *inputs)


def test_a_module_without_run_or_back_says_so():
    class Half(Module):
        def run(self, x: Tensor, tape: Tape) -> Tensor:
            return x

    with pytest.raises(NotImplementedError, match=r"^Module has no run\(x, tape\): a module"):
        Module().forward(torch.ones(1))
    half = Half()
    half.forward(torch.ones(1))
    with pytest.raises(NotImplementedError, match=r"^Half has no back\(gy, tape\): a module"):
        half.backward(torch.ones(1))


# -- several passes, shared layers --------------------------------------------------------------


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_passes_with_losses_of_their_own_are_backed_in_any_order(assert_near, order):
    ours, theirs = small_net().to(torch.float64), small_twin().double()
    theirs.load_state_dict(ours.state_dict())
    inputs = torch.randn(3, 2, 3, 5, 5).double()
    targets = torch.randn(3, 2, 2, 5, 5).double()

    loss = MSE()
    passes = []
    for x, target in zip(inputs, targets, strict=True):
        y, back = ours.pullback(x)
        value, loss_back = loss.pullback(y, target)
        passes.append((value, lambda back=back, loss_back=loss_back: back(loss_back(1))))
    input_gradients = {index: passes[index][1]() for index in order}

    sources = inputs.clone().requires_grad_()
    losses = [nn.functional.mse_loss(theirs(x), t) for x, t in zip(sources, targets, strict=True)]
    torch.stack(losses).sum().backward()
    assert sources.grad is not None
    for index, (value, _) in enumerate(passes):
        assert_near(value, losses[index])
        assert_near(input_gradients[index], sources.grad[index])
    for mine, value in zip(gradients(ours), theirs.parameters(), strict=True):
        assert_near(mine, value.grad)


def test_one_layer_at_two_places(assert_twin):
    conv, twin = Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
    ours, theirs = Sequential(conv, ReLU(), conv), nn.Sequential(twin, nn.ReLU(), twin)
    assert_twin(ours, theirs, torch.randn(2, 3, 6, 5).double())
    assert ours.parameters() == [conv.weight, conv.bias]
    assert len(ours.param()) == 2
    assert list(ours.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert ours.state_dict()["0.weight"] is ours.state_dict()["2.weight"]


def test_one_activation_and_one_weight_at_two_places(assert_near):
    relu, first, second = ReLU(), Conv2d(2, 2, 3, padding=1), Conv2d(2, 2, 3, padding=1)
    second.weight = first.weight
    net = Sequential(relu, Residual(Sequential(first, relu)), second, relu).to(torch.float64)
    assert net.parameters() == [first.weight, first.bias, second.bias]

    x, weight = torch.randn(2, 2, 5, 5).double(), first.weight.clone().requires_grad_()
    z = x.relu()
    z = z + nn.functional.conv2d(z, weight, first.bias, padding=1).relu()
    z = nn.functional.conv2d(z, weight, second.bias, padding=1).relu()
    z.sum().backward()
    y = net.forward(x)
    net.backward(torch.ones_like(y))
    assert_near(first.weight.grad, weight.grad)


# -- what is kept, and for how long -------------------------------------------------------------


class Watch(Module):
    """Hands everything on, and notes on both ways whether what `other` handed on is still alive."""

    def __init__(self) -> None:
        self.handed_on: weakref.ref[Tensor] | None = None
        self.is_other_alive: Callable[[], bool] | None = None
        self.notes: list[bool] = []

    def is_alive(self) -> bool:
        return self.handed_on is not None and self.handed_on() is not None

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        self.handed_on = weakref.ref(x)
        self._note()
        return x

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        self._note()
        return gy

    def _note(self) -> None:
        if self.is_other_alive is not None:
            self.notes.append(self.is_other_alive())


def test_no_activation_is_alive_after_backward(live_bytes):
    net, x = every_layer(), torch.randn(2, 3, 8, 8)
    before = live_bytes()
    y = net.forward(x)
    output = y.untyped_storage().nbytes()
    assert live_bytes() > before + 3 * output
    net.backward(torch.ones_like(y))
    del y
    assert live_bytes() == before  # at once: nothing waits for the garbage collector


def test_each_activation_is_freed_as_soon_as_it_was_used():
    first, last = Watch(), Watch()
    first.is_other_alive = last.is_alive
    middle = Sequential(Conv2d(2, 2, 1), ReLU(), Conv2d(2, 2, 1))
    net = Sequential(Conv2d(2, 2, 1), first, middle, last, Conv2d(2, 2, 1))
    y = net.forward(torch.randn(1, 2, 3, 3))
    assert last.is_alive()  # the input of the last layer is on the tape
    net.backward(y)
    assert first.notes == [False, False]  # not yet on the way there, no more on the way back


def test_a_forward_pass_without_a_backward_pass_leaks_nothing(live_bytes):
    net, x = every_layer(), torch.randn(2, 3, 8, 8)
    net.forward(x)
    once = live_bytes()
    for _ in range(3):
        net.forward(x)
    assert live_bytes() == once


def test_the_last_pass_is_dropped_before_the_next_begins():
    watch = Watch()
    net, x = Sequential(Conv2d(2, 2, 1), watch, Conv2d(2, 2, 1)), torch.randn(1, 2, 3, 3)
    net.forward(x)
    assert watch.is_alive()
    earlier = watch.handed_on
    watch.is_other_alive = lambda: earlier is not None and earlier() is not None
    net.forward(x)
    assert watch.notes == [False]


def test_a_pass_that_is_dropped_takes_its_activations_along(live_bytes):
    net, x = every_layer(), torch.randn(2, 3, 8, 8)
    before = live_bytes()
    y, back = net.pullback(x)
    assert live_bytes() > before
    del y, back
    assert live_bytes() == before


def test_inference_keeps_nothing(live_bytes):
    first, second = Watch(), Watch()
    second.is_other_alive = first.is_alive
    net = Sequential(Conv2d(3, 4, 1), first, Conv2d(4, 4, 1), second, ReLU())
    x = torch.randn(2, 3, 8, 8)
    before = live_bytes()
    y = net.infer(x)
    assert second.notes == [False]
    assert live_bytes() == before + y.untyped_storage().nbytes()
    with pytest.raises(TapeError, match="backward needs a forward pass"):
        net.backward(y)


def test_inference_does_not_disturb_a_pass_that_waits():
    net, x = small_net().eval(), torch.randn(2, 3, 5, 5)
    y = net.forward(x)
    net.backward(y)
    expected = gradients(net)
    net.zero_grad()
    net.forward(x)
    net.infer(torch.randn(1, 3, 9, 9))
    net.backward(y)
    assert all(map(torch.equal, gradients(net), expected))


# -- the tape's order ---------------------------------------------------------------------------


class Pair(Module):
    """Two modules one after the other, with a backward pass to be spoiled."""

    def __init__(self) -> None:
        self.first, self.second = Conv2d(2, 2, 1), Sigmoid()

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        return self.second.run(self.first.run(x, tape), tape)


def test_a_record_in_the_wrong_order_names_both_modules():
    class Swapped(Pair):
        def back(self, gy: Tensor, tape: Tape) -> Tensor | None:
            gradient = self.first.back(gy, tape)
            assert gradient is not None
            return self.second.back(gradient, tape)

    net = Swapped()
    net.forward(torch.ones(1, 2, 3, 3))
    message = (
        r"^first: Conv2d\(2, 2, .*\) asks for its record, "
        r"but the last one .* is of Sigmoid\(\); back "
    )
    with pytest.raises(TapeError, match=message):
        net.backward(torch.ones(1, 2, 3, 3))


def test_a_record_left_over_is_named():
    class Forgetful(Pair):
        def back(self, gy: Tensor, tape: Tape) -> Tensor:
            return self.second.back(gy, tape)

    net = Forgetful()
    net.forward(torch.ones(1, 2, 3, 3))
    with pytest.raises(TapeError, match=r"^first: Conv2d\(2, 2, .*\): its record was left"):
        net.backward(torch.ones(1, 2, 3, 3))


def test_a_record_taken_twice_is_named():
    class Greedy(Pair):
        def back(self, gy: Tensor, tape: Tape) -> Tensor | None:
            self.first.back(self.second.back(gy, tape), tape)
            return self.first.back(gy, tape)

    net = Greedy()
    net.forward(torch.ones(1, 2, 3, 3))
    with pytest.raises(
        TapeError, match=r"^first: Conv2d\(2, 2, .*\) asks for .*, but the tape is empty$"
    ):
        net.backward(torch.ones(1, 2, 3, 3))


# -- the gradient of the input that nobody needs ------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        small_net,
        every_layer,
        lambda: Conv2d(3, 2, 3, padding=1),
        lambda: Sequential(Sigmoid(), Conv2d(3, 2, 3)),
        ReLU,
    ],
)
def test_without_the_input_gradient_the_parameters_gradients_are_the_same(make):
    net, x = make(), torch.randn(2, 3, 8, 8)
    gy = torch.randn_like(net.forward(x))
    assert net.backward(gy).shape == x.shape
    expected = gradients(net)
    net.zero_grad()
    net.forward(x)
    assert net.backward(gy, input_gradient=False) is None
    assert all(map(torch.equal, gradients(net), expected))


@pytest.mark.parametrize("first", [Conv2d(3, 4, 3), ConvTranspose2d(3, 4, 3)])
def test_without_the_input_gradient_the_first_layer_does_not_compute_it(monkeypatch, first):
    compute = ops.block_input_grad

    def refuse(gy: Tensor, y: Tensor, weight: Tensor, *rest: Any) -> Tensor:
        if weight is first.weight:
            raise ZeroDivisionError
        return compute(gy, y, weight, *rest)

    monkeypatch.setattr(ops, "block_input_grad", refuse)
    net = Sequential(first, ReLU(), Conv2d(4, 4, 3), ReLU())
    gy = torch.ones_like(net.forward(torch.randn(1, 3, 9, 9)))
    assert net.backward(gy, input_gradient=False) is None
    net.forward(torch.randn(1, 3, 9, 9))
    with pytest.raises(ZeroDivisionError):
        net.backward(gy)


# -- autograd -----------------------------------------------------------------------------------


@pytest.mark.parametrize("enabled", [True, False])
def test_autograd_on_or_off_changes_nothing_and_no_graph_is_built(enabled):
    x, gy = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    reference = every_layer()
    net = copy.deepcopy(reference)
    with torch.no_grad():
        expected = reference.forward(x)
        expected_gx = reference.backward(gy)

    for value in net.parameters():
        value.requires_grad_()
    x.requires_grad_()
    gy.requires_grad_()
    with torch.set_grad_enabled(enabled):
        y = net.forward(x)
        gx = net.backward(gy)
        inferred = net.eval().infer(x)
        loss = MSE()
        value = loss.forward(y, gy)
        loss_gradient = loss.backward()
        optimizer = SGD(net.param(), lr=0.1)
    assert expected_gx is not None
    assert gx is not None
    assert torch.equal(y, expected)
    assert torch.equal(gx, expected_gx)
    for mine, other in zip(net.parameters(), reference.parameters(), strict=True):
        assert mine.grad is not None
        assert other.grad is not None
        assert torch.equal(mine.grad, other.grad)
        assert not mine.grad.requires_grad
    assert not any(
        result.requires_grad
        for result in (y, gx, inferred, value, loss_gradient)
        if result is not None
    )
    assert x.grad is None

    with torch.set_grad_enabled(enabled):
        before = net.parameters()[0].detach().clone()
        optimizer.step()
        net.zero_grad()
        net.load_state_dict(net.state_dict())
    assert not torch.equal(net.parameters()[0], before)
    assert net.parameters()[0].is_leaf


@pytest.mark.parametrize("module", [Sequential(), Residual(ReLU()), Conv2d(1, 1, 1)])
def test_the_graph_behind_an_input_is_not_kept(module):
    leaf = torch.ones(1, 1, 2, 2, requires_grad=True)
    behind = leaf * 2
    graph = weakref.ref(behind)
    y, back = module.pullback(behind)
    inferred = module.infer(behind)
    del behind
    assert graph() is None
    assert not y.requires_grad
    assert not inferred.requires_grad
    assert not back(leaf).requires_grad


# -- writing one's own --------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1,), (3, 1), (2,), ()])
def test_a_gradient_of_another_shape_is_refused_even_if_it_broadcasts(shape):
    bias = parameter(torch.zeros(3))
    with pytest.raises(
        ValueError, match=r"parameter of shape \(3,\) can't have a gradient of shape"
    ):
        accumulate(bias, torch.ones(shape))
    assert bias.grad is not None
    assert bias.grad.tolist() == [0, 0, 0]


def test_attributes_make_parameters_buffers_and_children():
    class Block(Module):
        buffers = ("count",)

        def __init__(self) -> None:
            self.scale = parameter(torch.ones(2))
            self.count = torch.zeros(())
            self.branches = [Conv2d(1, 1, 1), ReLU()]
            self.head = Conv2d(1, 1, 1, bias=False)
            self.label = "no module"

    block = Block()
    assert [name for name, _ in block.named_parameters()] == [
        "scale",
        "branches.0.weight",
        "branches.0.bias",
        "head.weight",
    ]
    assert list(block.state_dict()) == [
        "scale",
        "count",
        "branches.0.weight",
        "branches.0.bias",
        "head.weight",
    ]
    assert [name for name, _ in block.named_children()] == ["branches.0", "branches.1", "head"]


def nested() -> Module:
    class Nested(Module):
        def __init__(self) -> None:
            self.blocks = {"a": [Conv2d(1, 1, 1, bias=False), ReLU()], "b": BatchNorm2d(1)}
            self.pairs = [(Conv2d(1, 1, 1, bias=False), "no module")]

    return Nested()


def test_children_in_dicts_and_nested_lists_are_found():
    module = nested()
    assert [name for name, _ in module.named_children()] == [
        "blocks.a.0",
        "blocks.a.1",
        "blocks.b",
        "pairs.0.0",
    ]
    assert [name for name, _ in module.named_parameters()] == [
        "blocks.a.0.weight",
        "blocks.b.weight",
        "blocks.b.bias",
        "pairs.0.0.weight",
    ]
    assert not any(each.training for _, each in module.eval().named_modules())
    twin = nested()
    twin.load_state_dict(module.state_dict())
    for name, value in twin.state_dict().items():
        assert torch.equal(value, module.state_dict()[name])


def test_two_tensors_of_one_name_are_refused():
    module = nested()
    vars(module)["blocks"] = {"1": Conv2d(1, 1, 1), 1: Conv2d(1, 1, 1)}
    with pytest.raises(ValueError, match=r"two tensors .* named 'blocks\.1\.weight'; rename one"):
        module.state_dict()


# -- several inputs and outputs -----------------------------------------------------------------


class Parts(Module):
    """(x + y, x * y) and back."""

    def run(self, x: Tensor, y: Tensor, tape: Tape) -> tuple[Tensor, Tensor]:
        tape.push(self, x, y)
        return x + y, x * y

    def back(self, gy: tuple[Tensor, Tensor], tape: Tape) -> tuple[Tensor, Tensor]:
        x, y = tape.take(self)
        gsum, gproduct = gy
        return gsum + gproduct * y, gsum + gproduct * x


def test_tuples_go_through_a_sequential_both_ways(assert_near):
    net = Sequential(Parts(), Parts())
    x, y, *gy = torch.randn(4, 3, 2).double()
    a, b = (each.clone().requires_grad_() for each in (x, y))
    c, d = a + b, a * b
    torch.autograd.backward((c + d, c * d), gy)
    outputs = net.forward(x, y)
    assert_near(outputs[0], c + d)
    gx = net.backward(tuple(gy))
    assert_near(gx[0], a.grad)
    assert_near(gx[1], b.grad)
    assert all(map(torch.equal, net.infer(x, y), outputs))


@pytest.mark.parametrize(
    ("gy", "error", "message"),
    [
        (torch.ones(2), TypeError, "gradient for each of the 2 outputs, got Tensor"),
        ((torch.ones(2),), TypeError, "gradient for each of the 2 outputs, got tuple of 1"),
        ((torch.ones(2), None), TypeError, "shape (2,), got NoneType"),
        ((torch.ones(2), torch.ones(3)), ValueError, "shape (2,), got (3,)"),
    ],
)
def test_output_gradients_that_do_not_fit_a_tuple_are_refused(gy, error, message):
    parts = Parts()
    parts.forward(torch.ones(2), torch.ones(2))
    with pytest.raises(error) as caught:
        parts.backward(gy)
    assert message in str(caught.value)


class Ranked(Module):
    """The values in order, and where they were, which has no gradient."""

    def run(self, x: Tensor, tape: Tape) -> tuple[Tensor, Tensor]:
        values, places = x.sort()
        tape.push(self, places)
        return values, places

    def back(self, gy: tuple[Tensor, None], tape: Tape) -> Tensor:
        (places,) = tape.take(self)
        return torch.zeros_like(gy[0]).scatter(0, places, gy[0])


def test_an_output_of_integers_has_no_gradient():
    model = Ranked()
    model.forward(torch.tensor([3.0, 1.0, 2.0]))
    gx = model.backward((torch.tensor([10.0, 20.0, 30.0]), None))
    assert gx.tolist() == [30, 10, 20]


# -- state dicts --------------------------------------------------------------------------------


def twins() -> tuple[Sequential, nn.Sequential]:
    ours = Sequential(
        Conv2d(3, 4, 3, groups=1), BatchNorm2d(4), ConvTranspose2d(4, 6, (2, 3), groups=2)
    )
    theirs = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ConvTranspose2d(4, 6, (2, 3), groups=2)
    )
    return ours, theirs


def test_state_dicts_are_exchanged_with_a_torch_twin_both_ways(assert_near):
    x = torch.randn(2, 3, 6, 6)
    ours, theirs = twins()
    theirs(x)  # so that the statistics and the number of batches are not those of the beginning
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict(state)
    for name, value in ours.state_dict().items():
        assert torch.equal(value, state[name])
        assert value.dtype == state[name].dtype
    assert int(ours.state_dict()["1.num_batches_tracked"]) == 1
    assert_near(ours.eval().infer(x), theirs.eval()(x))

    ours, theirs = twins()
    ours.forward(x)
    theirs.load_state_dict(ours.state_dict())
    assert_near(ours.eval().infer(x), theirs.eval()(x))


def test_loading_copies_into_the_tensors_that_are_there():
    ours, theirs = twins()
    tensors = ours.state_dict()
    ours.load_state_dict(theirs.state_dict())
    assert all(ours.state_dict()[name] is value for name, value in tensors.items())
    with torch.no_grad():
        next(theirs.parameters()).zero_()
    assert tensors["0.weight"].abs().max() > 0


def test_a_state_dict_that_does_not_fit_is_listed_and_nothing_loaded():
    ours, theirs = twins()
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    state = dict(theirs.state_dict())
    del state["0.bias"], state["1.running_var"]
    state["extra.weight"] = torch.zeros(1)
    state["2.weight"] = torch.zeros(4, 3, 3, 3)
    with pytest.raises(StateDictError) as caught:
        ours.load_state_dict(state)
    assert caught.value.missing == ["0.bias", "1.running_var"]
    assert caught.value.extra == ["extra.weight"]
    assert caught.value.misshapen == {"2.weight": ((4, 3, 2, 3), (4, 3, 3, 3))}
    assert str(caught.value) == (
        "the state dict does not fit this module; missing: 0.bias, 1.running_var; "
        "extra: extra.weight; shape: 2.weight is (4, 3, 2, 3) here and (4, 3, 3, 3) there"
    )
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"weight": torch.ones(1, 1, 1, 1)}, "missing: bias"),
        (
            {"weight": torch.ones(1, 1, 1, 1), "bias": torch.ones(1), "gain": torch.ones(1)},
            "extra: gain",
        ),
        (
            {"weight": torch.ones(1, 1, 1, 1), "bias": torch.ones(())},
            "shape: bias is (1,) here and () there",
        ),
    ],
)
def test_a_single_misfit_is_enough(state, message):
    conv = Conv2d(1, 1, 1)
    weight = conv.weight.clone()
    with pytest.raises(StateDictError) as caught:
        conv.load_state_dict(state)
    assert str(caught.value) == f"the state dict does not fit this module; {message}"
    assert torch.equal(conv.weight, weight)


# -- moving, switching, copying, showing --------------------------------------------------------


def test_to_a_dtype_keeps_the_parameters_themselves_and_converts_gradients():
    net = small_net()
    x = torch.randn(2, 3, 5, 5)
    net.backward(torch.ones_like(net.forward(x)))
    tensors, before = net.state_dict(), gradients(net)
    optimizer = SGD(net.param(), lr=0.1)

    assert net.to(torch.float64) is net
    assert all(net.state_dict()[name] is value for name, value in tensors.items())
    assert {value.dtype for value in net.parameters()} == {torch.float64}
    assert tensors["2.running_mean"].dtype == torch.float64
    assert tensors["2.num_batches_tracked"].dtype == torch.int64
    for gradient, earlier in zip(gradients(net), before, strict=True):
        assert torch.equal(gradient, earlier.double())

    weight = tensors["0.weight"].clone()
    net.backward(torch.ones_like(net.forward(x.double())))
    optimizer.step()
    assert not torch.equal(tensors["0.weight"], weight)


def test_to_takes_a_device_and_a_dtype_together_and_shared_tensors():
    conv = Conv2d(2, 2, 1)
    net = Sequential(conv, conv).to("cpu", torch.float64)
    assert net.infer(torch.ones(1, 2, 3, 3).double()).dtype == torch.float64
    assert net.to(torch.device("cpu")).parameters() == [conv.weight, conv.bias]


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bool])
def test_to_a_dtype_that_is_no_float_is_refused(dtype):
    net = small_net()
    with pytest.raises(TypeError, match=f"parameters must have a float dtype, got {dtype}"):
        net.to(dtype)
    assert {value.dtype for value in net.parameters()} == {torch.float32}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_the_gpu_it_computes_the_same():
    net, x = every_layer().to(torch.float64), torch.randn(2, 3, 8, 8).double()
    y = net.forward(x)
    gx = net.backward(torch.ones_like(y))
    expected = gradients(net)
    values = net.parameters()
    optimizer = SGD(net.param(), lr=0.1)
    net.zero_grad()

    net.cuda()
    assert net.parameters() == values
    assert torch.allclose(net.forward(x.cuda()).cpu(), y)
    assert torch.allclose(net.backward(torch.ones_like(y).cuda()).cpu(), gx)  # type: ignore[union-attr]
    for gradient, earlier in zip(gradients(net), expected, strict=True):
        assert gradient.is_cuda
        assert torch.allclose(gradient.cpu(), earlier)
    optimizer.step()
    net.to("cpu")
    assert not torch.allclose(net.forward(x), y)
    with pytest.raises(ValueError, match="the input is on cuda:0 and the weight on cpu"):
        net.forward(x.cuda())


def test_train_and_eval_reach_every_module():
    net = Sequential(Residual(Sequential(BatchNorm2d(2))), ReLU())
    assert all(module.training for _, module in net.named_modules())
    assert net.eval() is net
    assert not any(module.training for _, module in net.named_modules())
    assert net.train() is net
    assert all(module.training for _, module in net.named_modules())


def pickled(module: Module) -> Module:
    file = io.BytesIO()
    pickle.dump(module, file)
    file.seek(0)
    return pickle.load(file)


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, pickled])
def test_a_copy_does_not_take_over_the_pass_that_waits(copied: Callable[[Module], Module]):
    net, x = small_net(), torch.randn(2, 3, 5, 5)
    y = net.forward(x)
    twin = copied(net)
    with pytest.raises(TapeError, match="backward needs a forward pass"):
        twin.backward(torch.ones_like(y))
    assert all(gradient.abs().max() == 0 for _, gradient in net.param())
    net.backward(torch.ones_like(y))
    assert net.param()[0][1].abs().max() > 0


def test_repr_shows_the_tree():
    assert repr(Sequential({"encode": Conv2d(3, 4, 1), "skip": Residual(Sequential(ReLU()))})) == (
        "Sequential(\n"
        "  (encode): Conv2d(3, 4, kernel_size=(1, 1))\n"
        "  (skip): Residual(\n"
        "    (inner): Sequential(\n"
        "      (0): ReLU()\n"
        "    )\n"
        "  )\n"
        ")"
    )


def test_a_module_that_fails_halfway_leaves_nothing_behind(live_bytes):
    net = Sequential(Conv2d(3, 4, 3), ReLU(), Conv2d(5, 4, 3))
    x = torch.randn(1, 3, 8, 8)
    before = live_bytes()
    with contextlib.suppress(ValueError):
        net.forward(x)
    gc.collect()  # the traceback's frames form cycles
    assert live_bytes() == before
    with pytest.raises(TapeError):
        net.backward(x)
