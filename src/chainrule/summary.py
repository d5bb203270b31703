"""What a network is made of and what it costs, without running it: `print(summary(model,
shape))`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Size, Tensor

from chainrule.fusion import FusedConvolution
from chainrule.module import Module
from chainrule.recording import Call, record


@dataclass(frozen=True)
class Row:
    """One call of one layer, or of several that `chainrule.fuse` has merged.

    Attributes:
        name: as in the state dict; of merged layers "0+1".
        layer: what it is; of merged layers "Conv2d + ReLU".
        output_shape: what comes out.
        parameters: learned numbers.
        multiply_adds: of the direct algorithm, with a sum for each output pixel.
    """

    name: str
    layer: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Summary:
    """Layers in the order they run, and totals. `str()` gives a table.

    Attributes:
        input_shape: as asked.
        rows: a row a layer call.
        parameters: learned numbers in all, shared ones counted once.
        multiply_adds: of one forward pass over an input of input_shape.
        training_bytes: parameters, gradients, and the activations kept for the backward pass.
        inference_bytes: parameters, and the activations alive together at the worst moment.
        spared_bytes: what training would need more without its `Checkpoint`s.

    They count what modules hold, not what an op needs for a moment while it works.
    """

    input_shape: tuple[int, ...]
    rows: list[Row]
    parameters: int
    multiply_adds: int
    training_bytes: int
    inference_bytes: int
    spared_bytes: int

    def __str__(self) -> str:
        head = ("name", "layer", "output", "parameters", "multiply-adds")
        table = [head] + [
            (
                row.name,
                row.layer,
                _by(row.output_shape),
                f"{row.parameters:,}",
                f"{row.multiply_adds:,}",
            )
            for row in self.rows
        ]
        spared = f" ({_bytes(self.spared_bytes)} less by checkpoints)" if self.spared_bytes else ""
        widths = [max(len(line[column]) for line in table) for column in range(len(head))]
        lines = [
            "  ".join(
                cell.rjust(width) if column >= 3 else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in table
        ]
        lines.insert(1, "-" * max(map(len, lines)))
        return "\n".join(
            [
                *lines,
                lines[1],
                f"input {_by(self.input_shape)}: {self.parameters:,} parameters, "
                f"{self.multiply_adds:,} multiply-adds",
                f"memory: training {_bytes(self.training_bytes)}{spared}, "
                f"inference {_bytes(self.inference_bytes)}",
            ]
        )


def summary(model: Module, input_shape: Iterable[int] | Tensor) -> Summary:
    """Record `model` on an input of `input_shape` (N, C, H, W), computing shapes only.

    An input itself, a tensor, stands for its shape.

    Raises:
        ValueError: the model does not take that shape.

    Example:
        >>> model = Sequential(Conv2d(3, 8, 3), ReLU())
        >>> print(summary(fuse(model), (1, 3, 64, 64)))  # shows what was merged
        name  layer          output           parameters  multiply-adds
        ---------------------------------------------------------------
        0+1   Conv2d + ReLU  1 x 8 x 62 x 62         224        830,304
        ---------------------------------------------------------------
        input 1 x 3 x 64 x 64: 224 parameters, 830,304 multiply-adds
        memory: training 169.9 KiB, inference 169.0 KiB
    """
    shape = tuple(input_shape.shape if isinstance(input_shape, Tensor) else input_shape)
    recording = record(model, shape)
    rows = [_row(call) for call in recording.calls if _is_layer(call)]
    parameters = model.parameters()
    weights = sum(value.nbytes for value in parameters)
    return Summary(
        input_shape=shape,
        rows=rows,
        parameters=sum(value.numel() for value in parameters),
        multiply_adds=sum(row.multiply_adds for row in rows),
        training_bytes=2 * weights + recording.kept_bytes,
        inference_bytes=weights + max(map(_peak_bytes, recording.calls)),
        spared_bytes=recording.spared_bytes,
    )


def _row(call: Call) -> Row:
    module, outputs = call.module, call.outputs
    merged = isinstance(module, FusedConvolution)
    told = module.multiply_adds(Size(call.inputs[0].shape), Size(outputs[0].shape))
    return Row(
        name=call.name,
        layer=module.arguments() if merged else type(module).__name__,
        output_shape=outputs[0].shape,
        parameters=sum(value.numel() for value in module.parameters()),
        multiply_adds=_cost(call) if told is None else told,
    )


def _is_layer(call: Call) -> bool:
    """A module that holds no others, or that has sums of its own, as merged layers have."""
    return not _is_container(call) or _cost(call) > 0


def _is_container(call: Call) -> bool:
    return any(True for _ in call.module.named_children())


def _cost(call: Call) -> int:
    return sum(op.multiply_adds for op in call.ops)


def _peak_bytes(call: Call) -> int:
    """When the module returns, or, of a container, when it joins what its modules returned."""
    joins = call.ops if _is_container(call) else []
    return max([call.alive_bytes, *(op.alive_bytes for op in joins)])


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _bytes(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB" if count >= 2**20 else f"{count / 2**10:,.1f} KiB"
