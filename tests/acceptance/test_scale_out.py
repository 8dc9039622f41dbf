"""Workers come and go under load, as processes: what they decide and know is as if none had."""

from __future__ import annotations

import asyncio
import base64
import re
import signal
from collections import defaultdict
from typing import TYPE_CHECKING, Final

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from batuta.schemas.codec import encode_notification
from batuta.schemas.notification import Notification
from batuta.schemas.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Crew, Hand, Sent, Town

    from batuta.schemas.decision import Decision

PARTITIONS: Final = 4
CARDS: Final = 40
START_MS: Final = 1_522_540_800_000
#: So that a killed worker's lanes are soon another's, and batches are many.
SETTINGS: Final = {
    "session_timeout_ms": 3_000,
    "heartbeat_interval_ms": 500,
    "batch_records_max": 100,
}
REBALANCED: Final = re.compile(r"partitions_rebalanced.*given=\[([\d, ]*)\].*taken=\[([\d, ]*)\]")


def purchase(town: Town, number: int) -> Sent:
    """The n-th of all: each card's in order of time, a second apart, at its own terminal."""
    event_time = rfc3339(START_MS + number * 1_000)
    return town.good(f"c{number % CARDS}", number, event_time=event_time)


def check_as_if_one(town: Town, events: int) -> None:
    """Every event decided once, each card's in order, on what a recomputation knows."""
    assert town.letters == []
    assert len(town.decisions) == len({d.event_id for d in town.decisions}) == events
    by_card: dict[str, list[Decision]] = defaultdict(list)
    for decision in town.decisions:
        by_card[decision.event_id.rpartition("-")[0]].append(decision)
    assert len(by_card) == CARDS
    for decisions in by_card.values():
        numbers = [int(d.event_id.rpartition("-")[2]) for d in decisions]
        assert numbers == sorted(numbers), "reordered"
        for place, decision in enumerate(decisions, start=1):
            mean = sum(100.0 + number for number in numbers[:place]) / place
            assert decision.features["card_count_30d"] == place
            assert decision.features["terminal_count_30d"] == place
            assert decision.features["card_mean_amount_30d"] == pytest.approx(mean, rel=1e-5)


def lanes_told(hand: Hand) -> list[tuple[set[int], set[int]]]:
    """The lanes that each rebalance gave and took, as the log names them."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", hand.said())
    return [(numbers(given), numbers(taken)) for given, taken in REBALANCED.findall(plain)]


def numbers(said: str) -> set[int]:
    return {int(number) for number in said.split(",") if number.strip()}


def settled(town: Town) -> Callable[[int], bool]:
    """Says whether scoring's group is settled and has so many members."""
    admin = AdminClient({"bootstrap.servers": town.bootstrap})

    def has(members: int) -> bool:
        (asked,) = admin.describe_consumer_groups([town.topics.group("scoring")]).values()
        found = asked.result(20)
        return found.state.name == "STABLE" and len(found.members) == members

    return has


@pytest.mark.timeout(300)
async def test_workers_come_and_go_under_load_and_nothing_shows(
    crew: Crew, fraud_town: Town
) -> None:
    town, sent, members = fraud_town, 0, settled(fraud_town)

    async def publish(count: int) -> None:
        nonlocal sent
        events = [purchase(town, n) for n in range(sent, sent + count)]
        sent += count
        await asyncio.to_thread(town.publish, events)

    def start() -> Hand:
        return crew.start(town.bootstrap, "--stages", "ingestion,scoring", **SETTINGS)

    await publish(4_000)
    first = start()
    first.wait_until(lambda: first.metric("batuta_decisions_total") > 200)
    second = start()
    await publish(2_000)
    second.wait_until(lambda: members(2))
    third = start()
    await publish(2_000)
    third.wait_until(lambda: members(3))
    second.process.send_signal(signal.SIGTERM)
    await publish(2_000)
    assert second.ends_with() == 0
    fourth = start()
    fourth.wait_until(lambda: members(3))
    await publish(2_000)
    third.process.kill()
    third.process.wait()
    await publish(2_000)
    await town.until(sent)
    for hand in (first, fourth):
        hand.wait_until(lambda hand=hand: hand.metric("batuta_consumer_lag_records") == 0)
        hand.process.send_signal(signal.SIGTERM)
        assert hand.ends_with() == 0
        assert "Traceback" not in hand.said()
    await town.gather()
    check_as_if_one(town, sent)
    # The log tells who came to have what: the first had all lanes, and gave some away.
    told = lanes_told(first)
    assert told[0] == (set(range(PARTITIONS)), set())
    assert any(taken for _, taken in told[1:])


async def test_of_two_workers_under_one_instance_id_the_older_ends_with_2_and_says_why(
    crew: Crew, fraud_town: Town
) -> None:
    await asyncio.to_thread(fraud_town.publish, [purchase(fraud_town, n) for n in range(2_000)])
    stages = ("--stages", "ingestion,scoring")
    older = crew.start(fraud_town.bootstrap, *stages, instance_id="alone", **SETTINGS)
    older.wait_until(lambda: older.metric("batuta_decisions_total") > 100)
    newer = crew.start(fraud_town.bootstrap, *stages, instance_id="alone", **SETTINGS)
    assert older.ends_with() == 2
    said = " ".join(older.said().split())
    assert "another worker has taken the place of instance id 'alone'" in said
    assert "BATUTA_INSTANCE_ID" in said
    assert "Traceback" not in said.partition("error: another worker")[2]
    await fraud_town.until(2_000)
    newer.wait_until(lambda: newer.metric("batuta_consumer_lag_records") == 0)
    assert newer.metric("batuta_rebalances_total") == len(stages[1].split(","))
    newer.process.send_signal(signal.SIGTERM)
    assert newer.ends_with() == 0
    await fraud_town.gather()
    check_as_if_one(fraud_town, 2_000)


async def test_a_sink_that_never_answers_shows_as_backpressure_and_holds_no_worker_that_ends(
    crew: Crew, fraud_town: Town
) -> None:
    asked = asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()  # until the worker is gone
        writer.close()

    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    hand = crew.start(
        fraud_town.bootstrap,
        "--stages",
        "notification",
        webhook_url=f"http://127.0.0.1:{port}/",
        webhook_secret=base64.b64encode(bytes(24)).decode(),
        # Far longer than this test waits for the worker to end.
        webhook_timeout_ms=3_600_000,
        drain_timeout_ms=1_000,
        pause_after_ms=500,
        **SETTINGS,
    )
    hand.wait_ready()
    told = Notification(
        "n-1", "fraud", "default", "critical", "blocked", "why", "tx-1", {}, START_MS
    )
    record = encode_notification(told, fraud_town.topics.notifications)
    producer = Producer({"bootstrap.servers": fraud_town.bootstrap})
    producer.produce(record.topic, record.value, record.key, headers=list(record.headers))
    assert producer.flush(30) == 0
    async with asyncio.timeout(60):
        await asked.wait()
    await asyncio.to_thread(
        hand.wait_until, lambda: hand.metric("batuta_lanes_paused", stage="notification") > 0
    )
    assert hand.metric("batuta_backpressure_seconds_total", stage="notification") > 0.5
    assert "lane_paused" in hand.said()
    hand.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(hand.ends_with) == 0
    assert "Traceback" not in hand.said()
    server.close()
    await server.wait_closed()
