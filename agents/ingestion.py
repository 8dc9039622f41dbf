"""The ingestion agent: known entities, each event once, with the features of the source's key.

In this order, so that nothing is remembered of an event that goes elsewhere:

    misplaced    the key belongs to another partition: forwarded, no state touched
    duplicate    an identical redelivery within the horizon: dropped and counted
    id_reused    a known id with another payload: refused
    late         older than the lane's watermark: put aside or dropped, where the pipeline says so
    accepted     remembered, given its window features, and sent on to scoring
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import compress
from typing import Final, TypeVar

import numpy as np
import orjson
from pydantic import BaseModel

from batuta.agents.context import Context
from batuta.agents.identity import scoped
from batuta.agents.state.event_time import EventClock
from batuta.agents.state.port import Tables
from batuta.agents.understanding.deduplication import DIGEST_BYTES, Deduplication
from batuta.agents.understanding.features import Features
from batuta.agents.understanding.layout import Layout
from batuta.agents.understanding.window_sets import WindowSet
from batuta.schemas.codec import Refused
from batuta.schemas.errors import RefusedEventError
from batuta.schemas.event import Event
from batuta.schemas.ingested import Ingested
from batuta.schemas.pipeline import Pipeline
from batuta.schemas.rows import rows_of

__all__ = ["ID_REUSED", "Ingest", "Ingestion", "IngestionState"]

#: The reason code of an event whose id is known with another payload.
ID_REUSED: Final = "id_reused"

DataT = TypeVar("DataT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Ingest:
    """What became of a batch; every event is in exactly one of the first five.

    Attributes:
        late_accepted: how many of the accepted were late.
    """

    accepted: list[Ingested]
    duplicates: int
    misplaced: list[Event[BaseModel]]
    refused: list[Refused]
    late: list[Event[BaseModel]]
    late_accepted: int = 0


class IngestionState(Tables):
    """What ingestion remembers: ids it has seen, windows of the source's key, its events' time."""

    def __init__(self, duplicates: Deduplication, windows: WindowSet, clock: EventClock) -> None:
        super().__init__((Layout(windows.holds), duplicates, *windows.tables, clock))
        self.duplicates = duplicates
        self.windows = windows
        self.clock = clock

    @property
    def watermark_ms(self) -> int:
        """No event from before this time is expected any more."""
        return self.clock.watermark_ms


class Ingestion:
    """Takes decoded events in, for one pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._id_path = pipeline.source.id_field or ""
        self._names = WindowSet(pipeline.ingestion_windows).names

    def open_state(self) -> IngestionState:
        """Return the empty state of one lane."""
        duplicates = self._pipeline.source.duplicates
        return IngestionState(
            Deduplication(b"d", duplicates.within_ms, duplicates.entries_max),
            WindowSet(self._pipeline.ingestion_windows),
            EventClock(b"t", self._pipeline.source.lateness.allowed_ms),
        )

    def ingest(
        self,
        events: Sequence[Event[DataT]],
        context: Context[IngestionState],
        at_home: frozenset[int] = frozenset(),
    ) -> Ingest:
        """Tell a batch apart and give the accepted events their features.

        Args:
            events: decoded events, in batch order.
            context: the lane's world; its state open for this batch.
            at_home: positions of events that were put where they are on purpose, by us: they are
                never misplaced, so an event is forwarded at most once.
        """
        here, partition_of = context.partition, context.partition_of
        placed: list[Event[DataT]] = []
        misplaced: list[Event[DataT]] = []
        for event in events:
            home = partition_of(event.key.encode()) == here or event.position in at_home
            (placed if home else misplaced).append(event)
        verdicts = context.state.duplicates.classify(
            [scoped(event.tenant, event.id) for event in placed],
            [blake2b(event.data_json, digest_size=DIGEST_BYTES).digest() for event in placed],
            context.now_ms,
        )
        told = list(zip(placed, verdicts, strict=True))
        new = [event for event, verdict in told if verdict == "new"]
        timely, late = self._by_time(new, context.state.clock, at_home)
        accepts = self._pipeline.source.lateness.rule == "accept"
        return Ingest(
            accepted=self._accept(new if accepts else timely, context.state),
            duplicates=verdicts.count("duplicate"),
            misplaced=[*misplaced],
            refused=[self._refuse(e) for e, verdict in told if verdict == "conflict"],
            late=[] if accepts else [*late],
            late_accepted=len(late) if accepts else 0,
        )

    def _by_time(
        self, events: list[Event[DataT]], clock: EventClock, at_home: frozenset[int]
    ) -> tuple[list[Event[DataT]], list[Event[DataT]]]:
        """Part the events that come in time from the late ones.

        What was put here on purpose is in time whenever it comes, and moves no clock: a person who
        sends an old event again wants it seen through.
        """
        sent = [e for e in events if e.position not in at_home] if at_home else events
        is_late = clock.observe(np.array([event.time_ms for event in sent], np.int64))
        if not is_late.any():
            return events, []
        late = list(compress(sent, is_late.tolist()))
        positions = {event.position for event in late}
        return [event for event in events if event.position not in positions], late

    def _accept(self, events: list[Event[DataT]], state: IngestionState) -> list[Ingested]:
        data: list[dict[str, object]] = [orjson.loads(event.data_json) for event in events]
        features = self._observe(events, data, state.windows)
        names, scoring_key = self._names, self._pipeline.scoring_key_field
        assert features.shape == (len(events), len(names)), features.shape
        return rows_of(
            Ingested,
            len(events),
            event_id=[event.id for event in events],
            entity=[event.key for event in events],
            scoring_key=[str(fields[scoring_key]) for fields in data],
            event_time_ms=[event.time_ms for event in events],
            published_ms=[event.published_ms for event in events],
            tenant=[event.tenant for event in events],
            data=data,
            features=[dict(zip(names, row, strict=False)) for row in features.tolist()],
            traceparent=[event.traceparent for event in events],
            data_json=[event.data_json for event in events],
        )

    def _observe(
        self,
        events: list[Event[DataT]],
        data: list[dict[str, object]],
        windows: WindowSet,
    ) -> Features:
        return windows.observe(
            [scoped(event.tenant, event.key) for event in events],
            np.array([event.time_ms for event in events], np.int64),
            data,
        )

    def _refuse(self, event: Event[DataT]) -> Refused:
        detail = f"the id {event.id!r} was already used by an event with another payload"
        return Refused(event.position, RefusedEventError(ID_REUSED, detail, self._id_path))
