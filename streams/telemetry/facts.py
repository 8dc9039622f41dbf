"""What can happen in a stage, one small class each: what it counts, and what it says of it.

Facts are counted per batch, never per event, and only facts that somebody wants to read one by one
have a log line. ERROR means that a human must act.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from batuta.streams.telemetry.histograms import observe_all

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    from structlog.stdlib import BoundLogger

    from batuta.streams.telemetry.logs import Sparing
    from batuta.streams.telemetry.metrics import Meters

__all__ = [
    "ActionsWithheld",
    "AnswersChecked",
    "BatchFinished",
    "CasesOpened",
    "DeadLettersWritten",
    "DecisionsMade",
    "DuplicatesDropped",
    "EventsAged",
    "EventsFinished",
    "EventsLate",
    "EventsReceived",
    "EventsRekeyed",
    "Fact",
    "FieldsIgnored",
    "LabelsTold",
    "LagMeasured",
    "ModelAnswered",
    "ModelLoaded",
    "NotificationSent",
    "PartBroke",
    "Scribe",
    "TransactionEnded",
    "WorkRetried",
]


@dataclass(frozen=True, slots=True)
class Scribe:
    """Where a fact goes.

    Attributes:
        meters: the stage's metrics.
        log: bound to pipeline and stage.
        sparing: for what would be said too often.
    """

    meters: Meters
    log: BoundLogger
    sparing: Sparing


class Fact(Protocol):
    """Something that happened."""

    def tell(self, scribe: Scribe) -> None:
        """Count it, and say it where that helps."""
        ...


# Events


@dataclass(frozen=True, slots=True)
class EventsReceived:
    """Events were read."""

    count: int

    def tell(self, scribe: Scribe) -> None:
        """Count them."""
        scribe.meters.received.inc(self.count)


@dataclass(frozen=True, slots=True)
class EventsFinished:
    """Events were seen through, by outcome."""

    outcomes: Mapping[str, int]

    def tell(self, scribe: Scribe) -> None:
        """Count them."""
        for outcome, count in self.outcomes.items():
            scribe.meters.finished.add(count, outcome)


@dataclass(frozen=True, slots=True)
class EventsAged:
    """Events were this old when their batch was committed; a clock ahead of ours counts as 0."""

    ages_ms: npt.NDArray[np.int64] | npt.NDArray[np.float64]

    def tell(self, scribe: Scribe) -> None:
        """Observe them all at once."""
        observe_all(scribe.meters.age, np.maximum(self.ages_ms, 0) / 1000)


@dataclass(frozen=True, slots=True)
class DeadLettersWritten:
    """Events went to the dead letters."""

    reason: str
    count: int

    def tell(self, scribe: Scribe) -> None:
        """Count them, also as finished; say it sparingly, as bad input comes in floods."""
        scribe.meters.dead_letters.add(self.count, self.reason)
        scribe.meters.finished.add(self.count, "dead_letter")
        since = scribe.sparing.allow((DeadLettersWritten, self.reason), self.count)
        if since is not None:
            scribe.log.warning("dead_letters_written", reason=self.reason, count=since)


@dataclass(frozen=True, slots=True)
class DuplicatesDropped:
    """Identical redeliveries were dropped."""

    count: int

    def tell(self, scribe: Scribe) -> None:
        """Count them."""
        scribe.meters.duplicates.inc(self.count)


@dataclass(frozen=True, slots=True)
class EventsLate:
    """Events came behind their lane's watermark."""

    count: int

    def tell(self, scribe: Scribe) -> None:
        """Count them."""
        scribe.meters.late.inc(self.count)


@dataclass(frozen=True, slots=True)
class EventsRekeyed:
    """Events were forwarded to the partition of their key."""

    count: int

    def tell(self, scribe: Scribe) -> None:
        """Count them."""
        scribe.meters.rekeyed.inc(self.count)


@dataclass(frozen=True, slots=True)
class LabelsTold:
    """Labels came to something, by what that was."""

    results: Mapping[str, int]

    def tell(self, scribe: Scribe) -> None:
        """Count them."""
        for result, count in self.results.items():
            scribe.meters.labels.add(count, result)


@dataclass(frozen=True, slots=True)
class FieldsIgnored:
    """Fields were ignored because no schema names them."""

    count: int

    def tell(self, scribe: Scribe) -> None:
        """Count them."""
        scribe.meters.unknown_fields.inc(self.count)


# Work


@dataclass(frozen=True, slots=True)
class BatchFinished:
    """A batch was decoded, thought about and committed."""

    records: int
    duration_s: float

    def tell(self, scribe: Scribe) -> None:
        """Observe its size and time."""
        scribe.meters.batch_records.observe(self.records)
        scribe.meters.stage_duration.observe(self.duration_s)
        scribe.meters.busy.add(self.duration_s)


