"""Delivery: notifications to every sink, each sink told once per notification where we can help it.

A batch that fails half way is tried again, and its records may come again after a restart, so a
receiver must drop ids it has seen; within one process nobody is told twice.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from batuta.schemas.errors import SinkUnavailableError
from batuta.schemas.notification import Notification
from batuta.streams.sinks.port import Sink
from batuta.streams.telemetry.stage_telemetry import StageTelemetry

__all__ = ["Delivery"]

_REMEMBERED_MAX: Final = 100_000


class Delivery:
    """Delivers to all sinks of a worker."""

    def __init__(self, sinks: Sequence[Sink], telemetry: StageTelemetry) -> None:
        self._sinks = tuple(sinks)
        self._telemetry = telemetry
        self._delivered: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def deliver(self, notifications: Sequence[Notification]) -> None:
        """Tell every sink each notification; one that refuses is told no more of them, others are.

        Raises:
            SinkUnavailableError: a sink did not take one; what was taken is remembered.
        """
        refusals: dict[str, SinkUnavailableError] = {}
        for notification in notifications:
            for sink in self._sinks:
                if sink.channel not in refusals:
                    try:
                        await self._tell(sink, notification)
                    except SinkUnavailableError as refusal:
                        refusals[sink.channel] = refusal
        if refusals:
            raise next(iter(refusals.values()))

    async def _tell(self, sink: Sink, notification: Notification) -> None:
        told = (sink.channel, notification.notification_id)
        if told in self._delivered:
            return
        try:
            await sink.deliver(notification)
        except SinkUnavailableError:
            self._telemetry.notified(sink.channel, "failed")
            raise
        self._telemetry.notified(sink.channel, "delivered")
        self._delivered[told] = None
        if len(self._delivered) > _REMEMBERED_MAX:
            self._delivered.popitem(last=False)
