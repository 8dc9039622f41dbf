"""A sink of the user's own: whatever it does, it is an unreachable one at worst."""

from __future__ import annotations

import threading

import pytest

from batuta.schemas.errors import SinkUnavailableError
from batuta.schemas.notification import Notification
from batuta.streams.sinks.bounded import BoundedSink

TOLD = Notification("n1", "parcels", "default", "info", "t", "s", "p1", {"a": "b"}, 1)


class Pager:
    channel = "pager"

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.heard: list[str] = []
        self.closed = False

    async def deliver(self, notification: Notification) -> None:
        if self.failure is not None:
            raise self.failure
        self.heard.append(notification.notification_id)

    async def close(self) -> None:
        self.closed = True
        if self.failure is not None:
            raise self.failure


class Blocking(Pager):
    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()

    async def deliver(self, notification: Notification) -> None:
        del notification
        self.released.wait(60)


async def test_it_is_told_and_closed() -> None:
    pager = Pager()
    sink = BoundedSink(pager)
    await sink.deliver(TOLD)
    await sink.close()
    assert (sink.channel, pager.heard, pager.closed) == ("pager", ["n1"], True)


async def test_what_it_raises_is_tried_again_as_an_unreachable_sink_is() -> None:
    sink = BoundedSink(Pager(ZeroDivisionError("no luck")))
    with pytest.raises(SinkUnavailableError, match="sink pager: no luck"):
        await sink.deliver(TOLD)
    await sink.close()
    sure = SinkUnavailableError("never", retriable=False)
    with pytest.raises(SinkUnavailableError) as refused:
        await BoundedSink(Pager(sure)).deliver(TOLD)
    assert refused.value is sure


async def test_one_that_blocks_its_loop_is_left_there() -> None:
    blocking = Blocking()
    sink = BoundedSink(blocking, timeout_s=0.05)
    with pytest.raises(SinkUnavailableError, match="sink pager: "):
        await sink.deliver(TOLD)
    await sink.close()
    blocking.released.set()
