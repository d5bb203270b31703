"""How weights begin: the bounds and standard deviations that the module promises."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from chainrule import Conv2d, ConvTranspose2d, Module, Sequential
from chainrule.initializers import initialize

# (layer, fan_in, fan_out), counted by hand
LAYERS = [
    (lambda name: Conv2d(32, 64, 5, weight_init=name), 32 * 25, 64 * 25),
    (lambda name: Conv2d(64, 96, (3, 5), groups=2, weight_init=name), 32 * 15, 96 * 15),
    (lambda name: ConvTranspose2d(32, 64, (4, 5), weight_init=name), 64 * 20, 32 * 20),
]


@pytest.mark.parametrize(("make", "fan_in", "_fan_out"), LAYERS)
def test_normal_is_uniform_within_its_bound(make, fan_in, _fan_out):
    weight, bound = make("normal").weight, math.sqrt(1 / fan_in)
    assert 0.999 * bound < weight.abs().max() <= bound
    assert weight.std() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert abs(weight.mean()) < 0.02 * bound


@pytest.mark.parametrize(("make", "fan_in", "fan_out"), LAYERS)
def test_xavier_and_kaiming_are_normal_with_their_deviation(make, fan_in, fan_out):
    deviations = {"xavier": math.sqrt(2 / (fan_in + fan_out)), "kaiming": math.sqrt(2 / fan_in)}
    for name, deviation in deviations.items():
        weight = make(name).weight
        assert weight.std() == pytest.approx(deviation, rel=0.02)
        assert abs(weight.mean()) < 0.02 * deviation
        assert (weight.abs() < deviation).float().mean() == pytest.approx(0.683, abs=0.01)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("ours", "theirs"), [(Conv2d, nn.Conv2d), (ConvTranspose2d, nn.ConvTranspose2d)]
)
def test_the_default_draws_the_same_weights_and_biases_as_torch(
    assert_starts_alike, ours, theirs, bias
):
    def layers(kind: type) -> Any:
        return lambda: nested(kind)(
            kind(6, 4, 3, groups=2, bias=bias), kind(4, 6, (2, 5), stride=2, bias=bias)
        )

    def nested(kind: type) -> type:
        return Sequential if issubclass(kind, Module) else nn.Sequential

    assert_starts_alike(layers(ours), layers(theirs))


@pytest.mark.parametrize("name", ["normal", "xavier", "kaiming"])
@pytest.mark.parametrize("kind", [Conv2d, ConvTranspose2d])
def test_a_seed_repeats_the_weights_and_biases_of_drawn_normals_begin_at_zero(kind, name):
    layers = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        layers.append(kind(3, 5, 3, weight_init=name))
    assert torch.equal(layers[0].weight, layers[1].weight)
    assert not torch.equal(layers[0].weight, layers[2].weight)
    assert torch.equal(layers[0].bias, layers[1].bias)
    assert all((layer.bias == 0).all() == (name != "normal") for layer in layers)


def test_an_unknown_name_is_refused():
    message = "weight_init must be one of normal, xavier, kaiming, got 'He'"
    with pytest.raises(ValueError, match=message):
        initialize(torch.empty(1, 1, 1, 1), "He")
