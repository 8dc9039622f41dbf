"""The guard of a model, on virtual time: what is asked, asked again, asked twice, or not at all."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from batuta.agents.delegation.breaker import BreakerRule
from batuta.agents.delegation.bulkhead import BulkheadRule
from batuta.agents.delegation.heard import Heard, Indexes
from batuta.agents.delegation.plans import Ask, Fallback, Parallel
from batuta.agents.delegation.retrying import RetryRule, wait_ms
from batuta.agents.delegation.terms import Terms
from batuta.agents.delegation.work import Asking, Call, Work
from batuta.schemas.errors import ModelFailedError
from batuta.streams.at_once import AtOnce
from batuta.streams.guard import Asked, Guard
from batuta.streams.lanes.calls import Call as LateCall
from batuta.streams.lanes.calls import Calls
from batuta.streams.rehearsal.virtual_loop import VirtualLoop
from batuta.streams.telemetry.guard_facts import AttemptMade, BreakerChanged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batuta.agents.delegation.plans import Node
    from batuta.agents.models.port import Matrix, Scores
    from batuta.streams.telemetry.facts import Fact

HUNG_MS = 1_000_000
BREAKER = BreakerRule(failures_share=0.5, window_ms=10_000, calls_min=4, open_ms=5_000)


class Script:
    """A model whose calls take, and end, as a list says; the last entry goes on for ever."""

    inputs: tuple[str, ...] = ("x",)

    def __init__(self, *ends: int | ModelFailedError, name: str = "m") -> None:
        self.name, self.version = name, f"{name}@0"
        self.ends = list(ends)
        self.calls = self.cancelled = 0

    async def answer(self, inputs: Matrix) -> Scores:
        end = self.ends[min(self.calls, len(self.ends) - 1)]
        self.calls += 1
        if isinstance(end, ModelFailedError):
            raise end
        try:
            await asyncio.sleep(end / 1000)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if end == HUNG_MS:
            raise ModelFailedError("timeout", "late")
        return np.full(len(inputs), 0.5)


class Bench:
    """One guarded model on a loop of virtual time."""

    def __init__(self, loop: VirtualLoop, model: Script, terms: Terms) -> None:
        self.loop, self.model = loop, model
        self.told: Counter[str] = Counter()
        self.states: list[str] = []
        self.guard = Guard(model.name, terms, self._hear)

    def _hear(self, fact: Fact) -> None:
        if isinstance(fact, AttemptMade):
            self.told[fact.attempt] += 1
        elif isinstance(fact, BreakerChanged):
            self.states.append(fact.state)

    def ask(self, rows: int = 1, seed: str = "m/e1", patience_ms: int | None = None) -> str:
        """Return `answered`, or why there is no answer."""
        return self.loop.run_until_complete(self.asking(rows, seed, patience_ms))

    async def asking(
        self, rows: int = 1, seed: str = "m/e1", patience_ms: int | None = None
    ) -> str:
        matrix = np.zeros((rows, 1), np.float32)
        call = Call("m", np.arange(rows), matrix, seed, patience_ms)
        try:
            await self.guard.put(Asked(self.model, call))
        except ModelFailedError as failure:
            return failure.kind
        return "answered"

    @property
    def now_ms(self) -> int:
        return round(self.loop.time() * 1000)


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop(calls_max=100_000)
    yield loop
    loop.close()


def broken() -> ModelFailedError:
    return ModelFailedError("unavailable", "answered 500")


def test_a_model_that_fails_is_not_asked_until_it_has_rested(loop: VirtualLoop) -> None:
    bench = Bench(loop, Script(broken(), broken(), broken(), broken(), 10), Terms(breaker=BREAKER))
    assert [bench.ask() for _ in range(6)] == ["unavailable"] * 4 + ["breaker_open"] * 2
    assert bench.model.calls == 4
    loop.run_until_complete(asyncio.sleep(5))
    assert bench.ask() == "answered"
    assert bench.states == ["closed", "open", "half_open", "closed"]
    assert bench.told == {"first": 5, "breaker_open": 2}


def test_one_that_says_when_to_come_back_is_no_case_for_the_breaker(loop: VirtualLoop) -> None:
    patient = ModelFailedError("overloaded", "answered 429", retry_after_ms=2_000)
    bench = Bench(loop, Script(patient), Terms(breaker=BREAKER))
    assert {bench.ask() for _ in range(10)} == {"overloaded"}
    assert bench.states == ["closed"]


def test_a_call_is_made_again_after_a_while_that_repeats(loop: VirtualLoop) -> None:
    rule = RetryRule(times=2, wait_ms=1_000)
    bench = Bench(loop, Script(broken(), 10), Terms(retry=rule))
    assert bench.ask(seed="m/e7") == "answered"
    assert bench.now_ms == wait_ms(rule, 0, "m/e7") + 10
    assert bench.told == {"first": 1, "retry": 1}


def test_what_a_model_asks_for_is_waited_before_it_is_asked_again(loop: VirtualLoop) -> None:
    patient = ModelFailedError("overloaded", "answered 429", retry_after_ms=2_000)
    bench = Bench(loop, Script(patient, 10), Terms(retry=RetryRule(wait_ms=50)))
    assert bench.ask() == "answered"
    assert 2_010 <= bench.now_ms <= 2_060


def test_no_call_is_made_again_that_would_be_too_late(loop: VirtualLoop) -> None:
    patient = ModelFailedError("overloaded", "answered 429", retry_after_ms=2_000)
    bench = Bench(loop, Script(patient, 10), Terms(retry=RetryRule(wait_ms=50)))
    assert bench.ask(patience_ms=1_500) == "overloaded"
    assert (bench.now_ms, bench.model.calls) == (0, 1)


@pytest.mark.parametrize("kind", ["invalid", "refused", "broke"])
def test_what_would_be_the_same_again_is_not_asked_again(loop: VirtualLoop, kind: str) -> None:
    failure = ModelFailedError(kind, "no")  # type: ignore[arg-type]
    bench = Bench(loop, Script(failure), Terms(retry=RetryRule()))
    assert bench.ask() == kind
    assert bench.model.calls == 1


def test_a_model_that_fails_altogether_sees_a_tenth_more_load(loop: VirtualLoop) -> None:
    bench = Bench(loop, Script(broken()), Terms(retry=RetryRule(times=3, wait_ms=1)))
    for _ in range(1_000):
        bench.ask()
    assert 1_090 <= bench.model.calls <= 1_110
    assert bench.told["no_budget"] > 0


def test_calls_beyond_the_bound_wait_and_beyond_the_queue_are_refused(loop: VirtualLoop) -> None:
    terms = Terms(bulkhead=BulkheadRule(calls_max=2, queue_max=3))
    bench = Bench(loop, Script(100), terms)

    async def six() -> list[str]:
        return await asyncio.gather(*(bench.asking() for _ in range(6)))

    assert loop.run_until_complete(six()) == ["answered"] * 5 + ["overloaded"]
    assert bench.now_ms == 300
    assert bench.told == {"first": 5, "no_place": 1}


def test_a_place_is_not_waited_for_longer_than_an_answer(loop: VirtualLoop) -> None:
    terms = Terms(timeout_ms=200, bulkhead=BulkheadRule(calls_max=1, queue_max=3))
    bench = Bench(loop, Script(HUNG_MS, 10), terms)

    async def three() -> list[str]:
        hung = asyncio.ensure_future(bench.asking())
        await asyncio.sleep(0)
        said = await bench.asking()
        hung.cancel()
        await asyncio.wait([hung])
        return [said, await bench.asking()]

    assert loop.run_until_complete(three()) == ["overloaded", "answered"]


def test_a_call_that_takes_longer_than_nearly_all_is_made_twice(loop: VirtualLoop) -> None:
    bench = Bench(loop, Script(*[10] * 100, HUNG_MS, 10), Terms(hedge=True))
    for _ in range(100):
        bench.ask()
    before_ms = bench.now_ms
    assert bench.ask() == "answered"
    assert bench.now_ms - before_ms == 21, "11 ms until the second, 10 ms for its answer"
    loop.run_until_complete(asyncio.sleep(0))
    assert bench.model.cancelled == 1
    assert bench.told == {"first": 101, "hedge": 1, "cancelled": 1}


def test_hedges_are_a_tenth_of_the_load_at_most(loop: VirtualLoop) -> None:
    bench = Bench(loop, Script(*[10] * 20, HUNG_MS), Terms(hedge=True))
    for _ in range(20):
        bench.ask()

    async def hundred() -> None:
        asked = [asyncio.ensure_future(bench.asking()) for _ in range(100)]
        await asyncio.sleep(1)
        for one in asked:
            one.cancel()
        await asyncio.wait(asked)

    loop.run_until_complete(hundred())
    assert bench.told["hedge"] == 10 + 12, "those at first, and a tenth of 120"


# Through the driver


def inputs(model: str, rows: Indexes, heard: Heard) -> Matrix:
    del model, heard
    return np.zeros((len(rows), 1), np.float32)


class Driven:
    """Plans over two models, a and b, driven with terms."""

    def __init__(
        self, loop: VirtualLoop, a: Script, b: Script, breaker: BreakerRule | None = None
    ) -> None:
        self.loop = loop
        self.models = {"a": a, "b": b}
        self.driver = AtOnce(self.models, {"a": Terms(breaker=breaker)})

    def work(self, node: Node, rows: int = 1, patience_ms: int | None = None) -> Work:
        patience = None if patience_ms is None else np.full(rows, patience_ms, np.int64)
        versions = {name: model.version for name, model in self.models.items()}
        where = np.ones(rows, np.bool_)
        asking = Asking([f"e{n}" for n in range(rows)], patience)
        return Work(Heard(rows, versions), [(node, where)], inputs, asking=asking)

    def refusing(self) -> frozenset[str]:
        async def asked() -> frozenset[str]:
            return self.driver.refusing()

        return self.loop.run_until_complete(asked())

    def drive(self, node: Node, patience_ms: int | None = None) -> Work:
        work = self.work(node, patience_ms=patience_ms)
        self.loop.run_until_complete(self.driver.drive(work))
        return work


def failure(work: Work, model: str) -> str:
    return work.heard.told[model].failures.get(0, "")


def test_an_open_breaker_lets_the_plan_go_on_by_its_rule(loop: VirtualLoop) -> None:
    node = Fallback((Ask("a"), Ask("b")))
    driven = Driven(loop, Script(broken()), Script(1), BREAKER)
    for _ in range(4):
        driven.drive(node)
    work = driven.drive(node)
    assert failure(work, "a") == "breaker_open"
    assert work.reached.marked.all()
    assert driven.models["a"].calls == 4
    assert driven.refusing() == {"a"}


@pytest.mark.parametrize("node", [Ask("a"), Fallback((Ask("a"), Ask("b")))])
def test_what_is_not_answered_by_the_deadline_is_late_whatever_the_plan(
    loop: VirtualLoop, node: Node
) -> None:
    driven = Driven(loop, Script(HUNG_MS), Script(10))
    work = driven.drive(node, patience_ms=300)
    assert round(loop.time() * 1000) == 300
    assert failure(work, "a") == "late"
    assert not work.reached.usable.any()
    assert driven.models["b"].calls == 0


def test_a_model_too_slow_for_its_plan_opens_its_breaker(loop: VirtualLoop) -> None:
    node = Parallel((Ask("a"), Ask("b")), "mean", (1.0, 1.0), quorum=1, within_ms=50)
    driven = Driven(loop, Script(HUNG_MS), Script(10), BREAKER)
    for _ in range(4):
        driven.drive(node)
        loop.run_until_complete(asyncio.sleep(0))
    assert driven.refusing() == {"a"}


def test_one_let_go_of_because_enough_have_answered_does_not(loop: VirtualLoop) -> None:
    node = Parallel((Ask("a"), Ask("b")), "mean", (1.0, 1.0), quorum=1, first=True)
    driven = Driven(loop, Script(HUNG_MS), Script(10), BREAKER)
    for _ in range(8):
        driven.drive(node)
        loop.run_until_complete(asyncio.sleep(0))
    assert driven.refusing() == frozenset()


def test_a_batch_waits_no_second_time_for_a_model_that_was_slow(loop: VirtualLoop) -> None:
    driven = Driven(loop, Script(500), Script(1))
    calls = Calls(soft_deadline_ms=20)

    async def waited_ms(node: Node) -> int:
        began_s = loop.time()
        answer = await calls.ask("?", driven.driver.drive(driven.work(node)))
        assert isinstance(answer, LateCall) == (node != Ask("b"))
        return round((loop.time() - began_s) * 1000)

    both = Parallel((Ask("a"), Ask("b")), "mean", (1.0, 1.0), quorum=2)

    async def three() -> list[int]:
        return [await waited_ms(Ask("a")), await waited_ms(both), await waited_ms(Ask("b"))]

    assert loop.run_until_complete(three()) == [20, 1, 1]
    loop.run_until_complete(asyncio.sleep(1))
