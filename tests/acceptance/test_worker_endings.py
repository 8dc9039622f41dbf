"""How a worker ends: asked to under load, and as in a power cut; what it knew is known again."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

import orjson
import pytest

from batuta.schemas.codec import decode_case, decode_ingested
from batuta.schemas.times import parse_rfc3339, rfc3339

if TYPE_CHECKING:
    from conftest import Crew, Sent, Town

    from batuta.schemas.record import Record

DAY_MS: Final = 86_400_000
WINDOWS: Final = {"1d": DAY_MS, "7d": 7 * DAY_MS, "30d": 30 * DAY_MS}
START_MS: Final = 1_522_540_800_000
#: So that a killed worker's lanes are soon another's.
SHORT_SESSION: Final = {"session_timeout_ms": 2_000, "heartbeat_interval_ms": 500}
#: A card's or terminal's events so far, in order of arrival: time and amount.
Seen = dict[str, list[tuple[int, float]]]


def purchase(town: Town, number: int) -> Sent:
    """One of many: 40 cards at 25 terminals over 20 days, in no order of time; some large."""
    event_time = rfc3339(START_MS + number * 7_919_003 % (20 * DAY_MS))
    amount = 4000.0 if number % 50 == 0 else 1 + number * 37 % 20_011 / 80
    changes = {"event_time": event_time, "amount": amount, "terminal_id": f"t{number % 25}"}
    return town.good(f"c{number % 40}", number, **changes)


async def publish(town: Town, events: list[Sent]) -> None:
    await asyncio.to_thread(town.publish, events)


async def test_asked_to_end_under_load_it_drains_and_nothing_is_lost_or_doubled(
    crew: Crew, fraud_town: Town
) -> None:
    events = 12_000
    await publish(fraud_town, [purchase(fraud_town, n) for n in range(events)])
    first = crew.start(fraud_town.bootstrap, batch_records_max=100)
    first.wait_until(lambda: first.metric("batuta_decisions_total") > 500)
    first.process.send_signal(signal.SIGTERM)
    assert first.ends_with() == 0
    assert "Traceback" not in first.said()
    await fraud_town.gather()
    assert 500 < len(fraud_town.decisions) < events, "it was not under load"

    second = crew.start(fraud_town.bootstrap)
    await fraud_town.until(events)
    second.wait_until(lambda: second.metric("batuta_consumer_lag_records") == 0)
    second.process.send_signal(signal.SIGTERM)
    assert second.ends_with() == 0
    await fraud_town.gather()
    assert len(fraud_town.decisions) == len({d.event_id for d in fraud_town.decisions}) == events
    assert fraud_town.letters == []
    reviewed = Counter(d.event_id for d in fraud_town.decisions if d.outcome == "review")
    cases = [decode_case(r) for r in await fraud_town.read(fraud_town.topics.escalations)]
    assert Counter(case.decision.event_id for case in cases) == reviewed
    assert reviewed


async def test_what_it_knew_is_known_again_after_a_kill(crew: Crew, fraud_town: Town) -> None:
    events, town = 3_000, fraud_town
    await publish(town, [purchase(town, n) for n in range(events)])
    first = crew.start(town.bootstrap, batch_records_max=50, **SHORT_SESSION)
    first.wait_until(lambda: first.metric("batuta_decisions_total") > 300)
    first.process.kill()
    first.process.wait()

    second = crew.start(town.bootstrap, **SHORT_SESSION)
    await town.until(events)
    await publish(town, [purchase(town, n) for n in range(events + 400)])
    await town.until(events + 400)
    second.wait_until(lambda: second.metric("batuta_duplicates_total") == events)
    second.process.send_signal(signal.SIGTERM)
    assert second.ends_with() == 0
    await town.gather()
    assert town.letters == []
    assert len(town.decisions) == len({d.event_id for d in town.decisions}) == events + 400

    expected = _recomputed(
        await town.read(town.topics.events), await town.read(town.topics.ingested)
    )
    for decision in town.decisions:
        for name, value in expected[decision.event_id].items():
            assert decision.features[name] == pytest.approx(value, abs=1e-4), decision.event_id


def _recomputed(events: list[Record], ingested: list[Record]) -> dict[str, dict[str, float]]:
    """Compute every event's window features anew, slowly, from the topics alone."""
    features: dict[str, dict[str, float]] = {}
    cards: Seen = defaultdict(list)
    for record in sorted(events, key=lambda record: record.offset):
        fields = orjson.loads(record.value or b"")
        if fields["transaction_id"] not in features:
            moment_ms, amount = parse_rfc3339(fields["event_time"]), fields["amount"]
            seen = _observe(cards[fields["card_id"]], moment_ms, amount)
            features[fields["transaction_id"]] = {
                **{f"card_count_{name}": len(amounts) for name, amounts in seen.items()},
                **{
                    f"card_mean_amount_{name}": sum(amounts) / len(amounts)
                    for name, amounts in seen.items()
                },
            }
    terminals: Seen = defaultdict(list)
    for event in decode_ingested(sorted(ingested, key=lambda record: record.offset)).items:
        seen = _observe(terminals[event.scoring_key], event.event_time_ms, 0.0)
        features[event.event_id] |= {
            f"terminal_count_{name}": len(amounts) for name, amounts in seen.items()
        }
    return features


def _observe(
    seen: list[tuple[int, float]], moment_ms: int, amount: float
) -> dict[str, list[float]]:
    """Remember an event; return the amounts in each of its windows, its own included."""
    seen.append((moment_ms, amount))
    return {
        name: [other for at_ms, other in seen if moment_ms - width_ms < at_ms <= moment_ms]
        for name, width_ms in WINDOWS.items()
    }
