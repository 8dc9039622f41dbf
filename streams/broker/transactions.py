"""The transaction coordinator: producer ids and epochs, fencing, and the end of transactions."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from batuta.streams.broker.codes import Code

if TYPE_CHECKING:
    from batuta.streams.broker.batches import BatchHeader
    from batuta.streams.broker.clock import Alarm, Clock
    from batuta.streams.broker.group import PartitionKey
    from batuta.streams.broker.groups import GroupCoordinator
    from batuta.streams.broker.settings import BrokerSettings
    from batuta.streams.broker.topics import Topics

__all__ = ["ProducerIdentity", "TransactionCoordinator"]

#: Above this epoch a producer gets a new id; the last one is kept for fencing.
LAST_EPOCH = 0x7FFF - 1
FIRST_PRODUCER_ID = 1000


class _State(Enum):
    EMPTY = auto()
    ONGOING = auto()
    COMMITTED = auto()
    ABORTED = auto()


@dataclass(frozen=True, slots=True)
class ProducerIdentity:
    """A producer id and its epoch, or the reason why there is none."""

    producer_id: int = -1
    epoch: int = -1
    error: Code = Code.NONE


@dataclass(slots=True)
class _Transaction:
    """What is known of one transactional id."""

    transactional_id: str
    producer_id: int
    epoch: int
    timeout_ms: int
    state: _State = _State.EMPTY
    partitions: set[PartitionKey] = field(default_factory=set["PartitionKey"])
    groups: set[str] = field(default_factory=set[str])
    alarm: Alarm | None = None


class TransactionCoordinator:
    """All transactional ids of the broker."""

    def __init__(
        self, clock: Clock, settings: BrokerSettings, topics: Topics, groups: GroupCoordinator
    ) -> None:
        self._clock, self._settings = clock, settings
        self._topics, self._groups = topics, groups
        self._producer_ids = itertools.count(FIRST_PRODUCER_ID)
        self._transactions: dict[str, _Transaction] = {}

    def init_producer(
        self, transactional_id: str | None, timeout_ms: int, claimed: ProducerIdentity
    ) -> ProducerIdentity:
        """Give a producer its id and epoch; a former owner's transaction is aborted.

        Args:
            transactional_id: None for a producer that is only idempotent.
            timeout_ms: how long its transactions may stay open.
            claimed: the identity it has and wants a new epoch for; -1 for none.
        """
        if transactional_id is None:
            return ProducerIdentity(next(self._producer_ids), 0)
        if not transactional_id:
            return ProducerIdentity(error=Code.INVALID_REQUEST)
        if not 0 < timeout_ms <= self._settings.max_transaction_timeout_ms:
            return ProducerIdentity(error=Code.INVALID_TRANSACTION_TIMEOUT)
        known = self._transactions.get(transactional_id)
        if known is None:
            return self._first_identity(transactional_id, timeout_ms)
        return self._next_identity(known, timeout_ms, claimed)

    def _first_identity(self, transactional_id: str, timeout_ms: int) -> ProducerIdentity:
        producer_id = next(self._producer_ids)
        self._transactions[transactional_id] = _Transaction(
            transactional_id, producer_id, 0, timeout_ms
        )
        return ProducerIdentity(producer_id, 0)

    def _next_identity(
        self, known: _Transaction, timeout_ms: int, claimed: ProducerIdentity
    ) -> ProducerIdentity:
        current = (known.producer_id, known.epoch)
        if claimed.producer_id >= 0 and (claimed.producer_id, claimed.epoch) != current:
            return ProducerIdentity(error=Code.PRODUCER_FENCED)
        if known.state is _State.ONGOING:
            self._fence_and_abort(known)
        self._bump_epoch(known)
        known.timeout_ms, known.state = timeout_ms, _State.EMPTY
        return ProducerIdentity(known.producer_id, known.epoch)

    def _bump_epoch(self, known: _Transaction) -> None:
        known.epoch += 1
        if known.epoch >= LAST_EPOCH:
            known.producer_id, known.epoch = next(self._producer_ids), 0

    def _fence_and_abort(self, known: _Transaction) -> None:
        """Abort under a new epoch, so that the present owner is refused from now on."""
        known.epoch += 1
        self._finish(known, commit=False)

    def add_partitions(
        self, transactional_id: str, owner: ProducerIdentity, keys: list[PartitionKey]
    ) -> Code:
        """Make partitions part of the transaction, which begins with the first."""
        known, error = self._owned(transactional_id, owner)
        if known is None:
            return error
        self._begin(known)
        known.partitions.update(keys)
        return Code.NONE

    def add_offsets(self, transactional_id: str, owner: ProducerIdentity, group_id: str) -> Code:
        """Make a group's offsets part of the transaction."""
        known, error = self._owned(transactional_id, owner)
        if known is None:
            return error
        self._begin(known)
        known.groups.add(group_id)
        return Code.NONE

    def end(self, transactional_id: str, owner: ProducerIdentity, *, commit: bool) -> Code:
        """Commit or abort; doing the same twice is no error."""
        known, error = self._owned(transactional_id, owner)
        if known is None:
            return error
        if known.state is _State.ONGOING:
            self._finish(known, commit=commit)
            return Code.NONE
        already = _State.COMMITTED if commit else _State.ABORTED
        return Code.NONE if known.state is already else Code.INVALID_TXN_STATE

    def verify(self, transactional_id: str | None, header: BatchHeader, key: PartitionKey) -> Code:
        """Whether a batch belongs to a running transaction of its producer."""
        owner = ProducerIdentity(header.producer_id, header.producer_epoch)
        known, error = self._owned(transactional_id or "", owner)
        if known is None:
            fenced = error is Code.PRODUCER_FENCED
            return Code.INVALID_PRODUCER_EPOCH if fenced else error
        is_part = known.state is _State.ONGOING and key in known.partitions
        return Code.NONE if is_part else Code.INVALID_TXN_STATE

    def check_offsets(
        self, transactional_id: str, producer_id: int, epoch: int, group_id: str
    ) -> Code:
        """Whether a group's offsets are part of a running transaction of this producer."""
        known, error = self._owned(transactional_id, ProducerIdentity(producer_id, epoch))
        if known is None:
            fenced = error is Code.PRODUCER_FENCED
            return Code.INVALID_PRODUCER_EPOCH if fenced else error
        is_part = known.state is _State.ONGOING and group_id in known.groups
        return Code.NONE if is_part else Code.INVALID_TXN_STATE

    def _owned(
        self, transactional_id: str, owner: ProducerIdentity
    ) -> tuple[_Transaction | None, Code]:
        known = self._transactions.get(transactional_id)
        if known is None or known.producer_id != owner.producer_id:
            return None, Code.INVALID_PRODUCER_ID_MAPPING
        if known.epoch != owner.epoch:
            return None, Code.PRODUCER_FENCED
        return known, Code.NONE

    def _begin(self, known: _Transaction) -> None:
        if known.state is not _State.ONGOING:
            known.state = _State.ONGOING
            known.alarm = self._clock.call_later(
                known.timeout_ms, lambda: self._fence_and_abort(known)
            )

    def _finish(self, known: _Transaction, *, commit: bool) -> None:
        """Write the markers, apply or drop the offsets, and forget what took part."""
        for name, number in sorted(known.partitions):
            log = self._topics.partition(name, number)
            if log is not None:
                now_ms = self._clock.wall_ms()
                log.end_transaction(
                    known.producer_id, known.epoch, commit=commit, timestamp_ms=now_ms
                )
        for group_id in known.groups:
            group = self._groups.get_or_create(group_id)
            offsets = group.pending_offsets.pop(known.producer_id, {})
            if commit:
                group.offsets.update(offsets)
        if known.alarm is not None:
            known.alarm.cancel()
        known.partitions.clear()
        known.groups.clear()
        known.state = _State.COMMITTED if commit else _State.ABORTED
