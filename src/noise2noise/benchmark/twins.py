"""The rival: our networks in `torch.nn`, and the steps that PyTorch takes with them.

No other file of the two packages uses `torch.nn`, autograd or `torch.compile`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from chainrule import (
    Add,
    AvgPool2d,
    Channels,
    Concatenate,
    Conv2d,
    ConvTranspose2d,
    Graph,
    LeakyReLU,
    MaxPool2d,
    Module,
    NearestUpsampling,
    PixelShuffle,
    PixelUnshuffle,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    SkipConcat,
    Subtract,
    Tape,
)
from noise2noise.networks.guided import Guided
from noise2noise.networks.published import ResBlock
from noise2noise.networks.reports import MerySkip

Step = Callable[[], object]
"""What is timed: a training step, which returns its loss, or a pass, which returns the output."""

VARIANTS = ("eager", "channels_last", "compile")
"""PyTorch as it comes; with channels-last memory; with that, and compiled by `torch.compile`."""

OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}


def twin(model: Module) -> nn.Module:
    """The same network in `torch.nn`, with the same names and a copy of the weights.

    Activations work in place, which saves PyTorch time and memory; each must follow a convolution,
    whose own output nobody else reads. In the networks of `noise2noise.networks` all do.

    Raises:
        TypeError: a layer that those networks don't have.
    """
    network, state = _layer(model), model.state_dict()
    some = next(iter(state.values()))
    network.to(some.device, some.dtype)
    network.load_state_dict(state)
    return network


def gradients(
    network: nn.Module, x: Tensor, gy: Tensor
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """PyTorch's answers for one pass: y, dL/dx, and dL/dp of every parameter by its name.

    Arguments:
        network: a twin.
        x: (N, C, H, W).
        gy: dL/dy, of the shape of y.
    """
    names, parameters = zip(*network.named_parameters(), strict=True)
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        y = network(x)
        gx, *found = torch.autograd.grad(y, (x, *parameters), gy)
    return y.detach(), gx, dict(zip(names, found, strict=True))


class TwinModule(Module):
    """The twin of `model` as a module of ours, so that a `Denoiser` can work with it; inference
    only, channels last."""

    def __init__(self, model: Module) -> None:
        self._network = _channels_last(twin(model).eval())

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        with torch.inference_mode():
            return self._network(x.contiguous(memory_format=torch.channels_last))


def training_step(
    model: Module, x: Tensor, y: Tensor, optimizer: str, options: dict[str, float], variant: str
) -> Step:
    """One training step of the twin: forward, mean squared error, backward, optimizer.

    `compile` compiles the network together with the loss, at the first step.
    """
    network, x, y = _prepared(model, variant, x, y)
    fused = {"fused": True} if x.device.type == "cuda" else {}
    descent = OPTIMIZERS[optimizer](network.parameters(), **options, **fused)

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return nn.functional.mse_loss(network(x), y)

    loss = _compiled(loss, x.device) if variant == "compile" else loss

    def step() -> Tensor:
        with torch.enable_grad():
            descent.zero_grad()
            value = loss(x, y)
            value.backward()
            descent.step()
        return value.detach()

    return step


def inference(model: Module, x: Tensor, variant: str) -> Step:
    """One forward pass of the twin in PyTorch's inference mode."""
    network, x = _prepared(model.eval(), variant, x)
    network.eval()
    forward = _compiled(network, x.device) if variant == "compile" else network

    def step() -> Tensor:
        with torch.inference_mode():
            return forward(x)

    return step


def _prepared(model: Module, variant: str, *images: Tensor) -> tuple[Any, ...]:
    network = twin(model)
    if variant == "eager":
        return network, *images
    return _channels_last(network), *(
        image.contiguous(memory_format=torch.channels_last) for image in images
    )


def _channels_last(network: nn.Module) -> nn.Module:
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


def _compiled(function: Callable[..., Tensor], device: torch.device) -> Callable[..., Tensor]:
    # Without a reset, what was compiled for another batch size would be compiled anew for any size,
    # which is slower.
    torch.compiler.reset()
    mode = "max-autotune" if device.type == "cuda" else None
    return torch.compile(function, dynamic=False, mode=mode)


# -- layer by layer --------------------------------------------------------------------------------


