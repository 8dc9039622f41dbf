"""How a serving command ends: Ctrl-C and SIGTERM both ask once, a second Ctrl-C insists."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import TypeVar

__all__ = ["run_until_stopped", "sigterm_interrupts", "until_first"]

ResultT = TypeVar("ResultT")


def run_until_stopped(serve: Callable[[asyncio.Event], Coroutine[None, None, ResultT]]) -> ResultT:
    """Run `serve` in a new event loop, with an event that is set when the process shall end.

    The first SIGINT or SIGTERM sets the event; `serve` finishes its work and returns. From then on
    a SIGINT interrupts as usual, for the case that finishing takes too long.
    """
    early: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        # An exception in the middle of starting a loop would leave half a loop behind.
        signal.signal(number, lambda asked, _: early.append(asked))

    async def run() -> ResultT:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def ask() -> None:
            stop.set()
            loop.remove_signal_handler(signal.SIGINT)

        loop.add_signal_handler(signal.SIGINT, ask)
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        if early:
            ask()
        return await serve(stop)

    return asyncio.run(run())


def sigterm_interrupts() -> None:
    """Let SIGTERM raise KeyboardInterrupt, as Ctrl-C does, until a loop takes both over."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


async def until_first(*waits: Coroutine[None, None, object]) -> None:
    """Wait until the first of `waits` is done; raise what it raised, abandon the others."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
