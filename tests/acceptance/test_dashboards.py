"""The dashboard and the alerts against Debian's Prometheus: no panel says "No data".

Without the package `prometheus` these tests are skipped loudly at home and fail where CI is set.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypedDict, cast

import aiohttp
import numpy as np
import pytest
import yaml
from prometheus_client import CollectorRegistry

from batuta.agents.open_cases import OpenCases
from batuta.streams.settings import load_settings
from batuta.streams.telemetry.budget_facts import BudgetMoved, DecisionsPaid
from batuta.streams.telemetry.guard_facts import BreakerChanged
from batuta.streams.telemetry.metrics import families_of
from batuta.streams.telemetry.metrics_server import MetricsServer
from batuta.streams.telemetry.planner_facts import ProposalsJudged
from batuta.streams.telemetry.review_facts import CasesWait, QueuesKnown
from batuta.streams.telemetry.stage_telemetry import StageTelemetry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

ROOT: Final = Path(__file__).parents[2]
DASHBOARD: Final = ROOT / "deploy" / "grafana" / "dashboards" / "batuta.json"
CONFIG: Final = ROOT / "deploy" / "prometheus" / "prometheus.yml"
RULES: Final = ROOT / "deploy" / "prometheus" / "rules"
RULES_TEST: Final = Path(__file__).parent / "prometheus" / "batuta_rules_test.yml"
STAGES: Final = (
    *("ingestion", "rekeying", "learning"),
    *("scoring", "escalation", "notification"),
)
DEADLINE_S: Final = 120


class Query(NamedTuple):
    """One query of one panel."""

    panel: str
    expr: str


class Series(TypedDict):
    """One series of an instant query's answer."""

    metric: dict[str, str]
    value: tuple[float, str]


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say(f"{name.upper()} WAS NOT RUN: install Debian's package 'prometheus'")
    return found or name


def dashboard_queries() -> list[Query]:
    board = cast("dict[str, object]", json.loads(DASHBOARD.read_bytes()))
    panels = cast("list[dict[str, object]]", board["panels"])
    return [
        Query(str(panel["title"]), target["expr"])
        for panel in panels
        for target in cast("list[dict[str, str]]", panel.get("targets", []))
    ]


def filled_in(expr: str) -> str:
    """Do what Grafana does with the variables."""
    filled = expr.replace("$__rate_interval", "10s").replace("$pipeline", ".*")
    assert "$" not in filled, f"no value for a variable of {expr}"
    return filled


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await condition():  # noqa: ASYNC110 - the condition is another process's
            await asyncio.sleep(0.2)


# What is scraped


