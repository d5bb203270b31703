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

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 and the number of the signal, as shells report it."""

CLOSED = 141
"""Exit status where nobody reads the output any more, as with `| head`."""


def main() -> None:
    """Run the command that the arguments name, and exit.

    Exit status: 0 done, 1 training diverged, 2 bad input, `INTERRUPTED`, `CLOSED`.
    """
    interrupts = _Interrupts()
    try:
        with interrupts:
            from noise2noise.cli.program import run  # not before Ctrl-C is looked after

            status = run()
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
        status = _interrupted()
    sys.exit(status)


class _Interrupts:
    """Remembers Ctrl-C while it raises KeyboardInterrupt as ever."""

    def __init__(self) -> None:
        self.met = False
        self._reminder: threading.Timer | None = None

    def __enter__(self) -> None:
        self._handler, self._hook = signal.getsignal(signal.SIGINT), sys.unraisablehook
        # Where it is ignored (nohup) it stays so; elsewhere than in the main thread nobody can ask.
        self._ours = (
            self._handler is signal.default_int_handler
            and threading.current_thread() is threading.main_thread()
        )
        if self._ours:
            signal.signal(signal.SIGINT, self._meet)
            sys.unraisablehook = self._again

    def __exit__(self, *_: object) -> None:
        if self._ours:
            # The second Ctrl-C of an impatient user must not disturb the end.
            signal.signal(signal.SIGINT, signal.SIG_IGN if self.met else self._handler)
            sys.unraisablehook = self._hook
        if self._reminder is not None:
            self._reminder.cancel()

    def _meet(self, number: int, frame: FrameType | None) -> None:
        self.met = True
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


def _interrupted() -> int:
    start = "\n" if sys.stderr.isatty() else ""  # the terminal's ^C stands on the line
    print(f"{start}interrupted", file=sys.stderr)
    return INTERRUPTED


def _closed() -> int:
    # What is left in the buffer goes nowhere when Python flushes it at the end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return CLOSED