@dataclass(frozen=True, slots=True)
class TransactionEnded:
    """A transaction was committed or aborted."""

    result: Literal["committed", "aborted"]
    duration_s: float
    partitions: int

    def tell(self, scribe: Scribe) -> None:
        """Count it, and observe what it cost."""
        scribe.meters.transactions.add(1, self.result)
        scribe.meters.transaction_duration.observe(self.duration_s)
        scribe.meters.transaction_partitions.observe(self.partitions)


@dataclass(frozen=True, slots=True)
class WorkRetried:
    """The outside world failed, and a batch is tried again."""

    reason: str
    detail: str = ""

    def tell(self, scribe: Scribe) -> None:
        """Count it; say it sparingly."""
        scribe.meters.retries.add(1, self.reason)
        since = scribe.sparing.allow((WorkRetried, self.reason))
        if since is not None:
            scribe.log.warning("work_retried", reason=self.reason, count=since, detail=self.detail)


@dataclass(frozen=True, slots=True)
class LagMeasured:
    """A lane is so many records behind."""

    partition: int
    records: int

    def tell(self, scribe: Scribe) -> None:
        """Take the lane's part of the stage's lag."""
        scribe.meters.lag.set(self.partition, self.records)


# Lanes


@dataclass(frozen=True, slots=True)
class ModelLoaded:
    """A model is ready to be asked."""

    model: str
    version: str

    def tell(self, scribe: Scribe) -> None:
        """Let its metrics start at 0, and say which version it is."""
        scribe.meters.expect_model(self.model, self.version)
        scribe.log.info("model_loaded", model=self.model, version=self.version)


@dataclass(frozen=True, slots=True)
class ModelAnswered:
    """A model was asked about a batch of events, and answered or failed."""

    model: str
    version: str
    result: Literal["answered", "failed"]
    events: int
    duration_s: float | None

    def tell(self, scribe: Scribe) -> None:
        """Count the events, and observe the call."""
        scribe.meters.model_requests.add(self.events, self.model, self.version, self.result)
        if self.duration_s is not None:
            scribe.meters.model_duration(self.model, self.version).observe(self.duration_s)


@dataclass(frozen=True, slots=True)
class ModelPaid:
    """Answers of a model cost something, whether they could be used or not."""

    model: str
    currency: str
    amount: float

    def tell(self, scribe: Scribe) -> None:
        """Count it."""
        scribe.meters.model_cost.add(self.amount, self.model, self.currency)


@dataclass(frozen=True, slots=True)
class DecisionsMade:
    """Decisions were committed, by outcome."""

    outcomes: Mapping[str, int]

    def tell(self, scribe: Scribe) -> None:
        """Count them."""
        for outcome, count in self.outcomes.items():
            scribe.meters.decisions.add(count, outcome)


@dataclass(frozen=True, slots=True)
class AnswersChecked:
    """Checks have judged answers, by check and reason; an answer that passed has none."""

    results: Mapping[tuple[str, str], int]

    def tell(self, scribe: Scribe) -> None:
        """Count them."""
        for (check, reason), count in self.results.items():
            scribe.meters.checks.add(count, check, reason or "passed")


@dataclass(frozen=True, slots=True)
class ActionsWithheld:
    """Rules asked for actions over tainted answers: a person decides, by each label."""

    taints: Mapping[str, int]

    def tell(self, scribe: Scribe) -> None:
        """Count them; say it sparingly: an attack comes in floods."""
        for taint, count in self.taints.items():
            scribe.meters.withheld.add(count, taint)
            since = scribe.sparing.allow((ActionsWithheld, taint), count)
            if since is not None:
                scribe.log.warning("actions_withheld", taint=taint, count=since)


@dataclass(frozen=True, slots=True)
class CasesOpened:
    """Review cases were opened."""

    count: int

    def tell(self, scribe: Scribe) -> None:
        """Count them."""
        scribe.meters.escalations.inc(self.count)


@dataclass(frozen=True, slots=True)
class CasesReviewed:
    """People spoke, or did not in time; by what became of it."""

    results: Mapping[str, int]

    def tell(self, scribe: Scribe) -> None:
        """Count it."""
        for result, count in self.results.items():
            scribe.meters.reviews.add(count, result)


@dataclass(frozen=True, slots=True)
class PartBroke:
    """A feature or a check of the user's own raised, hung, or answered what it must not."""

    part: str
    error: Exception

    def tell(self, scribe: Scribe) -> None:
        """Count it, once per batch; say it sparingly: what is broken breaks at every batch."""
        scribe.meters.parts_broken.add(1, self.part)
        since = scribe.sparing.allow((PartBroke, self.part, type(self.error)))
        if since is not None:
            scribe.log.warning("part_broke", part=self.part, error=repr(self.error), count=since)


@dataclass(frozen=True, slots=True)
class NotificationSent:
    """A notification was handed to a channel, or could not be."""

    channel: str
    result: Literal["delivered", "failed"]
    count: int

    def tell(self, scribe: Scribe) -> None:
        """Count it."""
        scribe.meters.notifications.add(self.count, self.channel, self.result)
