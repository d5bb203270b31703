"""Where a network computes: a device by its name, and values on their way there and back.

A model is where its weights are. `infer` brings values to it, `batches_on` whole batches, each
while the one before is computed with; nothing else of this package moves any.
"""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chainrule import Module, empty_cache
from noise2noise.errors import UserError

AUTO = "auto"
"""CUDA where PyTorch can use it, else the CPU."""

CPU = torch.device("cpu")
_OTHERS = ("cuda", "xpu", "mps")  # there is PyTorch itself for the latter two


def resolved(name: str | torch.device = AUTO) -> torch.device:
    """The device of that name, with its number where there are several of its kind.

    Arguments:
        name: `AUTO`, cpu, cuda, or one of several, cuda:1; also what PyTorch itself computes with,
            xpu and mps.

    Raises:
        UserError: it is none, or isn't there; says what was found.
    """
    if name == AUTO:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", *_OTHERS):
        raise UserError(f"there is no device {str(name)!r}; choose auto, cpu, cuda, or cuda:1")
    if device.type == "cpu":
        return CPU
    module: Any = torch.get_device_module(device.type)
    if not module.is_available():
        raise UserError(
            f"the device {device} can't be used: {found()}; choose --device cpu"
            + _REMEDIES.get(device.type, "")
        )
    if device.type == "mps":
        return torch.device("mps")
    count = module.device_count()
    number = module.current_device() if device.index is None else device.index
    if number >= count:
        raise UserError(f"there is no device {device}, but {found()}; choose one of these")
    return torch.device(device.type, number)


def found() -> str:
    """The GPUs that PyTorch can use, in words."""
    if not torch.cuda.is_available():
        built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "for the CPU alone"
        return f"PyTorch {torch.__version__}, built {built}, finds no GPU"
    names = (f"cuda:{i} ({name})" for i, name in enumerate(gpus()))
    return f"PyTorch {torch.__version__} finds {', '.join(names)}"


_REMEDIES = {
    "cuda": ", or install NVIDIA's driver and a PyTorch that is built for CUDA",
}


def gpus() -> list[str]:
    """The names of the CUDA devices."""
    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def in_words(device: torch.device) -> str:
    """What computes there: cpu, or a GPU's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def home(model: Module) -> torch.device:
    """Where a model's weights are; the CPU for one without."""
    return next((value.device for _, value in model.named_tensors()), CPU)


def free_memory(device: torch.device) -> int | None:
    """Bytes of a GPU's memory that nobody uses, or that PyTorch keeps for use; None if unknown."""
    if device.type != "cuda":
        return None
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept


def forget(device: torch.device) -> None:
    """Give back memory that is kept to be used again."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    empty_cache()


def infer(model: Module, x: np.ndarray) -> np.ndarray:
    """The model's result for (N, C, H, W) in float32, computed where the model is."""
    return model.infer(moved(torch.from_numpy(x), home(model))).cpu().numpy()


def moved(value: Tensor, device: torch.device) -> Tensor:
    """The values on a device; to CUDA through pinned memory, without waiting for them."""
    if device.type != "cuda":
        return value.to(device)
    return value.pin_memory().to(device, non_blocking=True)


Batch = tuple[Tensor, Tensor]


def batches_on(
    device: torch.device, batches: Generator[Batch, None, None]
) -> Generator[Batch, None, None]:
    """The batches, on a device. Each is waited for, and copied, while the one before it is computed
    with."""
    if device == CPU:
        return batches
    return _ahead(_Way(device), batches)


def _ahead(way: _Way, batches: Generator[Batch, None, None]) -> Generator[Batch, None, None]:
    def send() -> tuple[Batch, Any] | None:
        batch = next(batches, None)
        return None if batch is None else way.send(batch)

    with closing(batches), ThreadPoolExecutor(1, thread_name_prefix="way") as pool:
        leaving = pool.submit(send)
        while True:
            sent = leaving.result()
            if sent is None:
                return
            leaving = pool.submit(send)
            yield way.arrived(*sent)


class _Way:
    """To a device: what is sent arrives while it computes, where it can do both at once."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: Any = torch.cuda.Stream(device) if device.type == "cuda" else None

    def send(self, batch: Batch) -> tuple[Batch, Any]:
        """The batch on its way, and what happens when it is there."""
        with torch.cuda.stream(self._stream) if self._stream else nullcontext():
            x, y = (moved(value, self._device) for value in batch)
            return (x, y), self._stream and self._stream.record_event()

    def arrived(self, batch: Batch, there: Any) -> Batch:
        """The batch, for what is computed from now on."""
        if there is not None:
            computing = torch.cuda.current_stream(self._device)
            computing.wait_event(there)
            for value in batch:  # its memory isn't used again before it was computed with
                value.record_stream(computing)
        return batch
