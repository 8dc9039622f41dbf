"""The one door between bytes and events.

Everything that enters or leaves a topic is decoded or encoded here. What is decoded is validated;
what cannot be is refused with a reason, a path and a sentence, one event at a time: neighbours
never notice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel

from batuta.schemas.errors import RefusedEventError
from batuta.schemas.event import Event
from batuta.schemas.pipeline import Source
from batuta.schemas.record import Record

__all__ = ["Decoded", "EventCodec", "Refused"]

DataT = TypeVar("DataT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that did not decode: its index in the batch, and why."""

    position: int
    error: RefusedEventError


@dataclass(frozen=True, slots=True)
class Decoded(Generic[DataT]):
    """A batch after the door: accepted events and refused records, each in batch order."""

    events: list[Event[DataT]]
    refused: list[Refused]
    unknown_fields: int


class EventCodec(Generic[DataT]):
    """Decodes the events of one source."""

    def __init__(self, source: Source, data: type[DataT]) -> None:
        self._source = source
        self._data = data

    def decode(self, records: Sequence[Record], now_ms: int) -> Decoded[DataT]:
        """Decode a batch; a bad record is refused, never raised."""
        raise NotImplementedError
