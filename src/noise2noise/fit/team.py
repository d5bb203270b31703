"""One training step shared out: over the processes of a run, and over parts that follow each other.

What is computed is the step of the whole batch, whoever computes it: the loss of a batch is the
mean over its crops, so the gradients of parts add up, each weighed by its share of the crops.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch.distributed as dist
from torch import Tensor

from chainrule import Module, clip_gradients, distributed
from chainrule.losses import Loss
from chainrule.optimizers import Optimizer
from noise2noise.fit.training_step import Steps


class Wishes(NamedTuple):
    """What all processes do, because one of them wishes it."""

    stop: bool
    save: bool


class Team:
    """The processes of a run, which may be one.

    Args:
        model: alike in all; process 0's parameters become everybody's.
        parts: how many passes a process makes of its share of a batch, one after another. The
            gradients travel once.
        shard: whether each process keeps the optimizer's state of its own parameters only.

    Attributes:
        stepped: the parameters that this process's optimizer is for.
    """

    def __init__(self, model: Module, parts: int = 1, shard: bool = False) -> None:
        self._alone = distributed.processes() == 1
        self._parts = parts
        self._parameters = model.parameters()
        distributed.same_everywhere(model)
        self._sums = distributed.GradientSums(self._parameters)
        self._shards = distributed.Shards(self._parameters) if shard else None
        self.stepped = self._shards.mine if self._shards else self._parameters

    @property
    def leads(self) -> bool:
        """Whether this process writes the run's files, and speaks."""
        return distributed.rank() == 0

    @property
    def share(self) -> tuple[int, int]:
        """Which of how many shares is this process's."""
        return distributed.rank(), distributed.processes()

    def step(self, steps: Steps, x: Tensor, y: Tensor, batch: int) -> float:
        """The step of a batch, of which x and y are this process's share, possibly none.

        Returns the batch's loss before the step. One that is not finite changes no weight, as
        `noise2noise.fit.step` has it.
        """
        if self._alone and self._parts == 1:
            return steps(x, y)
        steps.model.zero_grad()
        value = self._gradients(steps.model, steps.loss, x, y, batch)
        self._sums.wait()
        (total,) = distributed.sums(value)
        if not math.isfinite(total):
            return total
        if steps.clip_norm is not None:
            clip_gradients(self._parameters, steps.clip_norm)
        steps.optimizer.step()
        if self._shards is not None:
            self._shards.gather()
        return total

    def _gradients(self, model: Module, loss: Loss, x: Tensor, y: Tensor, batch: int) -> float:
        """Adds up the gradients of this share; returns its part of the batch's loss."""
        total = 0.0
        parts = max(1, min(self._parts, len(x)))
        pieces = zip(x.tensor_split(parts), y.tensor_split(parts), strict=True)
        for place, (part_x, part_y) in enumerate(pieces, 1):
            if not len(part_x):
                break
            share = len(part_x) / batch
            total += share * float(loss.forward(model.forward(part_x), part_y))
            listener = self._sums.ready if place == parts else None
            model.backward(loss.backward(share), input_gradient=False, listener=listener)
        return total

    def agree(self, stop: bool, save: bool) -> Wishes:
        """What any process wishes, of which all have been asked at the same step."""
        return Wishes(*(wish > 0 for wish in distributed.sums(stop, save)))

    def mean(self, total: float, count: int) -> float:
        """The mean of numbers of which each process has the sum and the count of some."""
        whole, number = distributed.sums(total, count)
        return whole / number

    def whole_state(self, optimizer: Optimizer) -> dict[str, Tensor]:
        """The optimizer's state dict of all parameters, in the process that leads.

        All processes have to ask for it; the others get what is theirs.
        """
        state = optimizer.state_dict()
        if self._shards is None or self._alone:
            return state
        own = {self._renumbered(name, self._places()): value for name, value in state.items()}
        everybody: list[dict[str, Tensor]] | None = None
        if self.leads:
            everybody = [{} for _ in range(distributed.processes())]
        dist.gather_object(own, everybody)
        return {name: value for each in everybody or [own] for name, value in each.items()}

    def own_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What of a whole state dict this process's optimizer keeps."""
        if self._shards is None:
            return {**state}
        to = {place: own for own, place in enumerate(self._places())}
        mine = {
            name: value
            for name, value in state.items()
            if name == "steps" or int(name.partition(".")[0]) in to
        }
        return {self._renumbered(name, to): value for name, value in mine.items()}

    def _places(self) -> list[int]:
        """Where among all parameters this process's are."""
        places = {id(value): place for place, value in enumerate(self._parameters)}
        return [places[id(value)] for value in self.stepped]

    @staticmethod
    def _renumbered(name: str, numbers: Mapping[int, int] | list[int]) -> str:
        index, _, rest = name.partition(".")
        return f"{numbers[int(index)]}.{rest}" if rest else name
