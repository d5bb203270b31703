"""The one error that means: the input is at fault, and this sentence says how to mend it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(ValueError):
    """Bad input from outside: a file, an option, a folder.

    Its text is one sentence with the value met and what to do about it. The command line prints it
    without a traceback and exits with status 2.
    """


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Put the file's name, if it has one, before what is wrong with its pixels."""
    try:
        yield
    except UserError as error:
        if not path:
            raise
        raise UserError(f"{path}: {error}") from error
