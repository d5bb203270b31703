"""What an ONNX graph is made of while it is written, and who translates which layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from chainrule.backends.record import Op
from chainrule.module import Module
from chainrule.recording import Call

Names = str | tuple[str, ...]
CallTranslation = Callable[["Writer", Call, tuple[str, ...]], Names]
OpTranslation = Callable[["Writer", Op, dict[str, str]], Names]

LAYERS: dict[type[Module], CallTranslation] = {}
"""Layers that are translated as a whole: what they compute with torch is no op, or its sizes would
be those of one image."""

OPS: dict[str, OpTranslation] = {}
"""Ops by name; a module that computes with these only needs nothing else."""

_AnyCall = TypeVar("_AnyCall", bound=CallTranslation)


class ExportError(ValueError):
    """A model can't be exported; the sentence names the layer."""


def translates(*layers: type[Module]) -> Callable[[_AnyCall], _AnyCall]:
    """Say how ONNX writes layers of your own; subclasses may compute otherwise, and aren't meant.

    The function gets the `Writer`, the `Call` (its `module` has the arguments, but no values) and
    the names of the inputs; it returns the name of the output, or a tuple of names.

    Example:
        >>> from chainrule.export import to_onnx
        >>> class Square(Module):
        ...     def run(self, x, tape):
        ...         tape.push(self, x)
        ...         return x * x
        >>> @translates(Square)
        ... def square(write, call, inputs):
        ...     return write.node("Mul", inputs[0], inputs[0])
        >>> to_onnx(Square(), (1, 3)).graph.node[0].op_type
        'Mul'
    """

    def register(function: _AnyCall) -> _AnyCall:
        for layer in layers:
            LAYERS[layer] = function
        return function

    return register


class Writer:
    """An ONNX graph that is being written: nodes in order, and named constants.

    Args:
        weights: the model's tensors, by their names in the state dict.

    Attributes:
        nodes: of the graph.
        constants: the weights that were asked for, and the numbers, by name.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        self._weights = weights
        self._left: dict[str, str] = {}
        self._helper: Any = onnx_package().helper

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output; returns the output's name."""
        return self.nodes_of(kind, 1, *inputs, **attributes)[0]

    def nodes_of(self, kind: str, count: int, *inputs: str, **attributes: Any) -> tuple[str, ...]:
        """Add a node with several outputs; returns their names."""
        given = {name: value for name, value in attributes.items() if value is not None}
        outputs = tuple(f"n/{len(self.nodes)}" + (f".{i}" if i else "") for i in range(count))
        self.nodes.append(self._helper.make_node(kind, list(inputs), list(outputs), **given))
        return outputs

    def weight(self, call: Call, name: str) -> str:
        """A parameter or buffer of the module that was called."""
        return self.tensor(f"{call.name}.{name}" if call.name else name)

    def tensor(self, name: str) -> str:
        """A tensor of the model's state dict."""
        self.constants[name] = self._weights[name].detach().cpu().contiguous().numpy()
        return name

    def number(self, value: float) -> str:
        """A scalar, float32."""
        return self.array(np.array(value, np.float32))

    def integers(self, *values: int) -> str:
        """A vector of int64, as shapes and axes are given."""
        return self.array(np.array(values, np.int64))

    def array(self, values: np.ndarray) -> str:
        """A constant; equal ones are written once."""
        for name, known in self.constants.items():
            same = known.dtype == values.dtype and known.shape == values.shape
            if name.startswith("c/") and same and np.array_equal(known, values):
                return name
        name = f"c/{len(self.constants)}"
        self.constants[name] = values
        return name

    def filled(self, like: str | None, size: int, value: float) -> str:
        """The weight `like` if there is one, or else a vector of `size` times `value`."""
        return self.array(np.full(size, value, np.float32)) if like is None else like

    def output(self, result: str, name: str) -> None:
        """Have a result leave the graph under this name."""
        made = any(result in node.output for node in self.nodes)
        if not made:  # an input, a constant, or what left already
            given = self._left.get(result, result)
            self.nodes.append(self._helper.make_node("Identity", [given], [name]))
            return
        self._left[result] = name
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [name if each == result else each for each in names]


def onnx_package() -> Any:
    """The package `onnx`, which only exporting needs.

    Raises:
        ExportError: it isn't installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise ExportError(
            "ONNX needs the package onnx; install it with pip install 'noise2noise[export]'"
        ) from error
    return onnx
