"""The outbox: what a lane writes in a transaction beside the outputs of its agent."""

from collections.abc import Callable, Sequence

from batuta.agents.state.port import Change
from batuta.schemas.codec import Refused, encode_dead_letter
from batuta.schemas.dead_letter import DeadLetter
from batuta.schemas.errors import RefusedEventError
from batuta.schemas.record import Output, OutputColumns, Record
from batuta.streams.lanes.stage import AnyStage

__all__ = ["Outbox"]


class Outbox:
    """Makes one lane's dead letters and changelog records.

    Args:
        clock: milliseconds since 1970 UTC.
    """

    def __init__(self, stage: AnyStage, partition: int, clock: Callable[[], int]) -> None:
        self._stage = stage
        self._partition = partition
        self._clock = clock

    def dead_letters(self, records: Sequence[Record], refused: Sequence[Refused]) -> list[Output]:
        """Return a dead letter per refused record, in batch order."""
        return [
            self.dead_letter(records[one.position], one.error, 1)
            for one in sorted(refused, key=_position)
        ]

    def dead_letter(self, record: Record, error: RefusedEventError, attempts: int) -> Output:
        """Return the dead letter of one record."""
        letter = DeadLetter(
            record=record,
            stage=self._stage.name,
            reason=error.reason,
            detail=error.detail,
            path=error.path,
            refused_at_ms=self._clock(),
            attempts=attempts,
        )
        return encode_dead_letter(letter, self._stage.deadletters)

    def changelog(self, changes: Sequence[Change]) -> list[OutputColumns]:
        """Return the changelog records of what a batch changed; none where nothing is kept."""
        topic = self._stage.changelog
        if topic is None or not changes:
            return []
        keys, values = zip(*changes, strict=True)
        return [OutputColumns(topic, keys, values, partition=self._partition)]


def _position(refused: Refused) -> int:
    return refused.position
