"""Processes that draw batches."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading

import numpy as np
import pytest
import torch

from noise2noise.data import GeneratedImages, Telling, batches
from noise2noise.data.drawing import POSSIBLE, Drawers
from noise2noise.data.minibatches import Plan, drawing
from noise2noise.errors import UserError
from noise2noise.noise.corruptions import parse

pytestmark = pytest.mark.skipif(not POSSIBLE, reason="processes are not forked here")


@pytest.fixture(scope="module")
def plan() -> Plan:
    source = GeneratedImages(21, parse("sensor:blind"), 16, channels=1)
    return Plan(source.telling(Telling(shots=4, varied=True)), batch_size=5, seed=3)


def epoch(plan: Plan, number: int, drawers: Drawers | None = None, start: int = 0):
    drawn = batches(plan.source, plan.batch_size, plan.seed, number, start, drawers=drawers)
    return [(x.clone(), y.clone()) for x, y in drawn]


def same(found, expected) -> bool:
    assert len(found) == len(expected)
    return all(
        torch.equal(a, b)
        for pair, other in zip(found, expected, strict=True)
        for a, b in zip(pair, other, strict=True)
    )


def test_what_processes_draw_is_what_threads_draw_epoch_after_epoch(plan):
    with drawing(plan, 3) as drawers:
        assert drawers is not None
        for number, start in ((0, 0), (1, 2), (4, plan.steps)):
            assert same(epoch(plan, number, drawers, start), epoch(plan, number, None, start))


def test_an_epoch_that_was_broken_off_leaves_nothing_behind_for_the_next(plan):
    with drawing(plan, 2) as drawers:
        begun = batches(plan.source, plan.batch_size, plan.seed, 0, drawers=drawers)
        next(begun)
        begun.close()
        assert same(epoch(plan, 1, drawers), epoch(plan, 1))


def test_an_epoch_is_held_as_long_as_there_are_processes(plan):
    with drawing(plan, 3) as drawers:
        drawn = batches(plan.source, plan.batch_size, plan.seed, 0, drawers=drawers)
        three = [next(drawn) for _ in range(3)]
        assert same(three, epoch(plan, 0)[:3])


def test_no_processes_where_one_would_be_alone(plan):
    with drawing(plan, 1) as drawers:
        assert drawers is None


class RefusedError(Exception):
    """An error that can't be pickled, by whatever library: it holds a lock."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.held = threading.Lock()


def refuses(epoch: int, step: int):
    if step == 2:
        raise (
            UserError("there is no such pair; leave it out") if epoch else RefusedError("no pair")
        )
    return np.full(2, step, np.float32), np.full(2, -step, np.float32)


def test_errors_are_raised_where_a_batch_was_asked_for_and_others_are_drawn_on():
    with Drawers(refuses, 4, 2) as drawers:
        drawn = drawers.batches(0, range(4))
        assert [next(drawn)[0][0] for _ in range(2)] == [0, 1]
        with pytest.raises(RuntimeError, match="RefusedError: no pair"):
            next(drawn)
        with pytest.raises(UserError, match="leave it out"):
            list(drawers.batches(1, range(4)))
        assert [float(x[0]) for x, _ in drawers.batches(2, (3, 1))] == [3, 1]


def dies(epoch: int, step: int):
    if step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return refuses(1, 0)


def test_a_process_that_was_killed_is_told_of():
    with Drawers(dies, 4, 2) as drawers:
        drawn = drawers.batches(0, range(9))
        with pytest.raises(UserError, match=r"ended by signal 9.*--resume"):
            list(drawn)
    assert not multiprocessing.active_children()
