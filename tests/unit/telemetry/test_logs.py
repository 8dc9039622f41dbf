"""Logs: our lines as asked for, a library's flood thinned out and never an ERROR."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest
import structlog

from batuta.streams.settings import load_settings
from batuta.streams.telemetry.logs import Sparing, SparingFilter, configure_logs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    structlog.reset_defaults()


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def complaint(node: int, name: str = "aiokafka") -> logging.LogRecord:
    message = "Unable connect to node with id %s: %s"
    return logging.LogRecord(name, logging.ERROR, __file__, 1, message, (node, "refused"), None)


def test_a_flood_is_said_once_per_interval_with_how_often_it_was_not() -> None:
    clock = Clock()
    thin = SparingFilter(Sparing(30, clock))
    assert [thin.filter(complaint(node)) for node in range(50)] == [True] + 49 * [False]
    clock.now_s = 31
    later = complaint(7)
    assert thin.filter(later)
    assert later.getMessage().endswith("id 7: refused (and 49 more like it)")


def test_a_library_never_cries_error() -> None:
    record = complaint(1, "aiokafka.conn")
    assert SparingFilter().filter(record)
    assert (record.levelno, record.levelname) == (logging.WARNING, "WARNING")


def test_our_own_lines_pass_untouched() -> None:
    thin = SparingFilter()
    records = [complaint(1, "batuta") for _ in range(3)]
    assert [thin.filter(record) for record in records] == [True, True, True]
    assert records[0].levelno == logging.ERROR


def test_what_is_remembered_is_bounded() -> None:
    clock = Clock()
    sparing = Sparing(30, clock)
    assert [sparing.allow(f"key {number}") for number in range(10_000)] == [1] * 10_000
    assert sparing.allow("key 9999") is None
    assert sparing.allow("key 0") == 1, "the oldest is forgotten, so it may be said again"


@pytest.mark.usefixtures("_restored_logging")
def test_json_lines_carry_the_facts_and_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(load_settings(log_format="json"))
    structlog.get_logger("batuta").bind(stage="scoring").warning("lane_restarted", partition=3)
    logging.getLogger("aiokafka").error("Unable connect to node with id %s", 0)
    logging.getLogger("aiokafka").error("Unable connect to node with id %s", 1)
    written = capsys.readouterr()
    assert written.out == ""
    ours, theirs = (json.loads(line) for line in written.err.splitlines())
    assert (
        ours.items()
        >= {
            "event": "lane_restarted",
            "level": "warning",
            "partition": 3,
            "stage": "scoring",
        }.items()
    )
    assert (theirs["event"], theirs["level"]) == ("Unable connect to node with id 0", "warning")


@pytest.mark.usefixtures("_restored_logging")
def test_what_is_below_the_level_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(load_settings(log_level="warning"))
    structlog.get_logger("batuta").info("partitions_rebalanced")
    logging.getLogger("aiokafka").info("Joined group")
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("_restored_logging")
def test_a_traceback_is_one_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(load_settings(log_format="json"))
    structlog.get_logger("batuta").error("lane_failed", exc_info=ValueError("broken promise"))
    (line,) = capsys.readouterr().err.splitlines()
    assert "ValueError: broken promise" in json.loads(line)["exception"]
