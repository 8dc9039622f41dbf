"""The ledger forgets dead letters that are gone, and none that could be redriven again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from batuta.schemas.redriven import LetterId
from batuta.streams.deadletters.dead_letters import Found, found_in
from batuta.streams.deadletters.redrive import Redrive, RedriveTakenOverError, Return
from batuta.streams.settings import client_options, load_settings
from batuta.streams.topic_reader import TopicReader

if TYPE_CHECKING:
    from conftest import Office

WEEK_MS: Final = 7 * 86_400_000
CARDS: Final = ("card-1", "card-2")
EACH: Final = 4


async def _redrive_all(office: Office, now_ms: int) -> None:
    settings = load_settings(bootstrap=office.bootstrap)
    async with (
        Redrive(settings, office.topics, lambda: now_ms) as redrive,
        TopicReader(client_options(settings), [office.topics.deadletters]) as reader,
    ):
        async for some in found_in(reader):
            found = [one for one in some if isinstance(one, Found) and one not in redrive.ledger]
            await redrive.send([Return(one, one.letter.record) for one in found])


def _open(office: Office, now_ms: int) -> Redrive:
    settings = load_settings(bootstrap=office.bootstrap)
    return Redrive(settings, office.topics, lambda: now_ms)


async def _prune(office: Office, now_ms: int) -> tuple[int, int]:
    """Return how many markers were taken out, and how many are left."""
    async with _open(office, now_ms) as redrive:
        return await redrive.prune(), len(redrive.ledger)


async def _prune_too_late(office: Office, now_ms: int) -> None:
    """Prune after another redrive has begun."""
    async with _open(office, now_ms) as first:
        async with _open(office, now_ms):
            pass
        await first.prune()


def _retire(office: Office, until: LetterId) -> None:
    """Delete a partition's dead letters before one, as retention does."""
    place = TopicPartition(office.topics.deadletters, until.partition, until.offset)
    admin = AdminClient({"bootstrap.servers": office.bootstrap})
    for done in admin.delete_records([place]).values():
        done.result(30)


def test_a_marker_is_kept_while_its_dead_letter_is_there_and_for_a_week(
    own_office: Office,
) -> None:
    office, now_ms = own_office, own_office.now_ms
    first, second = (office.home_of(card) for card in CARDS)
    assert first != second
    office.bury(
        [office.letter(office.event(office.fresh(), card)) for card in CARDS for _ in range(EACH)]
    )
    asyncio.run(_redrive_all(office, now_ms))
    later_ms = now_ms + WEEK_MS + 1
    assert asyncio.run(_prune(office, later_ms)) == (0, 2 * EACH), "all are there still"
    _retire(office, LetterId(first, EACH - 1))
    assert asyncio.run(_prune(office, now_ms + WEEK_MS)) == (0, 2 * EACH), "a week is not over"
    with pytest.raises(RedriveTakenOverError):
        asyncio.run(_prune_too_late(office, later_ms))
    assert asyncio.run(_prune(office, later_ms)) == (EACH - 1, EACH + 1)
    assert asyncio.run(_prune(office, later_ms)) == (0, EACH + 1), "they are gone for good"

    office.bury([office.letter(office.event(office.fresh(), CARDS[0]))])
    told = office.json("redrive", "fraud", "--all")
    assert (told["redriven"], told["already_redriven"], told["pruned"]) == (1, EACH + 1, 0)
    counts = office.returned()
    assert (len(counts), counts.total()) == (2 * EACH + 1, 2 * EACH + 1)
