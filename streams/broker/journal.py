"""The journal: what the broker knows beside records, appended before it is acted upon.

One file of checksummed entries, replayed at the start. When it has grown it is written anew from
what is known, in a file of the next number that takes effect at once. Entries are handed to the
operating system one by one; what must survive the end of the machine is said by `is_final`.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Protocol

import structlog
from aiokafka.record.util import calc_crc32c

from batuta.streams.broker.disk import UNFINISHED, DiskError, replace_file
from batuta.streams.broker.journal_entries import decode_entry, encode_entry
from batuta.streams.broker.log_recovery import DAMAGED
from batuta.streams.broker.segment import FORMAT_VERSION
from batuta.streams.broker.segment_scan import CorruptFileError, FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from batuta.streams.broker.disk import Disk
    from batuta.streams.broker.journal_entries import Entry
    from batuta.streams.broker.log_recovery import RecoveryReport

__all__ = ["DiskJournal", "Journal", "NoJournal"]

FOLDER = "journal"
SUFFIX = ".journal"
#: A journal smaller than this is never written anew.
REWRITE_BYTES_MIN = 4 * 1024 * 1024

_MAGIC = b"BATUTAJN"
_HEADER = struct.Struct(">8sI")
_FRAME_MARK = b"\xba\x7a"
_FRAME = struct.Struct(">2sII")

_log = structlog.get_logger(__name__)


class Journal(Protocol):
    """Where facts go before they count."""

    def append(self, entry: Entry, *, is_final: bool = False) -> None:
        """Note one fact.

        Args:
            entry: the fact.
            is_final: whether it must survive the end of the machine, not only of the process.

        Raises:
            DiskError: it is not noted, and must not count.
        """
        ...


class NoJournal:
    """Forgets everything: the broker keeps no data."""

    def append(self, entry: Entry, *, is_final: bool = False) -> None:
        """Do nothing."""


class DiskJournal:
    """The journal of a data directory."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._number = 0
        self._size = 0
        self._rewritten_size = 0

    @property
    def has_grown(self) -> bool:
        """Whether it is time to write it anew: twice as large as it needs to be."""
        return self._size > max(REWRITE_BYTES_MIN, 2 * self._rewritten_size)

    def restore(self, report: RecoveryReport, *, salvage: bool) -> Iterator[Entry]:
        """Read all facts, in order, and go on behind them.

        Raises:
            CorruptFileError: an entry is damaged that others follow.
            FormatError: another version wrote it.
        """
        numbers = sorted(self._found())
        if not numbers:
            self.rewrite(())
            return
        for old in numbers[:-1]:
            self._disk.remove(_path(old))
        self._number = numbers[-1]
        yield from self._replay(report, salvage=salvage)

    def append(self, entry: Entry, *, is_final: bool = False) -> None:
        """Note one fact.

        Raises:
            DiskError: it is not noted, and must not count.
        """
        frame, path = _frame(entry), _path(self._number)
        try:
            self._disk.write(path, self._size, frame)
            if is_final:
                self._disk.sync(path)
        except DiskError:
            self._cut(path)
            raise
        self._size += len(frame)

    def rewrite(self, entries: Iterable[Entry]) -> None:
        """Begin a new file with what is known; the old one is removed.

        Raises:
            DiskError: the system refuses; the old one stands.
        """
        data = _HEADER.pack(_MAGIC, FORMAT_VERSION) + b"".join(map(_frame, entries))
        replace_file(self._disk, _path(self._number + 1), data)
        old, self._number = self._number, self._number + 1
        self._size = self._rewritten_size = len(data)
        self._disk.remove(_path(old))

    def _found(self) -> Iterator[int]:
        for name in self._disk.names(FOLDER):
            if name.endswith(UNFINISHED):
                self._disk.remove(f"{FOLDER}/{name}")
            elif name.endswith(SUFFIX):
                yield int(name.removesuffix(SUFFIX))

    def _replay(self, report: RecoveryReport, *, salvage: bool) -> Iterator[Entry]:
        path = _path(self._number)
        data = self._disk.read(path, 0, self._disk.size(path))
        self._size = position = self._check_header(path, data)
        while position < len(data):
            payload = _payload_at(data, position)
            if payload is not None:
                yield _decode(path, position, payload)
                position += _FRAME.size + len(payload)
                self._size = position
                continue
            behind = _next_frame(data, position + 1)
            if behind < 0:
                self._cut_torn(path, len(data) - position, report)
                return
            if not salvage:
                what = "this is no whole entry, and others follow it"
                raise CorruptFileError(path, position, what)
            self._set_aside(path, position, data, report)
            position = behind

    @staticmethod
    def _check_header(path: str, data: bytes) -> int:
        if len(data) < _HEADER.size or data[: len(_MAGIC)] != _MAGIC:
            raise CorruptFileError(path, 0, "this is no journal")
        _, version = _HEADER.unpack_from(data)
        if version != FORMAT_VERSION:
            raise FormatError(path, version)
        return _HEADER.size

    def _cut_torn(self, path: str, size: int, report: RecoveryReport) -> None:
        _log.warning("torn_write_cut", file=path, bytes=size)
        report.torn_writes += 1
        report.torn_bytes += size
        self._disk.truncate(path, self._size)

    def _set_aside(self, path: str, position: int, data: bytes, report: RecoveryReport) -> None:
        """Keep a copy of the damaged journal; the broker writes it anew when it has read it."""
        _log.warning("damage_salvaged", file=path, position=position)
        replace_file(self._disk, path + DAMAGED, data)
        report.salvaged.append(path)

    def _cut(self, path: str) -> None:
        """Take back what was half written; the next entry would cover it anyway."""
        try:
            self._disk.truncate(path, self._size)
        except DiskError as error:
            _log.warning("journal_not_cut", file=path, reason=str(error))


def _path(number: int) -> str:
    return f"{FOLDER}/{number:010}{SUFFIX}"


def _frame(entry: Entry) -> bytes:
    payload = encode_entry(entry)
    return _FRAME.pack(_FRAME_MARK, len(payload), calc_crc32c(payload)) + payload


def _decode(path: str, position: int, payload: bytes) -> Entry:
    try:
        return decode_entry(payload)
    except ValueError as error:
        raise CorruptFileError(path, position, str(error)) from error


def _payload_at(data: bytes, position: int) -> bytes | None:
    if position + _FRAME.size > len(data):
        return None
    mark, size, crc = _FRAME.unpack_from(data, position)
    start = position + _FRAME.size
    if mark != _FRAME_MARK or start + size > len(data):
        return None
    payload = data[start : start + size]
    return payload if calc_crc32c(payload) == crc else None


def _next_frame(data: bytes, start: int) -> int:
    found = data.find(_FRAME_MARK, start)
    while found >= 0 and _payload_at(data, found) is None:
        found = data.find(_FRAME_MARK, found + 1)
    return found
