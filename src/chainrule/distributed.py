"""Training in several processes: each takes its share of a batch, gradients are added up between.

The processes are `torch.distributed`'s, as `torchrun` starts them; all that is done here is to say
when. Because the backward pass tells when a gradient is final (`Tape.listen`), the gradients of the
last layers are on their way while those of the first ones are still being computed.

    torchrun --nproc-per-node 2 train.py

    join()
    model = same_everywhere(build())
    sums = GradientSums(model.parameters())
    for x, y in my_shares:                          # of the batch: a part of its samples each
        optimizer.zero_grad()
        loss.forward(model.forward(x), y)
        model.backward(loss.backward(len(x) / batch_size), listener=sums.ready)
        sums.wait()                                 # now .grad is that of the whole batch
        optimizer.step()

A layer whose output depends on the other samples of a batch, as BatchNorm2d's does while it is
being trained, sees its own process's only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from chainrule.module import Module

BUCKET_BYTES = 1 << 20
"""Gradients travel together until they fill so much: small messages cost their latency, and a large
one begins late."""


def launched() -> bool:
    """Whether this process is one of several that `torchrun` (or something like it) started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def join(minutes: float = 30) -> None:
    """Meet the other processes. Values on a GPU travel by NCCL where each process of a machine has
    one of its own, which becomes its current one; all others by gloo.

    Args:
        minutes: how long to wait for another process before it is given up.

    Raises:
        RuntimeError: `torchrun` didn't start this process, or the others aren't there.
    """
    if not launched():
        raise RuntimeError("this process is alone; start several: torchrun --nproc-per-node 2 ...")
    limit = timedelta(minutes=minutes)
    store, place, count = next(rendezvous("env://", timeout=limit))
    # torchrun may start processes again with the store of those that died, whose addresses it has.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = PrefixStore(f"attempt {attempt}", store)
    dist.init_process_group(_carrier(), store=store, rank=place, world_size=count, timeout=limit)


def _carrier() -> str:
    """What values travel by, by where they are."""
    place = int(os.environ.get("LOCAL_RANK", "0"))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if not torch.cuda.is_available() or torch.cuda.device_count() < here:
        return "gloo"
    torch.cuda.set_device(place)
    return "cpu:gloo,cuda:nccl"


def leave() -> None:
    """Part from the others; nothing if there are none."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """The number of this process, from 0; 0 where it is alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def processes() -> int:
    """How many there are; 1 where this one is alone."""
    return dist.get_world_size() if dist.is_initialized() else 1


def share(items: Sequence[Any]) -> Sequence[Any]:
    """The items that are this process's: as many as the others' or one more, neighbours."""
    return items[_start(len(items), rank()) : _start(len(items), rank() + 1)]


def _start(count: int, place: int) -> int:
    return count * place // processes()


def same_everywhere(model: Module) -> Module:
    """The model, in place, with the parameters and buffers of process 0."""
    for value in dict.fromkeys(value for _, value in model.named_tensors()):
        broadcast(value)
    return model


@torch.no_grad()
def broadcast(value: Tensor, source: int = 0) -> None:
    """Set `value`, in place, to what it is in process `source`."""
    if processes() > 1:
        whole = value.data.contiguous()
        dist.broadcast(whole, source)
        value.copy_(whole)  # also tells open passes that it has changed


def sums(*numbers: float) -> list[float]:
    """The sum over the processes of each number, in float64, the same in all of them."""
    if processes() == 1:
        return [*numbers]
    values = torch.tensor(numbers, dtype=torch.float64)
    dist.all_reduce(values)
    return values.tolist()


