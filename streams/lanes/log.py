"""The log port: everything that a source or a lane asks of Kafka.

Three doors, made by one `Log`: membership of a consumer group with the fetching that goes with it,
a transactional producer, and a reader of one partition up to its end. `kafka_log` is the port over
aiokafka, for real brokers; `batuta.streams.rehearsal.in_process_log` is the port over the embedded
broker's logic, called in process. One contract suite, `tests/contracts/log`, holds both.

What goes wrong is said in aiokafka's words (`aiokafka.errors.KafkaError` and its subclasses), for
they are the Kafka protocol's error codes as classes; a partition is an `aiokafka.TopicPartition`.
Time is the running event loop's alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from aiokafka import TopicPartition
from aiokafka.errors import InvalidProducerEpoch, ProducerFenced

from batuta.schemas.errors import LaterError
from batuta.schemas.record import Headers, Record
from batuta.streams.lanes.assignor import LaneAssignor

__all__ = [
    "Assignments",
    "Destination",
    "Log",
    "Member",
    "Offsets",
    "PartitionReader",
    "Row",
    "TransactionFailedError",
    "TransactionalProducer",
]

Offsets = dict[TopicPartition, int]
#: One record to write: key, value, headers.
Row = tuple[bytes | None, bytes | None, Headers]
#: Where rows go: topic and partition number.
Destination = tuple[str, int]


@dataclass(eq=False)  # an exception without a hash cannot be shown
class TransactionFailedError(LaterError):
    """A transaction did not commit, or nobody can say whether it did.

    Attributes:
        outcome: `aborted` before its commit was asked for; `unknown` from then on.
        fenced: another producer took over this lane's transactional id.
    """

    cause: BaseException
    outcome: Literal["aborted", "unknown"]

    @property
    def fenced(self) -> bool:
        """Whether another producer took over the transactional id."""
        return isinstance(self.cause, ProducerFenced | InvalidProducerEpoch)

    def __str__(self) -> str:
        """Say what failed."""
        return f"transaction {self.outcome}: {self.cause!r}"


class Assignments(Protocol):
    """Who wants to know what the group gives and takes; no heartbeat is sent inside these calls."""

    async def on_revoked(self) -> None:
        """Let go of everything held: rebalances are eager."""
        ...

    async def on_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Take up `assigned`: all that this member has now, each paused and without a position."""
        ...


