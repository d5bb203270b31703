"""`torch.nn`: the lines of Python that build the same network, and a state dict that fits it.

The text is all that is made here: nothing of `torch.nn` is imported. Containers that it doesn't
have are written out as classes in front of it, those that the network needs.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from chainrule.checkpoint import Checkpoint
from chainrule.containers import Residual, Sequential, SkipConcat
from chainrule.export.graph import ExportError
from chainrule.graph import Add, Channels, Concatenate, Graph, Subtract
from chainrule.layers import (
    ELU,
    GELU,
    GRU,
    LSTM,
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    BilinearUpsampling,
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    Dropout,
    Embedding,
    Flatten,
    GroupNorm,
    Identity,
    InstanceNorm2d,
    LayerNorm,
    LayerNorm2d,
    LeakyReLU,
    Linear,
    MaxPool2d,
    MultiHeadAttention,
    Multiply,
    NearestUpsampling,
    PixelShuffle,
    PixelUnshuffle,
    ReflectionPad2d,
    ReLU,
    ReplicationPad2d,
    RMSNorm,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
    Unflatten,
    ZeroPad2d,
)
from chainrule.module import Module
from chainrule.serialization import replacing, write_torch

_HEAD = '''"""{title}

    network = build()
    network.load_state_dict(torch.load({weights!r}, weights_only=True))
    network.eval()
"""

import torch
from torch import nn
'''


def to_torch(model: Module) -> tuple[str, dict[str, Tensor]]:
    """Lines that define `build()`, which returns the network in `torch.nn`, and its state dict.

    The names of the state dict are the model's, but where the model names its layers as nothing in
    `torch.nn` would.

    Raises:
        ExportError: a layer that has no counterpart.

    Example:
        >>> lines, state = to_torch(Sequential(Conv2d(3, 8, 3), ReLU()))
        >>> print(lines)
        def build():
            return nn.Sequential(
                nn.Conv2d(3, 8, kernel_size=(3, 3)),
                nn.ReLU(),
            )
        <BLANKLINE>
        >>> [*state]
        ['0.weight', '0.bias']
    """
    lines = _Lines()
    built = lines.of(model, "")
    classes = "".join(f"{_CLASSES[name]}\n\n" for name in _CLASSES if name in lines.classes)
    return f"{classes}def build():\n    return {_indented(built)}\n", lines.state


def save_torch(
    path: str | Path, model: Module, title: str = "", overwrite: bool = False
) -> tuple[Path, Path]:
    """`to_torch`, into two files side by side: `path`, of tensors only, and the same name as `.py`.

    Args:
        path: what `torch.save` writes, by custom named .pth.
        title: a line for people, at the top of the lines.

    Raises:
        ExportError: as `to_torch`.
        FileExistsError, NotADirectoryError: as `chainrule.serialization.replacing`.
    """
    weights, code = Path(path), Path(path).with_suffix(".py")
    lines, state = to_torch(model)
    said = textwrap.fill(title.replace("\\", "").replace('"""', ""), 96)
    head = _HEAD.format(title=said, weights=weights.name)
    with replacing(weights, overwrite) as binary, replacing(code, overwrite) as text:
        write_torch(binary, {name: value.detach().cpu().clone() for name, value in state.items()})
        text.write_text(f"{head}\n\n{lines}", encoding="utf-8")
    return weights, code


class _Lines:
    """Builds the expression of a module, layer by layer.

    Attributes:
        classes: the names of the containers that are needed.
        state: the tensors, by the names that they have in `torch.nn`.
    """

    def __init__(self) -> None:
        self.classes: set[str] = set()
        self.state: dict[str, Tensor] = {}

    def of(self, module: Module, place: str) -> str:
        """The expression that builds `module`, which is found at `place` in the network."""
        if isinstance(module, Sequential) and type(module).run is Sequential.run:
            return self._sequential(module, place)
        if isinstance(module, Graph) and type(module).run is Graph.run:
            return self._graph(module, place)
        for kind in (Residual, SkipConcat, Checkpoint):
            if isinstance(module, kind) and type(module).run is kind.run:
                self.classes.add(kind.__name__)
                return _call(kind.__name__, [self.of(module.inner, f"{place}inner.")])
        write = _LAYERS.get(type(module))
        if write is None:
            where = f" ({place.rstrip('.')})" if place else ""
            raise ExportError(
                f"{type(module).__name__}{where} can't be exported: torch.nn has no counterpart "
                "that is known here; export it as ONNX, or build it from layers that have one"
            )
        self.state.update({place + name: value for name, value in module.named_tensors()})
        expression = write(module)
        own = expression.partition("(")[0]
        if own in _CLASSES:
            self.classes.add(own)
        return expression

    def _sequential(self, module: Sequential, place: str) -> str:
        children = dict(Sequential.named_children(module))
        if [*children] == [str(i) for i in range(len(children))]:
            parts = [self.of(child, f"{place}{name}.") for name, child in children.items()]
            return _call("nn.Sequential", parts)
        self.classes.add("named")
        parts = [f"{name!r}: {self.of(each, f'{place}{name}.')}" for name, each in children.items()]
        return _call("named", ["{", *parts, "}"])

    def _graph(self, module: Graph, place: str) -> str:
        self.classes.add("Graph")
        nodes = [
            f"{name!r}: ({self.of(child, f'{place}{name}.')}, {module.reads[name]!r})"
            for name, child in module.named_children()
        ]
        outputs = repr(module.outputs if module.returns_tuple else module.outputs[0])
        return _call("Graph", [repr(module.inputs), "{", *nodes, "}", outputs])


