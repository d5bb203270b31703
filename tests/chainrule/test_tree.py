"""Children, parameters, state, devices and modes, by PyTorch's names for them."""

import copy
import pickle

import pytest
import torch
from torch import nn

from chainrule import (
    SGD,
    Adam,
    BatchNorm2d,
    Conv1d,
    Conv2d,
    Linear,
    ReLU,
    Sequential,
    StateDictError,
    fuse,
    gradcheck,
)


def encoder_and_head() -> Sequential:
    return Sequential(
        {"encoder": Sequential(Conv2d(3, 4, 3), BatchNorm2d(4), ReLU()), "head": Conv2d(4, 2, 1)}
    )


def test_children_and_modules_come_as_pytorchs():
    shared = ReLU()
    ours = Sequential(Conv2d(3, 4, 3), shared, Sequential(shared, Conv2d(4, 3, 3)))
    assert [*ours.children()] == [*ours]
    assert [type(each).__name__ for each in ours.modules()] == [
        "Sequential",
        "Conv2d",
        "ReLU",
        "Sequential",
        "Conv2d",
    ]


def test_apply_reaches_children_before_their_parents():
    ours, theirs = Sequential(Conv2d(3, 4, 3), ReLU()), nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    met: list[str] = []
    expected: list[str] = []
    assert ours.apply(lambda module: met.append(type(module).__name__)) is ours
    theirs.apply(lambda module: expected.append(type(module).__name__))
    assert met == expected


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("half", torch.float16), ("float", torch.float32), ("double", torch.float64)],
)
def test_a_model_converted_by_name_computes_in_that_dtype(name, dtype):
    model = getattr(encoder_and_head(), name)()
    y = model(torch.randn(2, 3, 8, 8, dtype=dtype))
    assert y.dtype == dtype
    assert model.backward(torch.ones_like(y)).dtype == dtype
    assert {value.grad.dtype for value in model.parameters() if value.grad is not None} == {dtype}


def test_a_model_goes_back_to_the_cpu():
    model = Linear(2, 3)
    assert model.cpu() is model
    assert {value.device.type for value in model.parameters()} == {"cpu"}


def test_to_takes_device_dtype_and_memory_format_by_name():
    model = encoder_and_head()
    weight, before = model[1].own_parameters()["weight"], model(torch.ones(1, 3, 8, 8))
    assert model.to(device="cpu", dtype=torch.float64, memory_format=torch.channels_last) is model
    assert weight.dtype == torch.float64
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(model.float()(torch.ones(1, 3, 8, 8)), before, atol=1e-6)


def test_a_state_dict_that_fits_in_part_is_loaded_in_part():
    ours, theirs = encoder_and_head(), encoder_and_head()
    state = theirs.state_dict()
    del state["head.bias"]
    state["other"] = torch.ones(1)
    kept = ours.state_dict()["head.bias"].clone()
    with pytest.raises(StateDictError, match=r"missing: head\.bias; extra: other"):
        ours.load_state_dict(state)
    result = ours.load_state_dict(state, strict=False)
    assert result.missing_keys == ["head.bias"]
    assert result.unexpected_keys == ["other"]
    assert torch.equal(ours.state_dict()["head.weight"], state["head.weight"])
    assert torch.equal(ours.state_dict()["head.bias"], kept)
    assert ours.load_state_dict(theirs.state_dict()) == ([], [])


def test_shapes_must_fit_in_part_too():
    state = {"head.weight": torch.ones(1)}
    with pytest.raises(StateDictError, match=r"head\.weight is \(2, 4, 1, 1\) here and \(1,\)"):
        encoder_and_head().load_state_dict(state, strict=False)


def test_gradients_may_be_set_to_none():
    model = encoder_and_head()
    model.zero_grad(set_to_none=True)
    assert all(value.grad is None for value in model.parameters())
    model(torch.randn(1, 3, 8, 8))
    model.backward(torch.randn(1, 2, 6, 6))
    assert all(value.grad is not None for value in model.parameters())


# -- frozen ----------------------------------------------------------------------------------------


def gradients_after_a_pass(model: Sequential) -> dict[str, torch.Tensor | None]:
    torch.manual_seed(1)
    y = model(torch.randn(2, 3, 8, 8))
    model.backward(torch.randn(y.shape), input_gradient=False)
    return {name: value.grad for name, value in model.named_parameters()}


