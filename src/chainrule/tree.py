"""Modules that hold modules: who is below, the tensors and their names, and what is done to all.

There is nothing to register: children and tensors are found by looking through the attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from chainrule import ops
from chainrule.state import IncompatibleKeys, load_into, state_dict_of
from chainrule.tape import gradient_of

if TYPE_CHECKING:
    from typing_extensions import Self

    from chainrule.module import Module


def parameter(values: Tensor) -> Tensor:
    """Make `values` a parameter: a plain tensor with its gradient, of zeros, in `.grad`.

    On the meta device, where a network has shapes and no memory, it gets none.
    """
    if not values.is_meta:
        values.grad = torch.zeros_like(values)
    return values


class Tree:
    """All of `Module` that is not a pass: children, parameters, state, devices, modes.

    A tensor attribute is a parameter, unless `buffers` names it as state that isn't learned. A
    module attribute is a child, and so is every module in lists, tuples and dicts, nested or not.

    Attributes:
        training: true until `.eval()`; batch normalization behaves differently in the two.
        frozen: true after `.requires_grad_(False)`: no gradients for this module's own parameters.
    """

    buffers: ClassVar[tuple[str, ...]] = ()
    training: bool = True
    frozen: bool = False
    some_are_frozen: ClassVar[bool] = False
    """Whether any module of this process was ever frozen: until then no pass looks for one."""

    # -- who is below ---------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules held by this one's attributes, with the names a state dict gives them."""
        for name, value in vars(self).items():
            yield from _modules_in(name, value)

    def children(self) -> Iterator[Module]:
        """The modules held by this one's attributes."""
        return (child for _, child in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below it, depth first; a module at two places comes twice."""
        yield prefix, cast("Module", self)
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        """This module and all below it, depth first, each once."""
        return iter({id(module): module for _, module in self.named_modules()}.values())

    def apply(self, function: Callable[[Module], object]) -> Self:
        """Call `function` with every module below this one, and then with this one."""
        for child in self.children():
            child.apply(function)
        function(cast("Module", self))
        return self

    # -- tensors and their names ----------------------------------------------------------------

    def named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters and buffers by the names a state dict gives them; shared ones come twice."""
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Tensor):
                    yield (f"{prefix}.{name}" if prefix else name), value

    def own_parameters(self) -> dict[str, Tensor]:
        """The learned tensors among this module's own attributes, without those below."""
        return {
            name: value
            for name, value in vars(self).items()
            if isinstance(value, Tensor) and name not in self.buffers
        }

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """The learned tensors by name, each once, frozen or not."""
        seen: set[int] = set()
        for prefix, module in self.named_modules():
            for name, value in module.own_parameters().items():
                if id(value) not in seen:
                    seen.add(id(value))
                    yield (f"{prefix}.{name}" if prefix else name), value

    def parameters(self) -> list[Tensor]:
        """The learned tensors, each once: what an optimizer takes, `torch.optim` too."""
        return [value for _, value in self.named_parameters()]

    def learning_parameters(self) -> list[Tensor]:
        """The parameters, each once, without those that frozen modules alone hold."""
        learning = (module for _, module in self.named_modules() if not module.frozen)
        found = (value for module in learning for value in module.own_parameters().values())
        return [*{id(value): value for value in found}.values()]

    def param(self) -> list[tuple[Tensor, Tensor]]:
        """(parameter, gradient) pairs of all that learn. The gradient is the parameter's `.grad`,
        not a copy."""
        return [(value, gradient_of(value)) for value in self.learning_parameters()]

    def zero_grad(self, set_to_none: bool = False) -> None:
        """Set every gradient to zero, in place; or to None, which frees its memory."""
        if not set_to_none:
            ops.zero([gradient for _, gradient in self.param()])
            return
        for value in self.parameters():
            value.grad = None

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """With false, freeze: parameters of this module and all below it get no gradients.

        Their `.grad` is None from now on, so that optimizers pass over them; convolutions and
        linear layers don't compute what nobody wants. What runs before the first layer that learns
        costs nothing backward when it runs by itself, as `head.forward(encoder.infer(x))`.

        A parameter alone can't be frozen: it is a plain tensor, which autograd doesn't follow, and
        whose `requires_grad` is false in any case.
        """
        for module in self.modules():
            module.freeze(not requires_grad)
        return self

    def freeze(self, frozen: bool = True) -> None:
        """`requires_grad_(not frozen)` without the modules below."""
        self.frozen = frozen
        if frozen:
            Tree.some_are_frozen = True
            for value in self.own_parameters().values():
                value.grad = None

    # -- state ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Tensor]:
        """The live parameters and buffers by name, with PyTorch's names and layouts.

        Raises:
            ValueError: two different tensors have one name.
        """
        return state_dict_of(self.named_tensors())

    def load_state_dict(self, state: Mapping[str, Tensor], strict: bool = True) -> IncompatibleKeys:
        """Copy values by name into the parameters and buffers; all of them or none.

        Args:
            state: tensors by name.
            strict: false copies those that both have, and returns which are missing and unexpected.

        Raises:
            StateDictError: lists what is missing, what is extra, and what has another shape; the
                last also when not strict.
        """
        return load_into(self.state_dict(), state, strict)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a pickle takes over: all but the pass that waits for its `backward`."""
        return {name: value for name, value in vars(self).items() if name != "_last_pullback"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self.frozen:  # in another process
            Tree.some_are_frozen = True

    # -- devices, dtypes, modes -----------------------------------------------------------------

    def to(
        self,
        *targets: str | torch.device | torch.dtype,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        memory_format: torch.memory_format | None = None,
    ) -> Self:
        """Move parameters, gradients and buffers to a device and/or a float dtype, in place.

        Args:
            targets: devices and dtypes in any order, as `to("cuda", torch.float16)`.
            device, dtype: the same by name.
            memory_format: how tensors of four dimensions lie in memory, as `torch.channels_last`.

        Raises:
            TypeError: the dtype is not a float one.
        """
        wanted = [each for each in (*targets, device, dtype) if each is not None]
        for target in wanted:
            if isinstance(target, torch.dtype) and not target.is_floating_point:
                raise TypeError(f"parameters must have a float dtype, got {target}")
        for _, value in self.named_tensors():
            gradient, value.grad = value.grad, None
            value.data = _moved(value.data, wanted, memory_format)
            increment_version(value)  # an open pass computed with another one
            if gradient is not None:
                value.grad = _moved(gradient, wanted, memory_format)
        return self

    def cpu(self) -> Self:
        """Move to the CPU: `.to("cpu")`."""
        return self.to("cpu")

    def cuda(self) -> Self:
        """Move to the GPU: `.to("cuda")`."""
        return self.to("cuda")

    def float(self) -> Self:
        """Convert to float32: `.to(torch.float32)`."""
        return self.to(torch.float32)

    def double(self) -> Self:
        """Convert to float64: `.to(torch.float64)`."""
        return self.to(torch.float64)

    def half(self) -> Self:
        """Convert to float16: `.to(torch.float16)`."""
        return self.to(torch.float16)

    def train(self, training: bool = True) -> Self:
        """Switch this module and all below it to training (or, with false, to evaluation)."""
        for _, module in self.named_modules():
            module.training = training
        return self

    def eval(self) -> Self:
        """Switch to evaluation: batch normalization uses its running statistics."""
        return self.train(False)

    # -- as text --------------------------------------------------------------------------------

    def arguments(self) -> str:
        """The constructor's arguments, for `repr`."""
        return ""

    def __repr__(self) -> str:
        children = [
            f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()
        ]
        if not children:
            return f"{type(self).__name__}({self.arguments()})"
        return f"{type(self).__name__}(\n  " + "\n  ".join(children) + "\n)"


def _modules_in(name: str, value: Any) -> Iterator[tuple[str, Module]]:
    """The modules in an attribute's value, named by their way through its containers."""
    if isinstance(value, Tree):
        yield name, cast("Module", value)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _modules_in(f"{name}.{key}", item)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _modules_in(f"{name}.{index}", item)


def _moved(
    value: Tensor,
    targets: Iterable[str | torch.device | torch.dtype],
    memory_format: torch.memory_format | None,
) -> Tensor:
    for target in targets:
        if not isinstance(target, torch.dtype) or value.is_floating_point():
            value = value.to(target)
    if memory_format is not None and value.dim() == 4:
        value = value.contiguous(memory_format=memory_format)
    return value
