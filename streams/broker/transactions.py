"""The transaction coordinator: producer ids and epochs, fencing, and the end of transactions.

Each step is noted before it counts. The decision (PREPARE_COMMIT or PREPARE_ABORT) is noted before
the first marker, and behind the offsets it decides about; from then on it is carried out however
often that takes, after a restart too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from batuta.streams.broker.codes import Code
from batuta.streams.broker.disk import DiskError
from batuta.streams.broker.producer_ids import ProducerIds
from batuta.streams.broker.transaction import Transaction, TransactionState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batuta.streams.broker.batches import BatchHeader
    from batuta.streams.broker.clock import Clock
    from batuta.streams.broker.group import PartitionKey
    from batuta.streams.broker.groups import GroupCoordinator
    from batuta.streams.broker.journal import Journal
    from batuta.streams.broker.journal_entries import TransactionKept
    from batuta.streams.broker.settings import BrokerSettings
    from batuta.streams.broker.topics import Topics

__all__ = ["Neighbours", "ProducerIdentity", "TransactionCoordinator"]

#: Above this epoch a producer gets a new id; the last one is kept for fencing.
LAST_EPOCH = 0x7FFF - 1
#: How long to wait before a step that the disk refused is tried again.
RETRY_MS = 1000

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ProducerIdentity:
    """A producer id and its epoch, or the reason why there is none."""

    producer_id: int = -1
    epoch: int = -1
    error: Code = Code.NONE


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What transactions are about, and where they are noted."""

    topics: Topics
    groups: GroupCoordinator
    journal: Journal


