"""kill -9 and failing awaits at every named place of a lane's walk: no event lost or doubled.

Every failpoint is struck by kill -9 `--failpoint-hits` times, once by default; the whole proof is

    pytest tests/contracts/lanes/test_lane_failpoints.py --failpoint-hits 20

A worker that was killed is followed by another that will be, so two restarts follow each kill
before anything is compared. Where an await can fail, the worker sees it fail there as well, once
for each kill, and some of its neighbours.
"""

from __future__ import annotations

import ast
import asyncio
import itertools
import json
import random
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

import batuta.streams.lanes.lane
from batuta.schemas.partition import PartitionOf
from batuta.streams.lanes.failpoint_testing import (
    Ending,
    Nursery,
    Strike,
    WorkerSpec,
    is_hopeless,
    struck_worker,
    writes_too_much_later,
)
from batuta.streams.lanes.failpoints import UNFAILING
from batuta.streams.lanes.kafka_log import KafkaLog
from batuta.streams.lanes.memory import LaneMemory
from batuta.streams.lanes.restore import restore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from conftest import Bench

    from batuta.streams.lanes.lane_testing import Counts

LANES = Path(batuta.streams.lanes.lane.__file__).parent
EVENTS = 60
KEYS = 7
PATIENCE_S = 8.0
#: Passed while a lane restores; while it starts; only now and then, or only after trouble.
RESTORING = ("reader.",)
STARTING = ("member.committed", "member.beginnings", "member.heartbeat", "producer.start")
SELDOM = ("lane.", "snapshot.", "producer.abort", "producer.discard")


# ---- which failpoints there are

#: What is not on the walk: the group's comings and goings, tests, aiokafka's own insides, a pause
#: between two slices of the loop's time, and snapshots, of which the two steps on disk are struck.
ASIDE = {"source", "kafka_shim", "lossy_proxy", "slices", "snapshots", "log", "restore"}
#: At the edge to aiokafka every await but those of its own methods leaves our code.
EDGE: Mapping[str, set[str]] = {
    "producer": {"LaneProducer"},
    "kafka_log": {"KafkaMember", "KafkaReader"},
}
#: Ends of a membership or of a process, with nothing under way; the tail of a close; a pause of a
#: lane whose parking lot is full, which has nothing in hand but what is asked.
NOT_THE_WALK = {"stop", "abandon", "settle", "close", "start@KafkaMember", "rest@Ownership"}
#: What it awaits is a bound of its own around awaits that have their failpoints, or a failpoint's.
HARMLESS = {"asyncio.timeout", "self._deliver", "self._abort", "self.discard"}


def names_in(text: str) -> list[str]:
    return [
        str(node.args[0].value)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "reach"
        and isinstance(node.args[0], ast.Constant)
    ]


def failpoints() -> list[str]:
    return sorted(
        itertools.chain.from_iterable(names_in(p.read_text()) for p in LANES.glob("*.py"))
    )


def own_coroutines(texts: Mapping[str, str]) -> set[str]:
    """Names whose awaits are looked at where they are defined."""
    return {
        node.name
        for text in texts.values()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.AsyncFunctionDef)
    }


def unguarded(name: str, text: str, own: set[str]) -> Iterator[str]:
    """Yield each await that leaves our code and has no failpoint on the line before."""
    for scope in ast.walk(ast.parse(text)):
        if not isinstance(scope, ast.ClassDef) or scope.name not in EDGE.get(name, {scope.name}):
            continue
        for function in ast.walk(scope):
            if not isinstance(function, ast.AsyncFunctionDef):
                continue
            if {function.name, f"{function.name}@{scope.name}"} & NOT_THE_WALK:
                continue
            for before, statement in _statements(function):
                for awaited in _awaited(statement):
                    inside = awaited in HARMLESS or _is_own(awaited, own, edge=name in EDGE)
                    if not inside and not _is_failpoint(before):
                        yield f"{name}.py:{statement.lineno}: await {awaited}"


def _statements(function: ast.AsyncFunctionDef) -> Iterator[tuple[ast.stmt | None, ast.stmt]]:
    for node in ast.walk(function):
        for block in ("body", "orelse", "finalbody"):
            statements = getattr(node, block, [])
            if isinstance(statements, list):
                yield from itertools.pairwise([None, *statements])  # pyright: ignore[reportReturnType]


