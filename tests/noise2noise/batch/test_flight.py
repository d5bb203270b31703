"""Several jobs at once: in what order they come, and what a failure or a stop leaves."""

import threading

import pytest

from noise2noise.batch import StoppedError, in_flight


def test_every_job_is_done_once_and_so_many_at_a_time():
    busy, most, lock = 0, 0, threading.Lock()

    def work(job: int) -> int:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        threading.Event().wait(0.002)
        with lock:
            busy -= 1
        return job * job

    results = sorted(in_flight(range(20), work, 3, threading.Event()))
    assert results == [job * job for job in range(20)]
    assert most <= 3


def test_after_an_error_no_job_begins():
    begun, stop = list[int](), threading.Event()

    def work(job: int) -> int:
        begun.append(job)
        if job == 3:
            raise KeyError(job)
        return job

    with pytest.raises(KeyError):
        list(in_flight(range(1000), work, 1, stop))
    assert begun == [0, 1, 2, 3]
    assert stop.is_set()


def test_what_is_finished_when_a_stop_comes_is_told():
    stop, results = threading.Event(), list[int]()

    def work(job: int) -> int:
        if job == 5:
            stop.set()
            raise StoppedError
        return job

    with pytest.raises(StoppedError):
        results.extend(in_flight(range(1000), work, 1, stop))
    assert results == [0, 1, 2, 3, 4]


def test_whoever_goes_away_stops_the_work():
    stop = threading.Event()
    flight = in_flight(range(1000), lambda job: job, 1, stop)
    assert next(flight) == 0
    flight.close()
    assert stop.is_set()
