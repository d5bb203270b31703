"""What came of each file of a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any


class Status(str, Enum):
    """How a file ended."""

    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"
    PLANNED = "planned"


@dataclass(frozen=True)
class Result:
    """What came of a file.

    Attributes:
        source: the file.
        status: how it ended.
        output: where its result is, or is to be; None if that was not known yet.
        error: why it failed.
        facts: of one that was done, as JSON has them: model, why, size, notes, seconds.
    """

    source: Path
    status: Status
    output: Path | None = None
    error: str = ""
    facts: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        told: dict[str, Any] = {"input": str(self.source), "status": self.status.value}
        if self.output is not None:
            told["output"] = str(self.output)
        if self.error:
            told["error"] = self.error
        return told | (self.facts or {})


def tally(results: Iterable[Result]) -> Counter[Status]:
    """How many ended how."""
    return Counter(result.status for result in results)
