"""An event loop on virtual time: nothing waits, time jumps to the next timer when nothing is ready.

It has no sockets and no threads, so what runs on it depends on nothing but itself: the same calls
give the same history. Every call belongs to the simulated process in whose context it was made;
one that is frozen has its calls kept until it is thawed, one that is killed never runs again, not
even its `finally` blocks.

    loop = VirtualLoop()
    loop.run_until_complete(asyncio.sleep(3600))    # returns at once; loop.time() is 3600.0
"""

import asyncio
import contextvars
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar
from typing import Any, Final, TypeVar, cast

from batuta.schemas.errors import OursError

__all__ = ["NeverEndingError", "Process", "VirtualLoop", "current_process"]

T = TypeVar("T")

_PROCESS: Final[ContextVar["Process | None"]] = ContextVar("simulated process", default=None)
#: How many tasks a process holds before it lets go of those that are done.
_TASKS_MAX: Final = 256


class NeverEndingError(OursError):
    """Nothing will ever happen again, or far too much has: what was waited for does not come."""


def current_process() -> "Process | None":
    """Return the simulated process whose code is running; None for the world around them."""
    return _PROCESS.get()


class Process:
    """One simulated process of the operating system.

    Attributes:
        name: in traces.
        alive: False once it was killed.
        frozen: whether it stands still, as after SIGSTOP.
    """

    def __init__(self, name: str, loop: "VirtualLoop") -> None:
        self.name = name
        self.alive = True
        self.frozen = False
        self._loop = loop
        self._held: deque[_Call] = deque()
        self._tasks: list[asyncio.Task[object]] = []
        self._tasks_max = _TASKS_MAX
        self._fuse_calls = 0
        self._on_fuse: Callable[[], None] | None = None

    def spawn(self, main: Coroutine[object, object, object]) -> "asyncio.Task[object]":
        """Run `main` as this process; what it starts belongs to it as well."""
        context = contextvars.copy_context()
        context.run(_PROCESS.set, self)
        return self._loop.create_task(main, context=context)

    def freeze(self) -> None:
        """Stop it where it stands; the world goes on without it."""
        self.frozen = True

    def thaw(self) -> None:
        """Let it go on: what came meanwhile comes now, in order."""
        self.frozen = False
        if self.alive:
            self._loop.take_back(self._held)

    def kill(self) -> None:
        """End it without a word: not one more call of it is made."""
        self.alive = False

    def after_calls(self, calls: int, act: Callable[[], None] | None) -> None:
        """Call `act` before the `calls`-th call that this process makes from now on.

        Of several such wishes the last one counts; None is none.
        """
        self._fuse_calls, self._on_fuse = calls, act

    def adopt(self, task: "asyncio.Task[T]") -> None:
        """Hold a task of this process: were it collected, its `finally` blocks would run."""
        if len(self._tasks) >= self._tasks_max:
            self._tasks = [task for task in self._tasks if not task.done()]
            self._tasks_max = max(_TASKS_MAX, 2 * len(self._tasks))
        self._tasks.append(cast("asyncio.Task[object]", task))

    def bury(self) -> list["asyncio.Task[object]"]:
        """Let a dead process's tasks be cleaned up, once nothing they do matters any more."""
        self.alive, self.frozen, self._on_fuse = True, False, None
        self._loop.take_back(self._held)
        left = [task for task in self._tasks if not task.done()]
        self._tasks.clear()
        for task in left:
            task.cancel()
        return left

    def may_run(self, call: "_Call") -> bool:
        """Say whether a call may be made now; if not it is kept."""
        if self._on_fuse is not None:
            self._fuse_calls -= 1
            if self._fuse_calls <= 0:
                act, self._on_fuse = self._on_fuse, None
                act()
        if self.alive and not self.frozen:
            return True
        self._held.append(call)
        return False


