"""The recomputation: committed input once more, batch by batch, through fresh agents.

What the broker's committed offsets went over is given to the stage's own agent again, cut into
batches as it was when it was committed, on a state that begins empty. What the agent writes then
must be what stands on the topics, and what its state says must be what stands in the changelog.
Left out are times of the clock, and dead letters, which `ends` accounts for.
"""

import re
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Final, TypeVar, cast

import orjson

from batuta.agents.asking import Outstanding
from batuta.schemas.dead_letter import DeadLetter
from batuta.schemas.record import Output, OutputColumns, Record
from batuta.streams.lanes.batch import Batch
from batuta.streams.lanes.memory import LaneMemory
from batuta.streams.lanes.stage import AnyStage
from batuta.streams.rehearsal.broker_house import CommittedStep, Ending
from batuta.streams.rehearsal.recording import Attempt, Lane
from batuta.streams.rehearsal.stand_in_app import AgentFunction, AnyBatch

__all__ = ["LaneHistory", "Recomputed", "Step", "committed_batches", "recompute", "says"]

AnswerT = TypeVar("AnswerT")
#: A topic and an offset, within one partition number.
Spot = tuple[str, int]
#: Reasons of dead letters that the runtime wrote, past the agent and its state.
_BURIED: Final = frozenset({"gave_up", "output_refused", "sink_unavailable"})
#: Tags of the runtime's own tables lie below; they are not the agents'.
STAGE_TAGS_FROM: Final = b" "
#: What a decision says that was made without its model.
_BY_CHANCE: Final = ("outcome", "score", "reasons", "answers", "fallback")
#: Fields that say when something was done, not when it was; by their names, and with a value that
#: is a number, a text without quotes, or null.
_TIMES: Final = re.compile(
    rb"""
    "\w*(?:_at|_at_ms|duration_ms)":
    (?:[-+.\deE]+ | "[^"\\]*" | null)
    ,?
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Step:
    """One commit of a lane: who asked for it, and from where to where it took each input topic."""

    ending: Ending
    moves: Mapping[str, tuple[int, int]]


@dataclass
class LaneHistory:
    """What is known of one lane.

    Attributes:
        steps: its commits, in order.
        attempts: its batches, committed or not, in order.
        records: every record of its inputs, by topic and offset.
        buried: what the runtime dead-lettered by itself.
    """

    lane: Lane
    steps: Sequence[Step]
    attempts: Sequence[Attempt]
    records: Mapping[Spot, Record]
    buried: frozenset[Spot]


@dataclass
class Recomputed:
    """What a lane should have come to.

    Attributes:
        outputs: in the order they were written; dead letters left out.
        changelog: the last value of each key of the stage's tables.
        faults: what could not be recomputed, and why.
    """

    outputs: list[Output] = field(default_factory=list[Output])
    changelog: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    faults: list[str] = field(default_factory=list[str])


def steps_of(steps: Iterable[CommittedStep]) -> dict[Lane, list[Step]]:
    """Return each lane's commits; offsets that moved together are one."""
    by_lane: defaultdict[Lane, list[Step]] = defaultdict(list)
    for (_, ending, group, partition), moves in groupby(
        steps, key=lambda step: (step.at_s, step.ending, step.group, step.partition)
    ):
        found = {move.topic: (move.before, move.offset) for move in moves}
        by_lane[group, partition].append(Step(ending, found))
    return by_lane


def committed_batches(history: LaneHistory) -> Iterator[Attempt | str]:
    """Yield the attempt behind each commit, or what is wrong where there is none."""
    for step in history.steps:
        spots = frozenset(
            (topic, offset)
            for topic, (before, end) in step.moves.items()
            for offset in range(before, end)
            if (topic, offset) in history.records
        )
        if not spots or spots <= history.buried:
            continue
        attempt = _attempt_behind(history, step, spots - history.buried)
        yield attempt or f"{history.lane} committed {sorted(spots)} and no agent had them"


def _attempt_behind(history: LaneHistory, step: Step, spots: frozenset[Spot]) -> Attempt | None:
    for attempt in reversed(history.attempts):
        in_time = attempt.at_s <= step.ending.begun_at_s
        if (
            in_time
            and step.ending.client.startswith(f"{attempt.worker}/")
            and attempt.spots == spots
        ):
            return attempt
    return None


def buried_spots(lane: Lane, stage: AnyStage, letters: Iterable[DeadLetter]) -> frozenset[Spot]:
    """Return what of a lane's input the runtime gave up, past the agent."""
    found: set[Spot] = set()
    for letter in letters:
        where = letter.record
        if (
            letter.stage == stage.name
            and letter.reason in _BURIED
            and where.topic in stage.inputs
            and where.partition == lane[1]
        ):
            found.add((where.topic, where.offset))
    return frozenset(found)


async def recompute(stage: AnyStage, function: AgentFunction, history: LaneHistory) -> Recomputed:
    """Give a lane's committed input to a fresh agent."""
    memory, recomputed = LaneMemory(stage), Recomputed()
    for found in committed_batches(history):
        if isinstance(found, str):
            recomputed.faults.append(found)
            return recomputed
        await _again(stage, function, found, memory, recomputed)
    return recomputed


async def _again(
    stage: AnyStage, function: AgentFunction, attempt: Attempt, memory: LaneMemory, into: Recomputed
) -> None:
    now_ms = attempt.context.now_ms
    context = replace(
        attempt.context, state=memory.state, timers=memory.timers, parked=memory.parked
    )
    intake = stage.decode(attempt.records, now_ms)
    turns = _Alone()
    batch: AnyBatch = Batch(attempt.records, intake.items, intake.refused, context, turns)
    outputs = batch.outputs  # it lets go of them when it has ended
    memory.begin(batch)
    memory.begin_answers(batch)
    await function(_Once(batch))
    if not turns.committed:
        memory.rollback()
        into.faults.append(f"{stage.group} cannot decide {attempt.spots} again: {batch.error!r}")
        return
    changes = (*memory.changes(batch, now_ms), *memory.answer_changes(batch, now_ms))
    for key, value in changes:
        if value is None:
            into.changelog.pop(key, None)
        elif key >= STAGE_TAGS_FROM:
            into.changelog[key] = value
    memory.commit(batch)
    for output in outputs:
        into.outputs += output.outputs() if isinstance(output, OutputColumns) else (output,)


class _Once:
    """The stream of an agent that is given one batch."""

    def __init__(self, batch: AnyBatch) -> None:
        self._batches = [batch]

    def __aiter__(self) -> AsyncIterator[AnyBatch]:
        return self

    async def __anext__(self) -> AnyBatch:
        if not self._batches:
            raise StopAsyncIteration
        return self._batches.pop()


class _Alone:
    """The turns of a batch with none before and none behind it; it waits for every answer."""

    def __init__(self) -> None:
        self.committed = False

    def understood(self) -> None:
        """Let nobody else have the state."""

    async def ask(
        self, question: object, asking: Coroutine[Any, Any, AnswerT]
    ) -> AnswerT | Outstanding:
        """Wait for an answer, however long it takes."""
        del question
        return await asking

    async def commit(self) -> None:
        """Take it for committed."""
        self.committed = True

    def ended(self) -> None:
        """Do nothing more."""


def says(value: bytes | None, fallen: frozenset[str]) -> bytes | None:
    """Return what a record says, without the times at which it was said.

    Args:
        value: of the record.
        fallen: events whose model gave no answer, or none in time: who was told what about them
            is chance, and so is their outcome. None is returned for notifications and actions.
    """
    if value is None:
        return b""
    if fallen and (said := _said(value)).get("event_id") in fallen:
        if "notification_id" in said or "action_id" in said:
            return None
        value = orjson.dumps({name: said[name] for name in said if name not in _BY_CHANCE})
    return _TIMES.sub(b"", value)


def _said(value: bytes) -> dict[str, object]:
    try:
        said = orjson.loads(value)
    except orjson.JSONDecodeError:
        return {}
    return cast("dict[str, object]", said) if isinstance(said, dict) else {}
