"""Sends dead letters back at a rate, block by block, each block one transaction."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from batuta.schemas.record import Record
from batuta.streams.cli.deadletters_reading import Reading, stand_at, these
from batuta.streams.cli.progress import Meter, meter
from batuta.streams.deadletters.dead_letters import Found, found_in
from batuta.streams.deadletters.redrive import Redrive, RedriveTakenOverError, Return
from batuta.streams.settings import client_options
from batuta.streams.topic_reader import TopicReader

if TYPE_CHECKING:
    from batuta.streams.cli.deadletters_options import Bureau

__all__ = ["Returned", "Returning", "send_back"]

_BLOCK_LETTERS_MAX: Final = 500
_BLOCK_BYTES_MAX: Final = 8 << 20
_BLOCKS_PER_SECOND: Final = 4

#: What shall be sent instead of a dead letter, None where it stays.
Prepare = Callable[[Found], Record | None]


@dataclass(frozen=True)
class Returning:
    """What is to be sent back.

    Attributes:
        prepare: gives the record of each dead letter that is meant.
        rate: dead letters per second, 0 without bound.
        total: how many there are, for the bar.
    """

    bureau: "Bureau"
    prepare: Prepare
    rate: float
    total: int


@dataclass
class Returned:
    """What was sent back: how many, to which stage, and why it ended early if it did.

    Attributes:
        pruned: how many markers were taken out of the ledger, as their dead letters are gone.
    """

    by_stage: dict[str, int] = field(default_factory=dict[str, int])
    seconds: float = 0.0
    stopped: str | None = None
    interrupted: bool = False
    pruned: int = 0

    @property
    def count(self) -> int:
        """How many in all."""
        return sum(self.by_stage.values())


async def send_back(work: Returning, stop: asyncio.Event) -> Returned:
    """Redrive every dead letter that is meant and was not redriven before, until asked to stop.

    Raises:
        BrokerUnreachableError: no broker answers.
        TransactionFailedError: a transaction failed; what was sent before it stands.
    """
    bureau, returned = work.bureau, Returned()
    started_s = time.monotonic()
    async with Redrive(bureau.settings, bureau.topics) as redrive:
        sender = _Sender(work, redrive, returned, stop)
        try:
            returned.pruned = await redrive.prune()
            with meter("redriving", work.total) as bar:
                await sender.run(bar)
        except RedriveTakenOverError as error:
            returned.stopped = f"{error}: run this again for what it leaves"
        returned.seconds = time.monotonic() - started_s
    return returned


class _Sender:
    """Fills blocks and sends each when it is due."""

    def __init__(
        self, work: Returning, redrive: Redrive, returned: Returned, stop: asyncio.Event
    ) -> None:
        self._work = work
        self._redrive = redrive
        self._returned = returned
        self._stop = stop
        self._block: list[Return] = []
        self._bytes = 0
        self._due_s = time.monotonic()

    async def run(self, bar: Meter) -> None:
        bureau = self._work.bureau
        reading = Reading(self._redrive.ledger, set())
        options = client_options(bureau.settings)
        async with TopicReader(options, [bureau.topics.deadletters]) as reader:
            await stand_at(reader, bureau)
            async for records in found_in(reader):
                for found in these(records, bureau, reading):
                    if not self._stop.is_set() and found not in self._redrive.ledger:
                        await self._add(found, bar)
                if self._stop.is_set():
                    self._interrupt()
                    return
        await self._send(bar)

    def _interrupt(self) -> None:
        self._returned.interrupted = True
        self._returned.stopped = "interrupted: run this again for the rest"

    async def _add(self, found: Found, bar: Meter) -> None:
        record = self._work.prepare(found)
        if record is None:
            return
        self._block.append(Return(found, record))
        self._bytes += len(record.value or b"")
        if len(self._block) >= self._block_max or self._bytes >= _BLOCK_BYTES_MAX:
            await self._send(bar)

    @property
    def _block_max(self) -> int:
        if not self._work.rate:
            return _BLOCK_LETTERS_MAX
        return max(1, min(_BLOCK_LETTERS_MAX, int(self._work.rate / _BLOCKS_PER_SECOND)))

    async def _send(self, bar: Meter) -> None:
        block, self._block, self._bytes = self._block, [], 0
        await self._wait(len(block))
        if block and self._stop.is_set():
            self._interrupt()
            return
        if not block:
            return
        await self._redrive.send(block)
        for one in block:
            stage = one.found.letter.stage
            self._returned.by_stage[stage] = self._returned.by_stage.get(stage, 0) + 1
        bar.reach(self._returned.count, self._work.total)

    async def _wait(self, letters: int) -> None:
        """Wait until a block may go; asked to stop, no longer."""
        left_s = self._due_s - time.monotonic()
        if left_s > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._stop.wait()
        if self._work.rate:
            self._due_s = max(self._due_s, time.monotonic()) + letters / self._work.rate
