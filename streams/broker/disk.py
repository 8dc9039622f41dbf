"""Where a broker keeps its files: the port its storage is written against, and one in memory.

Paths are relative, with slashes. `folder_disk` is the machine's; the one here serves the broker
without a data directory, and tests and simulations that decide themselves what survives.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Protocol

from batuta.schemas.errors import LaterError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["UNFINISHED", "Disk", "DiskError", "MemoryDisk", "replace_file"]

#: What is being written and does not count yet; recovery removes it.
UNFINISHED = ".unfinished"


class DiskError(LaterError):
    """A file could not be written or read, for the reason the system gave."""


class Disk(Protocol):
    """The files of one broker.

    What `write` returned from survives the end of the process; only what `sync` returned from
    survives the end of the machine. Every method raises DiskError where the system refuses.
    """

    def names(self, folder: str) -> list[str]:
        """The files and folders in a folder, sorted; none where it is missing."""
        ...

    def size(self, path: str) -> int:
        """The bytes in a file."""
        ...

    def read(self, path: str, position: int, size: int) -> bytes:
        """Bytes of a file, fewer at its end."""
        ...

    def write(self, path: str, position: int, data: bytes) -> None:
        """Put bytes at a place in a file, which is created if need be."""
        ...

    def truncate(self, path: str, size: int) -> None:
        """Cut a file short."""
        ...

    def sync(self, path: str) -> None:
        """Make sure that a file survives the end of the machine."""
        ...

    def sync_all(self) -> None:
        """Make sure of every file that was written since; may run in another thread."""
        ...

    def rename(self, path: str, target: str) -> None:
        """Put a file in another's place, at once and for good."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with all that is in it; a missing one is no error."""
        ...

    def close(self) -> None:
        """Sync everything and let go of it."""
        ...


def replace_file(disk: Disk, path: str, data: bytes) -> None:
    """Write a whole file so that at any moment either the old or the new one is there.

    Raises:
        DiskError: the system refuses; the old file stands.
    """
    unfinished = path + UNFINISHED
    disk.remove(unfinished)
    disk.write(unfinished, 0, data)
    disk.sync(unfinished)
    disk.rename(unfinished, path)


class _MemoryFile:
    """One file, in the pieces it was written in: they are neither copied in nor, alone, out."""

    def __init__(self) -> None:
        self.size = 0
        self._starts: list[int] = []
        self._pieces: list[bytes] = []

    def write(self, position: int, data: bytes) -> None:
        if position != self.size:
            whole = bytearray(self.read(0, self.size))
            whole[position : position + len(data)] = data
            self._starts, self._pieces, self.size, data = [], [], 0, bytes(whole)
        self._starts.append(self.size)
        self._pieces.append(data)
        self.size += len(data)

    def read(self, position: int, size: int) -> bytes:
        first = bisect_right(self._starts, position) - 1
        last = bisect_left(self._starts, position + size)
        pieces = self._pieces[max(0, first) : last]
        if not pieces:
            return b""
        skipped = position - self._starts[first]
        whole = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return whole[skipped : skipped + size]

    def truncate(self, size: int) -> None:
        whole = self.read(0, size)
        self._starts, self._pieces, self.size = [0], [whole], len(whole)


class MemoryDisk:
    """Files in memory.

    Attributes:
        before_change: called before each change with what it is and the path; what it raises
            stops the change. Tests fill the disk or end the broker here.
    """

    def __init__(self) -> None:
        self._folders: dict[str, dict[str, _MemoryFile]] = {}
        self.before_change: Callable[[str, str], None] | None = None

    def copy(self) -> MemoryDisk:
        """What another process would find."""
        twin = MemoryDisk()
        for folder, files in self._folders.items():
            for name, file in files.items():
                twin.write(f"{folder}/{name}", 0, file.read(0, file.size))
        return twin

    def names(self, folder: str) -> list[str]:
        """The files and folders in a folder, sorted; none where it is missing."""
        inside = {
            path.removeprefix(f"{folder}/").partition("/")[0]
            for path in self._folders
            if path.startswith(f"{folder}/")
        }
        return sorted(inside | set(self._folders.get(folder, ())))

    def size(self, path: str) -> int:
        """The bytes in a file."""
        return self._file(path).size

    def read(self, path: str, position: int, size: int) -> bytes:
        """Bytes of a file, fewer at its end."""
        return self._file(path).read(position, size)

    def write(self, path: str, position: int, data: bytes) -> None:
        """Put bytes at a place in a file, which is created if need be."""
        if self.before_change is not None:
            self.before_change("write", path)
        folder, _, name = path.rpartition("/")
        files = self._folders.setdefault(folder, {})
        file = files.get(name)
        if file is None:
            file = files[name] = _MemoryFile()
        file.write(position, data)

    def truncate(self, path: str, size: int) -> None:
        """Cut a file short."""
        if self.before_change is not None:
            self.before_change("truncate", path)
        self._file(path).truncate(size)

    def sync(self, path: str) -> None:
        """Nothing to do."""

    def sync_all(self) -> None:
        """Nothing to do."""

    def rename(self, path: str, target: str) -> None:
        """Put a file in another's place."""
        if self.before_change is not None:
            self.before_change("rename", path)
        data = self._file(path)
        folder, _, name = path.rpartition("/")
        del self._folders[folder][name]
        folder, _, name = target.rpartition("/")
        self._folders.setdefault(folder, {})[name] = data

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with all that is in it; a missing one is no error."""
        if self.before_change is not None:
            self.before_change("remove", path)
        folder, _, name = path.rpartition("/")
        self._folders.get(folder, {}).pop(name, None)
        for inside in [f for f in self._folders if f == path or f.startswith(f"{path}/")]:
            del self._folders[inside]

    def close(self) -> None:
        """Nothing to do."""

    def _file(self, path: str) -> _MemoryFile:
        folder, _, name = path.rpartition("/")
        try:
            return self._folders[folder][name]
        except KeyError as error:
            raise DiskError(f"{path}: no such file") from error
