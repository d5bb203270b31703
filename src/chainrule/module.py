"""The engine: a module runs forward and writes on a tape, then reads the tape back.

`run` computes and pushes what its gradient will need; `back` takes it off again and applies the
chain rule. A container runs its children in order and backs them in reverse. There is nothing else.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from chainrule import ops

if TYPE_CHECKING:
    from typing_extensions import Self

Pullback = Callable[..., Any]


class TapeError(RuntimeError):
    """A tape was read in another order than the reverse of how it was written."""


class StateDictError(ValueError):
    """A state dict does not fit a module; nothing was loaded.

    Attributes:
        missing: names the module has and the state dict lacks.
        extra: names the state dict has and the module lacks.
        misshapen: names whose shapes differ, each with (the module's shape, the state dict's).
    """

    def __init__(
        self,
        missing: list[str],
        extra: list[str],
        misshapen: dict[str, tuple[tuple[int, ...], tuple[int, ...]]],
    ) -> None:
        self.missing, self.extra, self.misshapen = missing, extra, misshapen
        shapes = [
            f"{name} is {ours} here and {theirs} there"
            for name, (ours, theirs) in misshapen.items()
        ]
        parts = [
            f"{label}: {', '.join(names)}"
            for label, names in (("missing", missing), ("extra", extra), ("shape", shapes))
            if names
        ]
        super().__init__("the state dict does not fit this module; " + "; ".join(parts))


class Tape:
    """What one forward pass leaves for its backward pass: a stack of (module, values) records.

    Args:
        source: the input of the network, whose gradient may be skipped; see `wants_gradient`.
        keep: false in inference; then nothing is kept and nothing can be taken.
    """

    def __init__(self, source: Tensor | None = None, keep: bool = True) -> None:
        self.keep = keep
        self.source_gradient = True
        # A weak reference: an input that no record keeps needs not stay alive to be recognized.
        self._source = None if source is None else weakref.ref(source)
        self._records: list[tuple[Module, tuple[Any, ...]]] = []

    def push(self, module: Module, *values: Any) -> None:
        """Keep `values` until `module` takes them back."""
        if self.keep:
            self._records.append((module, values))

    def take(self, module: Module) -> tuple[Any, ...]:
        """Take the last record, which must be `module`'s, off the tape; this frees its activations.

        Raises:
            TapeError: the tape is empty, or the last record is another module's.
        """
        if not self._records:
            raise TapeError(f"{_first_line(module)} asks for its record, but the tape is empty")
        writer, values = self._records[-1]
        if writer is not module:
            raise TapeError(
                f"{_first_line(module)} asks for its record, but the last one on the tape is of "
                f"{_first_line(writer)}; back must undo run in reverse order"
            )
        self._records.pop()
        return values

    def wants_gradient(self, x: Tensor) -> bool:
        """Whether dL/dx has a reader: false only for the network's input when that was waived."""
        return self.source_gradient or self._source is None or x is not self._source()

    def __iter__(self) -> Iterator[tuple[Module, tuple[Any, ...]]]:
        """The records, oldest first."""
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)


def parameter(values: Tensor) -> Tensor:
    """Make `values` a parameter: a plain tensor with its gradient, of zeros, in `.grad`."""
    values.grad = torch.zeros_like(values)
    return values


def accumulate(parameter: Tensor, gradient: Tensor) -> None:
    """Add `gradient` to `parameter.grad` in place; `torch.optim` may have set that to None.

    Raises:
        ValueError: the gradient has another shape than the parameter, even one that broadcasts.
    """
    ops.accumulate(_gradient(parameter), gradient)


