"""Labels on their way back: what became known of an event, and the key of the state it belongs to.

A label names only its event. Ingestion says, on `.index`, under which key scoring knows each event;
learning joins both and writes the outcome under that key. All are internal. Version 1.
"""

from typing import Final, NamedTuple

from batuta.schemas.ingested import Ingested

__all__ = [
    "INDEX_VERSION",
    "LABEL_VERSION",
    "OUTCOME_VERSION",
    "EventIndex",
    "Label",
    "LabelOutcome",
    "known_at_ms",
]

INDEX_VERSION: Final = 1
LABEL_VERSION: Final = 1
OUTCOME_VERSION: Final = 1


class Label(NamedTuple):
    """What one piece of feedback says, keyed by its event.

    Attributes:
        event_id: under the pipeline's rule.
        tenant: who it belongs to.
        label: what the event turned out to be.
        label_time_ms: when that became known; milliseconds since 1970 UTC. Of two labels of one
            event the one that became known later holds.
    """

    event_id: str
    tenant: str
    label: bool
    label_time_ms: int


class EventIndex(NamedTuple):
    """Some ingested events of one partition of their ids: one element per event in each.

    Attributes:
        event_ids: under the pipeline's rule.
        tenants: who they belong to.
        scoring_keys: the key of `.ingested`.
        event_times_ms: milliseconds since 1970 UTC.
    """

    event_ids: tuple[str, ...]
    tenants: tuple[str, ...]
    scoring_keys: tuple[str, ...]
    event_times_ms: tuple[int, ...]


class LabelOutcome(NamedTuple):
    """A label with the key and the time of its event, for the state that scoring holds.

    Attributes:
        event_id: under the pipeline's rule.
        tenant: who it belongs to.
        scoring_key: the event's.
        event_time_ms: when the event happened; milliseconds since 1970 UTC.
        label: what it turned out to be.
        previous: what was said of it before; None where this is the first label.
        label_time_ms: when that became known.
    """

    event_id: str
    tenant: str
    scoring_key: str
    event_time_ms: int
    label: bool
    previous: bool | None
    label_time_ms: int


def known_at_ms(item: Ingested | LabelOutcome) -> int:
    """Return when something was known: an event as it happened, a label when it was told."""
    return item.label_time_ms if isinstance(item, LabelOutcome) else item.event_time_ms
