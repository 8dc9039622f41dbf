"""The log sink: each notification is one log line, for a machine that collects logs anyway.

Delivery guarantee: a line is written at once; a retry writes it again with the same id.
"""

import structlog

from batuta.schemas.notification import Notification

__all__ = ["LogSink"]

_log = structlog.get_logger("batuta.notification")


class LogSink:
    """Writes notifications to the log."""

    channel: str = "log"

    async def deliver(self, notification: Notification) -> None:
        """Write one line, whatever the severity at INFO: it is news of events, not of ourselves."""
        _log.info(
            "notification_raised",
            notification_id=notification.notification_id,
            pipeline=notification.pipeline,
            tenant=notification.tenant,
            severity=notification.severity,
            title=notification.title,
            summary=notification.summary,
            event_id=notification.event_id,
            labels=dict(notification.labels),
        )

    async def close(self) -> None:
        """Nothing is held."""
