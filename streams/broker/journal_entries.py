"""What the journal holds: facts about everything that is not a record, each replacing the last.

Values are plain, so that an entry is one JSON object; ids and other bytes are hexadecimal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ClusterNamed",
    "Entry",
    "GroupKept",
    "GroupRemoved",
    "MemberKept",
    "OffsetsCommitted",
    "OffsetsRemoved",
    "ProducerIdsReserved",
    "TopicKept",
    "TopicRemoved",
    "TransactionKept",
    "decode_entry",
    "encode_entry",
]

#: Topic, partition number.
Key: TypeAlias = "tuple[str, int]"
#: Topic, partition number, offset, leader epoch, metadata.
KeyedOffset: TypeAlias = "tuple[str, int, int, int, str]"


@dataclass(frozen=True, slots=True)
class ClusterNamed:
    """The cluster has an id."""

    cluster_id: str


@dataclass(frozen=True, slots=True)
class TopicKept:
    """A topic is there, like this."""

    name: str
    topic_id: str
    partition_count: int
    configs: dict[str, str]


@dataclass(frozen=True, slots=True)
class TopicRemoved:
    """A topic was deleted."""

    topic_id: str


@dataclass(frozen=True, slots=True)
class ProducerIdsReserved:
    """No producer id below this may be given out any more."""

    next_id: int


@dataclass(frozen=True, slots=True)
class TransactionKept:
    """A transactional id is in this state.

    Attributes:
        since_ms: when the transaction began.
    """

    transactional_id: str
    producer_id: int
    epoch: int
    timeout_ms: int
    state: str
    since_ms: int
    partitions: Sequence[Key]
    groups: Sequence[str]


@dataclass(frozen=True, slots=True)
class OffsetsCommitted:
    """A group has read this far; with a producer id, if that producer's transaction commits."""

    group_id: str
    offsets: Sequence[KeyedOffset]
    producer_id: int = -1


@dataclass(frozen=True, slots=True)
class OffsetsRemoved:
    """Offsets of a group were deleted."""

    group_id: str
    partitions: Sequence[Key]


@dataclass(frozen=True, slots=True)
class MemberKept:
    """One member of a group that agreed."""

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocols: Sequence[tuple[str, str]]
    assignment: str


@dataclass(frozen=True, slots=True)
class GroupKept:
    """A group reached a generation."""

    group_id: str
    generation: int
    leader: str
    protocol_type: str
    protocol_name: str
    members: Sequence[MemberKept]


@dataclass(frozen=True, slots=True)
class GroupRemoved:
    """A group was deleted, with its offsets."""

    group_id: str


Entry: TypeAlias = (
    ClusterNamed
    | TopicKept
    | TopicRemoved
    | ProducerIdsReserved
    | TransactionKept
    | OffsetsCommitted
    | OffsetsRemoved
    | GroupKept
    | GroupRemoved
)

_KINDS: dict[str, type[Entry]] = {
    "cluster": ClusterNamed,
    "topic": TopicKept,
    "topic-removed": TopicRemoved,
    "producer-ids": ProducerIdsReserved,
    "transaction": TransactionKept,
    "offsets": OffsetsCommitted,
    "offsets-removed": OffsetsRemoved,
    "group": GroupKept,
    "group-removed": GroupRemoved,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def encode_entry(entry: Entry) -> bytes:
    """One entry as JSON."""
    return orjson.dumps((_NAMES[type(entry)], entry))


def decode_entry(data: bytes) -> Entry:
    """Read one entry.

    Raises:
        ValueError: it is none of ours.
    """
    try:
        name, fields = cast("tuple[str, dict[str, Any]]", orjson.loads(data))
        if name == "group":
            fields["members"] = [MemberKept(**member) for member in fields["members"]]
        return _KINDS[name](**fields)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an entry of the journal: {error!r}") from error
