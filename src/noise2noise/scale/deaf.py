"""Loaded by workers that the command starts: Ctrl-C is for the command, which tells them to stop.

A terminal sends it to all processes of the command, and each worker would print a traceback.
"""

import signal


def dask_setup(worker: object) -> None:
    """What Dask calls when a worker begins."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
