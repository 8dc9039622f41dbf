"""Starting from what an earlier broker left, and noting all that is known in one go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from batuta.streams.broker.group_entries import group_entries
from batuta.streams.broker.journal_entries import (
    ClusterNamed,
    Entry,
    ProducerIdsReserved,
    TopicKept,
    TopicRemoved,
    TransactionKept,
)
from batuta.streams.broker.log_recovery import RecoveryReport
from batuta.streams.broker.topics import LOGS, entry_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batuta.streams.broker.journal import DiskJournal
    from batuta.streams.broker.state import BrokerState

__all__ = ["entries_of", "restore"]

_log = structlog.get_logger(__name__)


def restore(state: BrokerState, journal: DiskJournal, *, salvage: bool) -> RecoveryReport:
    """Let a new broker know what the last one on this disk knew.

    Args:
        state: of a broker that was never asked anything.
        journal: of the disk.
        salvage: whether damage is set aside instead of stopping the start.

    Returns:
        What had to be repaired.

    Raises:
        CorruptFileError: something acknowledged is damaged or missing.
        FormatError: another version wrote it.
    """
    report = RecoveryReport()
    is_named = False
    for entry in journal.restore(report, salvage=salvage):
        is_named = is_named or isinstance(entry, ClusterNamed)
        _apply(state, entry)
    if not is_named:
        journal.append(ClusterNamed(state.cluster_id), is_final=True)
    for topic in state.topics:
        for log in topic.partitions:
            log.restore(report, salvage=salvage)
    _tell_strangers(state)
    report.completed_transactions = state.transactions.resume()
    report.unknown_transactions = state.transactions.abort_unknown()
    state.groups.resume()
    if report.salvaged:
        journal.rewrite(entries_of(state))
    return report


def entries_of(state: BrokerState) -> Iterator[Entry]:
    """All that is known beside records."""
    yield ClusterNamed(state.cluster_id)
    yield state.transactions.producer_ids.entry()
    for topic in state.topics:
        yield entry_of(topic)
    for group in state.groups:
        yield from group_entries(group)
    for transaction in state.transactions:
        yield transaction.entry()


def _apply(state: BrokerState, entry: Entry) -> None:
    match entry:
        case ClusterNamed():
            state.cluster_id = entry.cluster_id
        case TopicKept():
            state.topics.keep(entry)
        case TopicRemoved():
            topic = state.topics.forget(entry)
            if topic is not None:
                state.groups.forget_topic(topic.name)
        case ProducerIdsReserved():
            state.transactions.producer_ids.keep(entry)
        case TransactionKept():
            state.transactions.keep(entry)
        case _:
            state.groups.keep(entry)


def _tell_strangers(state: BrokerState) -> None:
    """Say which folders belong to no topic; they are left alone."""
    known = {topic.topic_id.hex() for topic in state.topics}
    strangers = [name for name in state.disk.names(LOGS) if name not in known]
    if strangers:
        _log.warning("unknown_logs_left", folders=strangers)
