"""Optimizers, one file per family: one small `apply` per parameter."""

from chainrule.optimizers.adam import Adam, AdamW, Lion
from chainrule.optimizers.clipping import clip_gradients
from chainrule.optimizers.descent import SGD, RMSprop
from chainrule.optimizers.muon import Muon
from chainrule.optimizers.optimizer import Optimizer, Parameters
from chainrule.optimizers.scaling import LossScaler

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Lion",
    "LossScaler",
    "Muon",
    "Optimizer",
    "Parameters",
    "RMSprop",
    "clip_gradients",
]