class TransactionCoordinator:
    """All transactional ids of the broker."""

    def __init__(self, clock: Clock, settings: BrokerSettings, neighbours: Neighbours) -> None:
        self._clock, self._settings = clock, settings
        self._topics, self._groups = neighbours.topics, neighbours.groups
        self._journal = neighbours.journal
        self.producer_ids = ProducerIds(neighbours.journal)
        self._transactions: dict[str, Transaction] = {}

    def __iter__(self) -> Iterator[Transaction]:
        return iter(self._transactions.values())

    def init_producer(
        self, transactional_id: str | None, timeout_ms: int, claimed: ProducerIdentity
    ) -> ProducerIdentity:
        """Give a producer its id and epoch; a former owner's transaction is aborted.

        Args:
            transactional_id: None for a producer that is only idempotent.
            timeout_ms: how long its transactions may stay open.
            claimed: the identity it has and wants a new epoch for; -1 for none.
        """
        try:
            if transactional_id is None:
                return ProducerIdentity(self.producer_ids.take(), 0)
            return self._init_transactional(transactional_id, timeout_ms, claimed)
        except DiskError as refusal:
            _log.info("producer_not_noted", reason=str(refusal))
            return ProducerIdentity(error=Code.NOT_COORDINATOR)

    def _init_transactional(
        self, transactional_id: str, timeout_ms: int, claimed: ProducerIdentity
    ) -> ProducerIdentity:
        if not transactional_id:
            return ProducerIdentity(error=Code.INVALID_REQUEST)
        if not 0 < timeout_ms <= self._settings.max_transaction_timeout_ms:
            return ProducerIdentity(error=Code.INVALID_TRANSACTION_TIMEOUT)
        known = self._transactions.get(transactional_id)
        if known is not None:
            return self._next_identity(known, timeout_ms, claimed)
        first = Transaction(transactional_id, self.producer_ids.take(), 0, timeout_ms)
        self._journal.append(first.entry(), is_final=True)
        self._transactions[transactional_id] = first
        return ProducerIdentity(first.producer_id, 0)

    def _next_identity(
        self, known: Transaction, timeout_ms: int, claimed: ProducerIdentity
    ) -> ProducerIdentity:
        current = (known.producer_id, known.epoch)
        if claimed.producer_id >= 0 and (claimed.producer_id, claimed.epoch) != current:
            return ProducerIdentity(error=Code.PRODUCER_FENCED)
        if known.state is TransactionState.ONGOING:
            self._fence_and_abort(known)
            known = self._transactions[known.transactional_id]
        if known.state.is_prepared:
            return ProducerIdentity(error=Code.CONCURRENT_TRANSACTIONS)
        producer_id, epoch = known.producer_id, known.epoch + 1
        if epoch >= LAST_EPOCH:
            producer_id, epoch = self.producer_ids.take(), 0
        renewed = replace(known, producer_id=producer_id, epoch=epoch, timeout_ms=timeout_ms)
        renewed.state, renewed.partitions, renewed.groups = TransactionState.EMPTY, _NONE, _NO_GROUP
        # Given out twice, an epoch would let a former owner back in, or take new records for old.
        self._note(renewed, is_final=True)
        return ProducerIdentity(producer_id, epoch)

    def _fence_and_abort(self, known: Transaction) -> None:
        """Abort under a new epoch, so that the present owner is refused from now on."""
        self._finish(known, TransactionState.PREPARE_ABORT, known.epoch + 1)

    def _abort_late(self, transactional_id: str) -> None:
        """End a transaction whose time is over."""
        known = self._transactions[transactional_id]
        try:
            self._fence_and_abort(known)
        except DiskError as refusal:
            _log.info("abort_not_noted", transactional_id=transactional_id, reason=str(refusal))
            self._wake_later(known, RETRY_MS)

    def add_partitions(
        self, transactional_id: str, owner: ProducerIdentity, keys: list[PartitionKey]
    ) -> Code:
        """Make partitions part of the transaction, which begins with the first."""
        known, error = self._owned(transactional_id, owner)
        if known is None:
            return error
        return self._extend(known, known.partitions.union(keys), known.groups)

    def add_offsets(self, transactional_id: str, owner: ProducerIdentity, group_id: str) -> Code:
        """Make a group's offsets part of the transaction."""
        known, error = self._owned(transactional_id, owner)
        if known is None:
            return error
        return self._extend(known, known.partitions, known.groups | {group_id})

    def end(self, transactional_id: str, owner: ProducerIdentity, *, commit: bool) -> Code:
        """Commit or abort; doing the same twice is no error."""
        known, error = self._owned(transactional_id, owner)
        if known is None:
            return error
        states = TransactionState
        decision = states.PREPARE_COMMIT if commit else states.PREPARE_ABORT
        if known.state is decision:
            return Code.CONCURRENT_TRANSACTIONS
        if known.state is not states.ONGOING:
            already = states.COMMITTED if commit else states.ABORTED
            return Code.NONE if known.state is already else Code.INVALID_TXN_STATE
        try:
            self._finish(known, decision, known.epoch)
        except DiskError as refusal:
            _log.info("decision_not_noted", transactional_id=transactional_id, reason=str(refusal))
            return Code.NOT_COORDINATOR
        return Code.NONE

    def verify(self, transactional_id: str | None, header: BatchHeader, key: PartitionKey) -> Code:
        """Whether a batch belongs to a running transaction of its producer."""
        owner = ProducerIdentity(header.producer_id, header.producer_epoch)
        known, error = self._owned(transactional_id or "", owner)
        if known is None:
            fenced = error is Code.PRODUCER_FENCED
            return Code.INVALID_PRODUCER_EPOCH if fenced else error
        is_part = known.state is TransactionState.ONGOING and key in known.partitions
        return Code.NONE if is_part else Code.INVALID_TXN_STATE

    def check_offsets(
        self, transactional_id: str, producer_id: int, epoch: int, group_id: str
    ) -> Code:
        """Whether a group's offsets are part of a running transaction of this producer."""
        known, error = self._owned(transactional_id, ProducerIdentity(producer_id, epoch))
        if known is None:
            fenced = error is Code.PRODUCER_FENCED
            return Code.INVALID_PRODUCER_EPOCH if fenced else error
        is_part = known.state is TransactionState.ONGOING and group_id in known.groups
        return Code.NONE if is_part else Code.INVALID_TXN_STATE

    def _owned(
        self, transactional_id: str, owner: ProducerIdentity
    ) -> tuple[Transaction | None, Code]:
        known = self._transactions.get(transactional_id)
        if known is None or known.producer_id != owner.producer_id:
            return None, Code.INVALID_PRODUCER_ID_MAPPING
        if known.epoch != owner.epoch:
            return None, Code.PRODUCER_FENCED
        return known, Code.NONE

    def _extend(
        self, known: Transaction, partitions: frozenset[PartitionKey], groups: frozenset[str]
    ) -> Code:
        """Note what takes part; the first begins the transaction."""
        if known.state.is_prepared:
            return Code.CONCURRENT_TRANSACTIONS
        begins = known.state is not TransactionState.ONGOING
        if not begins and (partitions, groups) == (known.partitions, known.groups):
            return Code.NONE
        grown = replace(known, partitions=partitions, groups=groups)
        if begins:
            grown.state, grown.since_ms = TransactionState.ONGOING, self._clock.wall_ms()
        try:
            self._note(grown)
        except DiskError as refusal:
            _log.info("transaction_not_noted", reason=str(refusal))
            return Code.NOT_COORDINATOR
        if begins:
            self._wake_later(grown, grown.timeout_ms)
        return Code.NONE

    def _note(self, changed: Transaction, *, is_final: bool = False) -> None:
        """Let a change count once it is noted."""
        self._journal.append(changed.entry(), is_final=is_final)
        self._transactions[changed.transactional_id] = changed

    def _wake_later(self, known: Transaction, delay_ms: float) -> None:
        name = known.transactional_id
        known.set_alarm(self._clock.call_later(delay_ms, lambda: self._abort_late(name)))

    def _finish(self, known: Transaction, decision: TransactionState, epoch: int) -> None:
        """Decide, then carry it out.

        Raises:
            DiskError: the decision could not be noted; the transaction is open as before.
        """
        if self._settings.sync_commits:
            self._sync(known)
        decided = replace(known, state=decision, epoch=epoch, unmarked=set(known.partitions))
        self._journal.append(decided.entry(), is_final=self._settings.sync_commits)
        self._transactions[known.transactional_id] = decided
        decided.set_alarm(None)
        self._carry_out(decided)

    def _sync(self, known: Transaction) -> None:
        for key in sorted(known.partitions):
            log = self._topics.partition(*key)
            if log is not None:
                log.storage.sync()

    def _carry_out(self, decided: Transaction) -> None:
        """Write the markers, apply or drop the offsets, and forget what took part."""
        commit = decided.state is TransactionState.PREPARE_COMMIT
        final = TransactionState.COMMITTED if commit else TransactionState.ABORTED
        ended = replace(decided, state=final, partitions=_NONE, groups=_NO_GROUP, alarm=None)
        try:
            self._write_markers(decided, commit=commit)
            if commit and self._settings.sync_commits:
                # Once it is noted as ended, nobody would write a lost marker again.
                self._sync(decided)
            self._note(ended)
        except DiskError as refusal:
            name = decided.transactional_id
            _log.info("transaction_not_ended", transactional_id=name, reason=str(refusal))
            again = self._clock.call_later(RETRY_MS, lambda: self._carry_out(decided))
            decided.set_alarm(again)
            return
        self._groups.settle(decided.groups, decided.producer_id, commit=commit)

    def _write_markers(self, decided: Transaction, *, commit: bool) -> None:
        now_ms = self._clock.wall_ms()
        for key in sorted(decided.unmarked):
            log = self._topics.partition(*key)
            if log is not None:
                log.end_transaction(
                    decided.producer_id, decided.epoch, commit=commit, timestamp_ms=now_ms
                )
            decided.unmarked.discard(key)

    # ---- after a restart

    def keep(self, kept: TransactionKept) -> None:
        """Let a transactional id be as it was noted."""
        found = Transaction.from_entry(kept)
        before = self._transactions.get(found.transactional_id)
        self._transactions[found.transactional_id] = found
        if before is not None and before.state.is_prepared and not found.state.is_prepared:
            commit = found.state is TransactionState.COMMITTED
            self._groups.settle(before.groups, before.producer_id, commit=commit)

    def resume(self) -> int:
        """Carry out what was decided, and give what is open the time it has left.

        Returns:
            How many decided transactions were completed.
        """
        prepared = [known for known in self if known.state.is_prepared]
        for known in prepared:
            known.unmarked = {key for key in known.partitions if self._is_open(known, key)}
            self._carry_out(known)
        now_ms = self._clock.wall_ms()
        for known in self:
            if known.state is TransactionState.ONGOING:
                self._wake_later(known, max(0, known.since_ms + known.timeout_ms - now_ms))
        return len(prepared)

    def abort_unknown(self) -> int:
        """Abort what has records in a log and is noted nowhere: the note ended with the machine.

        Returns:
            How many partitions were held by such a transaction.
        """
        ongoing = {
            (known.producer_id, key)
            for known in self
            if known.state is TransactionState.ONGOING or known.state.is_prepared
            for key in known.partitions
        }
        now_ms, count = self._clock.wall_ms(), 0
        for topic in self._topics:
            for number, log in enumerate(topic.partitions):
                for producer_id, epoch in log.open_producers():
                    if (producer_id, (topic.name, number)) not in ongoing:
                        log.end_transaction(producer_id, epoch, commit=False, timestamp_ms=now_ms)
                        count += 1
        return count

    def _is_open(self, known: Transaction, key: PartitionKey) -> bool:
        """Whether a partition has records of a transaction and no marker yet."""
        log = self._topics.partition(*key)
        return log is not None and log.has_open_transaction(known.producer_id)


_NONE: frozenset[PartitionKey] = frozenset()
_NO_GROUP: frozenset[str] = frozenset()
