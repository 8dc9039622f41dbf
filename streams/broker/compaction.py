"""The compact policy: of each key only the last record stays, at its offset.

As Apache Kafka's log cleaner: the keys of what was not compacted yet are looked up first, then
every segment up to there is written anew without records that a later one replaces, without those
of aborted transactions, and without tombstones and markers that have been kept long enough
(delete.retention.ms after their segment was first compacted). Nothing at or behind the last stable
offset is touched, nor the segment that is appended to. A new file takes the place of its old ones
at once, the earliest first, so that stopping anywhere loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from zlib import crc32

from batuta.streams.broker.batch_filter import KeyedRecord, filter_batch, keyed_records
from batuta.streams.broker.batches import BatchHeader, read_header
from batuta.streams.broker.disk import UNFINISHED
from batuta.streams.broker.segment import Place, Segment, SegmentHeader, write_segment_header

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from batuta.streams.broker.clock import Clock
    from batuta.streams.broker.log import PartitionLog
    from batuta.streams.broker.log_checkpoint import AbortedSpan
    from batuta.streams.broker.topics import Topic

__all__ = ["compact"]

#: How much is worked on between two requests.
STEP_BYTES = 64 * 1024
#: How many keys are looked up in one go; later segments wait for the next.
KEYS_MAX = 2_000_000


def compact(log: PartitionLog, topic: Topic, clock: Clock) -> Iterator[None]:
    """Compact one partition if enough of it is new; yields often.

    Raises:
        DiskError: the system refuses; what was not finished does not count.
    """
    now_ms = clock.wall_ms()
    _roll_if_old(log, now_ms)
    lag_ms = int(topic.config("min.compaction.lag.ms"))
    segments = _cleanable(log, now_ms - lag_ms)
    if not _is_due(segments, topic, now_ms):
        return
    latest = _Latest()
    yield from latest.look_up(log, segments)
    segments = segments[: segments.index(latest.through) + 1] if latest.through else []
    log.checkpoint()
    horizon_ms = now_ms - int(topic.config("delete.retention.ms"))
    rewriting = _Rewriting(log, latest.offsets, now_ms, horizon_ms)
    for group in _groups(segments, log.storage.limits.size_bytes, horizon_ms):
        yield from rewriting.rewrite(group)


def _roll_if_old(log: PartitionLog, now_ms: int) -> None:
    """Let an idle partition be compacted too: what is appended to never is."""
    last = log.storage.segments[-1] if log.storage.segments else None
    if last and last.bases and now_ms - last.header.begun_ms > log.storage.limits.age_ms:
        log.storage.roll(log.end_offset, now_ms)


def _cleanable(log: PartitionLog, before_ms: int) -> list[Segment]:
    """The segments, from the first on, that may be written anew."""
    found: list[Segment] = []
    for segment in log.storage.segments[:-1]:
        too_young = max(segment.max_timestamp_ms, segment.header.begun_ms) > before_ms
        if segment.end_offset > log.last_stable_offset or too_young:
            break
        found.append(segment)
    return found


def _is_due(segments: Sequence[Segment], topic: Topic, now_ms: int) -> bool:
    """Whether enough is new, or something has been new for too long."""
    new = [segment for segment in segments if not segment.header.cleaned_ms]
    if not new:
        return False
    lag_ms_max = int(topic.config("max.compaction.lag.ms"))
    if now_ms - new[0].header.begun_ms > lag_ms_max:
        return True
    share = sum(s.size for s in new) / sum(s.size for s in segments)
    return share >= float(topic.config("min.cleanable.dirty.ratio"))


def _groups(
    segments: Sequence[Segment], size_bytes_max: int, horizon_ms: int
) -> Iterator[list[Segment]]:
    """Neighbours that become one segment.

    Tombstones count their time from when their segment was first compacted, so segments that
    still wait stay apart from others.
    """
    group: list[Segment] = []
    for segment in segments:
        size = sum(member.size for member in group) + segment.size
        alike = group and _age_class(group[0], horizon_ms) == _age_class(segment, horizon_ms)
        if group and (not alike or size > size_bytes_max):
            yield group
            group = []
        group.append(segment)
    if group:
        yield group


def _age_class(segment: Segment, horizon_ms: int) -> int:
    cleaned_ms = segment.header.cleaned_ms
    return cleaned_ms if not cleaned_ms or cleaned_ms > horizon_ms else -1


def _batches(log: PartitionLog, segment: Segment) -> Iterator[tuple[BatchHeader, bytes]]:
    for index in range(len(segment.bases)):
        data = log.storage.batch_at(segment, index)
        yield read_header(data), data


@dataclass(slots=True)
class _Latest:
    """The last offset of each key in what is new.

    Attributes:
        through: the last segment that was looked at.
    """

    offsets: dict[bytes, int] = field(default_factory=dict[bytes, int])
    through: Segment | None = None

    def look_up(self, log: PartitionLog, segments: Sequence[Segment]) -> Iterator[None]:
        aborted = _Aborted(log.aborted)
        for segment in segments:
            if len(self.offsets) >= KEYS_MAX:
                return
            if not segment.header.cleaned_ms:
                yield from self._look_into(log, segment, aborted)
            self.through = segment

    def _look_into(self, log: PartitionLog, segment: Segment, aborted: _Aborted) -> Iterator[None]:
        size = 0
        for header, data in _batches(log, segment):
            if not header.is_control and not aborted.holds(header):
                for record in keyed_records(data, header):
                    if record.key is not None:
                        self.offsets[record.key] = record.offset
            size += len(data)
            if size >= STEP_BYTES:
                size = 0
                yield


class _Aborted:
    """Whether a batch belongs to an aborted transaction."""

    def __init__(self, spans: Sequence[AbortedSpan]) -> None:
        self._spans: dict[int, list[AbortedSpan]] = {}
        for span in spans:
            self._spans.setdefault(span.producer_id, []).append(span)

    def holds(self, header: BatchHeader) -> bool:
        return header.is_transactional and any(
            span.first_offset <= header.base_offset <= span.last_offset
            for span in self._spans.get(header.producer_id, ())
        )


class _Rewriting:
    """One walk over the segments, from the first on, that leaves less of them."""

    def __init__(
        self, log: PartitionLog, latest: dict[bytes, int], now_ms: int, horizon_ms: int
    ) -> None:
        self._log, self._latest = log, latest
        self._now_ms, self._horizon_ms = now_ms, horizon_ms
        self._aborted = _Aborted(log.aborted)
        self._with_data: set[int] = set()
        self._dropped_markers: set[int] = set()
        self._body_crc = 0

    def rewrite(self, group: list[Segment]) -> Iterator[None]:
        """Write one segment in place of its neighbours."""
        storage = self._log.storage
        cleaned_ms = max(segment.header.cleaned_ms for segment in group) or self._now_ms
        first = group[0].header
        header = SegmentHeader(first.base_offset, first.begun_ms, cleaned_ms, group[-1].end_offset)
        new = Segment(group[0].path + UNFINISHED, header)
        storage.disk.remove(new.path)
        head = write_segment_header(header)
        storage.disk.write(new.path, 0, head)
        new.size, self._body_crc = len(head), 0
        for segment in group:
            keeps_all = not 0 < segment.header.cleaned_ms <= self._horizon_ms
            yield from self._copy(segment, new, keeps_tombstones=keeps_all)
        new.header = replace(header, body_crc=self._body_crc)
        storage.disk.write(new.path, 0, write_segment_header(new.header))
        storage.disk.sync(new.path)
        if all(segment in storage.segments for segment in group):
            storage.replace(group, new)
            self._log.forget_markers(self._dropped_markers)
        else:
            storage.disk.remove(new.path)

    def _copy(self, old: Segment, new: Segment, *, keeps_tombstones: bool) -> Iterator[None]:
        disk, size = self._log.storage.disk, 0
        for header, data in _batches(self._log, old):
            kept = self._filter(header, data, keeps_tombstones=keeps_tombstones)
            if kept is not None:
                place = read_header(kept)
                last = place.base_offset + place.last_offset_delta
                disk.write(new.path, new.size, kept)
                self._body_crc = crc32(kept, self._body_crc)
                new.add(Place(place.base_offset, last, place.max_timestamp_ms), len(kept))
            size += len(data)
            if size >= STEP_BYTES:
                size = 0
                yield

    def _filter(self, header: BatchHeader, data: bytes, *, keeps_tombstones: bool) -> bytes | None:
        if header.is_control:
            return self._filter_marker(header, data, keeps_old=keeps_tombstones)
        if self._aborted.holds(header):
            return None

        def keeps(record: KeyedRecord) -> bool:
            if record.key is None:
                return True
            is_last = self._latest.get(record.key, -1) <= record.offset
            return is_last and (keeps_tombstones or not record.is_tombstone)

        kept = filter_batch(data, header, keeps)
        if kept is not None and header.is_transactional:
            self._with_data.add(header.producer_id)
        return kept

    def _filter_marker(self, header: BatchHeader, data: bytes, *, keeps_old: bool) -> bytes | None:
        """A marker stays as long as something of its transaction does, and long enough."""
        has_data = header.producer_id in self._with_data
        self._with_data.discard(header.producer_id)
        if keeps_old or has_data:
            return data
        self._dropped_markers.add(header.base_offset)
        return None