def _layer(module: Module) -> nn.Module:
    make = _TWINS.get(type(module))
    if make is None:
        raise TypeError(f"{type(module).__name__} has no twin in torch.nn here")
    return make(module)


def _convolution(layer: Conv2d) -> nn.Module:
    outputs, inputs, *kernel = layer.weight.shape
    return nn.Conv2d(
        inputs * layer.groups,
        outputs,
        kernel,  # type: ignore[arg-type]
        layer.stride,
        layer.padding,
        layer.dilation,
        layer.groups,
        layer.bias is not None,
    )


def _transposed(layer: ConvTranspose2d) -> nn.Module:
    inputs, outputs, *kernel = layer.weight.shape
    return nn.ConvTranspose2d(
        inputs,
        outputs * layer.groups,
        kernel,  # type: ignore[arg-type]
        layer.stride,
        layer.padding,
        layer.output_padding,
        layer.groups,
        layer.bias is not None,
        layer.dilation,
    )


def _pooling(layer: MaxPool2d) -> nn.Module:
    return nn.MaxPool2d(layer.kernel_size, layer.stride, layer.padding, layer.dilation)


def _sequential(module: Sequential) -> nn.Module:
    return nn.Sequential(_layers(module))


def _layers(module: Sequential) -> OrderedDict[str, nn.Module]:
    return OrderedDict((name, _layer(each)) for name, each in module.named_children())


def _mery_skip(module: MerySkip) -> nn.Module:
    return nn.Sequential(_layers(module)) if module.skip is None else _MerySkip(_layers(module))


class _Residual(nn.Module):
    def __init__(self, module: Residual) -> None:
        super().__init__()
        self.inner = _layer(module.inner)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class _SkipConcat(nn.Module):
    def __init__(self, module: SkipConcat) -> None:
        super().__init__()
        self.inner = _layer(module.inner)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, self.inner(x)), 1)


class _ResBlock(nn.Module):
    def __init__(self, module: ResBlock) -> None:
        super().__init__()
        self.res = _layer(module.inner)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.res(x)


class _Graph(nn.Module):
    """Nodes with one output each."""

    def __init__(self, module: Graph) -> None:
        super().__init__()
        self.inputs, self.reads, (self.output,) = module.inputs, module.reads, module.outputs
        for name, child in module.named_children():
            self.add_module(name, _layer(child))

    def forward(self, *inputs: Tensor) -> Tensor:
        values = dict(zip(self.inputs, inputs, strict=True))
        for name, reads in self.reads.items():
            values[name] = self.get_submodule(name)(*(values[each] for each in reads))
        return values[self.output]


class _Join(nn.Module):
    """A function of several inputs."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


class _MerySkip(nn.Sequential):
    """The first activation goes both ways: through the inner layers, and to the last but one."""

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        convolution, activation, *inner, last, sigmoid = self
        first = x = activation(convolution(x))
        for layer in inner:
            x = layer(x)
        return sigmoid(last(torch.cat((first, x), 1)))


_TWINS: dict[type[Module], Callable[..., nn.Module]] = {
    Conv2d: _convolution,
    ConvTranspose2d: _transposed,
    MaxPool2d: _pooling,
    NearestUpsampling: lambda layer: nn.Upsample(scale_factor=layer.scale_factor, mode="nearest"),
    ReLU: lambda layer: nn.ReLU(inplace=True),
    LeakyReLU: lambda layer: nn.LeakyReLU(layer.negative_slope, inplace=True),
    Sigmoid: lambda layer: nn.Sigmoid(),
    Sequential: _sequential,
    Residual: _Residual,
    SkipConcat: _SkipConcat,
    MerySkip: _mery_skip,
    Guided: _Graph,
    Graph: _Graph,
    ResBlock: _ResBlock,
    Add: lambda layer: _Join(torch.add),
    Subtract: lambda layer: _Join(torch.sub),
    Concatenate: lambda layer: _Join(lambda *inputs: torch.cat(inputs, 1)),
    Channels: lambda layer: _Join(lambda x: x[:, layer.start : layer.stop]),
    AvgPool2d: lambda layer: nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding),
    PixelShuffle: lambda layer: nn.PixelShuffle(layer.upscale_factor),
    PixelUnshuffle: lambda layer: nn.PixelUnshuffle(layer.downscale_factor),
}