def _awaited(statement: ast.stmt) -> Iterator[str]:
    """Yield what a statement itself awaits, blocks inside it aside."""
    if isinstance(statement, ast.AsyncWith):
        for item in statement.items:
            called = item.context_expr
            yield ast.unparse(called.func if isinstance(called, ast.Call) else called)
        return
    heads = [
        child
        for child in ast.iter_child_nodes(statement)
        if not isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case)
    ]
    for node in itertools.chain.from_iterable(ast.walk(head) for head in heads):
        if isinstance(node, ast.Await):
            value = node.value
            yield ast.unparse(value.func if isinstance(value, ast.Call) else value)


def _is_own(awaited: str, own: set[str], *, edge: bool) -> bool:
    """Whether it is a coroutine of ours; at the edge those of `self` alone are."""
    head, _, last = awaited.rpartition(".")
    return last in own and (not edge or head == "self")


def _is_failpoint(statement: ast.stmt | None) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Call)
        and ast.unparse(statement.value.func) == "reach"
    )


def sources() -> dict[str, str]:
    """Every module of the walk, and the edge to aiokafka."""
    found = {path.stem: path.read_text("utf-8") for path in LANES.glob("*.py")}
    aside = {name for name in found if name in ASIDE or name.endswith("_testing")}
    return {name: text for name, text in found.items() if name not in aside}


def coroutines_of_ours() -> set[str]:
    names = (path for path in LANES.glob("*.py") if not path.stem.endswith("_testing"))
    return own_coroutines({path.stem: path.read_text("utf-8") for path in names})


def test_every_await_between_fetch_and_commit_has_a_failpoint() -> None:
    texts, own = sources(), coroutines_of_ours()
    found = [line for name, text in texts.items() for line in unguarded(name, text, own)]
    assert found == []
    names = failpoints()
    assert len(names) == len(set(names)) >= 30
    assert set(UNFAILING) <= set(names)


def test_an_await_without_a_failpoint_is_seen() -> None:
    texts, own = sources(), coroutines_of_ours()
    for name, text in texts.items():
        seen = len(list(unguarded(name, text, own)))
        for point in names_in(text):
            if point in {"commits.noted", "producer.committed"}:
                continue  # behind an await, not before one
            blind = "\n".join(line for line in text.splitlines() if f'reach("{point}")' not in line)
            assert len(list(unguarded(name, blind, own))) > seen


# ---- what comes of striking them


@pytest.fixture
def hits(request: pytest.FixtureRequest) -> int:
    """How often each failpoint is struck by kill -9."""
    return int(request.config.getoption("--failpoint-hits", default=1) or 1)


