"""The topics of a pipeline: names, what each is for, and how each is declared.

Names are wire contracts: literals under the pipeline's name, never derived from a module.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["CONTROL", "SHARED", "TOMBSTONES_KEPT_MS", "VERSIONS", "TopicSpec", "Topics"]

_DAY_MS: Final = 86_400_000
#: How long a changelog keeps the tombstone of an entry that ended: no snapshot may be older.
TOMBSTONES_KEPT_MS: Final = _DAY_MS
#: What we write may carry a whole source record and its headers: twice Kafka's default.
_LARGE_BYTES: Final = 2 * 1_048_588
#: A dead letter carries what no stage could accept, also where the source's limit was raised.
_DEADLETTER_BYTES: Final = 32 * 1_048_576
#: The stages that read as many partitions as there are lanes; each takes back what it refused.
_STAGES: Final = ("ingestion", "learning", "scoring", "escalation", "notification")


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic as declared: created so where that is allowed, compared with what is there."""

    name: str
    partitions: int
    configs: Mapping[str, str] = field(default_factory=dict[str, str])


#: Pointers that every worker reads whole: which version of what is live.
CONTROL: Final = "batuta.control"
#: Versions that decisions name; each id is written once, and none is ever taken away.
VERSIONS: Final = "batuta.versions"
#: The topics that all pipelines share: one partition, so that there is one order.
SHARED: Final = (
    TopicSpec(CONTROL, 1, {"cleanup.policy": "compact"}),
    TopicSpec(VERSIONS, 1, {"cleanup.policy": "compact"}),
)


