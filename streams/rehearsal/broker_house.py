"""The broker's house: the real broker on virtual time, killed and started again on one disk."""

import contextvars
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from batuta.schemas.errors import BatutaError
from batuta.streams.broker.broker import Answer, Broker, Caller, Dropped, KeptOn
from batuta.streams.broker.clock import Alarm
from batuta.streams.broker.pending import Pending
from batuta.streams.broker.settings import BrokerSettings
from batuta.streams.rehearsal.happenings import Happenings
from batuta.streams.rehearsal.torn_disk import BrokerKilledError, TornDisk
from batuta.streams.rehearsal.virtual_loop import VirtualLoop

__all__ = ["START_MS", "BrokerHouse", "CommittedStep"]

#: When every rehearsal begins.
START_MS = 1_790_000_000_000
_SETTINGS = BrokerSettings(housekeeping_interval_ms=4_000)


@dataclass(frozen=True, slots=True)
class CommittedStep:
    """A group's committed offset of one partition went on."""

    at_s: float
    group: str
    topic: str
    partition: int
    before: int
    offset: int


class BrokerHouse:
    """One broker, whichever process of it is running now.

    Attributes:
        steps: every committed offset there ever was, in order.
    """

    def __init__(self, loop: VirtualLoop, chance: Random, happenings: Happenings) -> None:
        self._loop = loop
        self._chance = chance
        self._happenings = happenings
        self._disk = TornDisk()
        self._context = contextvars.copy_context()
        self._unanswered: dict[Pending[Answer], None] = {}
        self._committed: dict[tuple[str, str, int], int] = {}
        self.steps: list[CommittedStep] = []
        self.broker: Broker | None = None
        self.start()

    # Time, as the broker sees it

    def wall_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        return START_MS + int(self._loop.time() * 1000)

    def call_later(self, delay_ms: float, call: Callable[[], None]) -> Alarm:
        """Call `call` later, if the same process of the broker is running then."""
        disk = self._disk

        def ring() -> None:
            if disk is self._disk and self.broker is not None:
                self._inside(call)

        return self._loop.call_later(max(0.0, delay_ms) / 1000, ring, context=self._context)

    # Life

    def start(self) -> None:
        """Start on what is on the disk."""
        self._disk = self._disk.found()
        kept = KeptOn(self._disk)
        try:
            self.broker = Broker(self, _SETTINGS, kept=kept, new_id=self._new_id)
        except BatutaError as refusal:
            self._happenings.violated("broker recovers", f"{type(refusal).__name__}: {refusal}")
            return
        self.broker.start_housekeeping()
        self._look_at_offsets()

    def kill_inside_a_write(self, writes: int, share: float) -> None:
        """Kill it inside the `writes`-th write from now, with `share` of that write done."""
        self._disk.arm(writes, share)

    def kill(self) -> None:
        """Kill it now: every connection closes without an answer."""
        self._disk.end()
        self.broker = None
        unanswered, self._unanswered = list(self._unanswered), {}
        for pending in unanswered:
            pending.resolve(Dropped("the broker was killed"))

    def handle(self, frame: bytes, caller: Caller) -> Pending[Answer]:
        """Handle one request, as `Broker.handle` does; a dead broker drops the connection."""
        outer: Pending[Answer] = Pending()
        if self.broker is None:
            outer.resolve(Dropped("no broker is running"))
            return outer
        self._unanswered[outer] = None
        broker = self.broker

        def ask() -> None:
            broker.handle(frame, caller).then(lambda answer: self._answer(outer, answer))

        self._inside(ask)
        return outer

    def _answer(self, outer: Pending[Answer], answer: Answer) -> None:
        self._unanswered.pop(outer, None)
        outer.resolve(answer)

    def _inside(self, call: Callable[[], None]) -> None:
        """Run a part of the broker; it may be killed in the middle."""
        try:
            call()
        except BrokerKilledError:
            self.kill()
        else:
            self._look_at_offsets()

    # What was committed

    def _look_at_offsets(self) -> None:
        """Note offsets that have changed; they never go back."""
        if self.broker is None:
            return
        known = self._committed
        for group in self.broker.state.groups:
            for (topic, partition), committed in group.offsets.items():
                place = (group.group_id, topic, partition)
                before = known.get(place, 0)
                if before != committed.offset:
                    known[place] = committed.offset
                    self._note(place, before, committed.offset)

    def _note(self, place: tuple[str, str, int], before: int, offset: int) -> None:
        self.steps.append(CommittedStep(self._loop.time(), *place, before, offset))
        self._happenings.trace.note("broker", "committed", (*place, offset))
        if offset < before:
            self._happenings.violated(
                "committed offsets never go back", f"{place} went from {before} to {offset}"
            )

    def _new_id(self) -> uuid.UUID:
        return uuid.UUID(int=self._chance.getrandbits(128))
