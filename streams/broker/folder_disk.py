"""The files of a broker in a folder of this machine; nothing else of the broker touches files.

Each write goes to the operating system before anybody is told of it, so it survives the end of
the process (kill -9). What must survive the end of the machine is synced: see `Disk`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from typing import TYPE_CHECKING, TypeVar

from batuta.schemas.errors import UsageError
from batuta.streams.broker.disk import DiskError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["DataDirInUseError", "FolderDisk"]

R = TypeVar("R")

#: Files kept open at once, well below what a process is commonly allowed.
OPEN_FILES_MAX = 256
LOCK = "lock"


class DataDirInUseError(UsageError):
    """Another broker works on this data directory."""


class FolderDisk:
    """The files below one folder, which belongs to this process as long as it lives."""

    def __init__(self, root: Path) -> None:
        """Take possession of the folder, which is created if need be.

        Raises:
            DataDirInUseError: another process has it.
            UsageError: it cannot be used.
        """
        self._root = root
        self._open: dict[str, int] = {}
        self._unsynced: set[str] = set()
        self._failure: OSError | None = None
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(root / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UsageError(f"{root}: cannot be a data directory: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise DataDirInUseError(
                f"{root}: another broker works on this data directory; stop it or name another one"
            ) from error

    @property
    def unsynced(self) -> frozenset[str]:
        """What would not survive the end of the machine."""
        return frozenset(self._unsynced)

    def names(self, folder: str) -> list[str]:
        """The files and folders in a folder, sorted; none where it is missing."""
        try:
            return sorted(found.name for found in (self._root / folder).iterdir())
        except FileNotFoundError:
            return []

    def size(self, path: str) -> int:
        """The bytes in a file."""
        return self._try(path, lambda: os.fstat(self._descriptor(path)).st_size)

    def read(self, path: str, position: int, size: int) -> bytes:
        """Bytes of a file, fewer at its end."""
        try:
            return os.pread(self._descriptor(path), size, position)
        except OSError as error:
            raise _refused(path, error) from error

    def write(self, path: str, position: int, data: bytes) -> None:
        """Put bytes at a place in a file, which is created if need be."""
        if self._failure is not None:
            raise _refused(path, self._failure)
        try:
            descriptor = self._descriptor(path, os.O_CREAT)
            written = os.pwrite(descriptor, data, position)
            while written < len(data):
                written += os.pwrite(descriptor, data[written:], position + written)
        except OSError as error:
            raise _refused(path, error) from error
        self._unsynced.add(path)

    def truncate(self, path: str, size: int) -> None:
        """Cut a file short."""
        self._try(path, lambda: os.ftruncate(self._descriptor(path), size))
        self._unsynced.add(path)

    def sync(self, path: str) -> None:
        """Make sure that a file survives the end of the machine."""
        self._unsynced.discard(path)
        self._fsync(path, self._root / path)
        self._fsync(path, (self._root / path).parent)

    def sync_all(self) -> None:
        """Make sure of every file that was written since; may run in another thread."""
        for path in tuple(self._unsynced):
            self.sync(path)

    def rename(self, path: str, target: str) -> None:
        """Put a file in another's place, at once and for good."""
        self._forget(path)
        self._forget(target)
        self._try(path, lambda: (self._root / path).rename(self._root / target))
        self._fsync(target, (self._root / target).parent)

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with all that is in it; a missing one is no error."""
        for name in [name for name in self._open if name == path or name.startswith(f"{path}/")]:
            self._forget(name)
        self._forget(path)
        found = self._root / path
        if found.is_dir():
            self._try(path, lambda: shutil.rmtree(found))
        else:
            self._try(path, lambda: found.unlink(missing_ok=True))

    def close(self) -> None:
        """Sync everything and let go of it."""
        try:
            self.sync_all()
        finally:
            for path in tuple(self._open):
                self._forget(path)
            os.close(self._lock)

    def _descriptor(self, path: str, creating: int = 0) -> int:
        """An open file; the one that was not used for longest makes room."""
        descriptor = self._open.pop(path, None)
        if descriptor is None:
            if len(self._open) >= OPEN_FILES_MAX:
                os.close(self._open.pop(next(iter(self._open))))
            descriptor = self._open_file(path, creating)
        self._open[path] = descriptor
        return descriptor

    def _open_file(self, path: str, creating: int) -> int:
        full, flags = self._root / path, os.O_RDWR | os.O_CLOEXEC | creating
        try:
            return os.open(full, flags, 0o644)
        except FileNotFoundError:
            if not creating:
                raise
            full.parent.mkdir(parents=True, exist_ok=True)
            return os.open(full, flags, 0o644)

    def _forget(self, path: str) -> None:
        self._unsynced.discard(path)
        descriptor = self._open.pop(path, None)
        if descriptor is not None:
            os.close(descriptor)

    def _fsync(self, path: str, full: Path) -> None:
        """Sync by a descriptor of our own: the others belong to the other thread.

        A failed sync may have dropped what was written, and the next one would not tell
        (https://wiki.postgresql.org/wiki/Fsync_Errors): from then on nothing is accepted.
        """
        try:
            descriptor = os.open(full, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            os.fsync(descriptor)
        except OSError as error:
            self._failure = error
            raise _refused(path, error) from error
        finally:
            os.close(descriptor)

    @staticmethod
    def _try(path: str, call: Callable[[], R]) -> R:
        try:
            return call()
        except OSError as error:
            raise _refused(path, error) from error


def _refused(path: str, error: OSError) -> DiskError:
    return DiskError(f"{path}: {error.strerror}")
