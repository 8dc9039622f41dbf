"""The parking lot: steps that wait for an answer outside of any batch, each resumed once.

A step waits for a model or for a human. Later events of its key are queued behind a model, never
behind a human; so ask `blocks` before an event is thought about. Once no model is waited for any
more, `free` gives out what is queued, in order; an event that finds its key blocked again is parked
as it came, and keeps its place. No deadline takes a queued event out of its line: look at it when
it is free.

An answer resumes its step once: a second one, or one for a step that was given up, is ignored and
counted. A step whose deadline has passed is taken out by `expire`.

The lot is bounded, and whoever reads for it takes no more than there is `room` for. Half of it is
for steps that wait for a human, at most: people take hours, and nobody else may stand still for
them. Beyond that the one that has waited longest for a human is given up. At the bound all the
same, the step that has waited longest for a model is; where there is none, for a human; where all
are queued, the first of them. `park` returns it: the caller takes the pipeline's fallback, and
leaves a human's to the review for good.

Changelog: key `tag` + step id in UTF-8; value, after the keyed table's version: order (8 bytes, big
endian), kind (1: 1 model, 2 human, 3 queued), deadline (8, signed), length of the key in bytes (4),
key, payload. And key `tag` alone; value version (1), the next step's order (8).

    lot = ParkingLot(b"p", steps_max=10_000)
    lot.begin()
    lot.park(Step("e1", "c1", "model", deadline_ms=500, payload=b"event 1"))
    lot.blocks("c1")                                                            # True
    lot.park(Step("e2", "c1", "queued", deadline_ms=900, payload=b"event 2"))
    lot.resume("e1")                                                            # the step of e1
    lot.free(limit=100)                                                         # [the step of e2]
"""

import struct
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Final, Literal, get_args

from batuta.agents.state.agenda import Agenda
from batuta.agents.state.codecs import TEXT, Codec
from batuta.agents.state.listed import ListedTable
from batuta.agents.state.port import Change
from batuta.schemas.errors import StateCorruptError

__all__ = ["KINDS", "Kind", "ParkingLot", "Step"]

Kind = Literal["model", "human", "queued"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_VERSION: Final = 1
_HEAD: Final = struct.Struct(">QBqI")
_NEXT: Final = struct.Struct(">BQ")
_CODES: Final[dict[Kind, int]] = {"model": 1, "human": 2, "queued": 3}
_KINDS: Final[dict[int, Kind]] = {code: kind for kind, code in _CODES.items()}


@dataclass(frozen=True, slots=True)
class Step:
    """Something that waits.

    Attributes:
        id: names it to whoever answers.
        key: the key of its event.
        kind: what it waits for: an answer of a model, of a human, or the step before it.
        deadline_ms: until when, by the clock.
        payload: handed back unread.
        order: its place among all steps, given by the lot.
    """

    id: str
    key: str
    kind: Kind
    deadline_ms: int
    payload: bytes = b""
    order: int | None = field(default=None, compare=False)


class _StepEncoding:
    """A step without its id, which is the table's key."""

    def encode(self, thing: Step, /) -> bytes:
        assert thing.order is not None, "a parked step has a place"
        key = thing.key.encode()
        head = _HEAD.pack(thing.order, _CODES[thing.kind], thing.deadline_ms, len(key))
        return head + key + thing.payload

    def decode(self, raw: bytes, /) -> Step:
        try:
            order, code, deadline_ms, length = _HEAD.unpack_from(raw)
            key, payload = raw[_HEAD.size :][:length].decode(), raw[_HEAD.size + length :]
            kind = _KINDS[code]
        except (struct.error, UnicodeDecodeError, KeyError) as error:
            raise StateCorruptError(f"a parked step is damaged: {raw[:32]!r}") from error
        if len(raw) < _HEAD.size + length:
            raise StateCorruptError(f"a parked step ends after {len(raw)} bytes")
        return Step("", key, kind, deadline_ms, payload, order)


@dataclass(slots=True)
class _Line:
    """What waits of one key: how many steps for a model, and the queued by their order."""

    models: int = 0
    queued: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])


