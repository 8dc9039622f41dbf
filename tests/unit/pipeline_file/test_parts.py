"""The batteries pass what keeps its port's promises, and name the promise that is broken."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
from pydantic import BaseModel, Field

from batuta.agents.fraud.generator import fraud_samples
from batuta.agents.fraud.reasons import FraudReasons
from batuta.agents.models.answers import Answers
from batuta.schemas.fraud import FraudLabel, Transaction
from batuta.schemas.notification import Notification
from batuta.streams import testing
from batuta.streams.sinks.log import LogSink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from batuta.agents.models.port import Matrix, Scores
    from batuta.agents.policy.names import Flags
    from batuta.agents.samples import Clock, SampleEvent
    from batuta.agents.understanding.features import Features, Memory
    from batuta.agents.verification.remedies import RepairBatch
    from batuta.schemas.ingested import Ingested

NOW_MS = 1_795_390_200_000
TOLD = Notification("n1", "parcels", "default", "info", "t", "s", "p1", {"a": "b"}, 1)
LABEL = {"transaction_id": "tx-1", "label_time": "2018-04-08T10:17:43Z", "fraud": True}


class Parcel(BaseModel):
    parcel: str
    weight: float = Field(ge=0)


class Lenient(BaseModel):
    parcel: str = Field(default=..., exclude=True)


class Weight:
    names: tuple[str, ...] = ("weight_kg",)

    def compute(self, events: Sequence[Ingested]) -> Features:
        return np.array([[cast("float", e.data["weight"])] for e in events]).reshape(-1, 1)


class Twice(Weight):
    names: tuple[str, ...] = ("weight", "weight")


class Neighbourly(Weight):
    def compute(self, events: Sequence[Ingested]) -> Features:
        return np.full((len(events), 1), float(len(events)))


class NotANumber(Weight):
    def compute(self, events: Sequence[Ingested]) -> Features:
        return np.full((len(events), 1), np.nan)


class Flat(Weight):
    def compute(self, events: Sequence[Ingested]) -> Features:
        return np.zeros(len(events))


class Pace:
    names: tuple[str, ...] = ("pace",)
    width: int = 1
    per: tuple[str, ...] = ()

    def observe(self, memory: Memory, events: Sequence[Ingested]) -> Features:
        before = memory[0] + np.arange(len(events))
        memory[0] += len(events)
        return before[:, None]


class Forgetful(Pace):
    def observe(self, memory: Memory, events: Sequence[Ingested]) -> Features:
        del memory
        return np.arange(float(len(events)))[:, None]


class Scales:
    def answer(self, inputs: Matrix) -> Scores:
        return np.clip(inputs[:, 0].astype(np.float64), 0.0, 1.0)


class Beyond(Scales):
    def answer(self, inputs: Matrix) -> Scores:
        return np.full(len(inputs), 1.5)


class Short(Scales):
    def answer(self, inputs: Matrix) -> Scores:
        return np.zeros(len(inputs[:1]))


class Scribbling(Scales):
    def answer(self, inputs: Matrix) -> Scores:
        inputs[:] = 0.0
        return np.zeros(len(inputs))


class Ranking(Scales):
    def answer(self, inputs: Matrix) -> Scores:
        return np.argsort(inputs[:, 0]) / max(len(inputs), 1) + 1 / (len(inputs) + 1) ** 2


class Sure:
    def passes(self, scores: Scores, features: Features) -> Flags:
        del features
        return scores < 0.999


class Numeric:
    def passes(self, scores: Scores, features: Features) -> Flags:
        del features
        return cast("Flags", scores)


class Calm:
    """Writes a text without its cries; marks it where it is told to."""

    def __init__(self, mark: str = "") -> None:
        self.mark = mark
        self.mended = 0

    def repair(self, batch: RepairBatch) -> Answers:
        self.mended += 1
        texts = [str(value).rstrip("!") for value in batch.values]
        return Answers(batch.scores, values=[f"{text}{self.mark}" for text in texts])


class Fickle(Calm):
    def repair(self, batch: RepairBatch) -> Answers:
        self.mark = str(self.mended)
        return super().repair(batch)


class Sparing(Calm):
    def repair(self, batch: RepairBatch) -> Answers:
        return Answers(batch.scores[:1])


class Deaf(LogSink):
    channel: str = ""


class Shouting(FraudReasons):
    def codes_of(self, features: object) -> tuple[str, ...]:
        del features
        return ("VERY LOUD",)


class Divided(FraudReasons):
    def codes_of(self, features: object) -> tuple[str, ...]:
        del features
        return ("quiet",)


def once(seed: int, now_ms: int, clock: Clock | None = None) -> Iterator[SampleEvent]:
    """Yield the samples of one world, whatever the seed."""
    del seed
    return fraud_samples(1, now_ms, clock)


def test_what_keeps_its_promises_passes() -> None:
    testing.check_schema(FraudLabel, [LABEL])
    testing.check_model(Scales(), inputs=3)
    testing.check_feature(Weight(), [{"weight": 2.5}, {"weight": 0.5}])
    testing.check_keyed_feature(Pace(), [{"weight": 2.5}, {"weight": 0.5}])
    testing.check_check(Sure(), inputs=3)
    testing.check_repair(Calm(), [("No!!!", 0.3), ("Yes!", 0.9)], "tone_shouting")
    testing.check_sink(LogSink(), TOLD)
    testing.check_reasons(FraudReasons(), {"amount": 900.0})
    testing.check_samples(fraud_samples, Transaction, NOW_MS)


BROKEN: dict[str, Callable[[], None]] = {
    "is read as another event|Field required": lambda: testing.check_schema(
        Lenient, [{"parcel": "p"}]
    ),
    "at least one example": lambda: testing.check_schema(Parcel, []),
    "no score from 0 to 1": lambda: testing.check_model(Beyond(), 2),
    "answered with the shape": lambda: testing.check_model(Short(), 2),
    "writes into what it was given": lambda: testing.check_model(Scribbling(), 2),
    "depends on its neighbours": lambda: testing.check_model(Ranking(), 2),
    "holds a name twice": lambda: testing.check_feature(Twice(), [{"weight": 1.0}]),
    "a value depends": lambda: testing.check_feature(
        Neighbourly(), [{"weight": 1.0}, {"weight": 2.0}]
    ),
    "not a finite number": lambda: testing.check_feature(NotANumber(), [{"weight": 1.0}]),
    "the shape is": lambda: testing.check_feature(Flat(), [{"weight": 1.0}]),
    "depends on how batches are cut": lambda: testing.check_keyed_feature(
        Forgetful(), [{"weight": 1.0}, {"weight": 2.0}]
    ),
    "not truth values": lambda: testing.check_check(Numeric(), 2),
    "are mended otherwise": lambda: testing.check_repair(Fickle(), [("No!", 0.3)], "odd"),
    "2 answers, the shape": lambda: testing.check_repair(
        Sparing(), [("No!", 0.3), ("Yes!", 0.9)], "odd"
    ),
    "without a channel": lambda: testing.check_sink(Deaf(), TOLD),
    "is no code": lambda: testing.check_reasons(Shouting(), {}),
    "codes_of_all answers": lambda: testing.check_reasons(Divided(), {"amount": 900.0}),
    "two seeds give the same ids": lambda: testing.check_samples(once, Transaction, NOW_MS),
}


@pytest.mark.parametrize("promise", BROKEN)
def test_a_broken_promise_is_named(promise: str) -> None:
    with pytest.raises((AssertionError, ValueError), match=promise):
        BROKEN[promise]()
