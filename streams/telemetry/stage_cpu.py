"""Processor time by stage, within one process whose stages take turns on one event loop.

Every step of every task is timed by the thread's processor time and added to the stage that the
task works for. What no task does, the socket callbacks of the loop above all, is nobody's.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Coroutine, Generator
from types import TracebackType
from typing import Any

from batuta.streams.lanes.whose import STAGE

__all__ = ["StageCpu"]


class StageCpu:
    """Adds up what each stage costs, from `install` on.

    Attributes:
        seconds: of processor time, by stage; under "" what belongs to none.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        """Time every task that `loop` starts from now on."""

        def start(
            on: asyncio.AbstractEventLoop,
            coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
            **options: Any,
        ) -> "asyncio.Task[Any]":
            timed = _Timed(coroutine, self.seconds)
            return asyncio.Task(timed, loop=on, **options)

        loop.set_task_factory(start)


class _Timed(Coroutine[Any, Any, Any]):
    """A coroutine whose steps are timed."""

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        seconds: "defaultdict[str, float]",
    ) -> None:
        self._coroutine = coroutine
        self._seconds = seconds

    @property
    def cr_frame(self) -> object:
        """Where the coroutine is: whoever ends the tasks of an object finds it by this."""
        return getattr(self._coroutine, "cr_frame", None)

    def send(self, value: Any, /) -> Any:
        begun_s = time.thread_time()
        try:
            return self._coroutine.send(value)
        finally:
            self._seconds[STAGE.get()] += time.thread_time() - begun_s

    def throw(
        self,
        kind: Any,
        value: BaseException | object = None,
        traceback: TracebackType | None = None,
        /,
    ) -> Any:
        begun_s = time.thread_time()
        try:
            if value is None and traceback is None:
                return self._coroutine.throw(kind)
            return self._coroutine.throw(kind, value, traceback)
        finally:
            self._seconds[STAGE.get()] += time.thread_time() - begun_s

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise TypeError("a task runs it, nobody awaits it")
