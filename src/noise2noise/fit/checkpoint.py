"""The checkpoint: all that a run needs to go on, in one safetensors file.

Tensors are the network's weights under their own names, so that any reader of models finds them,
the optimizer's under `optimizer/` and the weights' running average, if there is one, under
`average/`. The rest is text beside them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chainrule import Average, Module
from chainrule.optimizers import Optimizer
from chainrule.serialization import load_tensors, save_tensors
from noise2noise.device import home
from noise2noise.fit.conditions import changes, conditions

_OPTIMIZER, _AVERAGE = "optimizer/", "average/"


@dataclass(frozen=True)
class Checkpoint:
    """A run at rest.

    Attributes:
        weights: the network's state dict.
        optimizer: the optimizer's.
        position: where the run stands, as JSON has it. Every random choice of a run follows from
            its seed and its place, so this is the random state as well.
        conditions: what it was computed with; empty where an older version wrote the file.
        facts: what else its owner keeps: how to build the network, what was asked for.
        average: the state dict of the weights' running average; empty if the run has none.
    """

    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    position: Mapping[str, Any]
    facts: Mapping[str, str]
    conditions: Mapping[str, str] = field(default_factory=conditions)
    average: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        model: Module,
        optimizer: Mapping[str, Tensor],
        position: Mapping[str, Any],
        facts: Mapping[str, str],
        average: Average | None = None,
    ) -> Checkpoint:
        """The run as it stands; the tensors are the run's own, not copies."""
        averaged = average.state_dict() if average else {}
        now = conditions(home(model))
        return cls(model.state_dict(), optimizer, position, facts, now, averaged)

    @classmethod
    def read(cls, path: str | Path) -> Checkpoint:
        """The checkpoint in a file, also one that version 0.1 wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged, or a model and no checkpoint.
        """
        tensors, facts = load_tensors(path)
        try:
            position = json.loads(facts.pop("position"))
            known = json.loads(facts.pop("conditions", "{}"))
        except (KeyError, ValueError) as error:
            raise ValueError(f"{path} is not a checkpoint of a training run") from error
        return cls(
            weights={k: v for k, v in tensors.items() if not k.startswith((_OPTIMIZER, _AVERAGE))},
            optimizer=_under(_OPTIMIZER, tensors),
            position=position,
            facts=facts,
            conditions=known,
            average=_under(_AVERAGE, tensors),
        )

    def tensors(self) -> dict[str, Tensor]:
        """All tensors, by the names that they have in the file."""
        state = {_OPTIMIZER + name: value for name, value in self.optimizer.items()}
        averaged = {_AVERAGE + name: value for name, value in self.average.items()}
        return {**self.weights, **state, **averaged}

    def write(self, path: str | Path) -> None:
        """Replace the file, so that it is always whole.

        Raises:
            OSError: it can't be written.
        """
        metadata = {
            **self.facts,
            "position": json.dumps(self.position),
            "conditions": json.dumps(self.conditions),
        }
        save_tensors(path, self.tensors(), metadata, overwrite=True)

    def restore(
        self,
        model: Module,
        optimizer: Optimizer,
        state: Mapping[str, Tensor],
        average: Average | None = None,
    ) -> None:
        """Put network, optimizer and average where the run stood.

        The optimizer gets `state`: all of `self.optimizer`, or what of it is this process's.

        Raises:
            ValueError: they are others than the run's.
        """
        model.load_state_dict(self.weights)
        optimizer.load_state_dict(state)
        if average is not None:
            average.load_state_dict(self.average)

    def warning(self, device: torch.device) -> str:
        """One line where the run goes on under other conditions than its last steps had; or "".

        `device` is where it goes on.
        """
        differing = changes(self.conditions, conditions(device))
        if not differing:
            return ""
        return f"the run goes on under other conditions, so not to the bit as before: {differing}"


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
