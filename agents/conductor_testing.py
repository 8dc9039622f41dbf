"""Lets a conductor decide about batches by themselves, as lanes do: for tests and benchmarks."""

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager

from batuta.agents.conductor import Conductor
from batuta.agents.conductor_state import ConductorState
from batuta.agents.context import Context
from batuta.agents.state.port import StateTable
from batuta.schemas.decision import Decision
from batuta.schemas.ingested import Ingested

__all__ = ["decided", "second_turn"]


@contextmanager
def second_turn(tables: Iterable[StateTable], now_ms: int) -> Generator[None]:
    """Open the tables that are written once answers are there, and keep what was written."""
    opened = tuple(tables)
    for table in opened:
        table.begin()
    yield
    for table in opened:
        table.changes(now_ms)
        table.commit()


async def decided(
    conductor: Conductor, events: Sequence[Ingested], context: Context[ConductorState]
) -> list[Decision]:
    """Return one decision per event, in order: a batch by itself, that waits for its model.

    Raises:
        LaterError: the model's outside world failed; the batch may be tried again.
    """
    question = conductor.understand(events, context)
    answer = await conductor.ask(question)
    with second_turn(context.state.answer_tables, context.now_ms):
        return list(conductor.conclude(question, answer, context).decisions)
