"""Puts splines around a network that is told the noise: see `noise2noise.networks.adapted`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from chainrule import Module
from noise2noise import networks
from noise2noise.denoiser import Denoiser
from noise2noise.device import home
from noise2noise.networks.adapted import Adapted
from noise2noise.single.sample import Sample

ARCHITECTURE = "adapted"
_INNER = "inner."
_EVERYTHING = np.array([0, 1], np.float32)
_BRIGHTEST = 0.9995  # share of the pixels that the splines' knots lie around


def can_adapt(denoiser: Denoiser) -> bool:
    """Whether there are splines for its network."""
    return denoiser.info.architecture in ("guided", ARCHITECTURE)


def adapted(denoiser: Denoiser, samples: Sequence[Sample]) -> Adapted:
    """The network between splines that do nothing yet; of one that has some already a copy.

    Arguments:
        denoiser: of a network that `can_adapt`.
        samples: the images, over whose brightness the knots are spread; by default 0 to 1.
    """
    sizes = denoiser.info.sizes
    state = {name: value.clone() for name, value in denoiser.model.state_dict().items()}
    network = networks.build(ARCHITECTURE, **sizes).to(home(denoiser.model))
    assert isinstance(network, Adapted)
    if denoiser.info.architecture == ARCHITECTURE:
        network.load_state_dict(state)
        return network
    parts = [sample.image.reshape(-1)[::7] for sample in samples] or [_EVERYTHING]
    values = np.concatenate(parts)
    low, high = (float(end) for end in np.quantile(values, (1 - _BRIGHTEST, _BRIGHTEST)))
    high, mean = max(high, low + 1e-6), float(values.mean(dtype=np.float64))
    inside = torch.tensor([low, high])
    network.load_state_dict(
        {
            **network.state_dict(),
            **{_INNER + name: value for name, value in state.items()},
            # The network takes images about their mean: what is subtracted is added again.
            "into.ends": inside,
            "into.bias": inside[:1] - mean,
            "gain.ends": inside,
            "out.ends": inside,
            "out.bias": inside[:1],
        }
    )
    return network


def splines(network: Adapted) -> list[torch.Tensor]:
    """What is learned of it first."""
    return _parameters(network, inner=False)


def weights(network: Adapted) -> list[torch.Tensor]:
    """What is learned of it afterwards."""
    return _parameters(network, inner=True)


def freeze_weights(network: Adapted, frozen: bool) -> None:
    """Let the network between the splines as it is, or learn."""
    for name, module in network.named_modules():
        if f"{name}.".startswith(_INNER):
            module.freeze(frozen)


def _parameters(network: Module, inner: bool) -> list[torch.Tensor]:
    return [value for name, value in network.named_parameters() if name.startswith(_INNER) == inner]
