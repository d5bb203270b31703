"""What documents show, and what is printed."""

from __future__ import annotations

import math
import re

NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def same_output(shown: str, printed: str) -> bool:
    """Equal texts, in which numbers may differ by rounding."""
    if NUMBER.split(shown.strip()) != NUMBER.split(printed.strip()):
        return False
    return all(
        math.isclose(float(ours), float(theirs), rel_tol=1e-5, abs_tol=1e-9)
        for ours, theirs in zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True)
    )
