"""Ingestion, on a pipeline that knows nothing of cards: each event ends in exactly one place."""

from __future__ import annotations

from itertools import count
from typing import Literal

import orjson
import pytest
from pydantic import BaseModel

from batuta.agents.context import Context
from batuta.agents.ingestion import Ingest, Ingestion, IngestionState
from batuta.schemas.event import Event
from batuta.schemas.partition import PartitionOf
from batuta.schemas.pipeline import Escalation, Lateness, Pipeline, Source, WindowFeature

PARCELS = Pipeline(
    name="parcels",
    version=3,
    source=Source(id_field="parcel", key_field="sender", time_field="at"),
    scoring_key_field="depot",
    ingestion_windows=(
        WindowFeature(name="sender", by="sender", windows_ms=(60_000,), mean_of="weight"),
    ),
    scoring_windows=(WindowFeature(name="depot", by="depot", windows_ms=(60_000,)),),
    escalation=Escalation(queue="dispatch"),
)


class Parcel(BaseModel):
    parcel: str
    sender: str
    depot: str = "d1"
    weight: float = 2.0


_positions = count()


def event(
    parcel: str,
    sender: str = "s1",
    weight: float = 2.0,
    tenant: str = "default",
    time_ms: int = 1_000,
) -> Event[Parcel]:
    data = Parcel(parcel=parcel, sender=sender, weight=weight)
    json = orjson.dumps(data.model_dump())
    return Event(parcel, sender, time_ms, data, json, 7, next(_positions), tenant)


class Lane:
    """An ingestion lane whose every batch is committed."""

    def __init__(
        self, partitions: int = 1, partition: int = 0, pipeline: Pipeline = PARCELS
    ) -> None:
        self.agent = Ingestion(pipeline)
        self.state = self.agent.open_state()
        self._partitions = PartitionOf(partitions)
        self._partition = partition

    def context(self) -> Context[IngestionState]:
        return Context(5_000, self._partition, self._partitions, self.state)

    def take(self, *events: Event[Parcel], at_home: frozenset[int] = frozenset()) -> Ingest:
        self.state.begin()
        result = self.agent.ingest(events, self.context(), at_home)
        self.state.changes(5_000)
        self.state.commit()
        return result


def test_an_accepted_event_carries_its_windows_its_payload_and_the_key_of_scoring() -> None:
    result = Lane().take(event("p1", weight=2.0), event("p2", weight=4.0))
    second = result.accepted[1]
    assert second.features == {"sender_count_1m": 2.0, "sender_mean_weight_1m": 3.0}
    assert (second.event_id, second.entity, second.scoring_key) == ("p2", "s1", "d1")
    assert second.data == {"parcel": "p2", "sender": "s1", "depot": "d1", "weight": 4.0}
    assert (second.event_time_ms, second.published_ms, second.tenant) == (1_000, 7, "default")


def test_an_identical_redelivery_is_dropped_and_counts_in_no_window() -> None:
    lane = Lane()
    assert lane.take(event("p1"), event("p1")).duplicates == 1
    later = lane.take(event("p1"), event("p2"))
    assert later.duplicates == 1
    assert [e.features["sender_count_1m"] for e in later.accepted] == [2.0]


def test_an_id_reused_with_another_payload_is_refused_with_its_place_and_a_reason() -> None:
    lane = Lane()
    lane.take(event("p1", weight=1.0))
    reused = event("p1", weight=9.0)
    result = lane.take(reused, event("p2"))
    assert [e.event_id for e in result.accepted] == ["p2"]
    assert result.accepted[0].features["sender_count_1m"] == 2.0
    refused = result.refused[0]
    assert refused.position == reused.position
    assert (refused.error.reason, refused.error.path) == ("id_reused", "parcel")
    assert "'p1'" in refused.error.detail


def test_tenants_share_neither_ids_nor_windows() -> None:
    lane = Lane()
    lane.take(event("p1", tenant="default"))
    result = lane.take(event("p1", weight=9.0, tenant="other"))
    assert result.accepted[0].features["sender_count_1m"] == 1.0


