"""Which sinks the settings open, and what the log sink writes."""

from __future__ import annotations

import structlog

from batuta.schemas.notification import Notification
from batuta.streams.settings import load_settings
from batuta.streams.sinks import Sink, open_sinks

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def channels(sinks: list[Sink]) -> list[str]:
    return [sink.channel for sink in sinks]


def test_the_log_is_always_open() -> None:
    assert channels(open_sinks(load_settings())) == ["log"]


def test_a_webhook_is_opened_where_one_is_named() -> None:
    settings = load_settings(webhook_url="https://example.com/hook", webhook_secret=SECRET)
    assert channels(open_sinks(settings)) == ["log", "webhook"]


async def test_a_notification_is_one_log_line() -> None:
    (sink,) = open_sinks(load_settings())
    notification = Notification(
        notification_id="6f2d1a",
        pipeline="fraud",
        tenant="default",
        severity="critical",
        title="fraud: tx-1 blocked",
        summary="The score is above the block threshold.",
        event_id="tx-1",
        labels={"outcome": "block"},
        created_at_ms=1_522_577_863_052,
    )
    with structlog.testing.capture_logs() as lines:
        await sink.deliver(notification)
        await sink.close()
    (line,) = lines
    assert line["event"] == "notification_raised"
    assert line["log_level"] == "info"
    assert line["notification_id"] == "6f2d1a"
    assert line["labels"] == {"outcome": "block"}
