"""How a worker starts and what it shows: real processes, exit codes, health, ports."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson
import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from batuta.schemas.topics import Topics
from batuta.streams.broker.process import BrokerProcess

if TYPE_CHECKING:
    from conftest import Crew, Hand, Town

TOPICS: Final = Topics("fraud")
STAGES: Final = (
    *("ingestion", "rekeying", "learning"),
    *("scoring", "escalation", "notification"),
)
TOPIC_AUTHORIZATION_FAILED: Final = 29
LISTENING: Final = "0A"
FAUST_PORT: Final = 6066


def faults(path: Path, **fault: object) -> Path:
    """Write a file of one fault for an embedded broker."""
    path.write_bytes(orjson.dumps({"faults": [fault]}))
    return path


def test_without_a_broker_it_ends_with_2_and_the_fix(crew: Crew) -> None:
    hand = crew.start(None)
    assert hand.ends_with() == 2
    assert "--bootstrap HOST:PORT or BATUTA_BOOTSTRAP" in hand.said()
    assert "Traceback" not in hand.said()


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("partitions", "many", "a whole number"),
        ("batch_records_max", "0", "greater than or equal to 1"),
        ("session_timeout_ms", "40000", "less than rebalance_timeout_ms (30000)"),
        ("security_protocol", "SASL_PLAINTEXT", "SASL_SSL: SASL_PLAINTEXT sends the password"),
        ("partition", "4", "did you mean BATUTA_PARTITIONS?"),
    ],
)
def test_a_wrong_setting_ends_it_with_2_field_value_and_expectation(
    crew: Crew, setting: str, value: str, expected: str
) -> None:
    hand = crew.start("127.0.0.1:9", **{setting: value})
    assert hand.ends_with() == 2
    said = " ".join(hand.said().split())
    assert f"BATUTA_{setting}".upper() in said
    assert expected in said
    assert f"'{value}'" in said or "did you mean" in expected
    assert "Traceback" not in said


def test_out_of_reach_for_too_long_ends_it_with_3(crew: Crew, nowhere: str) -> None:
    hand = crew.start(nowhere, "--connect-timeout", "0.5")
    assert hand.ends_with() == 3
    assert f"error: no Kafka broker answered at {nowhere} within 500 ms" in hand.said()
    assert "Traceback" not in hand.said()


async def test_a_broker_that_comes_up_late_is_waited_for(crew: Crew, later_town: Town) -> None:
    hand = crew.start(later_town.bootstrap)
    hand.wait_until(lambda: "broker_unreachable" in hand.said())
    hand.wait_until(lambda: hand.said().count("broker_unreachable") > 1)
    assert later_town.bootstrap in hand.said()
    assert hand.get("/livez")[0] == 200
    assert hand.get("/readyz") == (503, "looking for the broker\n")
    port = int(later_town.bootstrap.rpartition(":")[2])
    with BrokerProcess(port):
        hand.wait_ready()
        await asyncio.to_thread(later_town.publish, [later_town.good("c1", n) for n in range(5)])
        await later_town.until(5)
        hand.process.send_signal(signal.SIGTERM)
        assert hand.ends_with() == 0
    assert "Traceback" not in hand.said()


def test_asked_to_end_while_it_looks_for_a_broker_it_ends(crew: Crew, nowhere: str) -> None:
    hand = crew.start(nowhere)
    hand.wait_until(lambda: "broker_unreachable" in hand.said())
    hand.process.send_signal(signal.SIGTERM)
    assert hand.ends_with() == 0
    assert "Traceback" not in hand.said()


def test_partition_counts_that_differ_end_it_with_2(crew: Crew) -> None:
    with BrokerProcess() as broker:
        topics = [NewTopic(TOPICS.events, 3, 1), NewTopic(TOPICS.decisions, 2, 1)]
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        for created in admin.create_topics(topics).values():
            created.result(20)
        hand = crew.start(broker.bootstrap)
        assert hand.ends_with() == 2
    assert "fraud.decisions has 2 partitions, expected 3" in hand.said()
    assert "Traceback" not in hand.said()


def test_topics_that_may_not_be_created_end_it_with_2_by_name(crew: Crew, tmp_path: Path) -> None:
    refusing = faults(
        tmp_path / "faults.json", api="CreateTopics", error_code=TOPIC_AUTHORIZATION_FAILED
    )
    with BrokerProcess(faults=refusing) as broker:
        hand = crew.start(broker.bootstrap)
        assert hand.ends_with() == 2
    for spec in TOPICS.declared(4):
        assert f"--create --topic {spec.name} --partitions 4" in hand.said()
    assert "may not create them" in hand.said()
    assert "Traceback" not in hand.said()


def test_it_is_not_ready_before_its_lanes_run(crew: Crew, tmp_path: Path) -> None:
    slow = faults(tmp_path / "faults.json", api="InitProducerId", delay_ms=1500)
    with BrokerProcess(faults=slow) as broker:
        hand = crew.start(broker.bootstrap)
        hand.wait_until(lambda: "lanes are starting" in hand.get("/readyz")[1])
        seen: list[tuple[int, float]] = []

        def ready() -> bool:
            # The lanes are counted after the answer: were it early, one would not run yet.
            status, _ = hand.get("/readyz")
            seen.append((status, hand.metric("batuta_lanes", state="ready")))
            return status == 200

        hand.wait_until(ready)
    assert {status for status, _ in seen[:-1]} == {503}
    assert seen[-1] == (200, 4 * len(STAGES))


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs /proc")
async def test_nothing_of_ours_listens_but_the_metrics_and_on_loopback_alone(
    crew: Crew, fraud_town: Town
) -> None:
    hand = crew.start(fraud_town.bootstrap)
    hand.wait_ready()
    await asyncio.to_thread(fraud_town.publish, [fraud_town.good("c1", n) for n in range(5)])
    await fraud_town.until(5)
    assert listening(hand) == {("127.0.0.1", hand.metrics_port)}
    assert hand.metrics_port != FAUST_PORT
    assert hand.get("/metrics")[0] == 200
    assert {hand.get(path)[0] for path in ("/", "/agents/", "/graph", "/stats/")} == {404}


def listening(hand: Hand) -> set[tuple[str, int]]:
    """Return address and port of every TCP socket on which a process listens."""
    proc = Path("/proc") / str(hand.process.pid)
    links = [str(fd.readlink()) for fd in (proc / "fd").iterdir() if fd.is_symlink()]
    own = {found[1] for link in links if (found := re.fullmatch(r"socket:\[(\d+)\]", link))}
    rows = [
        row.split()
        for table in ("tcp", "tcp6")
        for row in (proc / "net" / table).read_text().splitlines()[1:]
    ]
    return {_address(row[1]) for row in rows if row[3] == LISTENING and row[9] in own}


def _address(entry: str) -> tuple[str, int]:
    """Read the kernel's `0100007F:17AE`: words in the machine's order."""
    host, _, port = entry.partition(":")
    words = [bytes.fromhex(host[at : at + 8])[::-1] for at in range(0, len(host), 8)]
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return socket.inet_ntop(family, b"".join(words)), int(port, 16)
