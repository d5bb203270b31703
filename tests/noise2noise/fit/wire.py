"""A wire between two network namespaces that is slow and long: packets take their time in it.

The kernel's own delays (`tc ... netem`) are a module that many machines lack. Here each end is a
TUN device, whose packets this program takes out of one and puts into the other.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import select
import struct
import threading
import time
from collections.abc import Iterator

_TUNSETIFF = 0x400454CA
_TUN, _NO_PI = 0x0001, 0x1000  # packets of IP, with nothing before them
_LARGEST = 65536
_GLANCE = 0.05  # seconds after which a thread looks whether it is still wanted

Waiting = queue.SimpleQueue[tuple[float, bytes]]


@contextlib.contextmanager
def wire(first: str, second: str, delay: float, rate: float) -> Iterator[None]:
    """Two devices, of which each sends what the other receives; they go at the end.

    Args:
        first, second: their names. They may be moved to other namespaces.
        delay: how long a packet is on its way, in seconds.
        rate: bits a second, either way.

    Raises:
        OSError: this machine makes no such devices, or not for us.
    """
    with _device(first) as one, _device(second) as other:
        wanted = threading.Event()
        wanted.set()
        threads = []
        for end, far in ((one, other), (other, one)):
            waiting: Waiting = queue.SimpleQueue()
            reading = (wanted, end, waiting, delay, rate)
            threads.append(threading.Thread(target=_read, args=reading))
            threads.append(threading.Thread(target=_write, args=(wanted, far, waiting)))
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            wanted.clear()
            for thread in threads:
                thread.join()


def _read(wanted: threading.Event, end: int, waiting: Waiting, delay: float, rate: float) -> None:
    """Puts down when each packet will be at the other end."""
    free = 0.0  # when the wire has taken the packets before
    while wanted.is_set():
        if not select.select([end], [], [], _GLANCE)[0]:
            continue
        try:
            packet = os.read(end, _LARGEST)
        except OSError:  # its namespace is on its way out
            time.sleep(_GLANCE)
            continue
        free = max(free, time.monotonic()) + 8 * len(packet) / rate
        waiting.put((free + delay, packet))


def _write(wanted: threading.Event, end: int, waiting: Waiting) -> None:
    while wanted.is_set():
        with contextlib.suppress(queue.Empty):
            due, packet = waiting.get(timeout=_GLANCE)
            time.sleep(max(0.0, due - time.monotonic()))
            with contextlib.suppress(OSError):  # not up: lost, as on any wire
                os.write(end, packet)


@contextlib.contextmanager
def _device(name: str) -> Iterator[int]:
    end = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH", name.encode(), _TUN | _NO_PI))
        yield end
    finally:
        os.close(end)
