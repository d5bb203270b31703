"""What a run is computed with: named, compared, and nothing invented."""

from __future__ import annotations

import torch

from chainrule import use_backend, winograd
from noise2noise.fit.conditions import changes, conditions


def test_each_condition_that_changes_the_bits_is_noticed():
    before, threads, flag = conditions(), torch.get_num_threads(), winograd()
    try:
        torch.set_num_threads(threads + 1)
        winograd(not flag)
        with use_backend("reference"):
            said = changes(before, conditions())
    finally:
        torch.set_num_threads(threads)
        winograd(flag)
    assert f"threads from {threads} to {threads + 1}" in said
    assert "Winograd from" in said
    assert ("backend from native to reference" in said) == (before["backend"] == "native")


def test_nothing_has_changed_in_the_same_process():
    assert changes(conditions(), conditions()) == ""


def test_what_was_not_recorded_is_not_compared():
    assert changes({}, conditions()) == ""
