"""Fixtures that every test may ask for."""

from pathlib import Path

import pytest
import torch
from hypothesis import settings

# The same examples on every machine and in every run; how long one takes is nobody's business.
settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
settings.load_profile("repeatable")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def shared() -> Path:
    """The folder of development data beside the checkout; without it the test is skipped."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the development data are not beside this checkout")
    return SHARED


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same random state."""
    torch.manual_seed(0)
