"""Published weights compute what their papers' networks compute, written out here with PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from chainrule.serialization import save_tensors
from noise2noise import networks
from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.noise import NoiseProfile

State = dict[str, Tensor]


def chain(x: Tensor, state: State) -> Tensor:
    """model.0, ReLU, model.2, ReLU, ..., the last without."""
    last = max(int(name.split(".")[1]) for name in state)
    for place in range(0, last + 1, 2):
        x = functional.conv2d(
            x, state[f"model.{place}.weight"], state[f"model.{place}.bias"], padding=1
        )
        x = x if place == last else x.relu()
    return x


def dncnn(x: Tensor, state: State) -> Tensor:
    return x - chain(x, state)


def ffdnet(x: Tensor, state: State) -> Tensor:
    image, noise = x[:, :-1], x[:, -1:]
    small = functional.pixel_unshuffle(image, 2)
    y = chain(torch.cat((small, functional.avg_pool2d(noise, 2)), 1), state)
    return functional.pixel_shuffle(y, 2)


def drunet(x: Tensor, state: State) -> Tensor:
    def blocks(x: Tensor, place: str) -> Tensor:
        for number in range(8):
            if f"{place}.{number}.res.0.weight" in state:
                weights = (state[f"{place}.{number}.res.{i}.weight"] for i in (0, 2))
                first, second = weights
                y = functional.conv2d(x, first, padding=1).relu()
                x = x + functional.conv2d(y, second, padding=1)
        return x

    def down(x: Tensor, place: str) -> Tensor:
        last = max(int(n.split(".")[1]) for n in state if n.startswith(place))
        return functional.conv2d(blocks(x, place), state[f"{place}.{last}.weight"], stride=2)

    def up(x: Tensor, place: str) -> Tensor:
        return blocks(functional.conv_transpose2d(x, state[f"{place}.0.weight"], stride=2), place)

    x1 = functional.conv2d(x, state["m_head.weight"], padding=1)
    x2 = down(x1, "m_down1")
    x3 = down(x2, "m_down2")
    x4 = down(x3, "m_down3")
    y = blocks(x4, "m_body")
    y = up(y + x4, "m_up3")
    y = up(y + x3, "m_up2")
    y = up(y + x2, "m_up1")
    return functional.conv2d(y + x1, state["m_tail.weight"], padding=1)


def weights(shapes: dict[str, tuple[int, ...]]) -> State:
    torch.manual_seed(0)
    return {name: 0.2 * torch.randn(shape) for name, shape in shapes.items()}


def chain_weights(inputs: int, outputs: int, width: int, depth: int) -> State:
    counts = [inputs, *[width] * (depth - 1), outputs]
    shapes: dict[str, tuple[int, ...]] = {}
    for place in range(depth):
        shapes[f"model.{2 * place}.weight"] = (counts[place + 1], counts[place], 3, 3)
        shapes[f"model.{2 * place}.bias"] = (counts[place + 1],)
    return weights(shapes)


def drunet_weights(channels: int, width: int, blocks: int) -> State:
    """The names and shapes of the published files."""
    w = [width * 2**i for i in range(4)]
    shapes: dict[str, tuple[int, ...]] = {"m_head.weight": (w[0], channels + 1, 3, 3)}
    places = {"m_body": (0, w[3])}
    for level in range(3):
        shapes[f"m_down{level + 1}.{blocks}.weight"] = (w[level + 1], w[level], 2, 2)
        shapes[f"m_up{level + 1}.0.weight"] = (w[level + 1], w[level], 2, 2)
        places[f"m_down{level + 1}"] = 0, w[level]
        places[f"m_up{level + 1}"] = 1, w[level]
    for place, (first, count) in places.items():
        for number in range(first, first + blocks):
            for layer in (0, 2):
                shapes[f"{place}.{number}.res.{layer}.weight"] = (count, count, 3, 3)
    return weights({**shapes, "m_tail.weight": (channels, w[0], 3, 3)})


Case = tuple[str, State, dict[str, int], Callable[[Tensor, State], Tensor]]

CASES: list[Case] = [
    ("dncnn", chain_weights(1, 1, 5, 4), {"channels": 1, "width": 5, "depth": 4}, dncnn),
    ("dncnn", chain_weights(3, 3, 4, 3), {"channels": 3, "width": 4, "depth": 3}, dncnn),
    ("ffdnet", chain_weights(5, 4, 6, 4), {"channels": 1, "width": 6, "depth": 4}, ffdnet),
    ("ffdnet", chain_weights(13, 12, 5, 3), {"channels": 3, "width": 5, "depth": 3}, ffdnet),
    ("drunet", drunet_weights(1, 3, 2), {"channels": 1, "width": 3, "blocks": 2}, drunet),
    ("drunet", drunet_weights(3, 2, 1), {"channels": 3, "width": 2, "blocks": 1}, drunet),
]


def write(path: Path, state: State) -> None:
    if path.suffix == ".safetensors":
        save_tensors(path, state)
    else:
        torch.save(state, path)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
@pytest.mark.parametrize(("name", "state", "sizes", "network"), CASES)
def test_published_weights_compute_what_their_network_computes(
    tmp_path, name, state, sizes, network, suffix
):
    path = tmp_path / f"weights{suffix}"
    write(path, state)
    denoiser = Denoiser.load(path)
    assert (denoiser.info.architecture, denoiser.info.sizes) == (name, sizes)
    inputs = networks.ARCHITECTURES[name].inputs(sizes)
    x = torch.rand(2, inputs, 16, 24)
    expected = network(x, state)
    error = (denoiser.model.infer(x) - expected).abs().max()
    assert error <= 1e-5 * expected.abs().max()


def test_the_sizes_of_the_published_files_are_the_defaults():
    """17 and 20 layers of 64, 12 of 96 and 15 of 64; 32,638,656 weights of DRUNet in grey."""
    assert sum(value.numel() for value in drunet_weights(1, 64, 4).values()) == 32_638_656
    assert networks.sizes_of("drunet", {}) == {"channels": 3, "width": 64, "blocks": 4}
    assert networks.sizes_of("ffdnet", {}) == {"channels": 3, "width": 96, "depth": 12}


@pytest.mark.parametrize("name", ["ffdnet", "drunet"])
def test_the_noise_is_told_on_the_images_own_scale(tmp_path, picture, name):
    """The image goes in as it is, and one standard deviation for all channels."""
    (state, network) = next((case[1], case[3]) for case in CASES[::-1] if case[0] == name)
    write(tmp_path / "weights.pth", state)
    denoiser = Denoiser.load(tmp_path / "weights.pth")
    image = picture(32, 48)
    sigma = np.array([10.0, 20.0, 40.0])
    noise = NoiseProfile(shot=(0.0,) * 3, read=tuple(sigma))
    result = denoiser.denoise(image, noise=noise)

    unit = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    level = float(np.sqrt((sigma**2).mean())) / 255
    y = network(torch.cat((unit, torch.full_like(unit[:, :1], level)), 1), state)
    expected = (y[0].permute(1, 2, 0) * 255).clamp(0, 255).round()
    assert np.abs(result.astype(int) - expected.numpy()).max() <= 1


@pytest.mark.parametrize("key", ["state_dict", "params", "params_ema"])
def test_a_state_dict_in_a_wrapper_is_found(tmp_path, key):
    torch.save({key: CASES[0][1]}, tmp_path / "weights.pth")
    assert Denoiser.load(tmp_path / "weights.pth").info.architecture == "dncnn"


def without(state: State, name: str) -> State:
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([1, 2], "it is no state dict"),
        ({}, "it is no state dict"),
        ({"epoch": 3}, "it has 'epoch'"),
        ({"weight": torch.zeros(1)}, "names are those of no network"),
        ({**CASES[0][1], "model.1.running_mean": torch.zeros(1)}, "merge that"),
        (chain_weights(2, 2, 3, 3), "channels must be 1"),
        (chain_weights(3, 1, 3, 3), "turns 3 channels into 1"),
        (without(CASES[0][1], "model.2.bias"), "weight model.2.bias is missing"),
        ({**CASES[4][1], "more": torch.zeros(1)}, "'more', and drunet has none"),
        ({**CASES[0][1], "model.0.weight": torch.full((5, 1, 3, 3), torch.nan)}, "NaN"),
    ],
)
def test_what_fits_no_network_is_a_sentence(tmp_path, content, sentence):
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=sentence):
        Denoiser.load(tmp_path / "weights.pth")


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
            return print, ("code ran",)

    torch.save({"model.0.weight": Evil()}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match="could run code"):
        Denoiser.load(tmp_path / "weights.pth")


def test_such_networks_are_not_trained(tmp_path):
    from noise2noise.fit import Trainer, configure

    options = {"generated": 2, "corruption": "gaussian:25", "crop": 8, "architecture": "ffdnet"}
    with pytest.raises(UserError, match="published weights and isn't trained here"):
        Trainer(configure(**options), tmp_path / "run")
