"""Passes through models of which parts are frozen: `module.requires_grad_(False)`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from chainrule.tape import Listener, Tape

if TYPE_CHECKING:
    from chainrule.module import Module


class SparingTape(Tape):
    """A tape that adds no gradients to parameters that nothing but frozen modules hold.

    It watches them all the same: the gradients of other layers are computed with them.
    """

    def __init__(self, root: Module, *sources: Tensor) -> None:
        super().__init__(*sources)
        learning = {id(value) for value in root.learning_parameters()}
        self._frozen = {id(value) for value in root.parameters()} - learning

    def add(self, parameter: Tensor, gradient: Tensor) -> None:
        if id(parameter) not in self._frozen:
            super().add(parameter, gradient)

    def listen(self, listener: Listener) -> None:
        super().listen(lambda value: None if id(value) in self._frozen else listener(value))