def test_a_misplaced_event_leaves_no_trace() -> None:
    places = PartitionOf(8)
    away = next(name for name in map(str, count()) if places(name.encode()) != 3)
    home = next(name for name in map(str, count()) if places(name.encode()) == 3)
    lane = Lane(partitions=8, partition=3)
    astray = event("p1", sender=away)
    result = lane.take(astray, event("p2", sender=home))
    assert result.misplaced == [astray]
    assert [e.event_id for e in result.accepted] == ["p2"]
    assert (lane.state.duplicates.entries(), lane.state.windows.entries()) == (1, 1)
    again = lane.take(astray, at_home=frozenset({astray.position}))
    assert (again.misplaced, again.duplicates) == ([], 0)
    assert again.accepted[0].features["sender_count_1m"] == 1.0


def test_what_is_rolled_back_was_never_seen() -> None:
    lane, once = Lane(), event("p1")
    lane.state.begin()
    lane.agent.ingest([once], lane.context())
    lane.state.changes(5_000)
    lane.state.rollback()
    result = lane.take(once)
    assert result.duplicates == 0
    assert result.accepted[0].features["sender_count_1m"] == 1.0


def test_state_restored_from_its_changes_answers_the_same() -> None:
    lane, twin = Lane(), Lane()
    lane.state.begin()
    lane.agent.ingest([event("p1", weight=1.0), event("p2", weight=2.0)], lane.context())
    for key, value in lane.state.changes(5_000):
        twin.state.load(key, value)
    lane.state.commit()
    batch = (event("p1", weight=1.0), event("p2", weight=9.0), event("p3", weight=6.0))
    assert twin.take(*batch).accepted == lane.take(*batch).accepted
    assert twin.take(*batch).duplicates == lane.take(*batch).duplicates == 2


def test_an_empty_batch_is_nothing() -> None:
    assert Lane().take() == Ingest([], 0, [], [], [])


def _late(rule: Literal["accept", "aside", "drop"]) -> Lane:
    lateness = Lateness(allowed_ms=100, rule=rule)
    source = PARCELS.source.model_copy(update={"lateness": lateness})
    return Lane(pipeline=PARCELS.model_copy(update={"source": source}))


@pytest.mark.parametrize("rule", ["aside", "drop"])
def test_an_event_behind_the_watermark_of_those_before_it_is_late(
    rule: Literal["aside", "drop"],
) -> None:
    lane = _late(rule)
    late = event("p3", time_ms=1_899)
    result = lane.take(event("p1", time_ms=2_000), event("p2", time_ms=1_900), late)
    assert [e.event_id for e in result.accepted] == ["p1", "p2"]
    assert result.late == [late]
    assert lane.state.watermark_ms == 1_900


def test_a_late_event_is_accepted_and_counted_where_the_pipeline_says_so() -> None:
    result = _late("accept").take(event("p1", time_ms=2_000), event("p2", time_ms=1_000))
    assert [e.event_id for e in result.accepted] == ["p1", "p2"]
    assert (result.late, result.late_accepted) == ([], 1)


def test_what_is_late_does_not_depend_on_how_events_are_cut_into_batches() -> None:
    times = [2_000, 1_950, 1_000, 2_200, 2_050, 2_100]
    events = [event(f"p{n}", time_ms=time_ms) for n, time_ms in enumerate(times)]
    whole = [e.id for e in _late("drop").take(*events).late]
    lane = _late("drop")
    assert [late.id for one in events for late in lane.take(one).late] == whole == ["p2", "p4"]


def test_what_was_put_here_on_purpose_is_never_late_and_moves_no_clock() -> None:
    lane = _late("drop")
    lane.take(event("p1", time_ms=2_000))
    old, ahead = event("p2", time_ms=1), event("p3", time_ms=9_000)
    result = lane.take(old, ahead, at_home=frozenset({old.position, ahead.position}))
    assert [e.event_id for e in result.accepted] == ["p2", "p3"]
    assert lane.state.watermark_ms == 1_900
