"""A small play of timers: whoever asks is reminded once, by the clock or by event time.

Each ask, `{"id": 7, "due_ms": ..., "domain": "processing"}` under a key, sets a timer that carries
the id; its firing writes one reminder. An ask with `cancels` takes an earlier one of its key back,
if that has not fired yet; whether it had is said in a note. So a timer that is lost, fires twice,
or fires although it was cancelled in time shows in the outputs.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, cast

import orjson
from faust.types import StreamT

from batuta.agents.state.port import Tables
from batuta.agents.state.timers import Timer
from batuta.schemas.codec import Refused
from batuta.schemas.errors import RefusedEventError
from batuta.schemas.partition import murmur2
from batuta.schemas.record import Output, Record
from batuta.schemas.topics import TopicSpec
from batuta.streams.app import LaneApp
from batuta.streams.lanes.batch import Batch
from batuta.streams.lanes.stage import Stage
from batuta.streams.rehearsal.broker_house import START_MS
from batuta.streams.rehearsal.outside_world import Unreliable
from batuta.streams.rehearsal.plan import Plan
from batuta.streams.rehearsal.play import ByTopic

__all__ = ["RemindersPlay"]

ASKS: Final = "reminders.asks"
REMINDERS: Final = "reminders.reminders"
_DEADLETTERS: Final = "reminders.deadletters"
_GROUP: Final = "reminders-reminding"
_CHANGELOG: Final = "reminders-reminding.state"
_KIND: Final = "remind"
_ASKS: Final = 80
_KEYS: Final = 12
_CANCELLED_SHARE: Final = 0.15
_BEYOND_TROUBLE_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class _Ask:
    number: int
    due_ms: int
    cancels: int | None


@dataclass(frozen=True, slots=True)
class _Intake:
    items: list[_Ask]
    refused: list[Refused]


class RemindersPlay:
    """One stage that does nothing but remind; in the end without a record coming in."""

    busy_share = 0.4

    def __init__(self, unreliable: Unreliable) -> None:
        del unreliable  # it calls nobody

    @property
    def recomputed(self) -> frozenset[str]:
        """None: the clock has its say."""
        return frozenset()

    @property
    def kept(self) -> frozenset[str]:
        """Topics whose outputs are never refused."""
        return frozenset((ASKS, _DEADLETTERS, REMINDERS, _CHANGELOG))

    def topics(self, partitions: int) -> Sequence[TopicSpec]:
        """Return the topics of the one stage."""
        compacted = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1"}
        plain = [TopicSpec(name, partitions) for name in (ASKS, REMINDERS, _DEADLETTERS)]
        return [*plain, TopicSpec(_CHANGELOG, partitions, compacted)]

    def source_records(self, plan: Plan) -> Sequence[Output]:
        """Return the asks."""
        chance = plan.chance("asks")
        return [_ask(number, plan, chance) for number in range(_ASKS)]

    def build(self, app: LaneApp) -> None:
        """Register the stage."""
        stage = Stage(
            pipeline="reminders",
            name="reminding",
            group=_GROUP,
            inputs=(ASKS,),
            decode=_decode,
            open_state=lambda: Tables(()),
            changelog=_CHANGELOG,
            deadletters=_DEADLETTERS,
        )

        async def remind(batches: StreamT[Batch[_Ask, Tables]]) -> None:
            async for batch in batches:
                async with batch:
                    _remind(batch)

        app.agent(app.lanes(stage), name=_GROUP, concurrency=app.concurrency(stage))(remind)

    def unbalanced(self, read: ByTopic) -> Iterator[str]:
        """Yield asks that were not answered once."""
        asked = [_asked(record) for record in read[ASKS]]
        told = [orjson.loads(record.value or b"{}") for record in read[REMINDERS]]
        fired = Counter(cast("int", each["id"]) for each in told if each["said"] == "fired")
        taken_back = Counter(
            cast("int", each["id"]) for each in told if each["said"] == "cancelled"
        )
        for number, times in Counter(ask.number for ask in asked).items():
            ends = fired[number] + taken_back[number]
            # Users who repeat an ask replace its timer, where that has not fired yet.
            if not 1 <= ends <= times:
                yield (
                    f"ask {number} came {times} times, fired {fired[number]} times"
                    f" and was cancelled {taken_back[number]} times"
                )


def _remind(batch: Batch[_Ask, Tables]) -> None:
    timers = batch.context.timers
    for firing in batch.firings:
        batch.forward(_said("fired", int(firing.key)))
    for ask in batch.items:
        timers.set(Timer(_KIND, str(ask.number), ask.due_ms, "processing"))
        if ask.cancels is not None and timers.cancel(_KIND, str(ask.cancels)):
            batch.forward(_said("cancelled", ask.cancels))


def _said(what: str, number: int) -> Output:
    return Output(REMINDERS, b"%d" % number, orjson.dumps({"id": number, "said": what}))


def _ask(number: int, plan: Plan, chance: Random) -> Output:
    key = b"%d" % chance.randrange(_KEYS)
    last_ms = int(plan.trouble_s * 1000) + _BEYOND_TROUBLE_MS
    sent_ms = int(plan.trouble_s * 1000 * RemindersPlay.busy_share * number / _ASKS)
    cancels = number - 1 - chance.randrange(10) if chance.random() < _CANCELLED_SHARE else None
    body = {
        "id": number,
        "due_ms": START_MS + sent_ms + int(chance.random() * (last_ms - sent_ms)),
        "cancels": cancels,
    }
    partition = (murmur2(key) & 0x7FFFFFFF) % plan.partitions
    return Output(ASKS, key, orjson.dumps(body), partition=partition)


def _asked(record: Record) -> _Ask:
    body = orjson.loads(record.value or b"{}")
    return _Ask(int(body["id"]), int(body["due_ms"]), body["cancels"])


def _decode(records: Sequence[Record], now_ms: int) -> _Intake:
    del now_ms
    intake = _Intake([], [])
    for position, record in enumerate(records):
        try:
            intake.items.append(_asked(record))
        except (ValueError, KeyError) as error:
            refused = RefusedEventError("not_an_ask", str(error))
            intake.refused.append(Refused(position, refused))
    return intake