class Module:
    """A differentiable function with parameters: subclasses write `run` and `back`.

    A tensor attribute is a parameter, unless `buffers` names it as state that isn't learned. A
    module attribute, or a list or tuple of modules, is a child. There is nothing to register.

    Attributes:
        training: true until `.eval()`; batch normalization behaves differently in the two.
    """

    buffers: ClassVar[tuple[str, ...]] = ()
    training: bool = True
    _last_pullback: Pullback | None = None

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        """Compute y from x, and push on `tape` what `back` will need."""
        raise NotImplementedError(f"{type(self).__name__} has no run(x, tape)")

    def back(self, gy: Tensor, tape: Tape) -> Tensor | None:
        """Given dL/dy, add to the parameters' `.grad` and return dL/dx.

        Takes off `tape` what `run` pushed. May return None instead of dL/dx when
        `tape.wants_gradient(x)` is false.
        """
        raise NotImplementedError(f"{type(self).__name__} has no back(gy, tape)")

    def multiply_adds(self, x_shape: torch.Size, y_shape: torch.Size) -> int:
        """Multiplications (each with its addition) of one forward pass; 0 for cheap layers."""
        return 0

    # -- the classic interface ------------------------------------------------------------------

    def forward(self, *inputs: Tensor) -> Tensor:
        """y = f(x). Remembers this pass, and only this one, for `backward`.

        Raises:
            TypeError: there is no input, or it is no tensor.
        """
        self._last_pullback = None
        y, self._last_pullback = self.pullback(*inputs)
        return y

    __call__ = forward

    def backward(self, gy: Any, /, input_gradient: bool = True) -> Tensor | None:
        """Backward pass of the last `forward`: adds to every `.grad` and returns dL/dx.

        Args:
            gy: dL/dy, of the shape of y.
            input_gradient: false skips dL/dx, which training has no use for; then returns None.

        Raises:
            TapeError: there was no forward pass since the last backward pass.
            TypeError, ValueError: gy has another dtype or shape than y.
        """
        back, self._last_pullback = self._last_pullback, None
        if back is None:
            raise TapeError(
                f"{_first_line(self)}: backward needs a forward pass of its own before it; "
                "for several forward passes use pullback"
            )
        return back(gy, input_gradient=input_gradient)

    def pullback(self, *inputs: Tensor) -> tuple[Tensor, Pullback]:
        """Forward pass with a backward pass of its own: returns y and `back(gy) -> dL/dx`.

        Any number of passes may be open at once, and be backed in any order, each once.
        """
        inputs = _detached(self, inputs)
        tape = Tape(inputs[0])
        with torch.no_grad():
            y = self.run(*inputs, tape)  # type: ignore[call-arg]
        y_shape, y_dtype = y.shape, y.dtype  # not y itself, which this pass must not keep alive

        def back(gy: Any, /, input_gradient: bool = True) -> Tensor | None:
            nonlocal tape
            if tape is None:
                raise TapeError(f"{_first_line(self)}: this pass has been backed already")
            _check_output_gradient(self, gy, y_shape, y_dtype)
            spent, tape = tape, None
            spent.source_gradient = input_gradient
            with torch.no_grad():
                gx = self.back(gy.detach() if isinstance(gy, Tensor) else gy, spent)
            if gx is not None and len(spent):
                left = _first_line(next(iter(spent))[0])
                raise TapeError(f"{_first_line(self)}: back left a record of {left} on the tape")
            return gx if input_gradient else None

        del inputs
        return y, back

    def infer(self, *inputs: Tensor) -> Tensor:
        """y = f(x) with nothing kept for a backward pass: every activation is freed once used."""
        with torch.no_grad():
            return self.run(*_detached(self, inputs), Tape(keep=False))  # type: ignore[call-arg]

    # -- parameters and state -------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules held by this one's attributes, with the names a state dict gives them."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, list | tuple):
                for index, item in enumerate(value):
                    if isinstance(item, Module):
                        yield f"{name}.{index}", item

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below it, depth first; a module at two places comes twice."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters and buffers by the names a state dict gives them; shared ones come twice."""
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Tensor):
                    yield (f"{prefix}.{name}" if prefix else name), value

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """The learned tensors by name, each once."""
        seen: set[int] = set()
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                learned = isinstance(value, Tensor) and name not in module.buffers
                if learned and id(value) not in seen:
                    seen.add(id(value))
                    yield (f"{prefix}.{name}" if prefix else name), value

    def parameters(self) -> list[Tensor]:
        """The learned tensors, each once: what an optimizer takes, `torch.optim` too."""
        return [value for _, value in self.named_parameters()]

    def param(self) -> list[tuple[Tensor, Tensor]]:
        """(parameter, gradient) pairs. The gradient is the parameter's `.grad`, not a copy."""
        return [(value, _gradient(value)) for value in self.parameters()]

    def zero_grad(self) -> None:
        """Set every gradient to zero, in place."""
        for _, gradient in self.param():
            ops.zero(gradient)

    def state_dict(self) -> dict[str, Tensor]:
        """The live parameters and buffers by name, with PyTorch's names and layouts."""
        return dict(self.named_tensors())

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy values by name into the parameters and buffers; all of them or none.

        Raises:
            StateDictError: lists what is missing, what is extra, and what has another shape.
        """
        ours = self.state_dict()
        missing = [name for name in ours if name not in state]
        extra = [name for name in state if name not in ours]
        misshapen = {
            name: (tuple(value.shape), tuple(state[name].shape))
            for name, value in ours.items()
            if name in state and value.shape != state[name].shape
        }
        if missing or extra or misshapen:
            raise StateDictError(missing, extra, misshapen)
        with torch.no_grad():
            for name, value in ours.items():
                value.copy_(state[name].detach())

    def to(self, *targets: str | torch.device | torch.dtype) -> Self:
        """Move parameters, gradients and buffers to a device and/or a float dtype, in place.

        Raises:
            TypeError: the dtype is not a float one.
        """
        for target in targets:
            if isinstance(target, torch.dtype) and not target.is_floating_point:
                raise TypeError(f"parameters must have a float dtype, got {target}")
        for _, value in self.named_tensors():
            gradient, value.grad = value.grad, None
            value.data = _moved(value.data, targets)
            if gradient is not None:
                value.grad = _moved(gradient, targets)
        return self

    def cuda(self) -> Self:
        """Move to the GPU: `.to("cuda")`."""
        return self.to("cuda")

    def train(self, training: bool = True) -> Self:
        """Switch this module and all below it to training (or, with false, to evaluation)."""
        for _, module in self.named_modules():
            module.training = training
        return self

    def eval(self) -> Self:
        """Switch to evaluation: batch normalization uses its running statistics."""
        return self.train(False)

    def arguments(self) -> str:
        """The constructor's arguments, for `repr`."""
        return ""

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a pickle takes over: all but the pass that waits for its `backward`."""
        return {name: value for name, value in vars(self).items() if name != "_last_pullback"}

    def __repr__(self) -> str:
        children = [
            f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()
        ]
        if not children:
            return f"{type(self).__name__}({self.arguments()})"
        return f"{type(self).__name__}(\n  " + "\n  ".join(children) + "\n)"


def _detached(module: Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    if not inputs:
        raise TypeError(f"{_first_line(module)}: expected an input, got none")
    for x in inputs:
        if not isinstance(x, Tensor):
            raise TypeError(
                f"{_first_line(module)}: expected the input to be a tensor, got {type(x).__name__}"
            )
    return tuple(x.detach() for x in inputs)


def _check_output_gradient(module: Module, gy: Any, shape: torch.Size, dtype: torch.dtype) -> None:
    if not isinstance(gy, Tensor):
        if shape:  # the gradient of a scalar, as a loss is, may be a number
            raise TypeError(
                f"{_first_line(module)}: expected the output's gradient to be a tensor of shape "
                f"{tuple(shape)}, got {type(gy).__name__}"
            )
        return
    if gy.shape != shape:
        raise ValueError(
            f"{_first_line(module)}: expected the output's gradient to have the output's shape "
            f"{tuple(shape)}, got {tuple(gy.shape)}"
        )
    if gy.dtype != dtype:
        raise TypeError(
            f"{_first_line(module)}: the output is {dtype} and its gradient {gy.dtype}; "
            "convert the gradient with .to(dtype)"
        )


def _gradient(value: Tensor) -> Tensor:
    if value.grad is None:
        value.grad = torch.zeros_like(value)
    return value.grad


def _moved(value: Tensor, targets: tuple[str | torch.device | torch.dtype, ...]) -> Tensor:
    for target in targets:
        if not isinstance(target, torch.dtype) or value.is_floating_point():
            value = value.to(target)
    return value


def _first_line(module: Module) -> str:
    return repr(module).partition("\n")[0].rstrip("(")
