"""The running average of a model's weights: less noisy than the last ones, and so often better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from chainrule.module import Module


class Average:
    """An exponential moving average of parameters and buffers (Polyak and Juditsky 1992).

    After the step number t, counted from 1:  a = d a + (1 - d) w,  d = min(decay, (1 + t) / (10 +
    t)), so that the first, bad weights are soon forgotten. Integers, as a count of batches, are
    taken over as they are.

    Args:
        model: whose weights are averaged; the average begins with them.
        decay: in [0, 1); 0.999 averages over about the last 1,000 steps.

    Raises:
        ValueError: a decay outside [0, 1).

    Example:
        >>> model = Conv2d(1, 1, 3)
        >>> average = Average(model, decay=0.99)
        >>> average.update()           # after each step of the optimizer
        >>> with average.applied():    # the model has the averaged weights meanwhile
        ...     y = model.infer(torch.zeros(1, 1, 8, 8))
    """

    def __init__(self, model: Module, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must lie in [0, 1), got {decay}")
        self.model, self.decay, self.steps = model, decay, 0
        self._values = {name: value.detach().clone() for name, value in model.named_tensors()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the model's present weights into the average."""
        self.steps += 1
        share = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        averaged, present = [], []
        for name, value in self.model.named_tensors():
            if value.is_floating_point():
                averaged.append(self._values[name])
                present.append(value)
            else:
                self._values[name].copy_(value)
        if averaged:
            # On a GPU one launch for many.
            torch._foreach_lerp_(averaged, present, share)  # pyright: ignore[reportPrivateImportUsage]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model has the averaged weights within, and its own again afterwards."""
        own = {name: value.detach().clone() for name, value in self.model.named_tensors()}
        self.model.load_state_dict(self._values)
        try:
            yield
        finally:
            self.model.load_state_dict(own)

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights by their names in the model, and "steps"."""
        return {"steps": torch.tensor(self.steps), **self._values}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state_dict` of an average of the same model.

        Raises:
            ValueError: names or shapes are others; nothing is changed.
        """
        shapes = {name: value.shape for name, value in state.items() if name != "steps"}
        if "steps" not in state or shapes != {k: v.shape for k, v in self._values.items()}:
            raise ValueError("this is no average of the weights of this model")
        self.steps = int(state["steps"])
        for name, value in self._values.items():
            value.copy_(state[name].detach())
