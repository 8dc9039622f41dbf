"""What can be set on the broker; the defaults suit one machine."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BrokerSettings"]


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """The settings of one broker, each with the meaning of its Apache Kafka namesake.

    Attributes:
        auto_create_topics: whether asking for an unknown topic creates it.
        partition_count: partitions of a topic created without a count.
        min_session_timeout_ms: the shortest session a group member may ask for.
        max_session_timeout_ms: the longest.
        initial_rebalance_delay_ms: how long an empty group waits for more members.
        max_transaction_timeout_ms: the longest a transaction may stay open.
        max_offset_metadata_bytes: the longest note beside a committed offset.
        max_request_bytes: a larger request closes its connection.
        max_connections: more are refused.
        housekeeping_interval_ms: how long between two looks for what may be removed or compacted.
        flush_interval_ms: how long at most until what was written is synced.
        sync_commits: whether a commit is answered only when all of it is synced.
    """

    auto_create_topics: bool = False
    partition_count: int = 1
    min_session_timeout_ms: int = 100
    max_session_timeout_ms: int = 1_800_000
    initial_rebalance_delay_ms: int = 0
    max_transaction_timeout_ms: int = 900_000
    max_offset_metadata_bytes: int = 4096
    max_request_bytes: int = 100 * 1024 * 1024
    max_connections: int = 1024
    housekeeping_interval_ms: int = 15_000
    flush_interval_ms: int = 1000
    sync_commits: bool = False
