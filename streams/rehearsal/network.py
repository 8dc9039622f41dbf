"""The network between clients and broker, and what it does to a single request.

The broker reads what one client sends in the order it was sent, over a broken connection too; a
request of one client may arrive long after another's that was sent later. A request that nobody
waits for any more still arrives.
"""

import asyncio
import contextvars
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from random import Random
from typing import Final

import orjson
from aiokafka.errors import KafkaConnectionError, KafkaError, RequestTimedOutError

from batuta.streams.broker.messages_records import (
    FetchResponse,
    ProducePartitionResult,
    ProduceRequest,
    ProduceResponse,
    ProduceTopicResult,
)
from batuta.streams.rehearsal.broker_house import Answered, BrokerHouse, Ending
from batuta.streams.rehearsal.happenings import Happenings
from batuta.streams.rehearsal.plan import FaultKind, Weather

__all__ = ["Network", "Refusal"]

_QUICK_S: Final = (0.0002, 0.003)
_DELAYED_S: Final = (0.02, 1.5)
_OVERTAKEN_S: Final = (0.004, 0.03)
#: When a client finds out that an answer will not come.
_NOTICED_S: Final = (0.005, 2.0)
#: When a client gives up on an answer: later than any rebalance takes.
_PATIENCE_S: Final = 8.0
#: A connection that cannot be made is refused after this long.
_REFUSED_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Refusal:
    """Outputs that the broker refuses.

    Attributes:
        topics: of which topics one is refused at a time.
        code: the protocol's error code.
        count: how many writes are hit.
    """

    topics: frozenset[str]
    code: int
    count: int


@dataclass(slots=True)
class _Letter:
    """One request under way."""

    client: str
    request: object
    back: "asyncio.Future[object]"
    ending: Ending | None
    arrived: bool = False


_Fate = Callable[[_Letter, float], None]