class _Call(asyncio.TimerHandle):
    """A call that is due at some time, by some process."""

    __slots__ = ("_call", "process")

    def __init__(
        self,
        when: float,
        call: Callable[..., object],
        args: tuple[object, ...],
        loop: "VirtualLoop",
        context: Context,
    ) -> None:
        # What `TimerHandle.__init__` does, less what is for loops that debug: it is made for every
        # call there is.
        self._when, self._scheduled = when, False
        self._loop, self._context, self._callback, self._args = loop, context, call, args
        self._cancelled, self._source_traceback, self._repr = False, None, None
        self._call = (context, call, args)
        self.process = context.get(_PROCESS)

    def make(self) -> None:
        context, call, args = self._call
        context.run(call, *args)


class VirtualLoop(asyncio.BaseEventLoop):
    """An asyncio event loop whose time is its own.

    Args:
        calls_max: how many calls are made before the loop says that there is no end to them.
    """

    def __init__(self, calls_max: int | None = None) -> None:
        self._runs = False
        super().__init__()
        self._now_s = 0.0
        self._order = itertools.count()
        self._soon: deque[_Call] = deque()
        self._later: list[tuple[float, int, _Call]] = []
        self._ends = False
        self._calls_max = calls_max
        self.calls = 0
        self.failures: list[str] = []
        self.set_task_factory(_adopted)

    def time(self) -> float:
        """Return the virtual time, seconds since the loop was made."""
        return self._now_s

    def is_running(self) -> bool:
        """Return whether it runs."""
        return self._runs

    def call_soon(
        self, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> asyncio.Handle:
        """Make a call as soon as those before it are made."""
        call = _Call(self._now_s, callback, args, self, _given(context))
        self._soon.append(call)
        return call

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: object,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Make a call at a time; calls of the same time in the order they were asked for."""
        call = _Call(when, callback, args, self, _given(context))
        heapq.heappush(self._later, (when, next(self._order), call))
        return call

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: object,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Make a call `delay` seconds from now."""
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def run_forever(self) -> None:
        """Run until stopped.

        Raises:
            NeverEndingError: nothing is left to do, or more was done than is allowed.
        """
        asyncio._set_running_loop(self)  # noqa: SLF001  the documented way for loops
        self._runs, self._ends = True, False
        try:
            while not self._ends:
                self._step()
        finally:
            self._runs = False
            asyncio._set_running_loop(None)  # noqa: SLF001

    def stop(self) -> None:
        """Return from `run_forever` after the present call."""
        self._ends = True

    def take_back(self, held: deque[_Call]) -> None:
        """Make calls that were kept, in order, behind those that are ready."""
        self._soon.extend(held)
        held.clear()

    def call_exception_handler(self, context: dict[str, object]) -> None:
        """Note what nobody caught: in a rehearsal it is a finding."""
        self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")

    def _step(self) -> None:
        if not self._soon:
            self._wait()
        call = self._soon.popleft()
        if call.cancelled():
            return
        self.calls += 1
        if self._calls_max is not None and self.calls > self._calls_max:
            raise NeverEndingError(f"{self.calls} calls were made and there is no end to them")
        if call.process is not None and not call.process.may_run(call):
            return
        try:
            call.make()
        except Exception as error:  # noqa: BLE001  what asyncio does with a call's error
            self.call_exception_handler({"message": "a call failed", "exception": error})

    def _wait(self) -> None:
        """Move the time to the next timer."""
        while self._later:
            when, _, call = heapq.heappop(self._later)
            if not call.cancelled():
                self._now_s = max(self._now_s, when)
                self._soon.append(call)
                self._take_due()
                return
        raise NeverEndingError("nothing is left that could ever happen")

    def _take_due(self) -> None:
        while self._later and self._later[0][0] <= self._now_s:
            call = heapq.heappop(self._later)[2]
            if not call.cancelled():
                self._soon.append(call)


def _given(context: Context | None) -> Context:
    """Return the context given, empty as it may be, or a copy of the present one."""
    return contextvars.copy_context() if context is None else context


def _adopted(
    loop: asyncio.AbstractEventLoop,
    main: Coroutine[Any, Any, T] | Generator[Any, None, T],
    *,
    context: Context | None = None,
) -> "asyncio.Future[T]":
    """Make a task, which its process remembers."""
    task = asyncio.Task(cast("Coroutine[Any, Any, T]", main), loop=loop, context=context)
    process = current_process() if context is None else context.get(_PROCESS)
    if process is not None:
        process.adopt(task)
    return task
