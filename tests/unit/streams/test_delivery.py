"""Delivery: every sink is told once, also when a batch has to be tried again."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from batuta.schemas.errors import SinkUnavailableError
from batuta.schemas.notification import Notification
from batuta.streams.delivery import Delivery
from batuta.streams.telemetry.stage_telemetry import StageTelemetry


class Listener:
    """A sink that remembers, and refuses what it is told to refuse."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.heard: list[str] = []
        self.refusing: set[str] = set()

    async def deliver(self, notification: Notification) -> None:
        if notification.notification_id in self.refusing:
            raise SinkUnavailableError("not now")
        self.heard.append(notification.notification_id)

    async def close(self) -> None:
        """Nothing to let go of."""


def notification(name: str) -> Notification:
    return Notification(
        notification_id=name,
        pipeline="fraud",
        tenant="default",
        severity="critical",
        title="title",
        summary="summary",
        event_id="tx-1",
        labels={},
        created_at_ms=0,
    )


def delivered(registry: CollectorRegistry, channel: str, result: str) -> float | None:
    labels = {"pipeline": "fraud", "channel": channel, "result": result}
    return registry.get_sample_value("batuta_notifications_total", labels)


async def test_a_batch_tried_again_tells_nobody_twice() -> None:
    registry = CollectorRegistry()
    log, webhook = Listener("log"), Listener("webhook")
    delivery = Delivery([log, webhook], StageTelemetry("fraud", "notification", registry))
    batch = [notification("a"), notification("b")]
    webhook.refusing = {"b"}
    with pytest.raises(SinkUnavailableError):
        await delivery.deliver(batch)
    webhook.refusing = set()
    await delivery.deliver(batch)
    assert (log.heard, webhook.heard) == (["a", "b"], ["a", "b"])
    assert delivered(registry, "webhook", "failed") == 1
    assert delivered(registry, "webhook", "delivered") == 2


async def test_a_sink_that_refuses_holds_up_no_other() -> None:
    bad, good = Listener("bad"), Listener("good")
    delivery = Delivery([bad, good], StageTelemetry("fraud", "notification", CollectorRegistry()))
    bad.refusing = {"a"}
    with pytest.raises(SinkUnavailableError):
        await delivery.deliver([notification("a"), notification("b")])
    assert (bad.heard, good.heard) == ([], ["a", "b"])
