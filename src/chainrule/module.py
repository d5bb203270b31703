"""The engine: a module runs forward and writes on a tape, then reads the tape back.

`run` computes and pushes what its gradient will need; `back` takes it off again and applies the
chain rule. A container runs its children in order and backs them in reverse. There is nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from chainrule import ops
from chainrule.state import StateDictError, load_into, state_dict_of
from chainrule.tape import Listener, Tape, TapeError, accumulate, first_line, gradient_of

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Module", "StateDictError", "Tape", "TapeError", "accumulate", "parameter"]

Pullback = Callable[..., Any]


def parameter(values: Tensor) -> Tensor:
    """Make `values` a parameter: a plain tensor with its gradient, of zeros, in `.grad`.

    On the meta device, where a network has shapes and no memory, it gets none.
    """
    if not values.is_meta:
        values.grad = torch.zeros_like(values)
    return values


class Module:
    """A differentiable function with parameters: subclasses write `run` and `back`.

    A tensor attribute is a parameter, unless `buffers` names it as state that isn't learned. A
    module attribute is a child, and so is every module in lists, tuples and dicts, nested or not.
    There is nothing to register.

    Attributes:
        training: true until `.eval()`; batch normalization behaves differently in the two.
        constants: the places of inputs that are data, as a loss's target (1,): no gradient.
    """

    buffers: ClassVar[tuple[str, ...]] = ()
    constants: ClassVar[tuple[int, ...]] = ()
    training: bool = True
    _last_pullback: Pullback | None = None

    # To type checkers `*args: Any, **kwargs: Any` says that subclasses have their own parameters.
    def run(self, *args: Any, **kwargs: Any) -> Any:
        """`run(x, tape)`: compute y from x, and push on `tape` what `back` will need.

        There may be several inputs before the tape, integers among them, and a tuple of outputs.
        """
        raise NotImplementedError(f"{type(self).__name__} has no run(x, tape)")

    def back(self, *args: Any, **kwargs: Any) -> Any:
        """`back(gy, tape)`: given dL/dy, add the parameters' gradients and return dL/dx.

        Takes off `tape` what `run` pushed, and hands `tape.add` the gradient of each parameter. May
        return None instead of dL/dx when `tape.wants_gradient(x)` is false. For several outputs gy
        is a tuple; for several inputs it returns one, with None for those of integers.
        """
        raise NotImplementedError(f"{type(self).__name__} has no back(gy, tape)")

    def multiply_adds(self, x_shape: torch.Size, y_shape: torch.Size) -> int | None:
        """Multiplications, each with its addition, of one forward pass, as `summary` counts them.

        None is the sum over the ops that `run` calls: only a layer that multiplies much with
        torch's own functions has to say it.
        """
        return None

    # -- the classic interface ------------------------------------------------------------------

    def forward(self, *inputs: Tensor) -> Any:
        """y = f(x). Remembers this pass, and only this one, for `backward`.

        Raises:
            TypeError: there is no input, or it is no tensor.
        """
        self._last_pullback = None
        y, self._last_pullback = self.pullback(*inputs)
        return y

    __call__ = forward

    def backward(
        self, gy: Any, /, input_gradient: bool = True, listener: Listener | None = None
    ) -> Any:
        """Backward pass of the last `forward`: adds to every `.grad` and returns dL/dx.

        Args:
            gy: dL/dy, of the shape of y; for a tuple of outputs a tuple.
            input_gradient: false skips dL/dx, which training has no use for; then returns None.
            listener: called with each parameter when its gradient is final; see `Tape.listen`.

        Raises:
            TapeError: there was no forward pass since the last backward pass; a tensor that it
                needs, or a parameter, was changed since; or some `back` doesn't mirror its `run`.
            TypeError, ValueError: gy has another dtype or shape than y.
        """
        back, self._last_pullback = self._last_pullback, None
        if back is None:
            raise TapeError(
                f"{first_line(self)}: backward needs a forward pass of its own before it; "
                "for several forward passes use pullback"
            )
        return back(gy, input_gradient=input_gradient, listener=listener)

    def pullback(self, *inputs: Tensor) -> tuple[Any, Pullback]:
        """Forward pass with a backward pass of its own: returns y and `back(gy) -> dL/dx`.

        Any number of passes may be open at once, and be backed in any order, each once; a parameter
        that changes while one is open is an error. `back` takes what `backward` takes.
        """
        inputs = _detached(self, inputs)
        tape = Tape(*inputs)
        y = _placed(self, self.run, *inputs, tape)
        tape.watch_outputs(*as_tuple(y))
        # Not y and the inputs themselves, which this pass must not keep alive.
        kinds = [(each.shape, each.dtype) for each in as_tuple(y)]
        outputs = kinds if isinstance(y, tuple) else kinds[0]
        wanted = [
            x.is_floating_point() and place not in self.constants for place, x in enumerate(inputs)
        ]

        def back(gy: Any, /, input_gradient: bool = True, listener: Listener | None = None) -> Any:
            nonlocal tape
            if tape is None:
                raise TapeError(f"{first_line(self)}: this pass has been backed already")
            gy = _checked(self, gy, outputs)
            spent, tape = tape, None
            spent.source_gradient = input_gradient
            if listener is not None:
                spent.listen(listener)
            gx = _placed(self, _whole_back, self, gy, spent)
            if not input_gradient:
                return None
            _check_input_gradients(self, gx, wanted)
            return gx

        del inputs
        return y, back

    def infer(self, *inputs: Tensor) -> Any:
        """y = f(x) with nothing kept for a backward pass: every activation is freed once used."""
        return _placed(self, self.run, *_detached(self, inputs), Tape(keep=False))

    # -- parameters and state -------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules held by this one's attributes, with the names a state dict gives them."""
        for name, value in vars(self).items():
            yield from _modules_in(name, value)

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
        return [(value, gradient_of(value)) for value in self.parameters()]

    def zero_grad(self) -> None:
        """Set every gradient to zero, in place."""
        ops.zero([gradient for _, gradient in self.param()])

    def state_dict(self) -> dict[str, Tensor]:
        """The live parameters and buffers by name, with PyTorch's names and layouts.

        Raises:
            ValueError: two different tensors have one name.
        """
        return state_dict_of(self.named_tensors())

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy values by name into the parameters and buffers; all of them or none.

        Raises:
            StateDictError: lists what is missing, what is extra, and what has another shape.
        """
        load_into(self.state_dict(), state)

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
            increment_version(value)  # an open pass computed with another one
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
        raise TypeError(f"{first_line(module)}: expected an input, got none")
    for x in inputs:
        if not isinstance(x, Tensor):
            raise TypeError(
                f"{first_line(module)}: expected the input to be a tensor, got {type(x).__name__}"
            )
    return tuple(x.detach() for x in inputs)


def _modules_in(name: str, value: Any) -> Iterator[tuple[str, Module]]:
    """The modules in an attribute's value, named by their way through its containers."""
    if isinstance(value, Module):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _modules_in(f"{name}.{key}", item)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _modules_in(f"{name}.{index}", item)


