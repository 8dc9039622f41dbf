"""What a broker does when nobody asks: removes old records, compacts, writes its journal anew.

Everything happens in small steps between requests, by the broker's clock, so that nobody waits
long and a simulated run is the same each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from batuta.streams.broker.compaction import compact
from batuta.streams.broker.disk import DiskError
from batuta.streams.broker.keeping import entries_of
from batuta.streams.broker.retention import remove_old

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batuta.streams.broker.clock import Alarm
    from batuta.streams.broker.journal import DiskJournal
    from batuta.streams.broker.log import PartitionLog
    from batuta.streams.broker.state import BrokerState
    from batuta.streams.broker.topics import Topic

__all__ = ["Housekeeping"]

_log = structlog.get_logger(__name__)


class Housekeeping:
    """One round after the other, each a walk through all partitions."""

    def __init__(self, state: BrokerState, journal: DiskJournal | None) -> None:
        self._state, self._journal = state, journal
        self._alarm: Alarm | None = None
        self._round: Iterator[None] = iter(())

    def start(self) -> None:
        """Plan the first round."""
        interval_ms = self._state.settings.housekeeping_interval_ms
        self._alarm = self._state.clock.call_later(interval_ms, self._begin)

    def stop(self) -> None:
        """End, in the middle of a round if need be: what was not finished does not count."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm, self._round = None, iter(())

    def _begin(self) -> None:
        self._round = self._steps()
        self._step()

    def _step(self) -> None:
        try:
            next(self._round)
        except StopIteration:
            self.start()
        else:
            self._alarm = self._state.clock.call_later(0, self._step)

    def _steps(self) -> Iterator[None]:
        if self._journal is not None and self._journal.has_grown:
            self._rewrite(self._journal)
            yield
        for topic in tuple(self._state.topics):
            yield from self._clean(topic)

    def _rewrite(self, journal: DiskJournal) -> None:
        try:
            journal.rewrite(entries_of(self._state))
        except DiskError as error:
            _log.warning("journal_not_rewritten", reason=str(error))

    def _clean(self, topic: Topic) -> Iterator[None]:
        """Clean one topic; a disk that refuses is tried again in the next round."""
        for log in tuple(topic.partitions):
            try:
                for _ in self._clean_partition(topic, log):
                    yield
                    if self._state.topics.get_by_id(topic.topic_id) is not topic:
                        return
            except DiskError as error:
                _log.warning("cleaning_refused", topic=topic.name, reason=str(error))

    def _clean_partition(self, topic: Topic, log: PartitionLog) -> Iterator[None]:
        if topic.is_deleted:
            yield from remove_old(log, topic, self._state.clock.wall_ms())
        if topic.is_compacted:
            yield from compact(log, topic, self._state.clock)
