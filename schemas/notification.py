"""The notification: what people should be told, and about which event. Version 1."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["NOTIFICATION_VERSION", "Notification", "Severity"]

NOTIFICATION_VERSION: Final = 1

Severity = Literal["info", "warning", "critical"]


@dataclass(frozen=True, slots=True)
class Notification:
    """One record on `.notifications`.

    Attributes:
        notification_id: stable over retry and replay; a sink's idempotency key.
        title: one line; summary: one sentence more.
        labels: what grouping and silencing go by.
        created_at_ms: milliseconds since 1970 UTC.
    """

    notification_id: str
    pipeline: str
    tenant: str
    severity: Severity
    title: str
    summary: str
    event_id: str
    labels: Mapping[str, str]
    created_at_ms: int
