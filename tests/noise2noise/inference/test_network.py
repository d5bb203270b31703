"""A network at work on tiles: flips and turns, and memory that is not enough."""

import numpy as np
import pytest
import torch

from noise2noise import networks
from noise2noise.inference import Network


def network_of(architecture: str = "compact", **sizes: int) -> Network:
    """An untrained network in which every weight does something."""
    model = networks.build(architecture, **sizes)
    for weight in model.parameters():
        weight += 0.05 * torch.randn(weight.shape)
    return Network(model, networks.needs_of(architecture, sizes))


def turned(x: np.ndarray, quarters: int, flipped: bool) -> np.ndarray:
    return np.rot90(x[..., ::-1] if flipped else x, quarters, (1, 2))


@pytest.mark.parametrize("architecture", ["compact", "guided"])
def test_the_mean_over_flips_and_turns_turns_with_the_image(architecture):
    """As a single run doesn't: and what is told of the noise turns along."""
    network = network_of(architecture, width=4, channels=1)
    rng = np.random.default_rng(0)
    x = rng.random((2 if network.told else 1, 24, 40), dtype=np.float32)
    whole = network.run(x, turns=True)
    for quarters in range(4):
        for flipped in (False, True):
            other = network.run(np.ascontiguousarray(turned(x, quarters, flipped)), turns=True)
            expected = turned(whole, quarters, flipped)
            np.testing.assert_allclose(other, expected, atol=1e-6)
    single = network.run(np.ascontiguousarray(turned(x, 0, True)))
    assert np.abs(single - turned(network.run(x), 0, True)).max() > 1e-3


ERRORS = [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_where_the_memory_is_not_enough_the_tile_becomes_smaller_and_work_goes_on(error):
    network = network_of(width=4, channels=1)
    x = np.random.default_rng(0).random((1, 4 * network.least_tile, 300), dtype=np.float32)
    expected = network.run(x)
    infer, sizes = network.model.infer, []

    def small_machine(*inputs: torch.Tensor) -> torch.Tensor:
        if inputs[0].numel() > 100**2:
            raise error
        sizes.append(inputs[0].shape)
        return infer(*inputs)

    network.model.infer = small_machine
    np.testing.assert_allclose(network.run(x), expected, atol=1e-5)
    assert len(sizes) > 4


def test_what_fits_in_no_tile_is_not_tried_for_ever():
    network = network_of(width=4)

    def never(*_: torch.Tensor) -> torch.Tensor:
        raise MemoryError

    network.model.infer = never
    with pytest.raises(MemoryError):
        network.run(np.zeros((3, 256, 256), np.float32))


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    network = network_of(width=4)
    with pytest.raises(ValueError, match="input channels"):
        network.run(np.zeros((5, 256, 256), np.float32))


def test_a_tile_s_memory_grows_with_its_area_and_the_network():
    def variable(width: int, side: int) -> int:
        network = network_of(width=width)
        return network.tile_bytes(side, side) - network.tile_bytes(0, 0)

    assert variable(4, 200) == pytest.approx(4 * variable(4, 100), rel=1e-3)
    assert variable(32, 200) > 2 * variable(4, 200)
    assert variable(16, 200) > 4 * 16 * 100 * 100  # the values of its first level alone
