"""The probe says when a broker goes and when it comes back, once each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CollectorRegistry

from batuta.streams.broker.process import BrokerProcess
from batuta.streams.settings import load_settings
from batuta.streams.telemetry.broker_probe import BrokerProbe

if TYPE_CHECKING:
    from collections.abc import Callable


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the condition is a metric's
            await asyncio.sleep(0.01)


async def test_a_broker_that_goes_and_comes_back_is_told_once_each() -> None:
    registry = CollectorRegistry()

    def up() -> float | None:
        return registry.get_sample_value("batuta_broker_up")

    broker = BrokerProcess()
    settings = load_settings(bootstrap=broker.bootstrap)
    probe = BrokerProbe(settings, registry, interval_s=0.01)
    with structlog.testing.capture_logs() as lines:
        assert up() is None, "nothing is claimed before the first answer"
        await probe.start()
        await until(lambda: up() == 1)
        assert probe.trouble is None
        broker.kill()
        await until(lambda: up() == 0)
        trouble = probe.trouble
        assert trouble is not None
        assert trouble.startswith(f"no Kafka broker answers at {broker.bootstrap}: ")
        # In a thread, so that the probe goes on asking while it starts.
        port = int(broker.bootstrap.rsplit(":", 1)[1])
        with await asyncio.to_thread(BrokerProcess, port):
            await until(lambda: up() == 1)
            await until(lambda: probe.trouble is None)
        await probe.stop()
    told = [line["event"] for line in lines if line["event"].startswith("broker_")]
    assert told == ["broker_reached", "broker_lost", "broker_reached"]


async def test_a_broker_that_takes_connections_and_says_nothing_is_lost() -> None:
    registry = CollectorRegistry()
    taken: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, writer: taken.append(writer), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    settings = load_settings(
        bootstrap=f"127.0.0.1:{port}",
        session_timeout_ms=400,
        heartbeat_interval_ms=100,
        poll_timeout_ms=100,
    )
    probe = BrokerProbe(settings, registry, interval_s=0.01)
    await probe.start()
    await until(lambda: probe.trouble is not None)
    await probe.stop()
    silent.close()
    for writer in taken:
        writer.close()
        await writer.wait_closed()
    assert probe.trouble is not None
    assert probe.trouble.endswith("no answer within 0.4 s")
    assert registry.get_sample_value("batuta_broker_up") == 0