async def tell_for_ever(registry: CollectorRegistry) -> None:
    """Let every fact of every stage happen, again and again."""
    families_of(registry).broker_up().set(1)
    stages = [StageTelemetry("fraud", stage, registry) for stage in STAGES]
    for telemetry in stages:
        telemetry.rebalanced()
        telemetry.lane_state(0, "ready")
        telemetry.state_entries(0, 100)
        telemetry.lag(0, 3)
    stages[3].tell(BreakerChanged("forest", "closed", None))
    stages[4].tell(QueuesKnown(("fraud-review",)))
    stages[4].tell(CasesWait(0, {"fraud-review": OpenCases(3, time.time_ns() // 1_000_000)}))
    while True:
        for telemetry in stages:
            telemetry.received(100)
            telemetry.finished({"done": 97})
            telemetry.dead_lettered("not_json", 1)
            telemetry.batch(100, 0.02)
            telemetry.transaction("committed", 0.01, 5)
            telemetry.ages(np.array([20, 30, 400]))
        stages[1].model("forest", "forest@5f1d0c9a7b3e", "answered", 97, 0.003)
        stages[1].decided({"approve": 95, "review": 1, "block": 1})
        stages[2].escalated(1)
        stages[3].notified("log", "delivered")
        in_a_day_s = time.time() + 86_400
        stages[1].tell(BudgetMoved("daily", 0.5, in_a_day_s, in_a_day_s))
        stages[1].tell(DecisionsPaid({("approve", "EUR"): 0.01}))
        judged = {("followed", "followed"): 90, ("refused", "too_deep"): 7}
        stages[1].tell(ProposalsJudged(judged, {"EUR": 0.002}))
        await asyncio.sleep(0.1)


@pytest.fixture
async def told() -> AsyncIterator[int]:
    """A port that serves every metric there is."""
    registry = CollectorRegistry()
    server = MetricsServer(load_settings(), registry, list)
    await server.start()
    telling = asyncio.create_task(tell_for_ever(registry))
    yield int(server.url.removesuffix("/metrics").rsplit(":", 1)[1])
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)
    await server.stop()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A port at which the demo serves its metrics, ready and under load."""
    port = free_port()
    batuta = Path(sys.executable).with_name("batuta")
    command = [batuta, "demo", "fraud", "--rate", "300", "--bad", "0.02"]
    environment = {**os.environ, "BATUTA_METRICS_PORT": str(port)}
    log = tmp_path_factory.mktemp("demo") / "demo.log"
    with log.open("wb") as written:
        process = subprocess.Popen(command, stdout=written, stderr=written, env=environment)
    try:
        give_up_s = time.monotonic() + DEADLINE_S
        while status_of(f"http://127.0.0.1:{port}/readyz") != 200:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < give_up_s, log.read_text()
            time.sleep(0.2)
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as refused:
        return refused.code
    except OSError:
        return 0


# Who scrapes


def config_for(port: int, folder: Path) -> Path:
    """Return the shipped configuration, with one target here instead of those of compose."""
    config = cast("dict[str, object]", yaml.safe_load(CONFIG.read_text()))
    (job,) = cast("list[dict[str, object]]", config["scrape_configs"])
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [f"{RULES}/*.yml"]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


class Prometheus:
    """Debian's Prometheus, scraping one port."""

    def __init__(self, target_port: int, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [
            tool("prometheus"),
            f"--config.file={config_for(target_port, folder)}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        with (folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    async def query(self, expr: str) -> list[Series]:
        """Return the answer to an instant query; nothing while Prometheus is not up."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{self.url}/api/v1/query", params={"query": expr}) as response,
            ):
                answer = cast("dict[str, object]", await response.json(content_type=None))
        except (aiohttp.ClientError, ValueError):
            return []
        assert answer["status"] == "success", answer
        return cast("dict[str, list[Series]]", answer["data"])["result"]

    async def without_data(self, queries: list[Query]) -> list[Query]:
        """Return the queries that have no number in their answer now."""
        answers = await asyncio.gather(*(self.query(filled_in(query.expr)) for query in queries))
        return [
            query
            for query, answer in zip(queries, answers, strict=True)
            if all(math.isnan(float(series["value"][1])) for series in answer)
        ]

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)


@pytest.fixture(params=["told", "demo"])
def source(request: pytest.FixtureRequest) -> int:
    return cast("int", request.getfixturevalue(request.param))


@pytest.fixture
def prometheus(source: int, tmp_path: Path) -> Iterator[Prometheus]:
    prometheus = Prometheus(source, tmp_path)
    yield prometheus
    prometheus.stop()


@pytest.mark.slow
async def test_no_panel_says_no_data(prometheus: Prometheus) -> None:
    empty = dashboard_queries()
    assert len(empty) >= 14

    async def all_answered() -> bool:
        empty[:] = await prometheus.without_data(empty)
        return not empty

    try:
        await until(all_answered)
    except TimeoutError:
        pytest.fail(f"no data for {empty}")
    assert await prometheus.query("nonsense_total") == []
    assert await prometheus.query('ALERTS{alertstate="firing"}') == []


@pytest.mark.slow
async def test_promtool_finds_nothing_to_say_about_a_whole_scrape(source: int) -> None:
    command = [tool("promtool"), "check", "metrics"]
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{source}/metrics") as response,
    ):
        scrape = await response.read()
    assert scrape.count(b"# TYPE batuta_") >= 25
    checked = await asyncio.to_thread(
        subprocess.run, command, input=scrape, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    "arguments",
    [("check", "config", CONFIG), ("check", "rules", *sorted(RULES.glob("*.yml")))],
    ids=["config", "rules"],
)
def test_promtool_accepts_what_is_shipped(arguments: tuple[str | Path, ...]) -> None:
    checked = subprocess.run([tool("promtool"), *arguments], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr.decode()
    assert b"WARNING" not in checked.stdout + checked.stderr


def test_alerts_fire_when_they_should_and_only_then() -> None:
    checked = subprocess.run(
        [tool("promtool"), "test", "rules", RULES_TEST], capture_output=True, check=False
    )
    assert checked.returncode == 0, (checked.stdout + checked.stderr).decode()


async def test_every_metric_a_panel_or_an_alert_names_exists(told: int) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{told}/metrics") as response,
    ):
        scrape = await response.text()
    served = set(re.findall(r"^(batuta_\w+)", scrape, flags=re.MULTILINE))
    rules = "\n".join(path.read_text() for path in RULES.glob("*.yml"))
    asked = [query.expr for query in dashboard_queries()] + re.findall(
        r"expr: (?:>-\n)?((?:.+\n)+?)\s+(?:for|labels):", rules
    )
    named = set(re.findall(r"\bbatuta_\w+", "\n".join(asked)))
    assert len(named) >= 20
    assert named <= served
