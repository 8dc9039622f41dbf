"""The broker's house: the real broker on virtual time, killed and started again on one disk."""

import contextvars
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import cast

from batuta.schemas.errors import BatutaError
from batuta.streams.broker.broker import Broker, KeptOn
from batuta.streams.broker.clock import Alarm
from batuta.streams.broker.messages_groups import SyncGroupRequest
from batuta.streams.broker.messages_transactions import (
    AddOffsetsToTxnRequest,
    EndTxnRequest,
    InitProducerIdRequest,
)
from batuta.streams.broker.pending import Pending
from batuta.streams.broker.settings import BrokerSettings
from batuta.streams.rehearsal.happenings import Happenings
from batuta.streams.rehearsal.torn_disk import BrokerKilledError, TornDisk
from batuta.streams.rehearsal.virtual_loop import VirtualLoop
from batuta.streams.rehearsal.wire import deliver

__all__ = ["START_MS", "Answered", "BrokerHouse", "CommittedStep", "Ending"]

#: When every rehearsal begins.
START_MS = 1_790_000_000_000
#: Told the response, or None where there will be none.
Answered = Callable[[object | None], None]
_SETTINGS = BrokerSettings(housekeeping_interval_ms=4_000)


@dataclass(frozen=True, slots=True)
class Ending:
    """A request to commit a transaction.

    Attributes:
        client: who asked.
        begun_at_s: when that transaction had taken in its offsets.
    """

    client: str
    begun_at_s: float


@dataclass(frozen=True, slots=True)
class CommittedStep:
    """A group's committed offset of one partition went on.

    Attributes:
        at_s: when.
        ending: who asked for it.
    """

    at_s: float
    ending: "Ending"
    group: str
    topic: str
    partition: int
    before: int
    offset: int


@dataclass(frozen=True, eq=False, slots=True)
class _Reply:
    """Who waits for an answer."""

    answered: Answered


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
        self._unanswered: dict[_Reply, None] = {}
        self._committed: dict[tuple[str, str, int], int] = {}
        self._generations: dict[str, int] = {}
        self._begun: dict[str, float] = {}
        self._endings: dict[str, Ending] = {}
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
                self._look_at_offsets()

        return self._loop.call_later(max(0.0, delay_ms) / 1000, ring, context=self._context)

    # Life

    def start(self) -> None:
        """Start on what is on the disk."""
        if self.broker is not None:
            return
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

    def disarm(self) -> None:
        """Kill it inside no write."""
        self._disk.disarm()

    def kill(self) -> None:
        """Kill it now: every connection closes without an answer."""
        if self.broker is None:
            return
        self._happenings.fault("torn_write", "broker")
        self._disk.end()
        self.broker = None
        unanswered, self._unanswered = list(self._unanswered), {}
        for reply in unanswered:
            reply.answered(None)

    def deliver(self, client: str, request: object, answered: Answered) -> None:
        """Let the broker handle one request, now; its answer comes now, later or never.

        Args:
            client: who asks.
            request: a request message.
            answered: called once with the response, or with None where the connection closed.
        """
        if self.broker is None:
            answered(None)
            return
        reply = _Reply(answered)
        self._unanswered[reply] = None

        def finish(response: object) -> None:
            if self._unanswered.pop(reply, reply) is None:
                reply.answered(response)

        broker = self.broker

        def ask() -> None:
            response = deliver(broker, client, request)
            if isinstance(response, Pending):
                cast("Pending[object]", response).then(finish)
            else:
                finish(response)

        self._inside(ask)
        if isinstance(request, SyncGroupRequest):
            self._look_at_generations()
        if isinstance(request, EndTxnRequest | InitProducerIdRequest):
            self._look_at_offsets()

    def sees(self, client: str, request: object) -> Ending | None:
        """Look at a request as it is sent; one to commit is to be shown again as it arrives."""
        if isinstance(request, AddOffsetsToTxnRequest):
            self._begun[client] = self._loop.time()
        if isinstance(request, EndTxnRequest) and request.committed:
            return Ending(client, self._begun.get(client, 0.0))
        return None

    def ends(self, request: object, ending: Ending | None) -> None:
        """Take down whose transaction is to be committed now."""
        if ending is not None and isinstance(request, EndTxnRequest):
            self._endings[request.transactional_id] = ending

    # What can be seen from outside

    def behind(self, group_id: str, topic_name: str) -> int:
        """Return how many offsets of a topic a group has not committed."""
        assert self.broker is not None
        topic = self.broker.state.topics.get(topic_name)
        group = self.broker.state.groups.get(group_id)
        assert topic is not None, topic_name
        behind = 0
        for partition, log in enumerate(topic.partitions):
            found = group.offsets.get((topic_name, partition)) if group is not None else None
            behind += log.end_offset - (found.offset if found is not None else log.start_offset)
        return behind

    def _inside(self, call: Callable[[], None]) -> None:
        """Run a part of the broker; it may be killed in the middle."""
        try:
            call()
        except BrokerKilledError:
            self.kill()

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

    def _look_at_generations(self) -> None:
        """Count a group's generations after its first."""
        if self.broker is None:
            return
        for group in self.broker.state.groups:
            known = self._generations.get(group.group_id, 0)
            if group.generation > known:
                self._generations[group.group_id] = group.generation
                if known:
                    self._happenings.fault("rebalance", "broker", group.group_id)

    def _note(self, place: tuple[str, str, int], before: int, offset: int) -> None:
        group, _, partition = place
        ending = self._endings[f"{group}-{partition}"]
        self.steps.append(CommittedStep(self._loop.time(), ending, *place, before, offset))
        self._happenings.trace.note("broker", "committed", (*place, offset))
        if offset < before:
            self._happenings.violated(
                "committed offsets never go back", f"{place} went from {before} to {offset}"
            )

    def _new_id(self) -> uuid.UUID:
        return uuid.UUID(int=self._chance.getrandbits(128))
