"""Mutants: the real parts with one fault each, every one of which the rehearsal has to find."""

from __future__ import annotations

import struct
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, cast

import pytest
from aiokafka.record.util import calc_crc32c

from batuta.agents.state.port import Change, State, Tables
from batuta.agents.state.timers import Firing, Timer, Timers
from batuta.schemas.errors import OutputRefusedError
from batuta.streams.broker.batches import read_header
from batuta.streams.broker.messages_offsets import TxnOffsetCommitRequest
from batuta.streams.broker.messages_records import (
    FetchRequest,
    ProducePartition,
    ProduceRequest,
    ProduceTopic,
)
from batuta.streams.broker.messages_transactions import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    EndTxnRequest,
)
from batuta.streams.rehearsal.broker_house import BrokerHouse
from batuta.streams.rehearsal.in_process_log import InProcessLog, InProcessReader
from batuta.streams.rehearsal.in_process_producer import InProcessProducer
from batuta.streams.rehearsal.seed_run import run_seed
from batuta.streams.rehearsal.stand_in_app import Channel, StandInApp, Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from aiokafka import TopicPartition

    from batuta.schemas.record import Record
    from batuta.streams.lanes.log import Destination, Row
    from batuta.streams.lanes.stage import AnyStage
    from batuta.streams.rehearsal.broker_house import Answered
    from batuta.streams.rehearsal.happenings import Happenings
    from batuta.streams.rehearsal.in_process_records import OutgoingBatch
    from batuta.streams.rehearsal.plan import Plan
    from batuta.streams.rehearsal.virtual_loop import VirtualLoop
    from batuta.streams.rehearsal.world import Cast

    Rows = Mapping[Destination, Iterable[Row]]
    Offsets = Mapping[TopicPartition, int]
    Mutate = Callable[[Cast], Cast]

_EPOCH_AT: Final = 51
_CRC_AT: Final = 17
_CRC_FROM: Final = 21


# Producers


class CommitsBeforeOutputs(InProcessProducer):
    """Commits the offsets first, and the outputs a moment later."""

    async def transact(self, rows: Rows, offsets: Offsets, group: str) -> dict[Destination, int]:
        if offsets:
            await super().transact({}, offsets, group)
        return await super().transact(rows, {}, group)


class CommitsAfterOutputs(InProcessProducer):
    """Commits the outputs first, and the offsets a moment later."""

    async def transact(self, rows: Rows, offsets: Offsets, group: str) -> dict[Destination, int]:
        ends = await super().transact(rows, {}, group)
        if offsets:
            await super().transact({}, offsets, group)
        return ends


class IgnoresRefusals(InProcessProducer):
    """Commits although an output was refused."""

    async def _deliver(
        self, batches: Mapping[Destination, list[OutgoingBatch]]
    ) -> dict[Destination, int]:
        try:
            return await super()._deliver(batches)
        except OutputRefusedError:
            return {}


class ForgetsTheChangelog(InProcessProducer):
    """Writes everything but the changelog."""

    async def transact(self, rows: Rows, offsets: Offsets, group: str) -> dict[Destination, int]:
        kept = {place: part for place, part in rows.items() if not place[0].endswith(".state")}
        return await super().transact(kept, offsets, group)


class MutantLog(InProcessLog):
    """A log with producers or readers of another class."""

    producer_class: type[InProcessProducer] = InProcessProducer
    reader_class: type[InProcessReader] = InProcessReader

    def producer(self, transactional_id: str) -> InProcessProducer:
        link = self._link(transactional_id)
        return self.producer_class(link, transactional_id, self._settings, self._clock)

    def reader(self, tp: TopicPartition) -> InProcessReader:
        return self.reader_class(self._link(f"{tp.topic}-{tp.partition}"), tp, self._settings)


class ReadsNothing(InProcessReader):
    """Says that there is nothing to restore."""

    @property
    def end(self) -> int:
        return self.beginning


class ReadsHalf(InProcessReader):
    """Gives back every other record of the changelog."""

    async def read(self, records_max: int) -> Sequence[Record]:
        return [record for record in await super().read(records_max) if record.offset % 2]


# The broker


class WithoutFencing(BrokerHouse):
    """A broker that takes any producer's epoch for the present one."""

    def deliver(self, client: str, request: object, answered: Answered) -> None:
        super().deliver(client, self._with_present_epoch(request), answered)

    def _with_present_epoch(self, request: object) -> object:
        match request:
            case AddPartitionsToTxnRequest() | AddOffsetsToTxnRequest() | EndTxnRequest():
                epoch = self._epoch(request.transactional_id)
                return replace(request, producer_epoch=epoch)
            case TxnOffsetCommitRequest():
                epoch = self._epoch(request.transactional_id)
                return replace(request, producer_epoch=epoch)
            case ProduceRequest(transactional_id=str(name)):
                return replace(request, topics=tuple(self._topic(t, name) for t in request.topics))
            case _:
                return request

    def _topic(self, topic: ProduceTopic, name: str) -> ProduceTopic:
        entries = tuple(
            ProducePartition(entry.partition, _with_epoch(entry.records or b"", self._epoch(name)))
            for entry in topic.partitions
        )
        return replace(topic, partitions=entries)

    def _epoch(self, transactional_id: str) -> int:
        assert self.broker is not None
        known = [
            each
            for each in self.broker.state.transactions
            if each.transactional_id == transactional_id
        ]
        return known[0].epoch if known else 0


class IgnoresIsolation(BrokerHouse):
    """A broker that shows everybody what is not committed."""

    def deliver(self, client: str, request: object, answered: Answered) -> None:
        if isinstance(request, FetchRequest) and client != "reader":
            request = replace(request, isolation_level=0)
        super().deliver(client, request, answered)


