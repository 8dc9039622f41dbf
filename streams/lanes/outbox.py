"""The outbox: what a lane writes in a transaction beside the outputs of its agent."""

from collections.abc import Callable, Sequence
from typing import Final

from batuta.agents.state.port import Change
from batuta.schemas.codec import Refused, encode_dead_letter
from batuta.schemas.dead_letter import UNWRITTEN, DeadLetter
from batuta.schemas.errors import RefusedEventError
from batuta.schemas.record import Output, OutputColumns, Record
from batuta.streams.lanes.batch_limits import batch_bytes
from batuta.streams.lanes.oversize import OUTPUT_TOO_LARGE, TooLarge
from batuta.streams.lanes.stage import AnyStage

__all__ = ["Outbox"]

#: So much is kept of the value, and of the key, of an output that its topic does not take.
_KEPT_BYTES: Final = 64 << 10


class Outbox:
    """Makes one lane's dead letters and changelog records.

    Args:
        clock: milliseconds since 1970 UTC.
    """

    def __init__(self, stage: AnyStage, partition: int, clock: Callable[[], int]) -> None:
        self._stage = stage
        self._partition = partition
        self._clock = clock

    def dead_letters(
        self, records: Sequence[Record], refused: Sequence[Refused], attempts: int
    ) -> list[Output]:
        """Return a dead letter per refused record, in batch order."""
        return [
            self._dead_letter(records[one.position], one.error, attempts)
            for one in sorted(refused, key=_position)
        ]

    def _dead_letter(self, record: Record, error: RefusedEventError, attempts: int) -> Output:
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

    def output_letter(self, output: Output, partition: int, too_large: TooLarge) -> Output:
        """Return the dead letter of an output that was to go to this partition; its value is cut.

        It says that it lies at offset -1: it was never written there.
        """
        now_ms, stage = self._clock(), self._stage
        takes = too_large.limit_bytes
        limit = "less, and we may not know what" if takes is None else f"{takes:,} at most"
        value = output.value or b""
        cut = f"; the first {_KEPT_BYTES:,} are here" if len(value) > _KEPT_BYTES else ""
        size_bytes = batch_bytes((output.key, output.value, output.headers))
        detail = (
            f"{stage.pipeline} {stage.name} wrote {size_bytes:,} bytes to {output.topic} for a "
            f"timer or a late answer, which takes {limit} (max.message.bytes). The value has "
            f"{len(value):,} bytes{cut}"
        )
        named_bytes = sum(len(name) + len(content) for name, content in output.headers)
        record = Record(
            output.topic,
            partition,
            UNWRITTEN,
            now_ms,
            None if output.key is None else output.key[:_KEPT_BYTES],
            None if output.value is None else value[:_KEPT_BYTES],
            output.headers if named_bytes <= _KEPT_BYTES else (),
        )
        letter = DeadLetter(record, stage.name, OUTPUT_TOO_LARGE, detail, now_ms)
        return encode_dead_letter(letter, stage.deadletters)

    def changelog(self, changes: Sequence[Change]) -> list[OutputColumns]:
        """Return the changelog records of what a batch changed; none where nothing is kept."""
        topic = self._stage.changelog
        if topic is None or not changes:
            return []
        keys, values = zip(*changes, strict=True)
        return [OutputColumns(topic, keys, values, partition=self._partition)]


def _position(refused: Refused) -> int:
    return refused.position