def test_a_frozen_part_gets_no_gradients_and_the_rest_the_same():
    model = encoder_and_head()
    expected = {
        name: value.clone()
        for name, value in gradients_after_a_pass(model).items()
        if value is not None
    }
    model.zero_grad()
    encoder = dict(model.named_children())["encoder"]
    assert encoder.requires_grad_(False) is encoder
    found = gradients_after_a_pass(model)
    for name, value in found.items():
        if name.startswith("encoder"):
            assert value is None
        else:
            assert value is not None
            assert torch.equal(value, expected[name])

    encoder.requires_grad_()
    model.zero_grad()
    for name, value in gradients_after_a_pass(model).items():
        assert value is not None
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize("kind", [SGD, Adam, torch.optim.SGD])
def test_optimizers_pass_over_what_is_frozen(kind):
    model = encoder_and_head()
    optimizer = kind(model.parameters(), lr=0.1, weight_decay=0.1)
    gradients_after_a_pass(model)
    dict(model.named_children())["encoder"].requires_grad_(False)
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimizer.zero_grad()
    gradients_after_a_pass(model)
    optimizer.step()
    for name, value in model.named_parameters():
        assert torch.equal(value, before[name]) == name.startswith("encoder"), name


def test_frozen_parameters_are_not_among_those_that_learn():
    model = encoder_and_head().requires_grad_(False)
    assert model.param() == []
    assert len(model.parameters()) == 6
    model[1].requires_grad_()
    assert [value for value, _ in model.param()] == [*model[1].own_parameters().values()]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(Conv2d(3, 3, 3), (1, 3, 5, 5)), (Conv1d(3, 3, 3), (1, 3, 5)), (Linear(3, 3), (2, 3))],
)
def test_frozen_layers_do_not_compute_what_nobody_wants(monkeypatch, layer, shape):
    y = layer.requires_grad_(False)(torch.randn(shape))

    def refuse(*arguments):
        raise AssertionError("computed the parameters' gradients")

    for op in ("block_parameter_grads", "linear_parameter_grads"):
        monkeypatch.setattr(f"chainrule.ops.{op}", refuse)
    assert layer.backward(torch.ones_like(y)).shape == shape


@pytest.mark.parametrize("copied", [copy.deepcopy, fuse, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_of_what_is_frozen_is_frozen(copied):
    model = encoder_and_head()
    dict(model.named_children())["encoder"].requires_grad_(False)
    found = gradients_after_a_pass(copied(model))
    assert {name for name, value in found.items() if value is not None} == {
        "head.weight",
        "head.bias",
    }


def test_a_parameter_that_something_else_learns_too_gets_its_gradient():
    frozen, learning = Conv2d(3, 3, 1), Conv2d(3, 3, 1)
    learning.weight = frozen.weight
    frozen.requires_grad_(False)
    model = Sequential(frozen, learning)
    y = model(torch.randn(1, 3, 4, 4))
    model.backward(torch.ones_like(y))
    assert frozen.weight.grad is not None
    assert frozen.bias is not None
    assert frozen.bias.grad is None


def test_a_listener_hears_of_what_learns_only():
    model = encoder_and_head()
    dict(model.named_children())["encoder"].requires_grad_(False)
    heard: list[torch.Tensor] = []
    y = model(torch.randn(1, 3, 8, 8))
    model.backward(torch.ones_like(y), listener=heard.append)
    assert {id(value) for value in heard} == {
        id(value) for value in model[1].own_parameters().values()
    }


def test_a_frozen_parameter_that_changes_during_a_pass_is_noticed():
    model = encoder_and_head().requires_grad_(False)
    y = model(torch.randn(1, 3, 8, 8))
    model[1].own_parameters()["weight"].mul_(2)
    with pytest.raises(RuntimeError, match="its weight was changed after the forward pass"):
        model.backward(torch.ones_like(y))


def test_gradients_of_a_frozen_layer_are_checked_as_well():
    class Wrong(Linear):
        def back(self, gy, tape):
            gx = super().back(gy, tape)
            if not self.frozen:
                tape.add(self.weight, torch.ones_like(self.weight))
            return gx

    with pytest.raises(AssertionError, match="the gradient of weight"):
        gradcheck(Wrong(2, 2).requires_grad_(False), torch.randn(2, 2))
