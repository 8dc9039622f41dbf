"""Conservation: each record ends as one decision, one dead letter or one counted duplicate.

Whatever producers do with it: sent again, sent to a wrong partition, sent without a key, spoiled,
while workers come and go.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import orjson
import pytest

from batuta.schemas.pipeline import Duplicates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conftest import Sent, Town, Towns

CARDS: Final = [f"c{n}" for n in range(10)]


async def publish(town: Town, records: Sequence[Sent]) -> None:
    await asyncio.to_thread(town.publish, records)


def astray(sent: Sent, way: int) -> Sent:
    """Put a record where a careless producer would: there, elsewhere, or anywhere without a key."""
    elsewhere = (sent.partition + way) % 4
    return sent._replace(partition=elsewhere, key=(sent.key, b"another key", None)[way % 3])


def reworded(town: Town, card: str, number: int) -> Sent:
    """The same transaction, written by another serialiser."""
    fields = town.transaction(card, number)
    turned = dict(reversed(fields.items()))
    value = orjson.dumps(turned, option=orjson.OPT_INDENT_2)
    return town.good(card, number)._replace(value=value)


async def test_redeliveries_are_dropped_and_counted_even_after_a_restart(towns: Towns) -> None:
    town = towns.found()
    events = [town.good(card, number) for number in range(4) for card in CARDS]
    again = [astray(event, way) for way, event in enumerate(events)]
    async with town.at_work() as first:
        await publish(town, events)
        await town.until(40, first)
        await publish(town, [*events, *again])
        await town.until(120, first)
    await town.gather()
    assert (town.counted("duplicates", first), len(town.decisions)) == (80, 40)

    async with town.at_work() as second:
        other_words = [reworded(town, card, number) for number in range(4) for card in CARDS]
        await publish(town, [*other_words, town.good("c0", 9)])
        await town.until(41 + 40, second)
    await town.gather()
    assert town.counted("duplicates", second) == 40
    assert Counter(d.event_id for d in town.decisions) == Counter(
        ["c0-9", *(f"{card}-{number}" for number in range(4) for card in CARDS)]
    )
    assert town.letters == []


@pytest.mark.parametrize(
    "horizon", [Duplicates(within_ms=1), Duplicates(entries_max=1)], ids=["time", "entries"]
)
async def test_beyond_the_horizon_a_redelivery_counts_as_new(
    towns: Towns, horizon: Duplicates
) -> None:
    town = towns.found(duplicates=horizon)
    async with town.at_work() as worker:
        for ends, number in enumerate((1, 2, 3, 1), start=1):
            await publish(town, [town.good("c1", number)])
            await town.until(ends, worker)
    await town.gather()
    assert [d.event_id for d in town.decisions] == ["c1-1", "c1-2", "c1-3", "c1-1"]
    assert town.counted("duplicates", worker) == 0


async def test_unknown_fields_are_ignored_and_counted(towns: Towns) -> None:
    town = towns.found()
    odd = town.good("c1", 2, loyalty="gold", cashier={"name": "unknown", "shift": 3})
    async with town.at_work() as worker:
        await publish(town, [town.good("c1", 1), odd, town.good("c1", 3)])
        await town.until(3, worker)
    await town.gather()
    assert [d.event_id for d in town.decisions] == ["c1-1", "c1-2", "c1-3"]
    assert town.counted("unknown_fields", worker) == 2
    assert town.letters == []


async def test_a_strict_pipeline_refuses_unknown_fields(towns: Towns) -> None:
    town = towns.found(strict=True)
    odd = town.good("c1", 2, loyalty="gold")
    async with town.at_work() as worker:
        await publish(town, [town.good("c1", 1), odd, town.good("c1", 3)])
        await town.until(3, worker)
    await town.gather()
    assert [d.event_id for d in town.decisions] == ["c1-1", "c1-3"]
    assert [(one.reason, one.path) for one in town.letters] == [("unknown_field", "loyalty")]
    assert town.raw_letters[0].value == odd.value
    assert town.counted("unknown_fields", worker) == 0


async def test_what_is_astray_is_forwarded_once_and_windows_are_right(towns: Towns) -> None:
    town = towns.found()
    moved: list[Sent] = []
    async with town.at_work() as worker:
        for number in range(5):
            # Each card's events lie apart: at home, elsewhere, and anywhere without a key.
            placed = [
                astray(town.good(card, number), way + number) for way, card in enumerate(CARDS)
            ]
            homes = map(town.home_of, CARDS)
            moved += [one for one, home in zip(placed, homes, strict=True) if one.partition != home]
            await publish(town, placed)
            await town.until(10 * (number + 1), worker)
    await town.gather()

    seen = {d.event_id: tuple(d.features.values()) for d in town.decisions}
    assert len(town.decisions) == len(seen) == 50
    for card in CARDS:
        for number in range(5):
            # Amount, then count and mean of the card, then the terminal's count.
            expected = (100.0 + number, number + 1, 100.0 + number / 2, number + 1)
            assert seen[f"{card}-{number}"] == expected
    forwarded = await town.read(town.topics.rekeyed)
    assert 0 < len(moved) < 50
    assert sorted(one.value or b"" for one in forwarded) == sorted(
        one.value or b"" for one in moved
    )
    assert all(one.partition == town.home_of((one.key or b"").decode()) for one in forwarded)
    assert town.counted("rekeyed", worker) == len(moved)


async def test_every_record_ends_once_while_workers_come_and_go(towns: Towns) -> None:
    town, seed = towns.found(), random.randrange(2**32)
    mixture = Mixture(town, seed)
    async with AsyncExitStack() as leaving, AsyncExitStack() as staying:
        first = await leaving.enter_async_context(town.at_work())
        await publish(town, mixture.records(600))
        second = await staying.enter_async_context(town.at_work())
        await publish(town, mixture.records(600))
        await second.wait_ready()
        await publish(town, mixture.records(600))
        await leaving.aclose()
        await publish(town, mixture.records(600))
        await town.until(2400, first, second)
    await town.gather()

    said = f"seed {seed}"
    assert town.ended(first, second) == 2400, said
    assert Counter(d.event_id for d in town.decisions) == Counter(mixture.ids), said
    refused = Counter(dict(letter.record.headers)["n"] for letter in town.letters)
    assert max(refused.values()) == 1, said
    assert mixture.bad <= refused.keys(), said
    # Of two payloads under one id the first to arrive counts; which that is, the way decides.
    assert refused.keys() <= mixture.bad | mixture.contested, said


class Mixture:
    """Good, bad, repeated and misplaced records by chance, and how they must end.

    Attributes:
        ids: of the events there are; each is to be decided once.
        bad, contested: the numbers of records nobody can read, and of those whose id has two
            payloads.
    """

    def __init__(self, town: Town, seed: int) -> None:
        self._town = town
        self._chance = random.Random(seed)
        self._sent = 0
        self._numbers: dict[str, set[bytes]] = {}
        self._reused: set[str] = set()
        self.bad: set[bytes] = set()

    @property
    def ids(self) -> set[str]:
        return set(self._numbers)

    @property
    def contested(self) -> set[bytes]:
        return {number for name in self._reused for number in self._numbers[name]}

    def records(self, count: int) -> list[Sent]:
        return [self._next() for _ in range(count)]

    def _next(self) -> Sent:
        self._sent += 1
        number = b"%d" % self._sent
        kind = self._chance.choice(("good", "good", "again", "reused", "bad"))
        one = self._bad(number) if kind == "bad" else self._event(kind, number)
        placed = astray(one, self._chance.randrange(12))
        return placed._replace(headers=(("n", number),))

    def _bad(self, number: bytes) -> Sent:
        self.bad.add(number)
        value = self._chance.choice((b"{", b"\xff", None, b"[]", b'{"card_id": "c1"}'))
        return self._town.good("c1", 1)._replace(value=value)

    def _event(self, kind: str, number: bytes) -> Sent:
        if kind == "good" or not self._numbers:
            name = f"{self._chance.choice(CARDS)}-{self._sent}"
        else:
            name = self._chance.choice(list(self._numbers))
        self._numbers.setdefault(name, set()).add(number)
        card, _, minute = name.partition("-")
        changes = {"transaction_id": name}
        if kind == "reused" and len(self._numbers[name]) > 1:
            self._reused.add(name)
            changes["channel"] = f"other-{self._sent}"
        return self._town.good(card, int(minute) % 60, **changes)
