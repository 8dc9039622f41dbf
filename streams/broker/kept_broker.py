"""A broker on a disk of the test's own: asked in the protocol's words, killed, started again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from aiokafka.record.default_records import DefaultRecordBatch

from batuta.streams.broker.batches import read_header
from batuta.streams.broker.broker import KeptOn
from batuta.streams.broker.clock import ManualClock
from batuta.streams.broker.disk import Disk, MemoryDisk
from batuta.streams.broker.manual_driver import ManualDriver
from batuta.streams.broker.messages_cluster import (
    CreateTopicsRequest,
    CreateTopicsResponse,
    NewTopic,
    NewTopicConfig,
)
from batuta.streams.broker.messages_offsets import (
    CommitPartition,
    CommitTopic,
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetFetchRequest,
    OffsetFetchResponse,
    TopicPartitions,
    TxnCommitPartition,
    TxnCommitTopic,
    TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
)
from batuta.streams.broker.messages_records import (
    FetchPartition,
    FetchPartitionResult,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    ProducePartition,
    ProducePartitionResult,
    ProduceRequest,
    ProduceResponse,
    ProduceTopic,
)
from batuta.streams.broker.messages_transactions import (
    AddOffsetsToTxnRequest,
    AddOffsetsToTxnResponse,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    EndTxnRequest,
    EndTxnResponse,
    InitProducerIdRequest,
    InitProducerIdResponse,
)
from batuta.streams.broker.raw_client import build_batch
from batuta.streams.broker.settings import BrokerSettings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batuta.streams.broker.log_recovery import RecoveryReport

__all__ = ["TOPIC", "KeptBroker", "Row"]

#: The topic that all questions are about.
TOPIC = "events"
#: Offset, key and value of a record.
Row: TypeAlias = "tuple[int, bytes | None, bytes | None]"


class _Record(Protocol):
    offset: int
    key: bytes | None
    value: bytes | None


@dataclass
class KeptBroker:
    """One broker on one disk, which may be looked at, damaged, filled or copied."""

    disk: Disk = field(default_factory=MemoryDisk)
    clock: ManualClock = field(default_factory=lambda: ManualClock(1_700_000_000_000))
    settings: BrokerSettings = field(default_factory=BrokerSettings)
    salvage: bool = False

    def __post_init__(self) -> None:
        kept = KeptOn(self.disk, salvage=self.salvage)
        self.driver = ManualDriver(self.settings, None, kept, self.clock)
        self.driver.broker.start_housekeeping()

    @property
    def memory(self) -> MemoryDisk:
        """The disk, where it is one in memory."""
        assert isinstance(self.disk, MemoryDisk)
        return self.disk

    @property
    def report(self) -> RecoveryReport:
        """What the start had to repair."""
        return self.driver.broker.report

    def killed(self, *, salvage: bool = False) -> KeptBroker:
        """The broker after kill -9 and a new start: nothing was closed."""
        return KeptBroker(self.memory.copy(), self.clock, self.settings, salvage)

    def stopped(self) -> KeptBroker:
        """The broker after a clean stop and a new start."""
        self.driver.broker.close()
        return KeptBroker(self.memory.copy(), self.clock, self.settings)

    def segment_paths(self, partition: int = 0) -> list[str]:
        """The files of a partition."""
        topic = self.driver.broker.state.topics.get(TOPIC)
        assert topic is not None
        folder = f"{topic.folder}/{partition}"
        return [f"{folder}/{name}" for name in self.disk.names(folder) if name.endswith(".log")]

    def contents(self, path: str) -> bytes:
        """The bytes of a file."""
        return self.disk.read(path, 0, self.disk.size(path))

    def create(self, name: str = TOPIC, partitions: int = 1, **configs: object) -> int:
        """Create a topic; its error code."""
        given = tuple(NewTopicConfig(k.replace("_", "."), str(v)) for k, v in configs.items())
        topic = NewTopic(name, partitions, 1, (), given)
        answer = self.driver.ask(CreateTopicsRequest((topic,), 5000, False), CreateTopicsResponse)
        return answer.topics[0].error_code

    def produce(self, batch: bytes, partition: int = 0, txn: str | None = None) -> int:
        """Error code of a batch's append."""
        return self.place(batch, partition, txn).error_code

    def place(
        self, batch: bytes, partition: int = 0, txn: str | None = None
    ) -> ProducePartitionResult:
        """Append a batch; where it lies."""
        entry = ProduceTopic(TOPIC, (ProducePartition(partition, batch),))
        answer = self.driver.ask(ProduceRequest(txn, -1, 1000, (entry,)), ProduceResponse)
        return answer.topics[0].partitions[0]

    def put(self, **values: str | None) -> int:
        """Append one batch of keyed records; None is a tombstone."""
        rows = [None if value is None else value.encode() for value in values.values()]
        keys = [key.encode() for key in values]
        return self.produce(build_batch(rows, keys=keys, first_timestamp_ms=self.clock.wall_ms()))

    def fetch(
        self, partition: int = 0, offset: int = 0, *, committed: bool = True
    ) -> FetchPartitionResult:
        """One fetch from one partition."""
        asked = FetchPartition(partition, fetch_offset=offset, max_bytes=1 << 24)
        request = FetchRequest(
            max_wait_ms=0,
            min_bytes=0,
            max_bytes=1 << 24,
            isolation_level=int(committed),
            topics=(FetchTopic(TOPIC, partitions=(asked,)),),
        )
        return self.driver.ask(request, FetchResponse).topics[0].partitions[0]

    def read(self, partition: int = 0, *, committed: bool = True) -> list[Row]:
        """Offset, key and value of each record a reader is given from the start of the log."""
        offset = self.start_of(partition)
        answer = self.fetch(partition, offset, committed=committed)
        assert answer.error_code == 0
        aborted = sorted((a.first_offset, a.producer_id) for a in answer.aborted_transactions or ())
        skipped: set[int] = set()
        found: list[Row] = []
        data = answer.records or b""
        while data:
            header = read_header(data)
            whole, data = data[: header.size], data[header.size :]
            while aborted and aborted[0][0] <= header.base_offset:
                skipped.add(aborted.pop(0)[1])
            if header.is_control:
                skipped.discard(header.producer_id)
            elif not (committed and header.is_transactional and header.producer_id in skipped):
                found += [
                    (record.offset, record.key, record.value)
                    for record in cast("Iterable[_Record]", DefaultRecordBatch(whole))
                ]
        return found

    def values(self, partition: int = 0) -> list[bytes | None]:
        """The values a read_committed reader is given."""
        return [value for _, _, value in self.read(partition)]

    def start_of(self, partition: int = 0) -> int:
        """Where a partition starts."""
        log = self.driver.broker.state.topics.partition(TOPIC, partition)
        assert log is not None
        return log.start_offset

    def end_of(self, partition: int = 0) -> int:
        """Where a partition ends."""
        log = self.driver.broker.state.topics.partition(TOPIC, partition)
        assert log is not None
        return log.end_offset

    def commit_offset(self, group: str, offset: int) -> int:
        """Commit a group's offset of partition 0; the error code."""
        row = CommitTopic(TOPIC, (CommitPartition(0, offset, 0, "note"),))
        request = OffsetCommitRequest(group, -1, "", None, topics=(row,))
        answer = self.driver.ask(request, OffsetCommitResponse, 8)
        return answer.topics[0].partitions[0].error_code

    def offset_of(self, group: str) -> int:
        """The offset a group committed of partition 0; -1 for none."""
        request = OffsetFetchRequest(group, (TopicPartitions(TOPIC, (0,)),))
        return self.driver.ask(request, OffsetFetchResponse, 5).topics[0].partitions[0].offset

    def init(self, name: str | None, timeout_ms: int = 60_000) -> tuple[int, int]:
        """Get a producer id and epoch."""
        answer = self.driver.ask(InitProducerIdRequest(name, timeout_ms), InitProducerIdResponse)
        assert answer.error_code == 0
        return answer.producer_id, answer.producer_epoch

    def add(self, name: str, owner: tuple[int, int], *partitions: int) -> int:
        """Make partitions part of a transaction; the error code."""
        added = (TopicPartitions(TOPIC, partitions),)
        request = AddPartitionsToTxnRequest(name, *owner, added)
        answer = self.driver.ask(request, AddPartitionsToTxnResponse)
        return answer.topics[0].partitions[0].error_code

    def add_offset(self, name: str, owner: tuple[int, int], group: str, offset: int) -> int:
        """Make a group's offset of partition 0 part of a transaction; the error code."""
        joined = AddOffsetsToTxnRequest(name, *owner, group)
        code = self.driver.ask(joined, AddOffsetsToTxnResponse).error_code
        row = TxnCommitTopic(TOPIC, (TxnCommitPartition(0, offset, 0, "note"),))
        request = TxnOffsetCommitRequest(name, group, *owner, -1, "", None, (row,))
        answer = self.driver.ask(request, TxnOffsetCommitResponse)
        return code or answer.topics[0].partitions[0].error_code

    def end(self, name: str, owner: tuple[int, int], *, commit: bool) -> int:
        """Commit or abort; the error code."""
        return self.driver.ask(EndTxnRequest(name, *owner, commit), EndTxnResponse).error_code

    def send(self, name: str, owner: tuple[int, int], value: bytes, spot: tuple[int, int]) -> int:
        """Append one record of a transaction at a partition, with a sequence number."""
        batch = build_batch([value], producer=owner, sequence=spot[1], transactional=True)
        return self.produce(batch, spot[0], name)
