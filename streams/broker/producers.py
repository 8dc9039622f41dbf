"""What one partition remembers of each idempotent producer: its epoch and its last batches.

The rules are those of Apache Kafka's producer state: a batch that is one of the last five is
answered again, a gap is refused, an older epoch is fenced.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batuta.streams.broker.batches import NO_PRODUCER_ID
from batuta.streams.broker.codes import Code

if TYPE_CHECKING:
    from batuta.streams.broker.batches import BatchHeader

__all__ = ["Appended", "ProducerStates"]

REMEMBERED_BATCHES = 5
LAST_SEQUENCE = 0x7FFFFFFF


@dataclass(frozen=True, slots=True)
class Appended:
    """One batch of a producer, where it went."""

    first_sequence: int
    last_sequence: int
    base_offset: int


@dataclass(slots=True)
class _ProducerState:
    epoch: int
    batches: deque[Appended] = field(default_factory=lambda: deque(maxlen=REMEMBERED_BATCHES))


class ProducerStates:
    """The idempotent producers of one partition."""

    def __init__(self) -> None:
        self._states: dict[int, _ProducerState] = {}

    def duplicate_of(self, header: BatchHeader) -> Appended | None:
        """The earlier append of the same batch, if it is remembered."""
        state = self._states.get(header.producer_id)
        if state is None or state.epoch != header.producer_epoch:
            return None
        span = (header.base_sequence, header.last_sequence)
        return next((b for b in state.batches if (b.first_sequence, b.last_sequence) == span), None)

    def check(self, header: BatchHeader) -> Code:
        """Whether the batch may follow what its producer appended before."""
        state = self._states.get(header.producer_id)
        if state is None or header.producer_id == NO_PRODUCER_ID:
            return Code.NONE
        if header.producer_epoch < state.epoch:
            return Code.INVALID_PRODUCER_EPOCH
        if header.producer_epoch > state.epoch:
            return Code.NONE if header.base_sequence == 0 else Code.OUT_OF_ORDER_SEQUENCE_NUMBER
        return self._check_sequence(state, header.base_sequence)

    @staticmethod
    def _check_sequence(state: _ProducerState, sequence: int) -> Code:
        if not state.batches:
            return Code.NONE if sequence == 0 else Code.OUT_OF_ORDER_SEQUENCE_NUMBER
        last = state.batches[-1].last_sequence
        expected = 0 if last == LAST_SEQUENCE else last + 1
        return Code.NONE if sequence == expected else Code.OUT_OF_ORDER_SEQUENCE_NUMBER

    def remember(self, header: BatchHeader, base_offset: int) -> None:
        """Note a batch that was appended."""
        if header.producer_id == NO_PRODUCER_ID:
            return
        state = self._at_epoch(header.producer_id, header.producer_epoch)
        state.batches.append(Appended(header.base_sequence, header.last_sequence, base_offset))

    def epoch_of(self, producer_id: int) -> int:
        """The last epoch it was seen under; 0 where it was not."""
        state = self._states.get(producer_id)
        return 0 if state is None else state.epoch

    def fence(self, producer_id: int, epoch: int) -> None:
        """Refuse every epoch before this one: a marker was written under it."""
        self._at_epoch(producer_id, epoch)

    def dump(self) -> list[tuple[int, int, list[tuple[int, int, int]]]]:
        """All that is known, as `load` takes it: producer id, epoch, last batches."""
        return [
            (
                producer_id,
                state.epoch,
                [(b.first_sequence, b.last_sequence, b.base_offset) for b in state.batches],
            )
            for producer_id, state in self._states.items()
        ]

    def load(self, known: list[tuple[int, int, list[tuple[int, int, int]]]]) -> None:
        """Go on with what was known."""
        for producer_id, epoch, batches in known:
            state = self._at_epoch(producer_id, epoch)
            state.batches.extend(Appended(*batch) for batch in batches)

    def _at_epoch(self, producer_id: int, epoch: int) -> _ProducerState:
        state = self._states.get(producer_id)
        if state is None or state.epoch != epoch:
            state = self._states[producer_id] = _ProducerState(epoch)
        return state
