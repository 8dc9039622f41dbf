"""The three doors of a worker, over a real socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from batuta.schemas.errors import UsageError
from batuta.streams.settings import load_settings
from batuta.streams.telemetry.metrics_server import MetricsServer
from batuta.streams.telemetry.stage_telemetry import StageTelemetry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class House:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reasons: list[str] = []
        self.server = MetricsServer(load_settings(), self.registry, lambda: self.reasons)

    async def get(self, path: str) -> tuple[int, str, str]:
        base = self.server.url.removesuffix("/metrics")
        async with aiohttp.ClientSession() as session, session.get(f"{base}{path}") as response:
            return response.status, await response.text(), response.headers["Content-Type"]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    await house.server.start()
    yield house
    await house.server.stop()


async def test_metrics_are_served_as_text(house: House) -> None:
    StageTelemetry("fraud", "scoring", house.registry).received(7)
    status, text, kind = await house.get("/metrics")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    (sample,) = families["batuta_events_received"].samples
    assert sample.value == 7


async def test_readiness_says_what_is_missing(house: House) -> None:
    house.reasons = ["fraud-scoring: lanes are starting", "looking for the broker"]
    status, text, _ = await house.get("/readyz")
    assert (status, text.splitlines()) == (503, house.reasons)
    house.reasons = []
    assert (await house.get("/readyz"))[:2] == (200, "ready\n")


async def test_liveness_does_not_wait_for_readiness(house: House) -> None:
    house.reasons = ["looking for the broker"]
    assert (await house.get("/livez"))[:2] == (200, "alive\n")


@pytest.mark.parametrize("path", ["/", "/metrics/", "/debug", "/../etc/passwd"])
async def test_there_is_no_other_door(house: House, path: str) -> None:
    assert (await house.get(path))[0] == 404


async def test_it_listens_on_loopback_alone(house: House) -> None:
    assert house.server.url.startswith("http://127.0.0.1:")


async def test_a_taken_port_is_a_usage_error_that_names_the_fix(house: House) -> None:
    port = int(house.server.url.removesuffix("/metrics").rsplit(":", 1)[1])
    second = MetricsServer(load_settings(metrics_port=port), house.registry, list)
    with pytest.raises(UsageError, match="choose another metrics_port"):
        await second.start()


async def test_stopping_twice_is_harmless(house: House) -> None:
    await house.server.stop()
    await house.server.stop()
