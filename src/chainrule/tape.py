"""What one forward pass leaves for its backward pass, and what may not happen in between.

A `Tape` is a stack of records. It watches what it holds: a tensor that was changed in place since
it was pushed, or a parameter that was changed or replaced, would give a wrong gradient, and is an
error instead. The gradients of the parameters go through it too, so that it can tell when one is
final.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from chainrule import ops
from chainrule.backends.replay import refuse

if TYPE_CHECKING:
    from chainrule.module import Module

Listener = Callable[[Tensor], object]
_Versions = list[int | None]
_Learned = list[tuple["Module", str, Tensor, int | None]]  # owner, name, parameter, its version
_Record = tuple["Module", tuple[Any, ...], _Versions, _Learned]


class _TensorKinds(dict[type, bool]):
    """Whether a type is a tensor's: asked so often that isinstance would take too long."""

    def __missing__(self, kind: type) -> bool:
        self[kind] = issubclass(kind, Tensor)
        return self[kind]


_IS_TENSOR = _TensorKinds()


class TapeError(RuntimeError):
    """A backward pass doesn't mirror its forward pass, or not what that pass computed with.

    Attributes:
        module: at which it was noticed; `Module.pullback` puts its name before the message.
    """

    def __init__(self, message: str, module: Module | None = None) -> None:
        self.module = module
        super().__init__(message)


class Tape:
    """What one forward pass leaves for its backward pass: a stack of (module, values) records.

    Args:
        sources: the inputs of the network, whose gradients may be skipped; see `wants_gradient`.
        keep: false in inference; then nothing is kept and nothing can be taken.
    """

    def __init__(self, *sources: Tensor, keep: bool = True) -> None:
        self.keep = keep
        self.source_gradient = True
        self._waived = False  # whether a module was told that nobody wants its input's gradient
        # Weak references: a tensor that no record keeps needs not stay alive to be recognized.
        self._sources = [weakref.ref(x) for x in sources]
        self._outputs: list[weakref.ref[Tensor]] = []
        self._records: list[_Record] = []
        self._finals: _Finals | None = None

    def push(self, module: Module, *values: Any) -> None:
        """Keep `values` until `module` takes them back, and watch them and its parameters."""
        if self.keep:
            self._record(module, values, _learned(module))

    def push_whole(self, module: Module, *values: Any) -> None:
        """`push` for a module that will run others again in `back`: their parameters count too."""
        if self.keep:
            below = {id(each): each for _, each in module.named_modules()}
            learned = [use for each in below.values() for use in _learned(each)]
            self._record(module, values, learned)

    def forgetful(self) -> Tape:
        """A tape that keeps nothing, for a part of this pass that will run again."""
        return Tape(keep=False)

    def _record(self, module: Module, values: tuple[Any, ...], learned: _Learned) -> None:
        self._records.append((module, values, _versions(values), learned))
        if self._finals is not None:
            self._finals.pushed(value for _, _, value, _ in learned)

    def take(self, module: Module) -> tuple[Any, ...]:
        """Take the last record, which must be `module`'s, off the tape; this frees its activations.

        Raises:
            TapeError: the tape is empty; the last record is another module's; one of its tensors,
                or a parameter of the module, was changed since.
        """
        if not self._records:
            raise TapeError(
                f"{first_line(module)} asks for its record, but the tape is empty", module
            )
        writer, values, versions, learned = self._records[-1]
        if writer is not module:
            raise TapeError(
                f"{first_line(module)} asks for its record, but the last one on the tape is of "
                f"{first_line(writer)}; back must undo run in reverse order",
                module,
            )
        if _versions(values) != versions:
            self._refuse_changed(module, values, versions)
        for owner, name, value, version in learned:
            if _version(value) != version or vars(owner).get(name) is not value:
                _refuse_stepped(owner, name)
        self._records.pop()
        if self._finals is not None:
            self._finals.taken(value for _, _, value, _ in learned)
        return values

    def add(self, parameter: Tensor, gradient: Tensor) -> None:
        """Add `gradient` to `parameter.grad` in place, once or more for each use in this pass.

        Raises:
            ValueError: the gradient has another shape than the parameter, even one that broadcasts.
            TapeError: a listener was told already that the parameter's gradient is final.
        """
        accumulate(parameter, gradient)
        if self._finals is not None:
            self._finals.added(parameter)

    def listen(self, listener: Listener) -> None:
        """Have `listener(parameter)` called when this pass adds no more to `parameter.grad`.

        Call it between the forward pass and its backward pass. Every parameter that the pass used
        comes once, after the last module that used it was backed: nothing reads it in this pass any
        more, so a listener may send its gradient away, scale it, or step the parameter. One that
        no record tells of, because its module pushed nothing, comes at the end.
        """
        uses = [value for *_, learned in reversed(self._records) for _, _, value, _ in learned]
        self._finals = _Finals(listener, uses)

    def finish(self) -> None:
        """End the backward pass.

        Raises:
            TapeError: a record was not taken.
        """
        if self._records:
            left = self._records[-1][0]
            raise TapeError(
                f"{first_line(left)}: its record was left on the tape; no back took it",
                left,
            )
        if self._finals is not None:
            self._finals.finish()

    def wants_gradient(self, x: Tensor) -> bool:
        """Whether dL/dx has a reader: false for integers, and for the network's input if waived."""
        wanted = x.dtype.is_floating_point and (
            self.source_gradient or not any(x is source() for source in self._sources)
        )
        self._waived |= not wanted
        return wanted

    def check_missing(self, module: Module) -> None:
        """`module.back` returned None: only right if `wants_gradient` said no to somebody.

        Raises:
            TapeError: it didn't; so a `return` is missing.
        """
        if not self._waived:
            raise TapeError(
                f"{first_line(module)}: back returned None, but its input's gradient is wanted; "
                "return it",
                module,
            )

    def watch_outputs(self, *outputs: Tensor) -> None:
        """Remember what the pass returned, to call it by its name in errors."""
        self._outputs = [weakref.ref(y) for y in outputs]

    def _refuse_changed(self, module: Module, values: tuple[Any, ...], versions: _Versions) -> None:
        tensors = [*_tensors(values)]
        changed = next(x for x, old in zip(tensors, versions, strict=True) if _version(x) != old)
        if any(changed is source() for source in self._sources):
            name = "the input"
        elif any(changed is output() for output in self._outputs):
            name = "the output"
        else:
            name = "a tensor that it kept"
        raise TapeError(
            f"{first_line(module)}: {name}, of shape {tuple(changed.shape)}, was changed in place "
            "after the forward pass, as y.mul_(2) does; use y = y * 2, or run backward first",
            module,
        )

    def __iter__(self) -> Iterator[tuple[Module, tuple[Any, ...]]]:
        """The records, oldest first."""
        return ((module, values) for module, values, *_ in self._records)

    def __len__(self) -> int:
        return len(self._records)


