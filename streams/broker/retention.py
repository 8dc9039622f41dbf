"""The delete policy: whole segments go when they are too old, or when there is too much.

Age counts from the newest timestamp in a segment, and at least from when it was begun: records
that were old when they came are kept as long as new ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batuta.streams.broker.log import PartitionLog
    from batuta.streams.broker.segment import Segment
    from batuta.streams.broker.topics import Topic

__all__ = ["remove_old"]

UNLIMITED = -1


def remove_old(log: PartitionLog, topic: Topic, now_ms: int) -> Iterator[None]:
    """Remove the segments of one partition that need not be kept; yields between two of them.

    Nothing at or behind the last stable offset is removed.

    Raises:
        DiskError: the system refuses.
    """
    retention_ms = int(topic.config("retention.ms"))
    retention_bytes = int(topic.config("retention.bytes"))
    segments = log.storage.segments
    while segments:
        first = segments[0]
        too_old = retention_ms != UNLIMITED and _age_ms(first, now_ms) > retention_ms
        rest = log.storage.size - first.size
        too_much = UNLIMITED < retention_bytes <= rest and len(segments) > 1
        nothing_there = len(segments) == 1 and not first.bases
        if not (too_old or too_much) or nothing_there:
            return
        if first.end_offset > log.last_stable_offset:
            return
        if len(segments) == 1:
            log.storage.roll(log.end_offset, now_ms)
        log.delete_before(max(log.start_offset, first.end_offset))
        yield


def _age_ms(segment: Segment, now_ms: int) -> int:
    return now_ms - max(segment.max_timestamp_ms, segment.header.begun_ms)
