"""Sinks: where notifications leave batuta.

Each module is one sink behind the `Sink` port; a delivery carries a stable id, so that a receiver
can tell a retry from a second notification.
"""

from batuta.streams.settings import Settings
from batuta.streams.sinks.log import LogSink
from batuta.streams.sinks.port import Sink
from batuta.streams.sinks.webhook import WebhookOptions, WebhookSink

__all__ = ["LogSink", "Sink", "WebhookOptions", "WebhookSink", "open_sinks"]


def open_sinks(settings: Settings) -> list[Sink]:
    """Return the sinks the settings name: the log always, a webhook where one is given."""
    sinks: list[Sink] = [LogSink()]
    if settings.webhook_url is not None:
        assert settings.webhook_secret is not None, "Settings refuses a webhook without a secret"
        options = WebhookOptions(
            url=str(settings.webhook_url),
            secret=settings.webhook_secret,
            timeout_ms=settings.webhook_timeout_ms,
            attempts_max=settings.retry_attempts_max,
            backoff_ms=settings.retry_backoff_ms,
            backoff_ms_max=settings.retry_backoff_ms_max,
        )
        sinks.append(WebhookSink(options))
    return sinks
