"""A memory that files in flight share."""

import threading

from noise2noise.batch import SharedMemory


def test_who_does_not_fit_waits_until_there_is_enough():
    memory, order = SharedMemory(100), list[str]()
    started = threading.Event()

    def second() -> None:
        started.set()
        with memory.taking(50):
            order.append("second")

    with memory.taking(60):
        thread = threading.Thread(target=second)
        thread.start()
        started.wait()
        with memory.taking(40):
            order.append("beside")
        thread.join(0.05)
        assert thread.is_alive()
        order.append("first")
    thread.join(10)
    assert order == ["beside", "first", "second"]


def test_who_is_alone_never_waits():
    with SharedMemory(10).taking(1000):
        pass
    with SharedMemory(None).taking(1000):
        pass
