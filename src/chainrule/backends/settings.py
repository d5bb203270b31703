"""How backends compute, for the whole process. Nothing of chainrule is imported here."""

from __future__ import annotations

import os

import torch

_winograd = os.environ.get("CHAINRULE_WINOGRAD") != "0"


def winograd(enabled: bool | None = None) -> bool:
    """Tell whether the native backend may use Winograd's algorithm, and with `enabled` set it.

    It does with between a quarter and three fifths of the multiplications of a 3x3 convolution, and
    of strided and upsampled ones. Rounding errors stay below 1e-5 of the largest value: typically
    one and a half times, at most three times those of the direct way, as docs/kernels.md#winograd
    measures; NaN or infinity in an input spoils the 4x4 outputs of its tile. To have it otherwise,
    turn it off here or by CHAINRULE_WINOGRAD=0 in the environment.
    """
    global _winograd
    if enabled is not None:
        _winograd = bool(enabled)
    return _winograd


def threads() -> int:
    """How many threads a kernel may use: PyTorch's number, which `torch.set_num_threads` sets.

    With the same number results repeat bit for bit; there is no faster way that doesn't.
    """
    return torch.get_num_threads()
