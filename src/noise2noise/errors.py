"""Errors that the command line knows: bad input, and training that came to nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(ValueError):
    """Bad input from outside: a file, an option, a folder.

    Its text is one sentence with the value met and what to do about it. The command line prints it
    without a traceback and exits with status 2.
    """


def out_of_memory(error: BaseException) -> bool:
    """Whether it says that; PyTorch has no error of its own for the memory of the CPU."""
    told = ("DefaultCPUAllocator", "out of memory")
    return isinstance(error, MemoryError) or any(words in str(error) for words in told)


class DivergedError(RuntimeError):
    """The loss, or a weight, is no longer a finite number; the last good checkpoint is kept."""


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Put the file's name, if it has one, before what is wrong with its pixels."""
    try:
        yield
    except UserError as error:
        if not path:
            raise
        raise UserError(f"{path}: {error}") from error
