"""The engine: a module runs forward and writes on a tape, then reads the tape back.

`run` computes and pushes what its gradient will need; `back` takes it off again and applies the
chain rule. A container runs its children in order and backs them in reverse. There is nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from chainrule.backends.replay import recorded
from chainrule.freezing import SparingTape
from chainrule.ops import casting, casting_to
from chainrule.profiling import profiler_runs, ranges
from chainrule.state import StateDictError
from chainrule.tape import Listener, Tape, TapeError, accumulate, first_line
from chainrule.tree import Tree, parameter

__all__ = ["Module", "StateDictError", "Tape", "TapeError", "accumulate", "parameter"]

Pullback = Callable[..., Any]


class Module(Tree):
    """A differentiable function with parameters: subclasses write `run` and `back`.

    A tensor attribute is a parameter, unless `buffers` names it as state that isn't learned. A
    module attribute is a child, and so is every module in lists, tuples and dicts, nested or not.
    There is nothing to register. What is done to parameters and children is in `Tree`.

    Outputs are plain tensors, behind which PyTorch finds no graph: `backward` takes the place of
    its `.backward()`, which would say "element 0 of tensors does not require grad". For a loss,
    a layer or a tool of PyTorch that needs one, wrap the module: `chainrule.as_torch(model)`.

    Attributes:
        constants: the places of inputs that are data, as a loss's target (1,): no gradient.
    """

    constants: ClassVar[tuple[int, ...]] = ()
    _last_pullback: Pullback | None = None

    # To type checkers `*args: Any, **kwargs: Any` says that subclasses have their own parameters.
    def run(self, *args: Any, **kwargs: Any) -> Any:
        """`run(x, tape)`: compute y from x, and push on `tape` what `back` will need.

        There may be several inputs before the tape, integers among them, and a tuple of outputs.
        """
        raise NotImplementedError(_lacks(self, "run(x, tape)"))

    def back(self, *args: Any, **kwargs: Any) -> Any:
        """`back(gy, tape)`: given dL/dy, add the parameters' gradients and return dL/dx.

        Takes off `tape` what `run` pushed, and hands `tape.add` the gradient of each parameter. May
        return None instead of dL/dx when `tape.wants_gradient(x)` is false. For several outputs gy
        is a tuple; for several inputs it returns one, with None for those of integers.
        """
        raise NotImplementedError(_lacks(self, "back(gy, tape)"))

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
            RuntimeError: under `torch.autocast`.
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
        tape = SparingTape(self, *inputs) if self.some_are_frozen else Tape(*inputs)
        y = _placed(self, self.run, *inputs, tape)
        tape.watch_outputs(*as_tuple(y))
        # Not y and the inputs themselves, which this pass must not keep alive.
        outputs = [_kind(each) for each in y] if isinstance(y, tuple) else _kind(y)
        dtypes, cast = [x.dtype for x in inputs], casting()

        def back(gy: Any, /, input_gradient: bool = True, listener: Listener | None = None) -> Any:
            nonlocal tape
            if tape is None:
                raise TapeError(f"{first_line(self)}: this pass has been backed already")
            gy = _checked(self, gy, outputs)
            spent, tape = tape, None
            spent.source_gradient = input_gradient
            if listener is not None:
                spent.listen(listener)
            if cast is None and casting() is None:
                gx = _placed(self, _back, self, gy, spent)
            else:
                with casting_to(cast):
                    gx = _cast_back(_placed(self, _back, self, gy, spent), dtypes)
            if not input_gradient:
                return None
            if not isinstance(gx, Tensor):
                _check_input_gradients(self, gx, dtypes)
            return gx

        del inputs
        return y, back

    def infer(self, *inputs: Tensor) -> Any:
        """y = f(x) with nothing kept for a backward pass: every activation is freed once used."""
        return _placed(self, self.run, *_detached(self, inputs), Tape(keep=False))


def _lacks(module: Module, method: str) -> str:
    return (
        f"{type(module).__name__} has no {method}: a module has run and back, from which forward "
        "and backward follow; see docs/your-own-layer.md"
    )


def _detached(module: Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    if not inputs:
        raise TypeError(f"{first_line(module)}: expected an input, got none")
    for x in inputs:
        if not isinstance(x, Tensor):
            raise TypeError(
                f"{first_line(module)}: expected the input to be a tensor, got {type(x).__name__}"
            )
    if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
        _refuse_autocast(module, inputs[0].device.type)
    return tuple([x.detach() for x in inputs])


def _refuse_autocast(module: Module, device: str) -> None:
    if torch.is_autocast_enabled(device):
        raise RuntimeError(
            f"{first_line(module)}: torch.autocast doesn't reach chainrule's kernels; convert the "
            "model and its input with .to(dtype), or run them within "
            f'torch.autocast("{device}", enabled=False)'
        )


def as_tuple(values: Any) -> tuple[Any, ...]:
    """One tensor or a tuple of them, as a tuple."""
    return values if isinstance(values, tuple) else (values,)


_Kind = tuple[torch.Size, torch.dtype]


def _kind(x: Tensor) -> _Kind:
    return x.shape, x.dtype


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
            + ("" if gy.shape else "; after a loss it is what the loss's own backward() returns")
        )
    if gy.dtype != dtype:
        raise TypeError(
            f"{first_line(module)}: the output is {dtype} and its gradient {gy.dtype}; "
            "convert the gradient with .to(dtype)"
        )
    return gy.detach()


def _check_input_gradients(module: Module, gx: Any, dtypes: list[torch.dtype]) -> None:
    wanted = [
        dtype.is_floating_point and place not in module.constants
        for place, dtype in enumerate(dtypes)
    ]
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


def _cast_back(gx: Any, dtypes: list[torch.dtype]) -> Any:
    """The inputs' gradients in the inputs' types."""
    if isinstance(gx, Tensor):
        return gx.to(dtypes[0])
    if not isinstance(gx, tuple) or len(gx) != len(dtypes):
        return gx
    return tuple(x.to(dtype) if isinstance(x, Tensor) else x for x, dtype in zip(gx, dtypes))  # noqa: B905


def _back(module: Module, gy: Any, tape: Tape) -> Any:
    gx = module.back(gy, tape)
    tape.finish()
    return gx


def _placed(root: Module, function: Callable[..., Any], *arguments: Any) -> Any:
    """`function(*arguments)` without autograd; an error says at which module below root it was."""
    try:
        if torch.is_grad_enabled():  # entering no_grad takes time, too
            with torch.no_grad():
                return _seen(root, function, *arguments)
        return _seen(root, function, *arguments)
    except Exception as error:
        name = _place_of(error, root)
        if name and error.args and isinstance(error.args[0], str):
            error.args = (f"{name}: {error.args[0]}", *error.args[1:])
        raise


def _seen(root: Module, function: Callable[..., Any], *arguments: Any) -> Any:
    """`function(*arguments)`, and whoever records or measures is told whose it is."""
    calls = recorded()
    if calls is not None:
        calls.roots[id(root)] = root
    if not profiler_runs():
        return function(*arguments)
    with ranges(f"{type(root).__name__}.{function.__name__.lstrip('_')}"):
        return function(*arguments)


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
