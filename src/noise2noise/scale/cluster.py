"""The workers: those of a scheduler that is named, or processes of this machine."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noise2noise.errors import UserError

if TYPE_CHECKING:
    from distributed import Client

_PATIENCE = 30  # seconds for a scheduler to answer


@dataclass(frozen=True)
class Wish:
    """Who is to work.

    Attributes:
        scheduler: the address of one, such as `tcp://node1:8786`, or the JSON file that
            `dask scheduler --scheduler-file` writes; None for workers on this machine.
        workers: how many these are.
        threads: on how many cores each computes; by default these workers share the machine, and
            others compute as they were started.
    """

    scheduler: str | None = None
    workers: int | None = None
    threads: int | None = None

    @property
    def each(self) -> int | None:
        """Cores of a worker; None for as many as it has anyway."""
        said = self.threads is not None or "OMP_NUM_THREADS" in os.environ
        if said or self.workers is None:
            return self.threads
        return max((os.cpu_count() or 1) // self.workers, 1)


@contextmanager
def joined(wish: Wish) -> Iterator[Client]:
    """The workers, until the block ends.

    Raises:
        UserError: dask isn't installed, or no scheduler answers.
    """
    needed()
    if wish.scheduler is not None:
        with _named(wish.scheduler) as client:
            yield client
        return
    from dask import config
    from distributed import Client, LocalCluster

    own = {"distributed.nanny.pre-spawn-environ.OMP_NUM_THREADS": wish.each or 1}
    with (
        config.set(own),
        LocalCluster(
            n_workers=wish.workers,
            threads_per_worker=1,
            memory_limit=0,  # pieces keep to theirs, and workers hold nothing else
            dashboard_address="127.0.0.1:0",  # any port: several commands may run
            scheduler_kwargs={"dashboard": False},
            silence_logs=logging.CRITICAL,
            preload=["noise2noise.scale.deaf"],
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        _hush()
        yield client


@contextmanager
def _named(scheduler: str) -> Iterator[Client]:
    from distributed import Client

    is_file = scheduler.endswith(".json") or Path(scheduler).is_file()
    named: dict[str, Any] = {"scheduler_file" if is_file else "address": scheduler}
    _hush()
    try:
        client = Client(**named, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"no scheduler answers at {scheduler} ({' '.join(str(error).split())}); start one with "
            "dask scheduler, and workers with dask worker"
        ) from error
    try:
        yield client
    finally:
        client.close(timeout=2)


def _hush() -> None:
    """What goes wrong is told in a sentence of our own, and not in their logs too."""
    for name in ("asyncio", *logging.Logger.manager.loggerDict):
        if name == "asyncio" or name.startswith("distributed"):
            logging.getLogger(name).setLevel(logging.CRITICAL)


def needed() -> None:
    """Raises: UserError: dask isn't installed."""
    for module in ("dask", "distributed"):
        if importlib.util.find_spec(module) is None:
            raise UserError(
                f"several workers need {module}; install it with: pip install 'noise2noise[scale]'"
            )
