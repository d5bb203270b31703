"""Fixtures that every test may ask for."""

import os
import secrets
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# The same examples on every machine and in every run; how long one takes is nobody's business.
settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
# Others in every run, by a seed that is printed first.
settings.register_profile("fresh", deadline=None, derandomize=False, database=None, print_blob=True)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "repeatable")
settings.load_profile(PROFILE)

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Draw the seed of fresh examples here, before the workers start, so that it can be told."""
    if PROFILE == "fresh" and config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(secrets.randbelow(2**32))


def pytest_report_header(config: pytest.Config) -> str | None:
    if PROFILE != "fresh":
        return None
    seed = config.option.hypothesis_seed
    return f"again with: HYPOTHESIS_PROFILE=fresh pytest --hypothesis-seed={seed}"


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
