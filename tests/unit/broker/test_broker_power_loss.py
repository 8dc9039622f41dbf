"""The end of the machine: of what was not synced, any part may be gone; what was promised stays.

The promise (docs/operations.md): whatever was acknowledged before the last sync is there; with
`--sync-commits` a committed transaction is there whole, with its offsets, and nobody who was fenced
comes back. A start after it never takes the loss for damage.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest

from batuta.streams.broker.clock import ManualClock
from batuta.streams.broker.disk import MemoryDisk
from batuta.streams.broker.kept_broker import TOPIC, KeptBroker
from batuta.streams.broker.raw_client import build_batch
from batuta.streams.broker.settings import BrokerSettings

FENCED = {47, 90}
STEPS = 40
SEEDS = range(150)


@dataclass
class _File:
    """What of a file is durable, None for no file; and what was done to it since."""

    durable: bytes | None = None
    pending: list[tuple[int, bytes | None]] = field(default_factory=list[tuple[int, bytes | None]])


class PowerCutDisk(MemoryDisk):
    """Files in memory of which only what was synced is sure to be found after the power is cut."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[str, _File] = {}

    def write(self, path: str, position: int, data: bytes) -> None:
        super().write(path, position, data)
        self._kept.setdefault(path, _File()).pending.append((position, data))

    def truncate(self, path: str, size: int) -> None:
        super().truncate(path, size)
        self._kept.setdefault(path, _File()).pending.append((size, None))

    def sync(self, path: str) -> None:
        if path in self._kept:
            self._kept[path] = _File(self.read(path, 0, self.size(path)))

    def sync_all(self) -> None:
        for path in self._kept:
            self.sync(path)

    def rename(self, path: str, target: str) -> None:
        super().rename(path, target)
        self._kept[target] = self._kept.pop(path)

    def remove(self, path: str) -> None:
        super().remove(path)
        for known in [p for p in self._kept if p == path or p.startswith(f"{path}/")]:
            del self._kept[known]

    def cut(self, chance: random.Random) -> PowerCutDisk:
        """What the next machine finds: of each file's last changes some, the next one torn."""
        found = PowerCutDisk()
        for path, file in self._kept.items():
            whole = _survived(file, chance)
            if whole is not None:
                found.write(path, 0, whole)
                found.sync(path)
        return found


def _survived(file: _File, chance: random.Random) -> bytes | None:
    done = chance.choice([0, len(file.pending), chance.randint(0, len(file.pending))])
    if file.durable is None and not done:
        return None
    whole = bytearray(file.durable or b"")
    changes = file.pending[:done]
    if done < len(file.pending) and (torn := file.pending[done])[1] is not None:
        changes = [*changes, (torn[0], torn[1][: chance.randrange(len(torn[1]) + 1)])]
    for position, data in changes:
        if data is None:
            del whole[position:]
        else:
            whole[position : position + len(data)] = data
    return bytes(whole)


class Story:
    """What a broker was asked, and what it must have kept."""

    def __init__(self, chance: random.Random, *, sync_commits: bool) -> None:
        self.chance = chance
        self.disk = PowerCutDisk()
        settings = replace(BrokerSettings(), sync_commits=sync_commits)
        self.kept = KeptBroker(self.disk, ManualClock(1_700_000_000_000), settings)
        assert self.kept.create(TOPIC, 2, segment_ms=15_000) == 0
        self.owner, self.sequences = self.kept.init("tx"), [0, 0]
        self.fenced: list[tuple[int, int]] = []
        self.sent = 0
        self.appended: list[list[bytes]] = [[], []]
        self.synced: list[list[bytes]] = [[], []]
        self.committed: list[tuple[bytes, bytes]] = []
        self.offset = self.synced_offset = -1

    def step(self) -> None:
        step = self.chance.choices(
            [self.produce, self.transact, self.sync, self.commit, self.succeed, self.tidy],
            [8, 4, 1, 2, 1, 2],
        )[0]
        step()

    def produce(self) -> None:
        place, value = self.chance.randrange(2), self._value()
        assert self.kept.produce(build_batch([value]), place) == 0
        self.appended[place].append(value)

    def transact(self) -> None:
        values = (self._value(), self._value())
        assert self.kept.add("tx", self.owner, 0, 1) == 0
        for place, value in enumerate(values):
            spot = (place, self.sequences[place])
            assert self.kept.send("tx", self.owner, value, spot) == 0
            self.sequences[place] += 1
        assert self.kept.add_offset("tx", self.owner, "transacted", self.sent) == 0
        commit = self.chance.random() < 0.7
        if self.chance.random() < 0.9:
            assert self.kept.end("tx", self.owner, commit=commit) == 0
            if commit:
                self.committed.append(values)
        else:
            self.succeed()

    def succeed(self) -> None:
        """Another producer takes the transactional id."""
        self.fenced.append(self.owner)
        self.owner, self.sequences = self.kept.init("tx"), [0, 0]

    def commit(self) -> None:
        self.offset = self.sent
        assert self.kept.commit_offset("plain", self.offset) == 0

    def sync(self) -> None:
        self.disk.sync_all()
        self.synced = [list(values) for values in self.appended]
        self.synced_offset = self.offset

    def tidy(self) -> None:
        self.kept.clock.advance(self.chance.choice([10, 20_000]))

    def after_the_cut(self) -> KeptBroker:
        return KeptBroker(self.disk.cut(self.chance), self.kept.clock, self.kept.settings)

    def _value(self) -> bytes:
        self.sent += 1
        return b"%04d" % self.sent


@pytest.mark.parametrize("sync_commits", [True, False])
def test_what_was_promised_survives_the_end_of_the_machine(sync_commits: bool) -> None:  # noqa: FBT001
    for seed in SEEDS:
        story = Story(random.Random(seed), sync_commits=sync_commits)
        for _ in range(story.chance.randrange(1, STEPS)):
            story.step()
        again = story.after_the_cut()
        found = [again.values(place) for place in range(2)]
        for place in range(2):
            plain = [value for value in found[place] if value in set(story.appended[place])]
            assert plain == story.appended[place][: len(plain)], f"seed {seed}: a gap"
            assert len(plain) >= len(story.synced[place]), f"seed {seed}: synced and lost"
        assert again.offset_of("plain") >= story.synced_offset, f"seed {seed}"
        if sync_commits:
            lost = [pair for pair in story.committed if not all(map(_in, pair, found))]
            assert not lost, f"seed {seed}"
            transacted = max((int(second) for _, second in story.committed), default=-1)
            assert again.offset_of("transacted") == transacted, f"seed {seed}"
            for former in story.fenced:
                assert again.add("tx", former, 0) in FENCED, f"seed {seed}: back from the dead"
            half = [v for pair in story.committed for v in pair]
            strangers = [v for p in range(2) for v in found[p] if v not in story.appended[p]]
            assert sorted(strangers, key=str) == sorted(half, key=str), (
                f"seed {seed}: aborted and seen"
            )
        again.clock.advance(120_000)
        assert again.place(build_batch([b"anew"])).error_code == 0
        assert again.values()[-1] == b"anew"
        assert again.killed().values()[-1] == b"anew"


def _in(value: bytes, found: list[bytes | None]) -> bool:
    return value in found
