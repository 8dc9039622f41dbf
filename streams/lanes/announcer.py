"""The announcer: tells every partition downstream how far a lane's event time has come.

Watermarks go out with the lane's own transactions, behind the events they speak of; under load not
at every batch, and where nothing has changed not at all.
"""

from collections.abc import Sequence
from typing import NamedTuple

from batuta.agents.state.event_time import BEFORE_ALL_MS
from batuta.schemas.record import Output
from batuta.schemas.watermark import Watermark, encode_watermark

__all__ = ["Announcement", "Announcer"]


class Announcement(NamedTuple):
    """One watermark on its way; it counts once its transaction is committed."""

    watermark: Watermark
    at_ms: int
    outputs: list[Output]


class Announcer:
    """Announces one lane's watermark.

    Args:
        below: who hears of it: topics, and how many partitions each has.
        lane: whose watermark it is.
        interval_ms: how long to keep still after an announcement.
    """

    def __init__(self, below: Sequence[tuple[str, int]], lane: int, interval_ms: int) -> None:
        self._below = tuple(below)
        self._lane = lane
        self._interval_ms = interval_ms
        self._told: Watermark | None = None
        self._told_at_ms: int | None = None

    def announce(
        self, watermark_ms: int, now_ms: int, *, idle: bool = False
    ) -> Announcement | None:
        """Return what is due to be announced, if anything is."""
        known = watermark_ms != BEFORE_ALL_MS
        watermark = Watermark(self._lane, watermark_ms if known else None, idle)
        if watermark == self._told or not self._due(watermark, now_ms):
            return None
        outputs = [
            encode_watermark(watermark, topic, n)
            for topic, partitions in self._below
            for n in range(partitions)
        ]
        return Announcement(watermark, now_ms, outputs)

    def told(self, announcement: Announcement) -> None:
        """Note that an announcement was committed."""
        self._told, self._told_at_ms = announcement.watermark, announcement.at_ms

    def _due(self, watermark: Watermark, now_ms: int) -> bool:
        told, at_ms = self._told, self._told_at_ms
        if told is None or at_ms is None or told.idle != watermark.idle:
            return True
        # A clock that was set back does not keep the announcer still.
        return not 0 <= now_ms - at_ms < self._interval_ms
