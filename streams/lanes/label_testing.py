"""The tables of labels and of their events, and what batches may do with them, for tests of state.

They are subjects of `batuta.streams.lanes.table_testing`, opened as small as it says.
"""

from dataclasses import dataclass
from random import Random

from batuta.agents.state.event_index import EventKeys, Indexed
from batuta.agents.state.kept_labels import KeptLabel, KeptLabels, LabelName
from batuta.agents.state.port import StateTable

__all__ = ["EventKeysSubject", "KeptLabelsSubject"]


@dataclass
class EventKeysSubject:
    """Events by their ids, the oldest of which make way."""

    bound: int
    fill_count: int
    name: str = "event-index"
    kind: type = EventKeys
    refuses: bool | None = False

    def open(self) -> EventKeys:
        """Open an empty table."""
        return EventKeys(b"i", within_ms=60, entries_max=self.bound)

    def act(self, table: StateTable, random: Random, now_ms: int) -> object:
        """Add some events, and look some up."""
        assert isinstance(table, EventKeys)
        ids = [f"id-{random.randrange(60)}" for _ in range(random.choice((0, 1, 9, 30)))]
        table.add(ids, [Indexed(f"k{random.randrange(9)}", now_ms) for _ in ids], now_ms)
        return [table.get(f"id-{random.randrange(60)}") for _ in range(5)]

    def fill(self, table: StateTable, random: Random, now_ms: int) -> None:
        """Add events that are all new."""
        assert isinstance(table, EventKeys)
        ids = [f"{n}-{random.random()}" for n in range(self.fill_count)]
        table.add(ids, [Indexed("k", now_ms)] * len(ids), now_ms)

    def look(self, table: StateTable) -> object:
        """Read what reads without a batch."""
        assert isinstance(table, EventKeys)
        return table.entries()


@dataclass
class KeptLabelsSubject:
    """Labels, of which the one that ends first makes way."""

    bound: int
    fill_count: int
    name: str = "kept-labels"
    kind: type = KeptLabels
    refuses: bool | None = False

    def open(self) -> KeptLabels:
        """Open an empty table."""
        return KeptLabels(b"l", entries_max=self.bound)

    def act(self, table: StateTable, random: Random, now_ms: int) -> object:
        """Take out what is due, keep some labels, look some up."""
        assert isinstance(table, KeptLabels)
        seen: list[object] = [table.due(now_ms, random.choice((1, 5)))]
        for _ in range(random.choice((0, 1, 9, 20))):
            name = LabelName(random.choice(("default", "a:b")), f"é{random.randrange(40)}")
            label, matched = random.choice((True, False)), random.choice((True, False))
            kept = KeptLabel(now_ms, now_ms + random.randrange(60), label, matched)
            seen.append((table.get(name), table.put(name, kept)))
        return seen

    def fill(self, table: StateTable, random: Random, now_ms: int) -> None:
        """Keep labels that are all new."""
        assert isinstance(table, KeptLabels)
        for _ in range(self.fill_count):
            name = LabelName("default", f"{random.random()}")
            table.put(name, KeptLabel(now_ms, now_ms + 30, label=True, matched=False))

    def look(self, table: StateTable) -> object:
        """Read what reads without a batch."""
        assert isinstance(table, KeptLabels)
        name = LabelName("default", "é7")
        return table.entries(), table.get(name)
