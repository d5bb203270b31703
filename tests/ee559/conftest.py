"""How the tests reach the course's folders, which belong to no installed package."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
PROJECTS = ("Miniproject_1", "Miniproject_2")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Importing Miniproject_2 turns autograd off for the thread, which other tests must not see."""
    threads, autograd = torch.get_num_threads(), torch.is_grad_enabled()
    torch.set_num_threads(1)  # tensors this small are done before a second thread has woken up
    yield
    torch.set_num_threads(threads)
    torch.set_grad_enabled(autograd)


@pytest.fixture(params=PROJECTS)
def project(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The `model` of each mini-project in turn."""
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module(f"ee559.{request.param}.model")


@pytest.fixture
def first(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The `model` of Miniproject_1."""
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("ee559.Miniproject_1.model")


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The `model` of Miniproject_2, with autograd on: the layers' oracle needs it."""
    monkeypatch.syspath_prepend(ROOT)
    module = importlib.import_module("ee559.Miniproject_2.model")
    torch.set_grad_enabled(True)
    return module


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that writes `bestmodel.pth`."""
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("ee559.export")
