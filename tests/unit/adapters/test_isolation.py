"""Parts on a thread: what hangs is left behind, and its neighbours go on."""

from __future__ import annotations

import threading

import pytest

from batuta.streams.adapters.isolation import Threads


def unheard(part: str, failure: Exception) -> None:
    del part, failure


def test_what_work_returns_and_raises_comes_back() -> None:
    threads = Threads(unheard)
    assert threads.run("a", lambda: threading.current_thread().name) == "parts"
    with pytest.raises(ZeroDivisionError):
        threads.run("a", lambda: 1 // 0)
    assert threads.run("a", lambda: 7) == 7


def test_what_hangs_is_refused_until_it_comes_back_and_others_are_not() -> None:
    threads, gate = Threads(unheard, timeout_s=0.05), threading.Event()
    with pytest.raises(TimeoutError, match="slow has not come back within"):
        threads.run("slow", gate.wait)
    with pytest.raises(TimeoutError, match="slow hangs"):
        threads.run("slow", lambda: 1)
    patient = Threads(unheard, timeout_s=60.0)
    assert patient.run("quick", lambda: 2) == 2
    gate.set()
    deadline = threading.Event()
    for _ in range(10_000):
        try:
            assert threads.run("slow", lambda: 3) == 3
            break
        except TimeoutError:
            deadline.wait(0.01)
    else:
        raise AssertionError("it came back and is refused all the same")
