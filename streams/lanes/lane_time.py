"""Event time in a lane: which records are watermarks, and when those downstream are told."""

from aiokafka import TopicPartition

from batuta.schemas.watermark import Watermark, decode_watermark, is_watermark
from batuta.streams.lanes.announcer import Announcement, Announcer
from batuta.streams.lanes.ownership import Fetched
from batuta.streams.lanes.stage import AnyStage
from batuta.streams.lanes.world import LaneWorld

__all__ = ["LaneTime"]


class LaneTime:
    """What one lane hears and tells of event time; nothing, where its stage keeps none."""

    def __init__(self, stage: AnyStage, partition: int, world: LaneWorld) -> None:
        self._event_time = time = stage.event_time
        hears = time.hears if time is not None else None
        self._hears = None if hears is None else TopicPartition(hears, partition)
        self._announcer: Announcer | None = None
        if time is not None and time.tells is not None:
            partitions = world.partition_of[time.tells].partitions
            interval_ms = world.settings.watermark_interval_ms
            self._announcer = Announcer(time.tells, partitions, partition, interval_ms)
        self._read_at_ms: int | None = None

    def strip(self, fetched: Fetched, now_ms: int) -> tuple[Fetched, tuple[Watermark, ...]]:
        """Take the watermarks out of what was fetched."""
        if fetched.by_input:
            self._read_at_ms = now_ms
        records = fetched.by_input.get(self._hears, ()) if self._hears is not None else ()
        told = [record for record in records if record.key is None and is_watermark(record)]
        if not told or self._hears is None:
            return fetched, ()
        by_input = dict(fetched.by_input)
        rest = [record for record in records if record.key is not None or not is_watermark(record)]
        by_input[self._hears] = rest
        if not rest:
            del by_input[self._hears]
        return Fetched(by_input, fetched.positions), tuple(map(decode_watermark, told))

    def announce(self, watermark_ms: int, now_ms: int) -> Announcement | None:
        """Return what is to be told with a batch."""
        if self._announcer is None:
            return None
        return self._announcer.announce(watermark_ms, now_ms)

    def rest(self, watermark_ms: int, now_ms: int) -> Announcement | None:
        """Return what is to be told where no record has come: the watermark, or that we idle."""
        if self._announcer is None or self._event_time is None:
            return None
        if self._read_at_ms is None or now_ms < self._read_at_ms:
            self._read_at_ms = now_ms
        idle = now_ms - self._read_at_ms >= self._event_time.idle_ms
        return self._announcer.announce(watermark_ms, now_ms, idle=idle)

    def told(self, announcement: Announcement | None) -> None:
        """Note that an announcement was committed."""
        if announcement is not None and self._announcer is not None:
            self._announcer.told(announcement)