class Network:
    """Carries every request of the rehearsal's clients; a `Wire`.

    Attributes:
        weather: what may happen to a request now.
        refusal: which outputs are refused now.
    """

    def __init__(self, house: BrokerHouse, chance: Random, happenings: Happenings) -> None:
        self.weather = Weather()
        self.refusal: Refusal | None = None
        self._house = house
        self._chance = chance
        self._happenings = happenings
        self._context = contextvars.copy_context()
        self._late: dict[str, list[_Letter]] = {}
        self._closed = False

    async def call(self, client: str, request: object) -> object:
        """Carry one request there and its answer back.

        Raises:
            KafkaError: there is no answer.
        """
        if self._closed:
            raise KafkaConnectionError
        back: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        letter = _Letter(client, request, back, self._house.sees(client, request))
        self._happenings.trace.note(client, type(request).__name__, _checksum(request))
        self._send(letter)
        return await back

    def close(self) -> None:
        """Carry nothing any more."""
        self._closed = True

    def _send(self, letter: _Letter) -> None:
        """Let chance decide what becomes of a request."""
        weather, chance = self.weather, self._chance
        there_s = chance.uniform(*_QUICK_S)
        drawn = chance.random()
        if drawn >= weather.of_requests:
            self._later(there_s, lambda: self._arrive(letter))
            return
        fates: tuple[tuple[FaultKind, float, _Fate], ...] = (
            ("lost_request", weather.lost_request, self._lose),
            ("lost_reply", weather.lost_reply, self._lose_reply),
            ("late_request", weather.late_request, self._arrive_late),
            ("duplicate", weather.duplicate, self._arrive_twice),
            ("delay", weather.delay, self._delay),
            ("reorder", weather.reorder, self._let_overtake),
        )
        for kind, share, act in fates:
            if drawn < share:
                self._happenings.fault(kind, letter.client, type(letter.request).__name__)
                act(letter, there_s)
                return
            drawn -= share
        self._later(there_s, lambda: self._arrive(letter))

    # What may become of a request

    def _lose(self, letter: _Letter, there_s: float) -> None:
        self._fail(letter, there_s + self._chance.uniform(*_NOTICED_S))

    def _lose_reply(self, letter: _Letter, there_s: float) -> None:
        self._later(there_s, lambda: self._arrive(letter, answers=False))
        self._fail(letter, there_s + self._chance.uniform(*_NOTICED_S))

    def _arrive_late(self, letter: _Letter, there_s: float) -> None:
        """Let the client give up first, the request arrive afterwards."""
        noticed_s = there_s + self._chance.uniform(*_NOTICED_S)
        self._fail(letter, noticed_s)
        self._late.setdefault(letter.client, []).append(letter)
        late_s = noticed_s * (1.0 + 3.0 * self._chance.random())
        self._later(late_s, lambda: self._arrive(letter, answers=False))

    def _arrive_twice(self, letter: _Letter, there_s: float) -> None:
        """Let the request arrive, its answer be lost, and the repeated one arrive as well."""
        twin = replace(letter, arrived=False)
        # A broker answers only the last of two that wait for a rebalance.
        self._fail(letter, _PATIENCE_S)
        first, second = (False, True) if self._chance.random() < 0.5 else (True, False)  # noqa: PLR2004
        self._later(there_s, lambda: self._arrive(letter, answers=first))
        if second:
            again_s = there_s + self._chance.uniform(*_OVERTAKEN_S)
            self._later(again_s, lambda: self._arrive(twin))
        else:
            self._later(there_s, lambda: self._arrive(twin, answers=False))

    def _delay(self, letter: _Letter, there_s: float) -> None:
        there_s += self._chance.uniform(*_DELAYED_S)
        self._later(there_s, lambda: self._arrive(letter))

    def _let_overtake(self, letter: _Letter, there_s: float) -> None:
        there_s += self._chance.uniform(*_OVERTAKEN_S)
        self._later(there_s, lambda: self._arrive(letter))

    # There and back

    def _arrive(self, letter: _Letter, *, answers: bool = True) -> None:
        """Hand a request to the broker, after those of its client that were sent before."""
        if letter.arrived:
            return
        letter.arrived = True
        for earlier in self._late.pop(letter.client, ()):
            if earlier is not letter and not earlier.arrived:
                earlier.arrived = True
                self._hand_over(earlier, _unheard)
        self._hand_over(letter, self._answering(letter) if answers else _unheard)

    def _hand_over(self, letter: _Letter, answered: Answered) -> None:
        self._house.ends(letter.request, letter.ending)
        if self.refusal is not None and isinstance(letter.request, ProduceRequest):
            self._produce(letter.client, letter.request, answered)
        else:
            self._house.deliver(letter.client, letter.request, answered)

    def _answering(self, letter: _Letter) -> Answered:
        back_s = self._chance.uniform(*_QUICK_S)

        def answer(response: object | None) -> None:
            if response is None:
                self._fail(letter, _REFUSED_S)
            else:
                name = type(response).__name__
                self._happenings.trace.note(letter.client, name, _checksum(response))
                self._later(back_s, lambda: _settle(letter.back, response))

        return answer

    def _fail(self, letter: _Letter, after_s: float) -> None:
        error = RequestTimedOutError() if self._chance.getrandbits(1) else KafkaConnectionError()
        self._later(after_s, lambda: _settle(letter.back, error))

    def _later(self, after_s: float, act: Callable[[], None]) -> None:
        """Act as the world, not as the process that sent the request: it may die meanwhile."""
        asyncio.get_running_loop().call_later(after_s, act, context=self._context)

    # Refused outputs

    def _produce(self, client: str, request: ProduceRequest, answered: Answered) -> None:
        """Let the broker refuse one partition's batch of a write, and take the others."""
        refusal = self.refusal
        assert refusal is not None
        places = [
            (topic.name, entry.partition)
            for topic in request.topics
            for entry in topic.partitions
            if topic.name in refusal.topics
        ]
        if not places:
            self._house.deliver(client, request, answered)
            return
        victim = self._chance.choice(places)
        self.refusal = replace(refusal, count=refusal.count - 1) if refusal.count > 1 else None
        self._happenings.fault("refused_output", client, (*victim, refusal.code))
        answer = _refused(victim, refusal.code)
        rest = _without(request, victim)
        if rest.topics:
            self._house.deliver(client, rest, lambda found: answered(_joined(found, answer)))
        else:
            answered(ProduceResponse((answer,)))


def _settle(back: "asyncio.Future[object]", outcome: object) -> None:
    if back.done():
        return
    if isinstance(outcome, KafkaError):
        back.set_exception(outcome)
    else:
        back.set_result(outcome)


def _unheard(response: object | None) -> None:
    del response


def _checksum(message: object) -> int:
    """Tell messages apart by what they carry."""
    match message:
        case ProduceRequest():
            batches = (entry for topic in message.topics for entry in topic.partitions)
            return _checksum_of(entry.records for entry in batches)
        case FetchResponse():
            found = (entry for topic in message.topics for entry in topic.partitions)
            return _checksum_of(entry.records for entry in found)
        case _:
            return zlib.crc32(orjson.dumps(message, default=_as_text))


def _as_text(value: object) -> str:
    """Show what JSON has no word for: bytes."""
    return repr(value)


def _checksum_of(parts: Iterable[bytes | None]) -> int:
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part or b"", checksum)
    return checksum


def _refused(place: tuple[str, int], code: int) -> ProduceTopicResult:
    topic, partition = place
    return ProduceTopicResult(topic, (ProducePartitionResult(partition, code, -1),))


def _without(request: ProduceRequest, place: tuple[str, int]) -> ProduceRequest:
    kept = tuple(
        replace(
            topic,
            partitions=tuple(e for e in topic.partitions if (topic.name, e.partition) != place),
        )
        for topic in request.topics
    )
    return replace(request, topics=tuple(topic for topic in kept if topic.partitions))


def _joined(response: object | None, refused: ProduceTopicResult) -> object | None:
    if not isinstance(response, ProduceResponse):
        return response
    return replace(response, topics=(*response.topics, refused))
