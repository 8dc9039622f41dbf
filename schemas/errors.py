"""The one error tree: whose trouble it is decides what happens to the batch.

BatutaError
├── TheirsError            bad input: dead letter, never retried
│   └── RefusedEventError      one event that no door accepts, with reason, path and detail
├── LaterError             the outside world: bounded retry, split, then dead letter
│   ├── BatchAbandonedError        the batch before it failed: it is begun again
│   ├── BrokerUnreachableError     no broker answers within the deadline (exit 3)
│   ├── OutputRefusedError         the broker refused a record we produced
│   ├── OwnershipLostError         another worker owns the lane now
│   └── SinkUnavailableError       a notification could not be delivered
├── ModelFailedError       a model gave no answer: the plan goes on by its rule
├── RegistryMovedError     the registry is not as it was when somebody decided to change it (exit 1)
├── SnapshotRefusedError   a snapshot on local disk that is not used: the changelog is read whole
├── OursError              a broken promise of our own: stop the lane, acknowledge nothing
│   ├── StateCorruptError          a changelog record that this version cannot read
│   └── StateFullError             a table of the state is at its bound
└── UsageError             wrong command, setting or file (exit 2), with the fix
    ├── InstanceIdTakenError       another worker took this one's place under its instance id
    └── TopicMismatchError         topics that are missing or shaped otherwise than declared
"""

from typing import Literal

__all__ = [
    "BatchAbandonedError",
    "BatutaError",
    "BrokerUnreachableError",
    "FailureKind",
    "InstanceIdTakenError",
    "LaterError",
    "ModelFailedError",
    "OursError",
    "OutputRefusedError",
    "OwnershipLostError",
    "RefusedEventError",
    "RegistryMovedError",
    "SinkUnavailableError",
    "SnapshotRefusedError",
    "StateCorruptError",
    "StateFullError",
    "TheirsError",
    "TopicMismatchError",
    "UsageError",
]


class BatutaError(Exception):
    """Something went wrong in batuta."""


class TheirsError(BatutaError):
    """The input is bad: it goes to the dead letters and is never retried."""


class RefusedEventError(TheirsError):
    """One event cannot be accepted.

    Attributes:
        reason: stable snake_case code, a metric label: `not_json`, `missing_field`, ...
        path: where in the event, as a JSON pointer without the leading slash; empty for the whole.
        detail: one sentence a person understands, naming the value and what was expected.
    """

    def __init__(self, reason: str, detail: str, path: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.path = path


class LaterError(BatutaError):
    """The outside world failed: try again, a bounded number of times."""


class BatchAbandonedError(LaterError):
    """The batch before this one in its lane was not committed: this one is begun again."""


class BrokerUnreachableError(LaterError):
    """No Kafka broker answers at the address given."""


class OutputRefusedError(LaterError):
    """The broker refused a record we produced; its transaction was aborted.

    Attributes:
        retriable: False where sending the same record again cannot succeed (it is too large).
        topic: which topic took no record of its size; "" where its size was not the trouble.
        size_bytes: how large a batch of this record alone is; 0 where that was not the trouble.
    """

    def __init__(
        self, detail: str, *, retriable: bool, topic: str = "", size_bytes: int = 0
    ) -> None:
        super().__init__(detail)
        self.retriable = retriable
        self.topic = topic
        self.size_bytes = size_bytes


class OwnershipLostError(LaterError):
    """Another worker owns this lane now; nothing of ours may be committed."""


class SinkUnavailableError(LaterError):
    """A sink did not accept a delivery.

    Attributes:
        retriable: False where the sink said no for good.
    """

    def __init__(self, detail: str, *, retriable: bool = True) -> None:
        super().__init__(detail)
        self.retriable = retriable


#: Why a model gave no answer; stands in decision records and in metrics.
FailureKind = Literal[
    "timeout",
    "unavailable",
    "overloaded",
    "refused",
    "invalid",
    "broke",
    "breaker_open",
    "late",
    "budget_spent",
]


class ModelFailedError(BatutaError):
    """A model gave no answer: the plan goes on by its rule, and the batch is not tried again.

    Attributes:
        kind: why not; `overloaded` asks for patience, `refused` says no for good.
        retry_after_ms: how long the model asks to be left alone; None where it says nothing.
    """

    def __init__(
        self, kind: FailureKind, detail: str, *, retry_after_ms: int | None = None
    ) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind: FailureKind = kind
        self.detail = detail
        self.retry_after_ms = retry_after_ms


class RegistryMovedError(BatutaError):
    """The registry is not as it was when its change was decided: nothing was written."""


class SnapshotRefusedError(BatutaError):
    """A snapshot on local disk is not the state of this lane, or cannot be shown to be.

    Attributes:
        reason: stable snake_case code, a metric label: `damaged`, `stale`, ...
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class OursError(BatutaError):
    """A promise of our own is broken: stop the lane, acknowledge nothing."""


class StateCorruptError(OursError):
    """A changelog record cannot be read by this version."""


class StateFullError(OursError):
    """A table of the state holds as much as it may; the message names table, bound and remedy."""


class UsageError(BatutaError):
    """The command, a setting or a file is wrong; the message names the fix."""


class InstanceIdTakenError(UsageError):
    """Another worker has started under this one's instance id and has its lanes now."""


class TopicMismatchError(UsageError):
    """Topics are missing, or not shaped as declared."""
