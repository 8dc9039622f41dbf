"""Calls code of the user's beside the event loop, within a bound of time.

A plain function runs on a thread of its own; coroutines on one event loop of the part's, on a
thread as well, so that one which blocks blocks nobody else. A call that does not come back in time
fails, and keeps its thread. Once too many hang, further calls are refused at once until one comes
back.
"""

import asyncio
import inspect
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, Final

__all__ = ["HUNG_MAX", "Aside"]

#: How many calls of one part may hang.
HUNG_MAX: Final = 4
#: How long a loop's thread is waited for at its end.
_PATIENCE_S: Final = 0.5


class _Call:
    """One call: who waits for it, whether nobody does any more, and whether it has come back."""

    def __init__(self) -> None:
        self.home = asyncio.get_running_loop()
        self.answered: asyncio.Future[object] = self.home.create_future()
        self.late = False
        self.back = False


class Aside:
    """The calls of one part."""

    def __init__(self, name: str, timeout_s: float) -> None:
        """Bound the calls.

        Args:
            name: whose they are, in words for people.
            timeout_s: how long each is waited for.
        """
        self._name = name
        self._timeout_s = timeout_s
        self._hung = 0
        self._loop_thread: _LoopThread | None = None

    async def call(self, function: Callable[..., object], *given: object) -> object:
        """Return what `function` returns of `given`, or what its coroutine does.

        Raises:
            TimeoutError: there was no answer in time, or too many calls hang already.
            Exception: whatever it raised.
        """
        if self._hung >= HUNG_MAX:
            raise TimeoutError(f"{self._name} hangs: {self._hung} calls have not come back")
        call = _Call()
        if inspect.iscoroutinefunction(function):
            self._on_loop(call, function, given)
        else:
            self._on_thread(call, function, given)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await call.answered
        finally:
            if call.answered.cancelled() and not call.back:
                call.late = True
                self._hung += 1

    def close(self) -> None:
        """End the part's event loop, if it lets itself be ended."""
        if self._loop_thread is not None:
            self._loop_thread.end()

    def _on_thread(self, call: _Call, function: Callable[..., object], given: Any) -> None:
        def run() -> None:
            try:
                self._back(call, function(*given), None)
            except Exception as failure:  # noqa: BLE001 - a part is anybody's code
                self._back(call, None, failure)

        # A daemon never keeps the process alive.
        threading.Thread(target=run, name=f"part-{self._name}", daemon=True).start()

    def _on_loop(self, call: _Call, function: Callable[..., Awaitable[object]], given: Any) -> None:
        async def run() -> None:
            try:
                self._back(call, await function(*given), None)
            except Exception as failure:  # noqa: BLE001 - a part is anybody's code
                self._back(call, None, failure)

        loop = self._loop().loop
        tasks: set[asyncio.Task[None]] = set()

        def start() -> None:
            tasks.add(loop.create_task(run()))

        def end(answered: asyncio.Future[object]) -> None:
            if answered.cancelled():
                loop.call_soon_threadsafe(lambda: [task.cancel() for task in tasks])

        call.answered.add_done_callback(end)
        loop.call_soon_threadsafe(start)

    def _loop(self) -> "_LoopThread":
        if self._loop_thread is None:
            self._loop_thread = _LoopThread(self._name)
            weakref.finalize(self, self._loop_thread.end)
        return self._loop_thread

    def _back(self, call: _Call, value: object, failure: Exception | None) -> None:
        """Tell who waits; called on the part's thread."""
        if not call.home.is_closed():
            call.home.call_soon_threadsafe(self._tell, call, value, failure)

    def _tell(self, call: _Call, value: object, failure: Exception | None) -> None:
        call.back = True
        if call.late:
            self._hung -= 1
        elif call.answered.cancelled():
            return
        elif failure is None:
            call.answered.set_result(value)
        else:
            call.answered.set_exception(failure)


class _LoopThread:
    """An event loop on a daemon thread, which ends with it."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._ended = False
        self._thread = threading.Thread(
            target=_run, args=(self.loop,), name=f"loop-{name}", daemon=True
        )
        self._thread.start()

    def end(self) -> None:
        """End it, unless it hangs."""
        if not self._ended:
            self._ended = True
            self.loop.call_soon_threadsafe(self.loop.stop)
        if threading.current_thread() is not self._thread:
            self._thread.join(_PATIENCE_S)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