def _call(name: str, parts: list[str]) -> str:
    lines, inside = [], False
    for part in parts:
        inside = part == "{" or (inside and part != "}")
        lines.append(part if part == "{" else f"{part},")
    return f"{name}(\n" + "\n".join(lines) + "\n)"


def _indented(expression: str) -> str:
    """Lines between brackets moved in by their depth, below a line that is moved in by one."""
    depth, lines = 1, []
    for line in expression.split("\n"):
        closing = line[:1] in (")", "}")
        lines.append("    " * (depth - closing) + line)
        opened = sum(line.count(each) for each in "({")
        closed = sum(line.count(each) for each in ")}")
        depth += (opened > closed) - (closed > opened)
    return "\n".join(lines).lstrip()


# -- layer by layer --------------------------------------------------------------------------------


def _plain(module: Module) -> str:
    """A layer whose `repr` is what builds it in `torch.nn`, too."""
    return f"nn.{module!r}"


def _upsampling(mode: str) -> Callable[[Module], str]:
    return lambda layer: f"nn.Upsample({layer.arguments()}, mode={mode!r})"


_LAYERS: dict[type[Module], Callable[..., str]] = {
    **dict.fromkeys(
        (
            AdaptiveAvgPool2d,
            AvgPool2d,
            BatchNorm2d,
            Conv1d,
            Conv2d,
            Conv3d,
            ConvTranspose1d,
            ConvTranspose2d,
            Dropout,
            ELU,
            Embedding,
            Flatten,
            GELU,
            GroupNorm,
            Identity,
            InstanceNorm2d,
            LayerNorm,
            LeakyReLU,
            Linear,
            MaxPool2d,
            PixelShuffle,
            PixelUnshuffle,
            RMSNorm,
            ReLU,
            ReflectionPad2d,
            ReplicationPad2d,
            SiLU,
            Sigmoid,
            Softmax,
            Softplus,
            Tanh,
            Unflatten,
            ZeroPad2d,
        ),
        _plain,
    ),
    NearestUpsampling: _upsampling("nearest"),
    BilinearUpsampling: _upsampling("bilinear"),
    LayerNorm2d: repr,
    LSTM: repr,
    GRU: repr,
    MultiHeadAttention: lambda layer: f"MultiHeadAttention({layer.arguments()})",
    Add: lambda layer: "Add()",
    Subtract: lambda layer: "Subtract()",
    Multiply: lambda layer: "Multiply()",
    Concatenate: lambda layer: "Concatenate()",
    Channels: repr,
}

_CLASSES = {
    "named": """\
def named(modules):
    chain = nn.Sequential()
    for name, module in modules.items():
        chain.add_module(name, module)
    return chain
""",
    "Residual": """\
class Residual(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return x + self.inner(x)
""",
    "SkipConcat": """\
class SkipConcat(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return torch.cat((x, self.inner(x)), 1)
""",
    "Checkpoint": """\
class Checkpoint(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, *inputs):
        return torch.utils.checkpoint.checkpoint(self.inner, *inputs, use_reentrant=False)
""",
    "Add": """\
class Add(nn.Module):
    def forward(self, *inputs):
        return sum(inputs[1:], inputs[0])
""",
    "Subtract": """\
class Subtract(nn.Module):
    def forward(self, a, b):
        return a - b
""",
    "Multiply": """\
class Multiply(nn.Module):
    def forward(self, a, b):
        return a * b
""",
    "Concatenate": """\
class Concatenate(nn.Module):
    def forward(self, *inputs):
        return torch.cat(inputs, 1)
""",
    "Channels": """\
class Channels(nn.Module):
    def __init__(self, start, stop):
        super().__init__()
        self.start, self.stop = start, stop

    def forward(self, x):
        return x[:, self.start : self.stop]
""",
    "LayerNorm2d": """\
class LayerNorm2d(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)
""",
    "LSTM": """\
class LSTM(nn.LSTM):
    def forward(self, x, *states):
        y, after = super().forward(x, states or None)
        return (y, *after) if states else y
""",
    "GRU": """\
class GRU(nn.GRU):
    def forward(self, x, *states):
        y, after = super().forward(x, *states)
        return (y, after) if states else y
""",
    "MultiHeadAttention": """\
class MultiHeadAttention(nn.MultiheadAttention):
    def __init__(self, *sizes, causal=False, **options):
        super().__init__(*sizes, **options)
        self.causal = causal

    def forward(self, query, *others):
        key, value, *masks = others if len(others) > 1 else (query, query, *others)
        padding, mask, *_ = *masks, None, None
        if self.causal:
            length, sources = (x.shape[1 if self.batch_first else 0] for x in (query, key))
            later = query.new_ones(length, sources, dtype=torch.bool).triu(1)
            if mask is not None and mask.is_floating_point():
                mask = mask.masked_fill(later, -torch.inf)
            else:
                mask = later if mask is None else mask | later
        return super().forward(query, key, value, padding, False, mask)[0]
""",
    "Graph": """\
class Graph(nn.Module):
    def __init__(self, inputs, nodes, outputs):
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.reads = {name: reads for name, (_, reads) in nodes.items()}
        for name, (module, _) in nodes.items():
            self.add_module(name, module)

    def forward(self, *inputs):
        values = dict(zip(self.inputs, inputs, strict=True))

        def read(name):
            owner, dot, place = name.partition(".")
            value = values[owner][int(place)] if dot else values[owner]
            return value if isinstance(value, tuple) else (value,)

        for name, reads in self.reads.items():
            values[name] = self._modules[name](*(x for each in reads for x in read(each)))
        single = isinstance(self.outputs, str)
        results = [x for each in ([self.outputs] if single else self.outputs) for x in read(each)]
        return results[0] if single and len(results) == 1 else tuple(results)
""",
}