@dataclass(frozen=True, slots=True)
class Topics:
    """The topic names of one pipeline (DESIGN: the walk of one event).

    Attributes:
        budgets: whether it has budgets: else their topics are not declared.
    """

    pipeline: str
    budgets: bool = False

    @property
    def events(self) -> str:
        """Raw events, written by the user's systems."""
        return f"{self.pipeline}.events"

    @property
    def rekeyed(self) -> str:
        """Events that their producer put on another partition than their key's."""
        return f"{self.pipeline}.rekeyed"

    @property
    def late(self) -> str:
        """Events older than their lane's watermark, where the pipeline puts them aside."""
        return f"{self.pipeline}.late"

    @property
    def ingested(self) -> str:
        """Validated, deduplicated events with the features of the source's key."""
        return f"{self.pipeline}.ingested"

    @property
    def index(self) -> str:
        """Which event belongs to which key of `.ingested`, by the partition of the event's id."""
        return f"{self.pipeline}.index"

    @property
    def feedback(self) -> str:
        """Labels as the user's systems write them, under any key, over any number of partitions."""
        return f"{self.pipeline}.feedback"

    @property
    def labels(self) -> str:
        """Labels, keyed by their event's id."""
        return f"{self.pipeline}.labels"

    @property
    def outcomes(self) -> str:
        """Labels with the key that their event has on `.ingested`."""
        return f"{self.pipeline}.outcomes"

    @property
    def unmatched(self) -> str:
        """Labels whose event did not come within the time that they are kept for."""
        return f"{self.pipeline}.unmatched"

    @property
    def decisions(self) -> str:
        """Decision records, keyed by entity."""
        return f"{self.pipeline}.decisions"

    @property
    def actions(self) -> str:
        """What is to be done because of decisions, keyed by action id."""
        return f"{self.pipeline}.actions"

    @property
    def escalations(self) -> str:
        """Review cases, keyed by case id."""
        return f"{self.pipeline}.escalations"

    @property
    def verdicts(self) -> str:
        """What people say of cases, keyed by case id."""
        return f"{self.pipeline}.verdicts"

    @property
    def reviewed(self) -> str:
        """What became of each verdict, and of cases that none came for; keyed by case id."""
        return f"{self.pipeline}.reviewed"

    @property
    def answers(self) -> str:
        """People's answers to parked steps, each in the partition of the lane that waits."""
        return f"{self.pipeline}.answers"

    @property
    def notifications(self) -> str:
        """What people should be told."""
        return f"{self.pipeline}.notifications"

    @property
    def leases(self) -> str:
        """What lanes ask of budgets and give back, keyed by the budget's id."""
        return f"{self.pipeline}.leases"

    @property
    def grants(self) -> str:
        """What lanes may spend, on the partition of the lane that asked."""
        return f"{self.pipeline}.grants"

    @property
    def deadletters(self) -> str:
        """The original bytes of what no stage could accept, and why."""
        return f"{self.pipeline}.deadletters"

    @property
    def redriven(self) -> str:
        """Which dead letters were redriven: the ledger that keeps each to once."""
        return f"{self.pipeline}.redriven"

    def group(self, stage: str) -> str:
        """Return the consumer group of a stage."""
        return f"{self.pipeline}-{stage}"

    def state(self, stage: str) -> str:
        """Return the compacted changelog of a stage's state."""
        return f"{self.group(stage)}.state"

    def redrive(self, stage: str) -> str:
        """Return where a stage, and nobody else, reads its own dead letters again."""
        return f"{self.group(stage)}.redrive"

    def declared(
        self, partitions: int, feedback_partitions: int | None = None
    ) -> tuple[TopicSpec, ...]:
        """Return every topic with its declared settings.

        Args:
            partitions: of all but those around feedback.
            feedback_partitions: of the topic of feedback, and of what its stage reads and keeps
                beside it; by default as many as the others have.
        """
        alone = feedback_partitions or partitions
        plain = {"retention.ms": str(7 * _DAY_MS)}
        large = {"retention.ms": str(30 * _DAY_MS), "max.message.bytes": str(_LARGE_BYTES)}
        letters = {**large, "max.message.bytes": str(_DEADLETTER_BYTES)}
        changelog = {
            "cleanup.policy": "compact",
            "delete.retention.ms": str(TOMBSTONES_KEPT_MS),
            "max.message.bytes": str(_LARGE_BYTES),
            "min.cleanable.dirty.ratio": "0.1",
        }
        return (
            TopicSpec(self.events, partitions, plain),
            TopicSpec(self.rekeyed, partitions, letters),
            TopicSpec(self.late, partitions, letters),
            TopicSpec(self.ingested, partitions, large),
            TopicSpec(self.index, partitions, large),
            TopicSpec(self.feedback, alone, plain),
            TopicSpec(self.labels, partitions, large),
            TopicSpec(self.outcomes, partitions, large),
            TopicSpec(self.unmatched, partitions, large),
            TopicSpec(self.decisions, partitions, large),
            TopicSpec(self.actions, partitions, large),
            TopicSpec(self.escalations, partitions, large),
            TopicSpec(self.verdicts, partitions, large),
            TopicSpec(self.reviewed, partitions, large),
            TopicSpec(self.answers, partitions, large),
            TopicSpec(self.notifications, partitions, large),
            TopicSpec(self.deadletters, partitions, letters),
            TopicSpec(self.redriven, partitions, {"cleanup.policy": "compact"}),
            *(TopicSpec(self.redrive(stage), partitions, letters) for stage in _STAGES),
            TopicSpec(self.redrive("rekeying"), alone, letters),
            TopicSpec(self.state("ingestion"), partitions, changelog),
            TopicSpec(self.state("rekeying"), alone, changelog),
            TopicSpec(self.state("learning"), partitions, changelog),
            TopicSpec(self.state("scoring"), partitions, changelog),
            TopicSpec(self.state("escalation"), partitions, changelog),
            *(self._of_budgets(partitions, large, letters, changelog) if self.budgets else ()),
        )

    def _of_budgets(
        self,
        partitions: int,
        large: Mapping[str, str],
        letters: Mapping[str, str],
        changelog: Mapping[str, str],
    ) -> tuple[TopicSpec, ...]:
        return (
            TopicSpec(self.leases, partitions, large),
            TopicSpec(self.grants, partitions, large),
            TopicSpec(self.redrive("budgeting"), partitions, letters),
            TopicSpec(self.state("budgeting"), partitions, changelog),
        )
