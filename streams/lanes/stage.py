"""The stage: what one step of the route reads, remembers and is called."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from batuta.agents.open_cases import OpenCases
from batuta.agents.state.port import State, StateTable
from batuta.agents.state.timers import Timers
from batuta.schemas.codec import Refused
from batuta.schemas.record import Record

__all__ = [
    "AnyStage",
    "EventTime",
    "Intake",
    "KeepsCases",
    "NoState",
    "Stage",
    "Timed",
    "Timing",
]

ItemT_co = TypeVar("ItemT_co", covariant=True)
StateT_co = TypeVar("StateT_co", bound=State, covariant=True)


class Intake(Protocol[ItemT_co]):
    """Decoded records: items, and those that did not decode."""

    @property
    def items(self) -> Sequence[ItemT_co]:
        """What decoded, in batch order."""
        ...

    @property
    def refused(self) -> Sequence[Refused]:
        """What did not, in batch order."""
        ...


class NoState:
    """The state of a stage that remembers nothing."""

    def begin(self) -> None:
        """Open a batch."""

    def changes(self, now_ms: int) -> list[tuple[bytes, bytes | None]]:  # noqa: ARG002
        """Return no change."""
        return []

    def commit(self) -> None:
        """Keep nothing."""

    def rollback(self) -> None:
        """Forget nothing."""

    def load(self, key: bytes, value: bytes | None) -> None:
        """Refuse: there is no changelog to load from."""
        raise AssertionError((key, value))

    def dump(self) -> list[tuple[bytes, bytes | None]]:
        """Return nothing held."""
        return []

    def entries(self) -> int:
        """Return 0."""
        return 0


@runtime_checkable
class Timed(Protocol):
    """A state that knows how far the events it has seen have come."""

    @property
    def watermark_ms(self) -> int:
        """No event from before this time is expected any more."""
        ...


@runtime_checkable
class Timing(Protocol):
    """A state with timers of its own, among its tables: the lane fires them."""

    @property
    def timers(self) -> Timers:
        """The timers."""
        ...


@runtime_checkable
class KeepsCases(Protocol):
    """A state that keeps cases for people: its lane shows how many wait, and since when."""

    def open_cases(self) -> Mapping[str, OpenCases]:
        """Return what waits for a verdict, by queue."""
        ...


@runtime_checkable
class Answering(Protocol):
    """A state with further tables that are written once answers are there, beside parked steps."""

    @property
    def answer_tables(self) -> Sequence[StateTable]:
        """These tables; none of them is among those of the state itself."""
        ...


@dataclass(frozen=True, slots=True)
class EventTime:
    """How far a stage has come by its events' time: who tells it, and whom it tells.

    A stage that `hears` nobody reads events of the outside world: its state is `Timed`.

    Attributes:
        idle_ms: how long a lane may be silent before nobody waits for it any more.
        hears: the inputs on which watermarks come, and how many lanes write to each.
        tells: the topics whose readers are told.
        time_of: an item's event time; given where records of the inputs that are heard wait until
            nothing earlier can come (replay), None where they are taken as they come (live).
        id_of: tells items of one time and one input apart: which goes first must not hang on where
            in the input they came to lie.
    """

    idle_ms: int
    hears: Mapping[str, int] = field(default_factory=dict[str, int])
    tells: tuple[str, ...] = ()
    time_of: Callable[[Any], int] | None = None
    id_of: Callable[[Any], str] | None = None


@dataclass(frozen=True)
class Stage(Generic[ItemT_co, StateT_co]):
    """One stage of a pipeline.

    Attributes:
        pipeline, name: metric labels.
        group: its consumer group; a literal, never derived from a module.
        inputs: its topics, co-partitioned: partition n of all of them is lane n.
        decode: the codec's door for its input, given the batch's records and the clock.
        open_state: makes a lane's empty state.
        changelog: the compacted topic of its state, None where it remembers nothing.
        deadletters: where refused records go.
        event_time: None where nobody asks for it.
        parked_max: how many steps may wait for an answer in one lane; 0 where none do.
        parks: the inputs whose records may have to wait so, one step each; what comes on the others
            goes on with steps that wait, or parks nothing.
    """

    pipeline: str
    name: str
    group: str
    inputs: tuple[str, ...]
    decode: Callable[[Sequence[Record], int], Intake[ItemT_co]]
    open_state: Callable[[], StateT_co]
    changelog: str | None
    deadletters: str
    event_time: EventTime | None = None
    parked_max: int = 0
    parks: tuple[str, ...] = ()


#: A stage whatever its items and state are.
AnyStage = Stage[object, State]