class ParkingLot(ListedTable[str, Step]):
    """A StateTable of the steps that wait in one lane."""

    def __init__(self, tag: bytes, *, steps_max: int, name: str = "parking lot") -> None:
        """Open an empty lot for at most `steps_max` steps."""
        super().__init__(tag, Codec(TEXT, _StepEncoding()), name, entries_max=steps_max)
        self._steps_max = steps_max
        self._next_order = 0
        self._ignored = 0
        #: Next order and ignored answers as they were when each open batch began.
        self._before: deque[tuple[int, int]] = deque()
        # What follows can be told from the table, and follows it.
        self._known: dict[str, Step] = {}
        self._lines: dict[str, _Line] = {}
        self._free = Agenda()
        self._deadlines = Agenda()
        self._oldest: dict[Kind, Agenda] = {kind: Agenda() for kind in KINDS}

    @property
    def steps_max(self) -> int:
        """How many steps may wait."""
        return self._steps_max

    @property
    def people_max(self) -> int:
        """How many steps may wait for a human."""
        return max(1, self._steps_max // 2)

    @property
    def room(self) -> int:
        """How many more steps may wait before one is given up."""
        return self._steps_max - len(self._table)

    @property
    def has_free(self) -> bool:
        """Whether anything is queued behind no model any more."""
        return len(self._free) > 0

    @property
    def ignored(self) -> int:
        """How many answers came for no step that waits, since this lane started."""
        return self._ignored

    def counts(self) -> dict[Kind, int]:
        """Return how many steps of each kind there are."""
        return {kind: len(agenda) for kind, agenda in self._oldest.items()}

    def blocks(self, key: str) -> bool:
        """Say whether an event of `key` must be queued: behind a model, or others that are."""
        return key in self._lines

    def get(self, step_id: str) -> Step | None:
        """Return a step that waits, or None."""
        return self._known.get(step_id)

    def waiting(self, kind: Kind) -> list[Step]:
        """Return the steps of one kind, in their order."""
        steps = [step for step in self._known.values() if step.kind == kind]
        return sorted(steps, key=lambda step: step.order or 0)

    def park(self, step: Step) -> Step | None:
        """Let `step` wait; return the step that was given up for it, if there is no room."""
        assert step.id, "a step has an id"
        assert step.id not in self._known, f"the step {step.id} waits already"
        models = self._lines.get(step.key, _Line()).models
        assert step.kind != "model" or not models, "its key is blocked: queue it"
        given_up = self._make_way(step.kind)
        if step.order is None:
            step = replace(step, order=self._next_order)
            self._next_order += 1
        self._table.put(step.id, step)
        self._relist(step.id)
        return given_up

    def resume(self, step_id: str) -> Step | None:
        """Take out the step that is answered, or ignore and count an answer that comes too late."""
        step = self._known.get(step_id)
        if step is None or step.kind == "queued":
            self._ignored += 1
            return None
        return self._take(step_id)

    def free(self, limit: int) -> list[Step]:
        """Take out what is queued behind no model any more, in order, at most `limit`."""
        return [self._take(name.decode()) for _, name in self._free.take(2**63, limit)]

    def take_next(self, key: str) -> Step | None:
        """Take out what is next in the queue of `key`, unless it waits for a model."""
        line = self._lines.get(key)
        if line is None or line.models:
            return None
        return self._take(line.queued[0][1])

    def expire(self, now_ms: int, limit: int) -> list[Step]:
        """Take out the steps for a model or a human whose deadline has come, the earliest first."""
        due = self._deadlines.take(now_ms, limit)
        return [self._take(name.decode()) for _, name in due]

    def next_deadline(self) -> int | None:
        """Return the earliest deadline of a step for a model or a human, or None."""
        first = self._deadlines.first()
        return None if first is None else first[0]

    def begin(self) -> None:
        """Open a batch on top of those that are open."""
        super().begin()
        self._before.append((self._next_order, self._ignored))

    def changes(self, now_ms: int) -> list[Change]:
        """Return what the newest open batch changed, by changelog key."""
        moved = self._next_order != self._before[-1][0]
        return [*(self._next() if moved else ()), *super().changes(now_ms)]

    def commit(self) -> None:
        """Keep what the oldest open batch changed."""
        super().commit()
        self._before.popleft()

    def rollback(self) -> None:
        """Forget what the newest open batch changed."""
        self._next_order, self._ignored = self._before.pop()
        super().rollback()

    def load_many(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Take back many changelog records, in order.

        Raises:
            StateCorruptError: one is of a version or shape this code does not know.
        """
        for key, value in zip(keys, values, strict=True):
            if key == self.tag:
                self._load_next(value)
            else:
                self._table.load(key, value)
                self._relist(TEXT.decode(key[1:]))

    def dump(self) -> Iterable[Change]:
        """Return everything held, as changelog records; only while no batch is open."""
        return chain(self._next() if self._next_order else (), super().dump())

    def _next(self) -> list[Change]:
        return [(self.tag, _NEXT.pack(_VERSION, self._next_order))]

    def _load_next(self, value: bytes | None) -> None:
        if value is None or len(value) != _NEXT.size or value[0] != _VERSION:
            raise StateCorruptError(
                f"the order of {self.name} is damaged or of a version this release does not read"
            )
        self._next_order = max(self._next_order, int(_NEXT.unpack(value)[1]))

    def _make_way(self, kind: Kind) -> Step | None:
        people = self._oldest["human"]
        if kind == "human" and len(people) >= self.people_max and (first := people.first()):
            return self._take(first[1].decode())
        return self._give_up() if self.room <= 0 else None

    def _give_up(self) -> Step:
        # The first of the queued is the next of its key, for nothing waits for a model then.
        oldest = (self._oldest[kind].first() for kind in KINDS)
        first = next(one for one in oldest if one is not None)
        return self._take(first[1].decode())

    def _take(self, step_id: str) -> Step:
        step = self._known[step_id]
        self._table.delete(step_id)
        self._relist(step_id)
        return step

    def _relist(self, key: str) -> None:
        """Bring what follows the table up to what it holds of one step."""
        before, now = self._known.pop(key, None), self._table.get(key)
        if before is not None:
            assert before.order is not None, "a parked step has a place"
            self._unlist(before, before.order)
        if now is not None:
            self._known[key] = step = replace(now, id=key)
            assert step.order is not None, "a parked step has a place"
            self._next_order = max(self._next_order, step.order + 1)
            self._list(step, step.order)

    def _list(self, step: Step, order: int) -> None:
        name = step.id.encode()
        self._oldest[step.kind].set(name, order)
        if step.kind != "queued":
            self._deadlines.set(name, step.deadline_ms)
        if step.kind == "human":
            return
        line = self._lines.setdefault(step.key, _Line())
        if step.kind == "queued":
            insort(line.queued, (order, step.id))
            self._free.put(name, None if line.models else order)
        else:
            line.models += 1
            for _, queued in line.queued:
                self._free.drop(queued.encode())

    def _unlist(self, step: Step, order: int) -> None:
        name = step.id.encode()
        self._oldest[step.kind].drop(name)
        self._deadlines.drop(name)
        self._free.drop(name)
        line = self._lines.get(step.key)
        if step.kind == "human" or line is None:
            return
        if step.kind == "queued":
            del line.queued[bisect_left(line.queued, (order, step.id))]
        else:
            line.models -= 1
            if not line.models:
                self._free.fill({queued.encode(): at for at, queued in line.queued})
        if not line.models and not line.queued:
            del self._lines[step.key]
