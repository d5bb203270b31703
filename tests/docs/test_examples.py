"""The examples in docstrings run, and print what they show."""

from __future__ import annotations

import doctest
import importlib.util
import pkgutil
from collections.abc import Iterator

import pytest
import torch

import chainrule
import noise2noise

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
"""Outputs may be shortened by three dots, and broken into lines."""

# What needs napari, which needn't be there: `make test-napari`.
IN_A_WINDOW = {
    f"noise2noise.napari.{name}" for name in ("bench", "choosing", "denoising", "training")
}


def modules() -> Iterator[str]:
    for package in (chainrule, noise2noise):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            # The kernels have no docstrings, and needn't be there.
            last = found.name.rpartition(".")[2]
            if last in ("__main__", "_native") or found.name in IN_A_WINDOW:
                continue
            if "triton" not in found.name or importlib.util.find_spec("triton"):
                yield found.name


def examples() -> Iterator[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name in modules():
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != "triton":  # is not to be had for every system
                raise
            continue
        yield from finder.find(module, name)


EXAMPLES = [example for example in examples() if example.examples]


@pytest.fixture(autouse=True)
def unchanged() -> Iterator[None]:
    """Examples may choose a backend; the tests after them compute as before."""
    backend, winograd = chainrule.backend(), chainrule.winograd()
    yield
    chainrule.backend(backend)
    chainrule.winograd(winograd)


def failures(example: doctest.DocTest) -> str:
    """What went wrong in the examples of one docstring; empty if nothing did."""
    said: list[str] = []
    # What everybody imports; the names of its own module an example has anyway.
    example.globs |= {"torch": torch, "chainrule": chainrule, **vars(chainrule)}
    doctest.DocTestRunner(optionflags=OPTIONS, verbose=False).run(example, out=said.append)
    return "".join(said)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_of_a_docstring_prints_what_it_shows(example: doctest.DocTest) -> None:
    assert failures(example) == ""


def test_an_example_that_is_wrong_is_found() -> None:
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    assert "Expected:\n    3\nGot:\n    2" in failures(wrong)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 8
