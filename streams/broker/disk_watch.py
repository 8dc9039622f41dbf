"""Watches a disk: says once that it refuses, once that it takes again, and counts in between.

Whoever asks is told of each refusal by a Kafka error; an operator needs to hear of it twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import structlog

from batuta.streams.broker.disk import DiskError

if TYPE_CHECKING:
    from collections.abc import Callable

    from batuta.streams.broker.disk import Disk

__all__ = ["DiskWatch"]

R = TypeVar("R")

_log = structlog.get_logger(__name__)


class DiskWatch:
    """Passes everything on to a disk.

    Attributes:
        refused: how many changes it has refused.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.refused = 0
        #: How many of them when it last took a write.
        self._known = 0

    def names(self, folder: str) -> list[str]:
        """The files and folders in a folder, sorted; none where it is missing."""
        return self._disk.names(folder)

    def size(self, path: str) -> int:
        """The bytes in a file."""
        return self._disk.size(path)

    def read(self, path: str, position: int, size: int) -> bytes:
        """Bytes of a file, fewer at its end."""
        return self._disk.read(path, position, size)

    def write(self, path: str, position: int, data: bytes) -> None:
        """Put bytes at a place in a file, which is created if need be."""
        self._watched(lambda: self._disk.write(path, position, data))
        if self.refused > self._known:
            _log.warning("disk_takes_again", refused=self.refused - self._known)
            self._known = self.refused

    def truncate(self, path: str, size: int) -> None:
        """Cut a file short."""
        self._watched(lambda: self._disk.truncate(path, size))

    def sync(self, path: str) -> None:
        """Make sure that a file survives the end of the machine."""
        self._watched(lambda: self._disk.sync(path))

    def sync_all(self) -> None:
        """Make sure of every file that was written since; may run in another thread."""
        self._watched(self._disk.sync_all)

    def rename(self, path: str, target: str) -> None:
        """Put a file in another's place, at once and for good."""
        self._watched(lambda: self._disk.rename(path, target))

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with all that is in it; a missing one is no error."""
        self._watched(lambda: self._disk.remove(path))

    def close(self) -> None:
        """Sync everything and let go of it."""
        self._watched(self._disk.close)

    def _watched(self, change: Callable[[], R]) -> R:
        try:
            return change()
        except DiskError as refusal:
            self.refused += 1
            if self.refused == self._known + 1:
                _log.error("disk_refuses", reason=str(refusal))
            raise
