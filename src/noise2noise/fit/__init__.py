"""Learning from pairs: one training step, one checkpoint, and the `Trainer` built on both.

- `step.py`: forward, backward and update, for whoever trains a network here.
- `checkpoint.py`, `conditions.py`: all that a run needs to go on, and what it was computed with.
- `configuration.py`: what can be asked for; the command's options are made from it.
- `sources.py`: the data that a configuration names.
- `trainer.py`, `folder.py`: the loop, and the files that it leaves.
- `observer.py`: how a run is watched and stopped from outside.
"""

from noise2noise.fit.checkpoint import Checkpoint
from noise2noise.fit.configuration import TrainingConfig, configure
from noise2noise.fit.observer import Observer
from noise2noise.fit.step import step
from noise2noise.fit.trainer import (
    DivergedError,
    Trainer,
    TrainingStopped,
    stored_config,
)

__all__ = [
    "Checkpoint",
    "DivergedError",
    "Observer",
    "Trainer",
    "TrainingConfig",
    "TrainingStopped",
    "configure",
    "step",
    "stored_config",
]
