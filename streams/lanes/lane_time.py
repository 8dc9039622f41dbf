"""Event time in a lane: which records are watermarks, and when those downstream are told."""

from aiokafka import TopicPartition

from batuta.schemas.watermark import decode_watermark, is_watermark
from batuta.streams.lanes.announcer import Announcement, Announcer
from batuta.streams.lanes.memory import Told
from batuta.streams.lanes.ownership import Fetched
from batuta.streams.lanes.stage import AnyStage
from batuta.streams.lanes.world import LaneWorld

__all__ = ["LaneTime"]


class LaneTime:
    """What one lane hears and tells of event time; nothing, where its stage keeps none."""

    def __init__(self, stage: AnyStage, partition: int, world: LaneWorld) -> None:
        self._event_time = time = stage.event_time
        heard = time.hears if time is not None else {}
        orders = {topic: order for order, topic in enumerate(stage.inputs)}
        self._hears = {TopicPartition(topic, partition): orders[topic] for topic in heard}
        self._announcer: Announcer | None = None
        if time is not None and time.tells:
            below = [(topic, world.partition_of[topic].partitions) for topic in time.tells]
            interval_ms = world.settings.watermark_interval_ms
            self._announcer = Announcer(below, partition, interval_ms)
        self._read_at_ms: int | None = None

    def strip(self, fetched: Fetched, now_ms: int) -> tuple[Fetched, tuple[Told, ...]]:
        """Take the watermarks out of what was fetched."""
        if fetched.by_input:
            self._read_at_ms = now_ms
        told: list[Told] = []
        by_input = dict(fetched.by_input)
        for tp, order in self._hears.items():
            records = by_input.get(tp, ())
            marks = [record for record in records if record.key is None and is_watermark(record)]
            if marks:
                told += [(order, decode_watermark(mark)) for mark in marks]
                by_input[tp] = [r for r in records if r.key is not None or not is_watermark(r)]
        if not told:
            return fetched, ()
        return Fetched({tp: r for tp, r in by_input.items() if r}, fetched.positions), tuple(told)

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
