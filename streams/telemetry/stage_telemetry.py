"""Telemetry: what the runtime calls when something happens in a stage.

Each method is one fact of `batuta.streams.telemetry.facts`; a registry of its own per worker lets
many run in one process, as tests do.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

import structlog

from batuta.schemas.errors import StateCorruptError
from batuta.streams.telemetry import facts, lane_life
from batuta.streams.telemetry.logs import Sparing
from batuta.streams.telemetry.metrics import Meters, families_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    import numpy.typing as npt
    from prometheus_client import CollectorRegistry

    from batuta.streams.telemetry.facts import Fact
    from batuta.streams.telemetry.lane_life import LaneStatus

__all__ = ["StageTelemetry"]

_INTERVAL_S: Final = 10.0
_WORD_START: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class StageTelemetry:
    """The facts of one stage.

    Args:
        pipeline, stage: the labels of everything counted here.
        registry: where the metrics are; stages of one worker share it.
    """

    def __init__(self, pipeline: str, stage: str, registry: CollectorRegistry) -> None:
        self._scribe = facts.Scribe(
            meters=Meters(families_of(registry), pipeline, stage),
            log=structlog.get_logger("batuta").bind(pipeline=pipeline, stage=stage),
            sparing=Sparing(_INTERVAL_S),
        )

    def tell(self, fact: Fact) -> None:
        """Count a fact, and say it where that helps."""
        fact.tell(self._scribe)

    # Events

    def received(self, count: int) -> None:
        """Count events read, once each however often they are tried."""
        self.tell(facts.EventsReceived(count))

    def finished(self, outcomes: Mapping[str, int]) -> None:
        """Count events seen through, by outcome; dead letters count themselves."""
        self.tell(facts.EventsFinished(outcomes))

    def ages(self, ages_ms: npt.NDArray[np.int64] | npt.NDArray[np.float64]) -> None:
        """Observe how old a batch's events were at its commit; (n,) in milliseconds."""
        self.tell(facts.EventsAged(ages_ms))

    def dead_lettered(self, reason: str, count: int) -> None:
        """Count dead letters, as finished too."""
        self.tell(facts.DeadLettersWritten(reason, count))

    def duplicates(self, count: int) -> None:
        """Count identical redeliveries that were dropped."""
        self.tell(facts.DuplicatesDropped(count))

    def late(self, count: int) -> None:
        """Count events that came behind their lane's watermark."""
        self.tell(facts.EventsLate(count))

    def rekeyed(self, count: int) -> None:
        """Count events forwarded to the partition of their key."""
        self.tell(facts.EventsRekeyed(count))

    def labels(self, results: Mapping[str, int]) -> None:
        """Count labels, by what became of them."""
        self.tell(facts.LabelsTold(results))

    def unknown_fields(self, count: int) -> None:
        """Count fields that no schema names."""
        self.tell(facts.FieldsIgnored(count))

    # Work

    def batch(self, records: int, duration_s: float) -> None:
        """Observe a finished batch, from decoding to commit."""
        self.tell(facts.BatchFinished(records, duration_s))

    def transaction(
        self, result: Literal["committed", "aborted"], duration_s: float, partitions: int
    ) -> None:
        """Observe a transaction that ended."""
        self.tell(facts.TransactionEnded(result, duration_s, partitions))

    def retried(self, reason: str, detail: str = "") -> None:
        """Count a batch that is tried again; an error's class name does as a reason."""
        self.tell(facts.WorkRetried(_code(reason), detail))

    def lag(self, partition: int, records: int) -> None:
        """Say how many records a lane is behind."""
        self.tell(facts.LagMeasured(partition, records))

    # Lanes

    def rebalanced(self, before: Iterable[int] = (), after: Iterable[int] = ()) -> None:
        """Count an assignment by the group, and say which lanes it gave and took."""
        had, has = set(before), set(after)
        changes = (has - had, had - has, had & has)
        self.tell(lane_life.Rebalanced(*(tuple(sorted(lanes)) for lanes in changes)))

    def lane_state(self, partition: int, status: LaneStatus) -> None:
        """Say which state of its life a lane is in; `closed` forgets it."""
        self.tell(lane_life.LaneChanged(partition, status))

    def lane_restarted(self, partition: int, error: BaseException) -> None:
        """Count a lane that begins again, by what failed."""
        self.tell(lane_life.LaneRestarted(partition, _code(type(error).__name__), error))

    def lane_failed(self, partition: int, error: BaseException) -> None:
        """Say that a lane stopped on trouble of our own: a human must act."""
        self.tell(lane_life.LaneFailed(partition, error))
        if isinstance(error, StateCorruptError):
            self._scribe.meters.unreadable_changes.inc()

    def state_entries(self, partition: int, entries: int) -> None:
        """Say how many entries a lane's state holds."""
        self.tell(lane_life.StateMeasured(partition, entries))

    def restore_remaining(self, partition: int, records: int) -> None:
        """Say how many changelog records a lane has left to read."""
        self.tell(lane_life.RestoreAdvanced(partition, records))

    # Decisions and what follows

    def model_loaded(self, model: str, version: str) -> None:
        """Let a model's metrics start at 0."""
        self.tell(facts.ModelLoaded(model, version))

    def model(
        self,
        model: str,
        version: str,
        result: Literal["answered", "failed"],
        events: int,
        duration_s: float | None,
    ) -> None:
        """Observe one call of a model; rows that were counted with another have no duration."""
        self.tell(facts.ModelAnswered(model, version, result, events, duration_s))

    def model_paid(self, model: str, currency: str, amount: float) -> None:
        """Count what a model's answers cost, in units of the currency."""
        self.tell(facts.ModelPaid(model, currency, amount))

    def part_broke(self, part: str, error: Exception) -> None:
        """Count a batch over which a part of the user's own broke."""
        self.tell(facts.PartBroke(part, error))

    def decided(self, outcomes: Mapping[str, int]) -> None:
        """Count decisions that were committed."""
        self.tell(facts.DecisionsMade(outcomes))

    def escalated(self, count: int) -> None:
        """Count review cases that were opened."""
        self.tell(facts.CasesOpened(count))

    def reviewed(self, results: Mapping[str, int]) -> None:
        """Count verdicts, cases and answers, by what became of them."""
        self.tell(facts.CasesReviewed(results))

    def notified(
        self, channel: str, result: Literal["delivered", "failed"], count: int = 1
    ) -> None:
        """Count deliveries to a channel."""
        self.tell(facts.NotificationSent(channel, result, count))


def _code(name: str) -> str:
    """Return the snake_case of a class name without its "Error"; a code stays as it is."""
    return _WORD_START.sub("_", name.removesuffix("Error")).lower()
