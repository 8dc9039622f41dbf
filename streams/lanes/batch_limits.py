"""How large a record batch each topic takes, learned from what it refused.

A broker's limit is one of batches, not of records: many small records may be refused together that
are taken apart. As the JVM's producer does, what was refused is sent again in smaller batches; only
a record that is refused alone is refused for good.
"""

from typing import Final

from aiokafka.errors import UnknownError
from aiokafka.producer.message_accumulator import BatchBuilder

from batuta.schemas.errors import OutputRefusedError
from batuta.streams.lanes.kafka_shim import append_rows
from batuta.streams.lanes.log import Row

__all__ = ["BatchLimits", "batch_bytes", "open_batch"]

_BATCH_BYTES_MAX: Final = 1 << 20
_SHRINKS_BY: Final = 4
_NO_COMPRESSION: Final = 0


def open_batch(limit_bytes: int) -> BatchBuilder:
    """Return an empty batch of a transaction."""
    return BatchBuilder(limit_bytes, _NO_COMPRESSION, is_transactional=1)


def batch_bytes(row: Row) -> int:
    """Return how large a batch of one record is, as brokers measure it against their limit."""
    batch = open_batch(0)
    append_rows(batch, (row,))
    return int(batch.size())


class BatchLimits:
    """The limits of one process; what one producer learned the next one knows."""

    def __init__(self) -> None:
        self._bytes: dict[str, int] = {}

    def of(self, topic: str) -> int:
        """Return how large a batch may become; one record goes alone, whatever its size."""
        return self._bytes.get(topic, _BATCH_BYTES_MAX)

    def refused(
        self, topic: str, error: BaseException, records: int, size_bytes: int
    ) -> OutputRefusedError:
        """Return what the refusal of a batch means, and learn from one of several records."""
        for_its_size = not isinstance(error, UnknownError)
        several = records > 1 and for_its_size
        if several:
            self._bytes[topic] = min(self.of(topic), size_bytes // _SHRINKS_BY)
            what = f"a batch of {records} records; smaller ones are next"
            return OutputRefusedError(f"{topic} refused {what}: {error!r}", retriable=True)
        detail = f"{topic} refused a record: {error!r}"
        if not for_its_size:
            return OutputRefusedError(detail, retriable=True)
        return OutputRefusedError(detail, retriable=False, topic=topic, size_bytes=size_bytes)