def as_tuple(values: Any) -> tuple[Any, ...]:
    """One tensor or a tuple of them, as a tuple."""
    return values if isinstance(values, tuple) else (values,)


_Kind = tuple[torch.Size, torch.dtype]


def _checked(module: Module, gy: Any, outputs: list[_Kind] | _Kind) -> Any:
    """The gradient of each output, checked and without its graph."""
    if isinstance(outputs, tuple):
        return _checked_one(module, gy, *outputs)
    if not isinstance(gy, tuple) or len(gy) != len(outputs):
        raise TypeError(
            f"{first_line(module)}: expected a tuple with a gradient for each of the "
            f"{len(outputs)} outputs, got {type(gy).__name__}"
            + (f" of {len(gy)}" if isinstance(gy, tuple) else "")
        )
    return tuple(_checked_one(module, each, *kind) for each, kind in zip(gy, outputs, strict=True))


def _checked_one(module: Module, gy: Any, shape: torch.Size, dtype: torch.dtype) -> Any:
    if gy is None and not dtype.is_floating_point:
        return None
    if not isinstance(gy, Tensor):
        if shape:  # the gradient of a scalar, as a loss is, may be a number
            raise TypeError(
                f"{first_line(module)}: expected the output's gradient to be a tensor of shape "
                f"{tuple(shape)}, got {type(gy).__name__}"
            )
        return gy
    if gy.shape != shape:
        raise ValueError(
            f"{first_line(module)}: expected the output's gradient to have the output's shape "
            f"{tuple(shape)}, got {tuple(gy.shape)}"
        )
    if gy.dtype != dtype:
        raise TypeError(
            f"{first_line(module)}: the output is {dtype} and its gradient {gy.dtype}; "
            "convert the gradient with .to(dtype)"
        )
    return gy.detach()


def _check_input_gradients(module: Module, gx: Any, wanted: list[bool]) -> None:
    if not isinstance(gx, tuple):
        if gx is None and any(wanted):
            raise TapeError(
                f"{first_line(module)}: back returned None, but its input's gradient is wanted; "
                "return it"
            )
        return
    if len(gx) != len(wanted):
        raise TapeError(
            f"{first_line(module)}: back returned {len(gx)} gradients for {len(wanted)} inputs"
        )
    for place, (gradient, needed) in enumerate(zip(gx, wanted, strict=True)):
        if gradient is None and needed:
            raise TapeError(
                f"{first_line(module)}: back returned None for input {place}, but its gradient is "
                "wanted; return it"
            )


def _whole_back(module: Module, gy: Any, tape: Tape) -> Any:
    gx = module.back(gy, tape)
    tape.finish()
    return gx


def _placed(root: Module, function: Callable[..., Any], *arguments: Any) -> Any:
    """`function(*arguments)` without autograd; an error says at which module below root it was."""
    try:
        with torch.no_grad():
            return function(*arguments)
    except Exception as error:
        name = _place_of(error, root)
        if name and error.args and isinstance(error.args[0], str):
            error.args = (f"{name}: {error.args[0]}", *error.args[1:])
        raise


def _place_of(error: Exception, root: Module) -> str:
    """The name, in the root's state dict, of the innermost module that the error came through."""
    names = {id(module): name for name, module in reversed([*root.named_modules()])}
    passed = [getattr(error, "module", None)]
    step = error.__traceback__
    while step is not None:
        passed.insert(1, step.tb_frame.f_locals.get("self"))
        step = step.tb_next
    for module in passed:
        if not isinstance(module, Module):
            continue
        # What computes several layers at once has no name of its own, but its layers have.
        for each in (module, *(child for _, child in module.named_children())):
            if id(each) in names:
                return names[id(each)]
    return ""


def _moved(value: Tensor, targets: tuple[str | torch.device | torch.dtype, ...]) -> Tensor:
    for target in targets:
        if not isinstance(target, torch.dtype) or value.is_floating_point():
            value = value.to(target)
    return value