class Proof:
    """One long-lived set of topics, one struck worker after the other."""

    def __init__(self, bench: Bench, spec: WorkerSpec, seed: int) -> None:
        self.bench, self.spec = bench, spec
        self.chance = random.Random(seed)
        self.published = 0
        self.struck: Counter[str] = Counter()
        self.late: Counter[str] = Counter()
        self.failing = [name for name in failpoints() if name not in UNFAILING]

    def plan(self, failpoint: str) -> list[Strike]:
        """Some failing awaits, then the end of the process at `failpoint`."""
        often = [name for name in self.failing if not name.startswith(SELDOM)]
        raised = self.chance.sample(often, self.chance.randrange(3))
        if failpoint.startswith(RESTORING):
            raised = []
        # What is passed at a start alone comes first: later on it may not be passed again.
        raised.sort(
            key=lambda name: (not name.startswith(RESTORING), not name.startswith(STARTING))
        )
        if failpoint in self.failing:
            raised.append(failpoint)
        strikes = [Strike(name, self._passing(name), "raise") for name in raised]
        return [*strikes, Strike(failpoint, self._passing(failpoint), "kill")]

    def _passing(self, failpoint: str) -> int:
        once = failpoint.startswith((*RESTORING, *STARTING, *SELDOM))
        return 1 if once else self.chance.randint(1, 3)

    async def publish(self, producer: AIOKafkaProducer) -> None:
        """Publish some more, in a transaction as any producer may."""
        async with producer.transaction():
            await self._send(range(self.published, self.published + EVENTS), producer)
        self.published += EVENTS

    async def publish_nothing(self, producer: AIOKafkaProducer) -> None:
        """Publish and abort: offsets to go past where there is no record."""
        await producer.begin_transaction()
        await self._send(range(KEYS), producer)
        await producer.abort_transaction()

    async def _send(self, ids: range, producer: AIOKafkaProducer) -> None:
        place, topic = PartitionOf(self.bench.layout.partitions), self.bench.layout.inputs[0]
        for n in ids:
            key = b"k%d" % (n % KEYS)
            await producer.send(topic, b'{"id":%d}' % n, key, partition=place(key))

    async def strike(self, failpoint: str, nursery: Nursery, producer: AIOKafkaProducer) -> None:
        """Run workers until one was killed at `failpoint`."""
        plan: list[Strike] = []
        for _ in range(5):
            await self.publish(producer)
            plan = self.plan(failpoint)
            ending = await self._run(plan, nursery, producer)
            for strike in plan[: ending.struck]:
                self.struck[f"{strike.what} {strike.failpoint}"] += 1
            assert ending.how != "failed", f"a worker gave up: {plan}"
            if ending.how == "killed":
                return
            self.late[failpoint] += 1
        raise AssertionError(f"{failpoint} was not passed: {plan}")

    async def _run(
        self, plan: list[Strike], nursery: Nursery, producer: AIOKafkaProducer
    ) -> Ending:
        running = asyncio.create_task(asyncio.to_thread(nursery.run, plan, PATIENCE_S))
        while not (await asyncio.wait({running}, timeout=0.7))[0]:
            await self.publish_nothing(producer)
        return running.result()

    async def check(self) -> None:
        """Let a worker without trouble come to the end; compare everything."""
        async with struck_worker(self.spec).running() as worker:
            await self.bench.eventually_async(self.bench.at_the_end)
            await self.bench.ready(worker)
            late = [b"%d" % n for n in range(self.published) if writes_too_much_later(n)]
            await self.bench.eventually_async(lambda: self._buried(late))
            stage = worker.source.stage
        ids = range(self.published)
        seen = await self.bench.outputs()
        self.bench.check_exactly_once(seen, [n for n in ids if not is_hopeless(n)])
        letters = [
            letter
            for letter in await self.bench.deadletters()
            if letter.headers["batuta-deadletter-reason"] != b"output_too_large"
        ]
        assert sorted(letter.event["id"] for letter in letters) == [
            n for n in ids if is_hopeless(n)
        ]
        recomputed = Counter(record.key for record in seen)
        log = KafkaLog(self.spec.settings())
        kept: dict[bytes | None, int] = {}
        for n in range(self.bench.layout.partitions):
            place = TopicPartition(self.bench.layout.changelog, n)
            restored = await restore(log, place, partial(LaneMemory, stage), lambda _: None)
            counts: Counts = restored.state.state  # pyright: ignore[reportAssignmentType]
            kept |= counts.kept
        assert kept == recomputed

    async def _buried(self, late: list[bytes]) -> bool:
        """Whether what these timers wrote was buried, each once."""
        letters = [
            letter.key or b""
            for letter in await self.bench.deadletters()
            if letter.headers["batuta-deadletter-reason"] == b"output_too_large"
        ]
        assert max(Counter(letters).values(), default=1) == 1
        return sorted(letters, key=int) == late


@pytest.mark.slow
@pytest.mark.timeout(5_400)
async def test_a_process_ends_at_every_failpoint_and_nothing_is_lost_or_doubled(
    make_bench: Callable[..., Awaitable[Bench]],
    hits: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seed, began = random.randrange(2**32), time.monotonic()
    bench = await make_bench(output_bytes_max=100_000)
    spec = WorkerSpec(bench.bootstrap, bench.layout, str(tmp_path))
    proof = Proof(bench, spec, seed)
    producer = AIOKafkaProducer(
        bootstrap_servers=bench.bootstrap, transactional_id=f"source-{bench.layout.group}"
    )
    await producer.start()
    print(f"seed {seed}")  # noqa: T201 - shown where the test fails
    try:
        with Nursery(spec) as nursery:
            for _ in range(hits):
                for failpoint in proof.chance.sample(failpoints(), len(failpoints())):
                    await proof.strike(failpoint, nursery, producer)
                await proof.check()
    finally:
        await producer.stop()
    figures = {
        "failpoints": len(failpoints()),
        "least_kills": min(proof.struck[f"kill {name}"] for name in failpoints()),
        "kills": sum(n for what, n in proof.struck.items() if what.startswith("kill")),
        "raised": sum(n for what, n in proof.struck.items() if what.startswith("raise")),
        "not_passed_in_time": sum(proof.late.values()),
        "events": proof.published,
        "seconds": round(time.monotonic() - began, 1),
        "violations": 0,
    }
    with capsys.disabled():
        print(json.dumps(figures))  # noqa: T201 - the figure that is published
    assert figures["least_kills"] >= hits
