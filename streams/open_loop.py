"""Publishes at a rate that does not bend to how fast the answers come.

A closed loop slows down with the system it loads and so hides its worst moments ("coordinated
omission": Gil Tene, How NOT to Measure Latency). Here event n is due at start + n / rate and
carries that time as its timestamp, even when it goes out late: its age counts from when it was due.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import islice
from typing import Final, Protocol, TypeVar

from batuta.schemas.record import Output
from batuta.streams.publisher import Publisher, Timed

__all__ = ["Announce", "HasOutput", "publish_open_loop"]


class HasOutput(Protocol):
    """Anything that knows the record it becomes."""

    @property
    def output(self) -> Output:
        """The record."""
        ...


SampleT = TypeVar("SampleT", bound=HasOutput)
#: Told what is about to go out, and as what, before it does.
Announce = Callable[[Sequence[SampleT], Sequence[Timed]], Awaitable[None]]

_TICK_S: Final = 0.01
_RECORDS_MAX: Final = 1_000


async def publish_open_loop(
    publisher: Publisher,
    samples: Iterator[SampleT],
    rate: float,
    stop: asyncio.Event,
    announce: Announce[SampleT],
) -> None:
    """Publish `samples` at `rate` per second until they end or `stop` is set.

    Args:
        publisher: where to.
        samples: what; drawn from when due, never ahead.
        rate: records per second; 0 is as fast as the broker takes them.
        stop: ends the loop early.
        announce: told of each block before it goes out.

    Raises:
        OutputRefusedError: the broker refused a record.
    """
    start_s, start_ms, sent = time.monotonic(), time.time_ns() / 1e6, 0
    while not stop.is_set():
        due = int((time.monotonic() - start_s) * rate) - sent if rate else _RECORDS_MAX
        if due <= 0:
            await asyncio.sleep(_TICK_S)
            continue
        block = list(islice(samples, min(due, _RECORDS_MAX)))
        if not block:
            break
        timed = [Timed(_due_ms(start_ms, sent + n, rate), s.output) for n, s in enumerate(block)]
        await announce(block, timed)
        await publisher.publish(timed)
        sent += len(block)
        await asyncio.sleep(0)
    await publisher.flush()


def _due_ms(start_ms: float, index: int, rate: float) -> int:
    return int(start_ms + index / rate * 1_000) if rate else time.time_ns() // 1_000_000