class Member(Protocol):
    """One member of a consumer group, with a heartbeat of its own; used for one start and stop."""

    async def start(self, topics: Sequence[str], assignments: Assignments) -> None:
        """Subscribe, and begin to join the group; `assignments` hears what comes of it.

        Raises:
            aiokafka.errors.KafkaError: no broker answered.
        """
        ...

    async def stop(self) -> None:
        """Leave the group; a static member stays in it until its session ends."""
        ...

    async def abandon(self) -> None:
        """Let go of connections and tasks without a word to the group; for a stop that hangs."""
        ...

    def raise_error(self) -> None:
        """Raise what stopped the member in the background.

        Raises:
            InstanceIdTakenError: another member came under its instance id and has its lanes.
            aiokafka.errors.KafkaError: it needs to be replaced.
        """
        ...

    def partition_count(self, topic: str) -> int | None:
        """Return how many partitions a topic has, as far as is known; None where it is hidden."""
        ...

    def assignment(self) -> frozenset[TopicPartition]:
        """Return what this member has now."""
        ...

    def pause(self, *tps: TopicPartition) -> None:
        """Fetch nothing of `tps`; what was fetched and not returned is fetched again."""
        ...

    def resume(self, *tps: TopicPartition) -> None:
        """Fetch `tps` again."""
        ...

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Read `tp` from `offset` on.

        Raises:
            aiokafka.errors.IllegalStateError: it is not assigned.
        """
        ...

    async def fetch(
        self, tps: Sequence[TopicPartition], records_max: int, timeout_ms: int
    ) -> Mapping[TopicPartition, Sequence[Record]]:
        """Return committed records of `tps`, at most `records_max`; no empty lists.

        Waits up to `timeout_ms` where there is nothing. Takes no longer because of the positions
        or readers of other partitions.

        Raises:
            aiokafka.errors.OffsetOutOfRangeError: a position lies outside its log.
            aiokafka.errors.KafkaError: the broker failed.
        """
        ...

    async def position(self, tp: TopicPartition) -> int:
        """Return the next offset to read, behind transaction markers and aborted records too."""
        ...

    def highwater(self, tp: TopicPartition) -> int | None:
        """Return the end of the log as the last fetch saw it; None before one."""
        ...

    async def committed(self, tp: TopicPartition) -> int | None:
        """Return the group's committed offset, asked afresh.

        One of a transaction whose markers are still being written may not be told yet: only who
        has just taken the transactional id that commits here knows that there is none.
        """
        ...

    async def beginning_offsets(self, tps: Sequence[TopicPartition]) -> Offsets:
        """Return the first offset that each partition still has."""
        ...

    async def heartbeat_error_code(self) -> int:
        """Send a heartbeat with this member's generation and return the protocol's error code.

        Raises:
            aiokafka.errors.KafkaError: no coordinator answered.
        """
        ...


class TransactionalProducer(Protocol):
    """One producer under one transactional id; good until its first failed transaction."""

    async def start(self) -> None:
        """Take the transactional id: fence whoever had it, abort what they left open.

        Raises:
            LaterError: the coordinator did not answer in time.
            aiokafka.errors.KafkaError: no broker answered.
        """
        ...

    async def partition_counts(self, topics: Iterable[str]) -> dict[str, int]:
        """Return how many partitions each topic has, as far as this producer was told.

        Raises:
            LaterError: the broker does not know a topic.
            aiokafka.errors.KafkaError: the broker failed.
        """
        ...

    async def transact(
        self,
        rows: Mapping[Destination, Iterable[Row]],
        offsets: Mapping[TopicPartition, int],
        group: str,
    ) -> dict[Destination, int]:
        """Write `rows` and `offsets`, where there are any, in one transaction.

        Returns:
            For each destination the offset behind the last record written to it; a destination is
            missing where the broker no longer knew, having had the same batch twice.

        Raises:
            OutputRefusedError: a record was refused; the transaction was aborted.
            TransactionFailedError: anything else.
        """
        ...

    async def discard(self) -> None:
        """Close the connections; nothing more is sent, not even what was begun."""
        ...


class PartitionReader(Protocol):
    """Reads the committed records of one partition up to the end it had at the start."""

    async def start(self) -> None:
        """Connect and learn where the partition begins and ends.

        Raises:
            aiokafka.errors.KafkaError: the broker failed.
        """
        ...

    @property
    def beginning(self) -> int:
        """The first offset that the partition had at the start."""
        ...

    @property
    def end(self) -> int:
        """The offset behind the last committed one at the start, transaction markers included."""
        ...

    @property
    def position(self) -> int:
        """The next offset to read; at first the beginning, at last the end or beyond."""
        ...

    def seek(self, offset: int) -> None:
        """Read from `offset` on; it lies between beginning and end."""
        ...

    async def read(self, records_max: int) -> Sequence[Record]:
        """Return some records in order; an empty list where a moment brought nothing.

        To be called while `position` is below `end`.

        Raises:
            LaterError: the partition gave nothing for as long as any request may take.
            aiokafka.errors.KafkaError: the broker failed, or the offset was deleted meanwhile.
        """
        ...

    async def stop(self) -> None:
        """Let go of the connections."""
        ...


class Log(Protocol):
    """Makes what speaks to one Kafka cluster."""

    def member(self, group: str, assignor: LaneAssignor, instance_id: str | None = None) -> Member:
        """Return a member of `group`, not yet started.

        Args:
            group: the consumer group.
            assignor: this member's own; it outlives the member, so that lanes stay.
            instance_id: makes it a static member: a restart within the session moves no lane.
        """
        ...

    def producer(self, transactional_id: str) -> TransactionalProducer:
        """Return a producer, not yet started."""
        ...

    def reader(self, tp: TopicPartition) -> PartitionReader:
        """Return a reader of one partition, not yet started."""
        ...

    async def batch_bytes_max(self, topic: str) -> int | None:
        """Return how large a batch a topic takes; None where we may not know.

        Raises:
            aiokafka.errors.KafkaError: the broker is out of reach.
        """
        ...