class _Finals:
    """Tells a listener of every parameter's gradient once, when it is final.

    That is when the next record is taken, not at once when it was added: a module may add twice, or
    read the parameter again after it added.
    """

    def __init__(self, listener: Listener, uses: list[Tensor]) -> None:
        self._listener = listener
        self._used = {id(value): value for value in uses}
        self._left = Counter(map(id, uses))
        self._added: dict[int, Tensor] = {}
        self._told: set[int] = set()

    def added(self, parameter: Tensor) -> None:
        if id(parameter) in self._told:
            raise TapeError(
                f"a parameter of shape {tuple(parameter.shape)} got another gradient after its "
                "last: each module that uses it must push a record, if only tape.push(self)"
            )
        self._added[id(parameter)] = parameter

    def pushed(self, learned: Iterable[Tensor]) -> None:
        """A part of the pass runs again during the backward pass."""
        for value in learned:
            self._used.setdefault(id(value), value)
            self._left[id(value)] += 1

    def taken(self, learned: Iterable[Tensor]) -> None:
        for key, value in [*self._added.items()]:
            if key in self._used and not self._left[key]:
                self._tell(key, value)
        self._left.subtract(map(id, learned))

    def finish(self) -> None:
        for key, value in {**self._used, **self._added}.items():
            self._tell(key, value)

    def _tell(self, key: int, value: Tensor) -> None:
        self._added.pop(key, None)
        if key not in self._told:
            self._told.add(key)
            self._listener(value)


def accumulate(parameter: Tensor, gradient: Tensor) -> None:
    """Add `gradient` to `parameter.grad` in place; `torch.optim` may have set that to None.

    In a module's `back` use `Tape.add`, which does the same and knows when the sum is complete.

    Raises:
        ValueError: the gradient has another shape than the parameter, even one that broadcasts.
    """
    ops.accumulate(gradient_of(parameter), gradient)


def gradient_of(value: Tensor) -> Tensor:
    """`value.grad`, made of zeros if there is none."""
    if value.grad is None:
        refuse("a parameter has no gradient yet; call model.zero_grad() before the recorded call")
        value.grad = torch.zeros_like(value)
    return value.grad


def first_line(module: Module) -> str:
    """What errors call the module: its `repr`, of a container its class alone."""
    return repr(module).partition("\n")[0].rstrip("(")


def _learned(module: Module) -> _Learned:
    """The module's own parameters, without its children's."""
    buffers = module.buffers
    return [
        (module, name, value, _version(value))
        for name, value in vars(module).items()
        if _IS_TENSOR[type(value)] and name not in buffers
    ]


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _versions(values: Iterable[Any]) -> _Versions:
    """Of each of `_tensors(values)` its version."""
    versions: _Versions = []
    for value in values:
        if _IS_TENSOR[type(value)]:
            versions.append(_version(value))
        elif isinstance(value, list | tuple) and not isinstance(value, torch.Size):
            versions += _versions(value)
    return versions


def _version(x: Tensor) -> int | None:
    """How often `x` was changed in place; None for tensors of inference mode, which don't count."""
    try:
        return x._version
    except RuntimeError:
        return None


def _refuse_stepped(module: Module, name: str) -> None:
    raise TapeError(
        f"{first_line(module)}: its {name} was changed after the forward pass, say by an "
        "optimizer's step or load_state_dict; run backward before, or the forward pass again",
        module,
    )
