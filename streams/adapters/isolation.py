"""Calls parts of the user's own on a thread, and goes on without one that does not come back.

The caller waits, for `timeout_s` at most, so that a lane's order stands; heartbeats wait as well,
which is why the bound must be far below the session's. A thread that hangs is left alone: nobody
can end it, so its part is refused until it comes back, and others get another thread. What hangs
inside a C library that keeps the interpreter's lock cannot be helped: run it behind an address.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final, TypeVar

__all__ = ["PART_TIMEOUT_S", "Threads"]

ResultT = TypeVar("ResultT")
#: How long a feature or a check may take over one batch.
PART_TIMEOUT_S: Final = 2.0


class _Job:
    """One piece of work: how it failed, if it did, once `done` is set."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self.done = threading.Event()
        self.failure: Exception | None = None

    def do(self) -> None:
        try:
            self._work()
        except Exception as failure:  # noqa: BLE001 - handed to who asked
            self.failure = failure
        self.done.set()


class _Thread:
    """A daemon that does one job after another until it is let go."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        threading.Thread(target=self._run, name="parts", daemon=True).start()

    def start(self, job: _Job) -> None:
        self._jobs.put(job)

    def let_go(self) -> None:
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.do()


class Threads:
    """An Isolation by one thread, which is replaced when it hangs.

    threads = Threads(telemetry.part_broke)
    threads.run("ratio", lambda: part.compute(events))
    """

    def __init__(
        self, report: Callable[[str, Exception], None], timeout_s: float = PART_TIMEOUT_S
    ) -> None:
        """Call parts within a bound.

        Args:
            report: told of each part that broke, once per batch.
            timeout_s: how long the caller waits.
        """
        self.report = report
        self._timeout_s = timeout_s
        self._thread: _Thread | None = None
        self._hanging: dict[str, _Job] = {}

    def run(self, part: str, work: Callable[[], ResultT]) -> ResultT:
        """Return what `work` returns.

        Raises:
            TimeoutError: it took too long, or earlier work of the same part still hangs.
            Exception: whatever `work` raised.
        """
        hanging = self._hanging.get(part)
        if hanging is not None and not hanging.done.is_set():
            raise TimeoutError(f"{part} hangs: it was asked before and has not come back")
        self._hanging.pop(part, None)
        done: list[ResultT] = []
        job = _Job(lambda: done.append(work()))
        thread = self._thread = self._thread or _Thread()
        thread.start(job)
        if not job.done.wait(self._timeout_s):
            self._hanging[part] = job
            self._thread = None
            thread.let_go()
            raise TimeoutError(f"{part} has not come back within {self._timeout_s:g} s")
        if job.failure is not None:
            raise job.failure
        return done[0]