class GradientSums:
    """Adds each parameter's gradient up over the processes, in buckets, while others are computed.

    Give `ready` to `backward` as its listener and call `wait` after it. The buckets are made once,
    of the parameters in reverse, which is about the order in which their gradients become final; a
    bucket is sent when its last gradient is. So all processes send the same, and equal launches
    give equal bits.

    Args:
        parameters: the model's, alike in all processes.
        bucket_bytes: see `BUCKET_BYTES`.

    Attributes:
        bytes_sent: of gradients, since it was made.
    """

    def __init__(self, parameters: Iterable[Tensor], bucket_bytes: int = BUCKET_BYTES) -> None:
        self._buckets = _buckets([*parameters][::-1], bucket_bytes)
        self._bucket_of = {id(x): place for place, b in enumerate(self._buckets) for x in b}
        self.bytes_sent = 0
        self._begin()

    def _begin(self) -> None:
        self._missing = [len(bucket) for bucket in self._buckets]
        self._next = 0
        self._sent: list[tuple[Any, Tensor]] = []

    def ready(self, parameter: Tensor) -> None:
        """A parameter's gradient is final in this process."""
        place = self._bucket_of.get(id(parameter))
        if place is None:
            raise ValueError(
                f"a gradient of shape {tuple(parameter.shape)} is of no parameter that was given"
            )
        self._missing[place] -= 1
        self._send_complete()

    def wait(self) -> None:
        """Wait until every `.grad` is the sum over the processes.

        Parameters that no pass of this process used are sent now, as zeros: others may have.
        """
        self._missing = [0] * len(self._buckets)
        self._send_complete()
        for bucket, (work, flat) in zip(self._buckets, self._sent, strict=True):
            if work is not None:
                work.wait()
                _spread(flat, bucket)
        self._begin()

    def _send_complete(self) -> None:
        # In order: a process must not send its second bucket before its first.
        while self._next < len(self._buckets) and self._missing[self._next] <= 0:
            bucket = self._buckets[self._next]
            self._next += 1
            if processes() == 1:
                self._sent.append((None, bucket[0]))
                continue
            flat = _flat(bucket)
            self.bytes_sent += flat.numel() * flat.element_size()
            self._sent.append((dist.all_reduce(flat, async_op=True), flat))


def _buckets(parameters: list[Tensor], size: int) -> list[list[Tensor]]:
    """Neighbours together, as long as they are of one dtype and device and fit in `size` bytes."""
    buckets: list[list[Tensor]] = []
    room, kind = 0, None
    for value in parameters:
        needed = value.numel() * value.element_size()
        if not buckets or needed > room or (value.dtype, value.device) != kind:
            buckets.append([])
            room, kind = size, (value.dtype, value.device)
        buckets[-1].append(value)
        room -= needed
    return buckets


def _flat(bucket: list[Tensor]) -> Tensor:
    parts = [
        torch.zeros_like(value).flatten() if value.grad is None else value.grad.flatten()
        for value in bucket
    ]
    return torch.cat(parts)


@torch.no_grad()
def _spread(flat: Tensor, bucket: list[Tensor]) -> None:
    for value, part in zip(bucket, flat.split([x.numel() for x in bucket]), strict=True):
        if value.grad is None:
            value.grad = torch.empty_like(value)
        value.grad.copy_(part.view(value.shape))


class Shards:
    """Who keeps the optimizer's state of which parameter: each process a part (ZeRO-1).

    An optimizer over `mine` needs the memory of a share of its state only. After its step `gather`
    brings every parameter to all processes. Rajbhandari et al. 2020, arXiv:1910.02054.

    Args:
        parameters: the model's, alike in all processes.

    Attributes:
        owners: the process of each parameter: largest first, each to whoever has least.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self._parameters = [*parameters]
        self.owners = [0] * len(self._parameters)
        load = [0] * processes()
        for place in sorted(
            range(len(self._parameters)), key=lambda i: -self._parameters[i].numel()
        ):
            self.owners[place] = load.index(min(load))
            load[self.owners[place]] += self._parameters[place].numel()

    @property
    def mine(self) -> list[Tensor]:
        """The parameters that this process steps."""
        pairs = zip(self._parameters, self.owners, strict=True)
        return [value for value, owner in pairs if owner == rank()]

    def gather(self) -> None:
        """Give every process the parameters that the others have stepped."""
        for value, owner in zip(self._parameters, self.owners, strict=True):
            broadcast(value, owner)
