"""The ingested event: validated, deduplicated, carrying the features of the source's key.

Written by ingestion for scoring alone, keyed by what scoring needs. Version 1.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

__all__ = ["INGESTED_VERSION", "Ingested"]

INGESTED_VERSION: Final = 1


class Ingested(NamedTuple):
    """One event on its way from ingestion to scoring.

    Attributes:
        event_id: the event's identity under the pipeline's rule.
        entity: the source's key.
        scoring_key: the key of `.ingested`, whose state scoring holds.
        event_time_ms: milliseconds since 1970 UTC.
        published_ms: timestamp of the source record, the start of the event's age.
        tenant: who it belongs to.
        data: the payload, JSON of known fields; a whole number beyond 64 bits reads as a double.
        features: feature name to value, computed at the source's key.
        traceparent: W3C trace context, empty where not given.
        data_json: `data` as `Event.data_json` holds it, written as it is; empty once read.
    """

    event_id: str
    entity: str
    scoring_key: str
    event_time_ms: int
    published_ms: int
    tenant: str
    data: Mapping[str, object]
    features: Mapping[str, float]
    traceparent: str = ""
    data_json: bytes = b""
