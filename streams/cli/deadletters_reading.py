"""Goes through a pipeline's dead letters once, with a bar, handing on those that are meant."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batuta.streams.cli.progress import meter

if TYPE_CHECKING:
    from collections.abc import Callable

    from batuta.schemas.redriven import LetterId
    from batuta.streams.cli.deadletters_options import Bureau
    from batuta.streams.deadletters.dead_letters import Found, Ledger, Stray
    from batuta.streams.topic_reader import TopicReader

__all__ = ["Reading", "go_through", "stand_at", "these"]


@dataclass
class Reading:
    """What going through the dead letters came to.

    Attributes:
        ledger: what was redriven when the reading began.
        searched: how many records there were.
        found: how many of them were meant; redriven: how many of those were redriven before.
        missing: ids that were asked for and are not there.
        strays: records that are no dead letters.
    """

    ledger: "Ledger"
    missing: "set[LetterId]"
    searched: int = 0
    found: int = 0
    redriven: int = 0
    strays: "list[Stray]" = field(default_factory=list["Stray"])


async def go_through(bureau: "Bureau", take: "Callable[[Found, Reading], None]") -> Reading:
    """Hand each dead letter that is meant to `take`, in the order of its partition.

    Raises:
        BrokerUnreachableError: no broker answers.
        TopicMismatchError: the pipeline has no dead letter topic there.
    """
    from batuta.streams.deadletters.dead_letters import found_in, read_ledger
    from batuta.streams.settings import client_options
    from batuta.streams.topic_reader import TopicReader

    options = client_options(bureau.settings)
    async with TopicReader(options, [bureau.topics.deadletters]) as reader:
        reading = Reading(await read_ledger(options, bureau.topics), set(bureau.selection.ids))
        await stand_at(reader, bureau)
        with meter("reading dead letters", await reader.remaining()) as bar:
            async for block in found_in(reader):
                for found in these(block, bureau, reading):
                    take(found, reading)
                bar.reach(reading.searched)
    return reading


async def stand_at(reader: "TopicReader", bureau: "Bureau") -> None:
    """Skip what was written before the time that is asked for: it was refused before, too."""
    if bureau.selection.since_ms is not None:
        await reader.from_time(bureau.selection.since_ms)


def these(block: "list[Found | Stray]", bureau: "Bureau", reading: Reading) -> "list[Found]":
    """Return those of a block that are meant, and count all of it."""
    from batuta.streams.deadletters.dead_letters import Stray

    meant: list[Found] = []
    for one in block:
        reading.searched += 1
        if isinstance(one, Stray):
            reading.strays.append(one)
        elif one in bureau.selection:
            meant.append(one)
            reading.found += 1
            reading.redriven += one in reading.ledger
            reading.missing.discard(one.id)
    return meant