class LosesWrites(BrokerHouse):
    """A broker that forgets the end of each log when it is killed."""

    def start(self) -> None:
        for path in self._logs():
            size = self._disk.size(path)
            self._disk.truncate(path, size - size // 10)
        super().start()

    def _logs(self) -> list[str]:
        disk = self._disk.found()
        self._disk = disk
        return [
            f"logs/{topic}/{partition}/{name}"
            for topic in disk.names("logs")
            for partition in disk.names(f"logs/{topic}")
            for name in disk.names(f"logs/{topic}/{partition}")
            if name.endswith(".log")
        ]


def _with_epoch(batch: bytes, epoch: int) -> bytes:
    """Write another producer epoch into a batch, and the checksum that goes with it."""
    if read_header(batch).producer_epoch == epoch:
        return batch
    changed = bytearray(batch)
    struct.pack_into(">h", changed, _EPOCH_AT, epoch)
    struct.pack_into(">I", changed, _CRC_AT, calc_crc32c(bytes(changed[_CRC_FROM:])))
    return bytes(changed)


# The lane's memory


class KeepsWhatWasAborted:
    """A state that keeps what an aborted batch changed."""

    def __init__(self, state: State) -> None:
        self._state = state

    def __getattr__(self, name: str) -> object:
        return getattr(self._state, name)

    def rollback(self) -> None:
        self._state.commit()


class FiresTwice(Timers):
    """Timers of which each fires once more."""

    def due(self, now_ms: int, watermark_ms: int, limit: int) -> list[Firing]:
        firings = super().due(now_ms, watermark_ms, limit)
        for firing in firings:
            if not firing.payload:
                again = Timer(firing.kind, firing.key, firing.due_ms, firing.domain, b"again")
                self.set(again)
        return firings


class ForgetsTimers(Timers):
    """Timers that are gone when they are restored."""

    def load_many(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        del keys, values


class TellsNoEnds(Timers):
    """Timers that tell the changelog of those that are set, and of none that is gone."""

    def changes(self, now_ms: int) -> list[Change]:
        return [change for change in super().changes(now_ms) if change[1] is not None]


class Timed(Tables):
    """The state of a stage with timers of its own."""

    def __init__(self, timers: Timers) -> None:
        super().__init__((timers,))
        self.timers = timers


class MutantApp(StandInApp):
    """An app whose lanes have other states."""

    def __init__(self, surroundings: Surroundings, mutate: Callable[[AnyStage], AnyStage]) -> None:
        super().__init__(surroundings)
        self._mutate = mutate

    def lanes(self, stage: AnyStage) -> Channel:
        return super().lanes(self._mutate(stage))


def keeping_what_was_aborted(stage: AnyStage) -> AnyStage:
    opened = stage.open_state
    return replace(stage, open_state=lambda: cast("State", KeepsWhatWasAborted(opened())))


def with_timers(timers: type[Timers], stage: AnyStage) -> AnyStage:
    if stage.name != "reminding":
        return stage
    return replace(stage, open_state=lambda: Timed(timers(b"t", entries_max=1_000)))


def with_house(house: type[BrokerHouse], cast_: Cast) -> Cast:
    def make(loop: VirtualLoop, plan: Plan, happenings: Happenings) -> BrokerHouse:
        return house(loop, plan.chance("names"), happenings)

    return replace(cast_, make_house=make)


def with_producer(producer: type[InProcessProducer], cast_: Cast) -> Cast:
    log = type("Mutant", (MutantLog,), {"producer_class": producer})
    return replace(cast_, make_log=log)


def with_reader(reader: type[InProcessReader], cast_: Cast) -> Cast:
    log = type("Mutant", (MutantLog,), {"reader_class": reader})
    return replace(cast_, make_log=log)


def with_stages(mutate: Callable[[AnyStage], AnyStage], cast_: Cast) -> Cast:
    return replace(cast_, make_app=partial(MutantApp, mutate=mutate))


MUTANTS: Final[dict[str, Mutate]] = {
    "drops the fencing": partial(with_house, WithoutFencing),
    "commits before the outputs": partial(with_producer, CommitsBeforeOutputs),
    "commits after the outputs": partial(with_producer, CommitsAfterOutputs),
    "ignores a refused output": partial(with_producer, IgnoresRefusals),
    "forgets the changelog": partial(with_producer, ForgetsTheChangelog),
    "keeps what was aborted": partial(with_stages, keeping_what_was_aborted),
    "skips the restore": partial(with_reader, ReadsNothing),
    "restores half": partial(with_reader, ReadsHalf),
    "reads what is not committed": partial(with_house, IgnoresIsolation),
    "loses acknowledged writes": partial(with_house, LosesWrites),
    "fires timers twice": partial(with_stages, partial(with_timers, FiresTwice)),
    "forgets timers": partial(with_stages, partial(with_timers, ForgetsTimers)),
    "tells no ends": partial(with_stages, partial(with_timers, TellsNoEnds)),
}
#: How many seeds a mutant may survive.
SEEDS_MAX: Final = 12


@pytest.mark.parametrize("name", MUTANTS)
def test_the_rehearsal_finds_a_mutant(name: str, real: Cast) -> None:
    mutant = MUTANTS[name](real)
    found = (run_seed(seed, mutant).violations for seed in range(1, SEEDS_MAX + 1))
    assert any(found), f"{SEEDS_MAX} seeds found nothing wrong with one that {name}"


def test_what_a_lane_holds_is_compared_with_a_fresh_restore(real: Cast) -> None:
    mutant = MUTANTS["tells no ends"](real)
    found = {violation.invariant for violation in run_seed(1, mutant).violations}
    assert "state equals a fresh restore" in found
