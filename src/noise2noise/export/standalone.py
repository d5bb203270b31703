"""A model as others use it: images in, images out, and whatever it needs beside them by name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from torch import Tensor

from chainrule import Concatenate, Graph, Module, Tape
from chainrule.export import Writer, translates
from chainrule.recording import Call
from noise2noise import networks
from noise2noise.errors import UserError
from noise2noise.foreign import read_any
from noise2noise.model_info import ModelInfo
from noise2noise.networks import Needs
from noise2noise.shipped import WEIGHTS, find_model

LICENCE = "MIT"

_IMAGE = "the noisy image, on a scale on which 0 is black and 1 is white"
_NOISE = "the standard deviation of the noise at each value, on the scale of the image"
_SHARED = (
    "the standard deviation of the noise at each pixel, one channel, on the scale of the image"
)
_CLEAN = "the image without its noise, on the same scale"


@dataclass(frozen=True)
class Standalone:
    """A model for other programs.

    Attributes:
        network: maps images, and for networks that are told the noise its standard deviations, to
            images: all (N, C, H, W).
        bare: the network of this package inside of it.
        info: what is known of it.
        inputs: what each input is, by its name, in order.
        needs: what it asks of images; a network that is told the noise looks at the mean of the
            whole image too.
    """

    network: Module
    bare: Module
    info: ModelInfo
    inputs: dict[str, str]
    needs: Needs

    @property
    def output(self) -> str:
        """What comes out."""
        return _CLEAN

    def metadata(self) -> dict[str, str]:
        """What an ONNX file says beside the graph."""
        return {
            "title": self.info.title,
            "noise": self.info.noise,
            "architecture": self.info.architecture,
            "sizes": json.dumps(self.info.sizes),
            "multiple": str(self.needs.multiple),
            "reach": str(self.needs.reach),
            "licence": LICENCE,
            "made_by": f"noise2noise {version('noise2noise')}",
            **self.inputs,
            "denoised": _CLEAN,
        }


def standalone(model: str | Path) -> Standalone:
    """A shipped model, a model file or a run's best model, ready for other programs.

    Raises:
        UserError: there is no such model, or its file is damaged.
    """
    path = find_model(model)
    name = path.stem if path.parent == WEIGHTS else path.name
    network, info, needs = read_any(path, name)
    if info.architecture not in networks.ARCHITECTURES:
        raise UserError(f"{path} is ONNX already; export the model that it was made of")
    network.eval()
    if not needs.told:
        return Standalone(network, network, info, {"image": _IMAGE}, needs)
    inputs = {"image": _IMAGE, "noise": _SHARED if needs.shared else _NOISE}
    whole = _centring(network) if needs.centred else _beside(network)
    return Standalone(whole, network, info, inputs, needs)


def _beside(network: Module) -> Graph:
    """image, noise -> f([image, noise])."""
    nodes = {"input": (Concatenate(), "image", "noise"), "network": (network, "input")}
    return Graph(("image", "noise"), nodes).eval()


def _centring(network: Module) -> Graph:
    """image, noise -> f([image - m, noise]) + m, m the mean of each image: what the `Denoiser` does
    around a network that is told the noise."""
    return Graph(
        ("image", "noise"),
        {
            "centred": (Centre(), "image"),
            "input": (Concatenate(), "centred.0", "noise"),
            "network": (network, "input"),
            "denoised": (Uncentre(), "network", "centred.1"),
        },
    ).eval()


class Centre(Module):
    """(x - m, m), m the mean of each image, (N, 1, 1, 1).

    dL/dx = g - mean(g) + g_m / (C H W), g and g_m the gradients of the two.
    """

    def run(self, x: Tensor, tape: Tape) -> tuple[Tensor, Tensor]:
        tape.push(self)
        mean = x.mean((1, 2, 3), keepdim=True)
        return x - mean, mean

    def back(self, gy: tuple[Tensor, Tensor], tape: Tape) -> Tensor:
        tape.take(self)
        centred, mean = gy
        return centred - centred.mean((1, 2, 3), keepdim=True) + mean / centred[0].numel()


class Uncentre(Module):
    """y = x + m, m (N, 1, 1, 1). dL/dx = dL/dy, dL/dm is its sum over each image."""

    def run(self, x: Tensor, mean: Tensor, tape: Tape) -> Tensor:
        return x + mean

    def back(self, gy: Tensor, tape: Tape) -> tuple[Tensor, Tensor]:
        return gy, gy.sum((1, 2, 3), keepdim=True)


@translates(Centre)
def _centre(write: Writer, call: Call, inputs: tuple[str, ...]) -> tuple[str, str]:
    mean = write.node("ReduceMean", inputs[0], write.integers(1, 2, 3), keepdims=1)
    return write.node("Sub", inputs[0], mean), mean


@translates(Uncentre)
def _uncentre(write: Writer, call: Call, inputs: tuple[str, ...]) -> str:
    return write.node("Add", *inputs)
