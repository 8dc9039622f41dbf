"""The dead letters of a pipeline as they are found, and the ledger of those that were redriven."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from batuta.schemas.codec import decode_dead_letter
from batuta.schemas.dead_letter import DeadLetter
from batuta.schemas.errors import RefusedEventError, TopicMismatchError
from batuta.schemas.record import Record
from batuta.schemas.redriven import LetterId, Marker, decode_marker
from batuta.schemas.topics import Topics
from batuta.streams.settings import ClientOptions
from batuta.streams.topic_reader import TopicReader

__all__ = ["Found", "Ledger", "Stray", "found_in", "read_ledger"]


@dataclass(frozen=True, slots=True)
class Found:
    """A dead letter, where it lies, and when it was written there."""

    id: LetterId
    timestamp_ms: int
    letter: DeadLetter


@dataclass(frozen=True, slots=True)
class Stray:
    """A record on the dead letter topic that is no dead letter, and why."""

    id: LetterId
    detail: str


class Ledger:
    """Which dead letters were redriven, as far as they may still lie on their topic."""

    def __init__(self) -> None:
        self._markers: dict[LetterId, Marker] = {}

    def __len__(self) -> int:
        """Return how many are remembered."""
        return len(self._markers)

    def remove(self, letter: LetterId) -> None:
        """Forget one, if it is known."""
        self._markers.pop(letter, None)

    def outlived(self, beginnings: Mapping[int, int], before_ms: int) -> list[LetterId]:
        """Return the dead letters that nobody can redrive any more.

        Args:
            beginnings: the first offset that each partition of their topic still has.
            before_ms: those redriven since are remembered in any case.
        """
        return [
            letter
            for letter, marker in self._markers.items()
            if letter.offset < beginnings.get(letter.partition, 0)
            and marker.redriven_at_ms < before_ms
        ]

    def add(self, marker: Marker) -> None:
        """Note one."""
        self._markers[marker.letter] = marker

    def marker_of(self, found: Found) -> Marker | None:
        """Return when and how a dead letter was redriven, None where it was not."""
        marker = self._markers.get(found.id)
        if marker is None or marker.letter_ms != found.timestamp_ms:
            return None
        return marker

    def __contains__(self, found: Found) -> bool:
        """Whether a dead letter was redriven."""
        return self.marker_of(found) is not None


async def read_ledger(options: ClientOptions, topics: Topics) -> Ledger:
    """Read which dead letters were redriven so far; none, where no ledger was ever begun.

    Raises:
        BrokerUnreachableError: no broker answers.
        RefusedEventError: the ledger holds what this release cannot read.
    """
    ledger = Ledger()
    try:
        async with TopicReader(options, [topics.redriven]) as reader:
            async for records in reader.until_end():
                for record in records:
                    if record.value is not None:
                        ledger.add(decode_marker(record))
                    elif record.key is not None:
                        ledger.remove(LetterId.parse(record.key.decode()))
    except TopicMismatchError:
        return ledger
    return ledger


async def found_in(reader: TopicReader) -> AsyncIterator[list[Found | Stray]]:
    """Yield what lies on a dead letter topic from where `reader` stands to its present end."""
    async for records in reader.until_end():
        yield [_found(record) for record in records]


def _found(record: Record) -> Found | Stray:
    letter_id = LetterId(record.partition, record.offset)
    try:
        return Found(letter_id, record.timestamp_ms, decode_dead_letter(record))
    except RefusedEventError as error:
        return Stray(letter_id, error.detail)
