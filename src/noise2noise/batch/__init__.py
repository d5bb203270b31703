"""Many files at once: which they are, where results go, what is done already, and doing the rest.

- `find.py`: files, folders, patterns and lists become sources; what is passed over is said.
- `names.py`: where each result goes: no two to one place, none onto an input.
- `ledger.py`: what earlier runs did, beside their results.
- `budget.py`: a memory that files in flight share.
- `flight.py`: several files at once; one that fails leaves the others alone.
- `work.py`: what is done with one file.
- `results.py`: what came of each.
"""

from noise2noise.batch.budget import SharedMemory
from noise2noise.batch.find import Found, Source, find, read_list
from noise2noise.batch.flight import StoppedError, in_flight
from noise2noise.batch.ledger import Ledger, key_of
from noise2noise.batch.names import Names
from noise2noise.batch.results import Result, Status, tally
from noise2noise.batch.work import QUALITIES, Errand, Examine, Fit, Models, Work

__all__ = [
    "QUALITIES",
    "Errand",
    "Examine",
    "Fit",
    "Found",
    "Ledger",
    "Models",
    "Names",
    "Result",
    "SharedMemory",
    "Source",
    "Status",
    "StoppedError",
    "Work",
    "find",
    "in_flight",
    "key_of",
    "read_list",
    "tally",
]
