"""The command line, one file per command. `main` is where it begins and ends.

This file imports next to nothing, so that Ctrl-C is met from the first moment on, also while the
rest is loaded; `program.py` finds the command.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

CLOSED = 141
"""Exit status where nobody reads the output any more, as with `| head`."""


def main() -> None:
    """Run the command that the arguments name, and exit.

    Exit status: 0 done, 1 training diverged, 2 bad input, 130 after Ctrl-C, 143 after SIGTERM,
    `CLOSED`.
    """
    interrupts = _Interrupts()
    try:
        with interrupts:
            from noise2noise.cli.program import run  # not before Ctrl-C is looked after

            status = run(lambda: interrupts.met > 0)
            sys.stdout.flush()
    except BrokenPipeError:
        status = _closed()
    except SystemExit as stop:
        if not isinstance(stop.__context__, BrokenPipeError):
            raise
        status = _closed()
    except BaseException as error:
        # Whatever a library made of it, while it was loaded for one.
        if not (interrupts.met or isinstance(error, KeyboardInterrupt)):
            raise
        status = _interrupted(interrupts.met or signal.SIGINT)
    sys.exit(status)


class _Interrupts:
    """Remembers Ctrl-C, or SIGTERM, which systems send, while it raises KeyboardInterrupt: what is
    half written is removed on the way out."""

    def __init__(self) -> None:
        self.met = 0
        self._before: dict[signal.Signals, Any] = {}
        self._reminder: threading.Timer | None = None

    def __enter__(self) -> None:
        self._hook = sys.unraisablehook
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            # Where somebody else looks after it, or it is ignored (nohup), it stays so.
            if handler in (signal.default_int_handler, signal.SIG_DFL):
                self._before[number] = handler
                signal.signal(number, self._meet)
        sys.unraisablehook = self._again

    def __exit__(self, *_: object) -> None:
        if self._reminder is not None:
            self._reminder.cancel()
        sys.unraisablehook = self._hook
        for number, handler in self._before.items():
            # The second Ctrl-C of an impatient user must not disturb the end.
            signal.signal(number, signal.SIG_IGN if self.met else handler)

    def _meet(self, number: int, frame: FrameType | None) -> None:
        self.met = self.met or number
        if _imports(frame):
            self._remind()
        raise KeyboardInterrupt

    def _again(self, unraisable: sys.UnraisableHookArgs) -> None:
        """Met where nothing can be raised: in a destructor, or while an import frees its lock."""
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            self._remind()
        else:
            self._hook(unraisable)

    def _remind(self) -> None:
        """Raise it once more in a moment, unless it has arrived: libraries written in C swallow it
        while they are loaded."""
        self._reminder = threading.Timer(0.05, _thread.interrupt_main)
        self._reminder.daemon = True
        self._reminder.start()


def _imports(frame: FrameType | None) -> bool:
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def _interrupted(number: int) -> int:
    start = "\n" if sys.stderr.isatty() else ""  # the terminal's ^C stands on the line
    print(f"{start}interrupted", file=sys.stderr)
    return 128 + number  # as shells report it


def _closed() -> int:
    # What is left in the buffer goes nowhere when Python flushes it at the end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return CLOSED
