"""Parts that raise, hang, or answer what they must not, in a worker: their events go to a person.

One worker runs a pipeline whose events say what shall break; beside each of them are others, which
must not notice.
"""

from __future__ import annotations

import asyncio
import importlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer

from batuta.schemas.codec import decode_decision
from batuta.streams.house import House
from batuta.streams.lifecycle import Worker
from batuta.streams.pipelines.loading import load_file
from batuta.streams.pipelines.opening import open_models
from batuta.streams.settings import client_options, load_settings
from batuta.streams.topic_reader import TopicReader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from batuta.schemas.decision import Decision

PATIENCE_S = 120.0
FILE = """\
pipeline: trials
version: 1
source: {schema: "trial_parts:Trial", id: trial, key: key, time: at}
understand:
  - code: {use: "trial_parts:Code"}
  - seen: {by: key, use: "trial_parts:Seen"}
models:
  oracle: {adapter: python, use: "trial_parts:Oracle", inputs: [code, seen], timeout: 300ms}
verify:
  - {use: "trial_parts:Sober", reason: not_sober}
decide:
  - {when: "score > 0.9", outcome: block}
  - {otherwise: approve, reason: fine}
escalate: {queue: people}
notify:
  - {when: "outcome == 'block'", title: was blocked}
reasons: "trial_parts:Why"
sinks:
  broken: "trial_parts:Broken"
  ledger: "trial_parts:Ledger"
"""
PARTS = """\
import threading

import numpy as np
from pydantic import BaseModel

from batuta.schemas.times import EventTime

GATE = threading.Event()
HEARD = threading.Event()
CODES = {"model raises": 1, "model nan": 2, "model shape": 3, "model hangs": 4,
         "check raises": 5, "check shape": 6}


class Trial(BaseModel):
    trial: str
    key: str
    at: EventTime
    how: str


class Code:
    names = ("trial_code",)

    def compute(self, events):
        found = []
        for event in events:
            how = event.data["how"]
            if how == "feature raises":
                raise ZeroDivisionError(how)
            if how == "feature shape":
                return np.zeros(3)
            if how == "feature hangs":
                GATE.wait(60)
            found.append(np.nan if how == "feature nan" else CODES.get(how, 0))
        return np.array(found, float).reshape(-1, 1)


class Seen:
    names = ("seen_before",)
    width = 1
    per = ()

    def observe(self, memory, events):
        found = []
        for event in events:
            found.append(memory[0])
            memory[0] += 1
            if event.data["how"] == "memory raises":
                raise ZeroDivisionError
        return np.array(found)[:, None]


class Oracle:
    def answer(self, inputs):
        codes = set(inputs[:, 0].astype(int).tolist())
        if 1 in codes:
            raise ZeroDivisionError
        if 4 in codes:
            GATE.wait(60)
        scores = np.full(len(inputs), np.nan if 2 in codes else 0.25)
        return scores[:, None] if 3 in codes else scores


class Sober:
    def passes(self, scores, features):
        codes = set(features[:, 0].astype(int).tolist())
        if 5 in codes:
            raise ZeroDivisionError
        return np.ones(len(scores) + (6 in codes), bool)


class Why:
    def codes_of(self, features):
        raise ZeroDivisionError

    def text_of(self, code):
        raise ZeroDivisionError


class Broken:
    channel = "broken"

    async def deliver(self, notification):
        raise ZeroDivisionError

    async def close(self):
        pass


class Ledger(Broken):
    channel = "ledger"

    async def deliver(self, notification):
        HEARD.set()
"""


class Trials:
    """Publishes trials, and waits for what is decided about them."""

    def __init__(self, bootstrap: str, reader: TopicReader) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20})
        self._reader = reader
        self._number = 0

    async def of(self, *hows: str) -> list[Decision]:
        """Return the decisions about new events, in their order."""
        names: list[str] = []
        for how in hows:
            self._number += 1
            name = f"t-{self._number}"
            names.append(name)
            trial = {"trial": name, "key": f"k{self._number % 3}", "how": how}
            value = json.dumps({**trial, "at": "2024-01-01T00:00:00Z"})
            self._producer.produce("trials.events", value, trial["key"])
        assert self._producer.flush(30) == 0
        found: dict[str, Decision] = {}
        async with asyncio.timeout(PATIENCE_S):
            while len(found) < len(names):
                for record in await self._reader.poll():
                    decision = decode_decision(record)
                    assert decision.event_id not in found, "decided twice"
                    found[decision.event_id] = decision
        return [found[name] for name in names]


@pytest.fixture
async def trials(embedded_broker: str, tmp_path: Path) -> AsyncGenerator[Trials]:
    (tmp_path / "trial_parts.py").write_text(PARTS)
    (tmp_path / "pipeline.yaml").write_text(FILE)
    on_disk = load_file(tmp_path / "pipeline.yaml")
    settings = load_settings(bootstrap=embedded_broker, partitions=1)
    sinks = tuple(on_disk.sinks.values())
    worker = Worker(settings, House(on_disk.loaded, open_models(on_disk, tmp_path), sinks))
    try:
        await worker.start()
        await worker.wait_ready()
        async with TopicReader(client_options(settings), ("trials.decisions",)) as reader:
            yield Trials(embedded_broker, reader)
        assert worker.failure is None
    finally:
        parts().GATE.set()
        await worker.stop()


def parts() -> Any:
    return importlib.import_module("trial_parts")


def reasons(decisions: Sequence[Decision]) -> list[str]:
    """Return the first reasons; what no rule decided must be for a person."""
    assert all((one.outcome == "review") == (one.reasons[0] != "fine") for one in decisions)
    assert all(len(one.reasons) == 1 for one in decisions), "the part for reasons gives none"
    return [one.reasons[0] for one in decisions]


async def test_what_breaks_is_for_a_person_and_its_neighbours_do_not_notice(
    trials: Trials,
) -> None:
    # Of a batch, the events at fault alone.
    broken = ("feature raises", "feature nan", "feature shape", "memory raises")
    for how in broken:
        found = reasons(await trials.of("", "", how, "", ""))
        assert found == ["fine", "fine", "feature_failed", "fine", "fine"], how
    # A model and a check answer for a whole batch: the events of others go on.
    for how, reason in (
        ("model raises", "model_failed"),
        ("model nan", "model_answer_invalid"),
        ("model shape", "model_answer_invalid"),
        ("model hangs", "model_failed"),
        ("check raises", "check_broke"),
        ("check shape", "check_broke"),
    ):
        assert reasons(await trials.of(how)) == [reason]
        assert reasons(await trials.of("", "", "")) == ["fine"] * 3, how
    # A feature that hangs is left, and asked again once it comes back.
    assert reasons(await trials.of("feature hangs")) == ["feature_failed"]
    assert reasons(await trials.of("")) == ["feature_failed"]
    parts().GATE.set()
    async with asyncio.timeout(PATIENCE_S):
        while reasons(await trials.of("")) != ["fine"]:
            pass
    # A sink that raises holds up no other: this one has heard of the first event without a model.
    assert await asyncio.to_thread(parts().HEARD.wait, PATIENCE_S)
