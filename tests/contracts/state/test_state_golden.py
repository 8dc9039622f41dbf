"""State that an earlier release wrote is read by this one, to the byte.

`state_format_1.json` holds the changelog records of every table as format version 1 wrote them,
and what reads without a batch; `snapshot_format_1.snapshot` holds a snapshot. Both are kept for
ever: a format that changes gets a version, a file of its own, and keeps reading these. A new table
joins by `python tests/contracts/state/test_state_golden.py`, which adds what is missing and changes
nothing that is there.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, TypedDict

import pytest

from batuta.streams.lanes.snapshot_file import Anchor, Head, SnapshotFile, SnapshotWriter
from batuta.streams.lanes.table_testing import SUBJECTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batuta.agents.state.port import Change, StateTable
    from batuta.streams.lanes.table_testing import Subject

RECORDS = Path(__file__).with_name("state_format_1.json")
SNAPSHOT = Path(__file__).with_name("snapshot_format_1.snapshot")
HEAD = Head(
    group="fraud-scoring",
    topic="fraud-scoring.state",
    partition=3,
    covered=4_711,
    anchor=Anchor(4_709, 1_700_000_000_123, "00112233445566778899aabbccddeeff"),
    taken_ms=1_700_000_001_000,
)
KEPT = [(b"k%d" % n, b"\x01value %d" % n) for n in range(3)]


class Golden(TypedDict):
    """What one table held: hexadecimal records, and what is read of it."""

    records: list[tuple[str, str]]
    entries: int
    look: str


def golden() -> dict[str, Golden]:
    kept: dict[str, Golden] = json.loads(RECORDS.read_text())
    return kept


def loaded(subject: Subject, records: Iterable[Change]) -> StateTable:
    table = subject.open()
    for key, value in records:
        table.load(key, value)
    table.begin()
    table.rollback()
    return table


def test_every_table_is_kept() -> None:
    assert set(golden()) == {subject.name for subject in SUBJECTS}


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_what_format_1_wrote_is_still_read(subject: Subject) -> None:
    kept = golden()[subject.name]
    records = [(bytes.fromhex(key), bytes.fromhex(value)) for key, value in kept["records"]]
    assert records
    table = loaded(subject, records)
    assert (table.entries(), repr(subject.look(table))) == (kept["entries"], kept["look"])
    written = dict(table.dump())
    if versions(written.items()) == versions(records):
        assert written == dict(records), "another format without another version"
    assert dict(loaded(subject, written.items()).dump()) == written


def versions(records: Iterable[Change]) -> set[bytes]:
    return {value[:1] for _, value in records if value is not None}


def test_a_snapshot_of_format_1_is_still_read() -> None:
    file = SnapshotFile(SNAPSHOT)
    assert file.head() == HEAD
    assert file.check() == len(KEPT)
    blocks = list(file.blocks())
    assert [pair for keys, values in blocks for pair in zip(keys, values, strict=True)] == KEPT


def test_this_release_writes_snapshots_of_format_1(tmp_path: Path) -> None:
    write_snapshot(tmp_path / "new")
    assert (tmp_path / "new").read_bytes() == SNAPSHOT.read_bytes()


def write_snapshot(path: Path) -> None:
    with path.open("wb") as file:
        writer = SnapshotWriter(file, HEAD)
        writer.add(KEPT[:2])
        writer.add(KEPT[2:])
        writer.finish()


def recorded(subject: Subject) -> Golden:
    """Run some batches and keep what the table holds then."""
    table = subject.open()
    for turn in range(8):
        table.begin()
        subject.act(table, Random(turn), 1_000 + 9 * turn)
        table.changes(1_000 + 9 * turn)
        table.commit()
    records = [(key.hex(), (value or b"").hex()) for key, value in table.dump()]
    return Golden(records=records, entries=table.entries(), look=repr(subject.look(table)))


if __name__ == "__main__":
    kept = golden() if RECORDS.exists() else {}
    kept |= {subject.name: recorded(subject) for subject in SUBJECTS if subject.name not in kept}
    RECORDS.write_text(json.dumps(kept, indent=1) + "\n")
    if not SNAPSHOT.exists():
        write_snapshot(SNAPSHOT)
