"""Virtual time, and processes that stand still or die."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from batuta.streams.rehearsal.virtual_loop import NeverEndingError, Process, VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop(calls_max=10_000)
    yield loop
    loop.close()


async def tick(seen: list[float | str]) -> None:
    """Note the time each second, and the end."""
    try:
        while True:
            await asyncio.sleep(1)
            seen.append(asyncio.get_running_loop().time())
    finally:
        seen.append("finally")


def test_time_jumps_to_the_next_timer(loop: VirtualLoop) -> None:
    loop.run_until_complete(asyncio.sleep(86_400))
    assert loop.time() == 86_400


def test_timers_of_the_same_time_ring_in_order(loop: VirtualLoop) -> None:
    seen: list[int] = []
    for number in range(5):
        loop.call_later(1, seen.append, number)
    loop.run_until_complete(asyncio.sleep(2))
    assert seen == [0, 1, 2, 3, 4]


def test_a_deadline_is_kept_in_virtual_time(loop: VirtualLoop) -> None:
    async def wait() -> None:
        async with asyncio.timeout(30):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        loop.run_until_complete(wait())
    assert loop.time() == 30


def test_a_frozen_process_goes_on_where_it_stood(loop: VirtualLoop) -> None:
    seen: list[float | str] = []
    process = Process("p", loop)

    async def main() -> None:
        process.spawn(tick(seen))
        await asyncio.sleep(2.5)
        process.freeze()
        await asyncio.sleep(10)
        assert seen == [1, 2]
        process.thaw()
        await asyncio.sleep(1.5)

    loop.run_until_complete(main())
    assert seen == [1, 2, 12.5, 13.5]


def test_a_killed_process_runs_nothing_more_not_even_its_end(loop: VirtualLoop) -> None:
    seen: list[float | str] = []
    process = Process("p", loop)

    async def main() -> None:
        process.spawn(tick(seen))
        await asyncio.sleep(0.5)
        process.after_calls(3, process.kill)
        await asyncio.sleep(20)
        assert seen == [1]
        await asyncio.wait(process.bury(), timeout=1)

    loop.run_until_complete(main())
    assert seen == [1, "finally"]


def test_what_a_process_starts_belongs_to_it(loop: VirtualLoop) -> None:
    seen: list[float | str] = []
    process = Process("p", loop)

    async def child() -> None:
        asyncio.get_running_loop().call_later(3, seen.append, "never")
        await asyncio.gather(tick(seen))

    async def main() -> None:
        process.spawn(child())
        await asyncio.sleep(1.5)
        process.kill()
        await asyncio.sleep(5)

    loop.run_until_complete(main())
    assert seen == [1]


def test_a_call_that_fails_is_noted(loop: VirtualLoop) -> None:
    loop.call_soon(lambda: 1 / 0)
    loop.run_until_complete(asyncio.sleep(1))
    assert len(loop.failures) == 1
    assert "ZeroDivisionError" in loop.failures[0]


def test_waiting_for_what_never_comes_is_an_error(loop: VirtualLoop) -> None:
    with pytest.raises(NeverEndingError, match="nothing is left"):
        loop.run_until_complete(asyncio.Event().wait())


def test_going_in_circles_is_an_error(loop: VirtualLoop) -> None:
    def again() -> None:
        loop.call_soon(again)

    again()
    with pytest.raises(NeverEndingError, match="no end"):
        loop.run_until_complete(asyncio.Event().wait())
