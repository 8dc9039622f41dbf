"""How large a record batch each topic takes, learned from what it refused.

A broker's limit is one of batches, not of records: many small records may be refused together that
are taken apart. As the JVM's producer does, what was refused is sent again in smaller batches; only
a record that is refused alone is refused for good.
"""

from typing import Final

from aiokafka.errors import UnknownError

from batuta.schemas.errors import OutputRefusedError

__all__ = ["BatchLimits"]

_BATCH_BYTES_MAX: Final = 1 << 20
_SHRINKS_BY: Final = 4


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
        several = records > 1 and not isinstance(error, UnknownError)
        if several:
            self._bytes[topic] = min(self.of(topic), size_bytes // _SHRINKS_BY)
        what = f"a batch of {records} records; smaller ones are next" if several else "a record"
        return OutputRefusedError(
            f"{topic} refused {what}: {error!r}",
            retriable=several or isinstance(error, UnknownError),
        )
