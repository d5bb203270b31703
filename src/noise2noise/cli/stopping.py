"""Ctrl-C and SIGTERM as a request to stop, while work goes on that can be stopped in good order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def requests_to_stop(requested: threading.Event) -> Iterator[None]:
    """Turn the first Ctrl-C (or SIGTERM) into a request to stop; the second one interrupts.

    Outside the main thread, where Python takes no signals, nothing is ever requested.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def request(number: int, frame: object) -> None:
        requested.set()
        signal.signal(number, previous[signal.Signals(number)])

    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in previous:
        signal.signal(number, request)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
