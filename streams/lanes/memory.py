"""What one lane remembers: its stage's state, and the tables the runtime keeps beside it.

Written in two turns. In the first a batch understands: the stage's state, timers and watermarks; in
the second it writes what its answers mean: parked steps, and what the stage keeps of answers. Each
turn has layers of its own, so that the second turn of one batch and the first of the next never
meet.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from batuta.agents.state.alignment import Held
from batuta.agents.state.event_time import BEFORE_ALL_MS, Watermarks
from batuta.agents.state.parking import ParkingLot
from batuta.agents.state.port import Change, State, StateTable, Tables, load_by_tag, settle
from batuta.agents.state.timers import Firing, Timers
from batuta.schemas.watermark import Watermark
from batuta.streams.lanes.layers import Layers
from batuta.streams.lanes.stage import Answering, AnyStage, Timed, Timing

__all__ = ["LaneMemory", "Told"]

#: What a lane above has told, and the place among our inputs of the one that it came on.
Told = tuple[int, Watermark]

#: Tags of the runtime's tables; a stage's own tables take those from 0x20 on.
_WATERMARKS: Final = b"\x01"
_TIMERS: Final = b"\x02"
_HELD: Final = b"\x03"
_PARKED: Final = b"\x04"
_STAGE_TAGS_FROM: Final = 0x20
_TIMERS_MAX: Final = 1_000_000
#: So many records of one input wait for the others at most.
_HELD_MAX: Final = 100_000
#: So many timers fire in one batch at most.
_FIRINGS_MAX: Final = 2_000


class LaneMemory:
    """The state of one lane, and the batches open on it.

    Attributes:
        state: the stage's.
        timers: what its agent asked to be called for.
        watermarks: what the lanes above have told.
        held: records that wait until nothing earlier can come.
        parked: steps that wait for an answer.
    """

    def __init__(self, stage: AnyStage) -> None:
        self.state = stage.open_state()
        self._event_time = stage.event_time
        self.watermarks = Watermarks(_WATERMARKS)
        self.held = Held(_HELD, inputs=len(stage.inputs), records_max=_HELD_MAX)
        tables: list[StateTable] = [self.watermarks, self.held]
        if isinstance(self.state, Timing):
            self.timers = self.state.timers
        else:
            self.timers = Timers(_TIMERS, entries_max=_TIMERS_MAX)
            tables.append(self.timers)
        self._runtime = Tables(tables if stage.changelog is not None else ())
        self._layers = (Layers(self.state), Layers(self._runtime))
        self.parked = ParkingLot(_PARKED, steps_max=max(stage.parked_max, 1))
        self._parks = stage.parked_max > 0
        #: How many steps each batch under way may park that has not had its second turn.
        self._reserved: dict[object, int] = {}
        told = self.state.answer_tables if isinstance(self.state, Answering) else ()
        self._answers = Layers(Tables((self.parked, *told)) if told else self.parked)
        self._answer_tags = frozenset((_PARKED, *(table.tag for table in told)))

    # Batches

    @property
    def is_open(self) -> bool:
        """Whether any batch has changed it that is neither committed nor rolled back."""
        return any(len(layers) for layers in (*self._layers, self._answers))

    def begin(self, batch: object) -> None:
        """Open a batch on top of the others."""
        for layers in self._layers:
            layers.begin(batch)

    def reserve(self, batch: object, steps: int) -> None:
        """Keep room in the lot for what a batch may park, until its second turn is over."""
        if self._parks:
            self._reserved[batch] = steps

    @property
    def room(self) -> int:
        """How many records that may have to wait there is room for; below 0 in trouble alone."""
        return self.parked.room - sum(self._reserved.values()) if self._parks else sys.maxsize

    def changes(self, batch: object, now_ms: int) -> list[Change]:
        """Return what the newest batch changed."""
        return [change for layers in self._layers for change in layers.changes(batch, now_ms)]

    def begin_answers(self, batch: object) -> None:
        """Open the second turn of a batch, once those before have had theirs."""
        if self._parks:
            self._answers.begin(batch)

    def answer_changes(self, batch: object, now_ms: int) -> list[Change]:
        """Return what the batch changed in its second turn."""
        if not self._parks:
            return []
        self._reserved.pop(batch, None)
        return self._answers.changes(batch, now_ms)

    def commit(self, batch: object) -> None:
        """Keep what the oldest batch changed."""
        for layers in self._layers:
            layers.commit(batch)
        if self._parks:
            self._answers.commit(batch)

    def rollback(self, keep: object = None) -> None:
        """Forget what every open batch changed but `keep`, which must be the oldest."""
        for layers in (*self._layers, self._answers):
            layers.rollback(keep)
        self._reserved = {one: steps for one, steps in self._reserved.items() if one is keep}

    # Time

    @property
    def watermark_ms(self) -> int:
        """No event from before this time is expected any more; `BEFORE_ALL_MS` where none is known.

        As the batch that was begun last has it.
        """
        if self._event_time is None:
            return BEFORE_ALL_MS
        if self._event_time.hears:
            first_ms = self.held.first_ms()
            told_ms = self.watermarks.watermark_ms
            return told_ms if first_ms is None else min(told_ms, first_ms)
        assert isinstance(self.state, Timed), "a stage at the source knows its events' time"
        return self.state.watermark_ms

    def hear(self, told: Sequence[Told], now_ms: int) -> None:
        """Take in what the lanes above have told."""
        assert self._event_time is not None, "nobody above tells this stage"
        for order, (lane, time_ms, idle) in told:
            reached_ms = BEFORE_ALL_MS if time_ms is None else time_ms
            self.watermarks.hear(f"{order}/{lane}", reached_ms, idle=idle)
        lanes = sum(self._event_time.hears.values())
        self.watermarks.advance(now_ms, lanes, self._event_time.idle_ms)

    def is_due(self, now_ms: int) -> bool:
        """Whether a timer waits to be fired, a record to be let go, or a step to go on or end."""
        by_clock, by_event = self.timers.next_due("processing"), self.timers.next_due("event")
        return (
            (by_clock is not None and by_clock <= now_ms)
            or (by_event is not None and by_event <= self.watermark_ms)
            or (self.room > 0 and self._lets_go())
            or self._goes_on(now_ms)
        )

    def _lets_go(self) -> bool:
        first_ms = self.held.first_ms()
        return first_ms is not None and first_ms < self.watermarks.watermark_ms

    def _goes_on(self, now_ms: int) -> bool:
        deadline_ms = self.parked.next_deadline()
        # No record may ever come that takes along what is free: there may be no room for any.
        return self.parked.has_free or (deadline_ms is not None and deadline_ms <= now_ms)

    def next_due_ms(self) -> int | None:
        """Return when the clock fires the next timer, or ends a step's waiting; 0: it is free."""
        if self.parked.has_free:
            return 0
        dues = (self.timers.next_due("processing"), self.parked.next_deadline())
        return min((due_ms for due_ms in dues if due_ms is not None), default=None)

    def fire(self, now_ms: int) -> list[Firing]:
        """Take out what is due, within the batch that was begun last."""
        return self.timers.due(now_ms, self.watermark_ms, _FIRINGS_MAX)

    # A State, as far as restoring and snapshots go

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take back one changelog record.

        Raises:
            StateCorruptError: the record is of a version or shape this code does not know.
        """
        self._owner(key).load(key, value)

    def load_many(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Take back many changelog records, in order.

        Raises:
            StateCorruptError: one is of a version or shape this code does not know.
        """
        load_by_tag(self._owner, keys, values)

    def settle(self) -> Iterator[None]:
        """Build what was loaded, a part at each step, so that the first batch need not.

        Raises:
            StateCorruptError: what was loaded does not fit together.
        """
        for layers in self._layers:
            yield from settle(layers.state)

    def dump(self) -> Iterable[Change]:
        """Give everything held, as changelog records, while no batch is open."""
        return chain.from_iterable(layers.state.dump() for layers in (*self._layers, self._answers))

    def entries(self) -> int:
        """Return how many entries are held."""
        return sum(layers.state.entries() for layers in (*self._layers, self._answers))

    def _owner(self, key: bytes) -> State:
        if key[:1] in self._answer_tags:
            return self._answers.state
        return self._runtime if key[:1] < bytes([_STAGE_TAGS_FROM]) else self.state
