"""Learning from pairs: one training step, one checkpoint, and the `Trainer` built on both.

- `training_step.py`: forward, backward and update, for whoever trains a network here.
- `checkpoint.py`, `conditions.py`: all that a run needs to go on, and what it was computed with.
- `configuration.py`: what can be asked for; the command's options are made from it.
- `start.py`: how a run begins or goes on: what is asked for, completed, and where it is kept.
- `sources.py`: the data that a configuration names.
- `rival.py`: how a run did beside the shipped model.
- `trainer.py`, `folder.py`, `lock.py`: the loop, the files that it leaves, one writer at a time.
- `pictures.py`: what epochs made of one validation image, to look at.
- `observer.py`: how a run is watched and stopped from outside.
"""

from typing import TYPE_CHECKING

from noise2noise.lazily import lazily

if TYPE_CHECKING:
    from noise2noise.errors import DivergedError
    from noise2noise.fit.checkpoint import Checkpoint
    from noise2noise.fit.configuration import TrainingConfig, configure
    from noise2noise.fit.observer import Observer
    from noise2noise.fit.trainer import Trainer, TrainingStopped, stored_config
    from noise2noise.fit.training_step import Steps, step

__all__ = [
    "Checkpoint",
    "DivergedError",
    "Observer",
    "Steps",
    "Trainer",
    "TrainingConfig",
    "TrainingStopped",
    "configure",
    "step",
    "stored_config",
]

# Not at once: the options of `noise2noise train` are made of the configuration, without PyTorch.
__getattr__ = lazily(
    __name__,
    {
        "checkpoint": "Checkpoint",
        "configuration": "TrainingConfig configure",
        "observer": "Observer",
        "trainer": "DivergedError Trainer TrainingStopped stored_config",
        "training_step": "Steps step",
    },
)
