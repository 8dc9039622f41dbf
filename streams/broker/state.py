"""All that one broker knows, what it needs to know of each call, and how it is kept."""

from __future__ import annotations

import base64
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from batuta.streams.broker.disk import Disk, MemoryDisk
from batuta.streams.broker.groups import GroupCoordinator
from batuta.streams.broker.journal import Journal, NoJournal
from batuta.streams.broker.settings import BrokerSettings
from batuta.streams.broker.topics import Topics
from batuta.streams.broker.transactions import Neighbours, TransactionCoordinator

if TYPE_CHECKING:
    from collections.abc import Callable

    from batuta.streams.broker.clock import Clock

__all__ = ["NODE_ID", "BrokerState", "Call"]

#: The id of the only node there is.
NODE_ID: Final = 1


@dataclass(frozen=True, slots=True)
class Call:
    """Who asks, in which version, and by which address they reached us."""

    version: int
    client_id: str = ""
    client_host: str = "127.0.0.1"
    host: str = "127.0.0.1"
    port: int = 0


@dataclass(slots=True)
class BrokerState:
    """Topics, groups and transactions of one broker, on one clock.

    Attributes:
        new_id: names topics, members and the cluster; a simulation gives the same ones each time.
    """

    clock: Clock
    settings: BrokerSettings = field(default_factory=BrokerSettings)
    disk: Disk = field(default_factory=MemoryDisk)
    journal: Journal = field(default_factory=NoJournal)
    new_id: Callable[[], uuid.UUID] = uuid.uuid4
    cluster_id: str = field(init=False)
    topics: Topics = field(init=False)
    groups: GroupCoordinator = field(init=False)
    transactions: TransactionCoordinator = field(init=False)

    def __post_init__(self) -> None:
        self.cluster_id = base64.urlsafe_b64encode(self.new_id().bytes).decode().rstrip("=")
        self.topics = Topics(self.clock, self.disk, self.journal, self.new_id)
        self.groups = GroupCoordinator(self.clock, self.settings, self.journal, self.new_id)
        neighbours = Neighbours(self.topics, self.groups, self.journal)
        self.transactions = TransactionCoordinator(self.clock, self.settings, neighbours)
