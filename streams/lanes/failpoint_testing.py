"""Workers that die at failpoints: a nursery that starts them fast, and what each is to suffer.

A test asks a `Nursery` to run one worker of the counting stage after the other. Each is forked
from one process that has imported everything, so that it lives as long as its walk takes. It goes
through its strikes in order: at the n-th passing of a failpoint an await fails as a broker out of
reach would let it, or the process is killed as by `kill -9`. Strikes are noted before they happen.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self, cast

from aiokafka.errors import KafkaConnectionError

from batuta.agents.state.timers import Timer
from batuta.schemas.errors import LaterError, OursError
from batuta.schemas.record import Output
from batuta.streams.lanes.failpoints import FAILPOINTS
from batuta.streams.lanes.lane_testing import CountingWorker, Counts, Item, Layout, lane_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batuta.streams.lanes.batch import Batch
    from batuta.streams.settings import Settings

__all__ = [
    "Ending",
    "Nursery",
    "Strike",
    "WorkerSpec",
    "is_hopeless",
    "struck_worker",
    "writes_too_much_later",
]

#: Of so many events one is never decided, of another one the output is too large, and of a third
#: what its timer writes.
_EVENTS: Final = 60
_NEVER_DECIDED, _TOO_LARGE, _TOO_LARGE_LATER = 30, 45, 50
_LARGE: Final = b"x" * 200_000
_MODEL_S: Final = 0.002
_POLL_S: Final = 0.002


class Strike(NamedTuple):
    """What happens at the `passing`-th passing of a failpoint, counted from the strike before."""

    failpoint: str
    passing: int
    what: Literal["raise", "kill"]


class Ending(NamedTuple):
    """How one worker ended, and how many of its strikes happened."""

    how: Literal["killed", "late", "failed"]
    struck: int


@dataclass(frozen=True)
class WorkerSpec:
    """What every worker of a nursery is told."""

    bootstrap: str
    layout: Layout
    state_dir: str

    @property
    def log(self) -> str:
        """Where the workers say what they say."""
        return f"{self.state_dir}/workers.log"

    def settings(self) -> Settings:
        """Return settings: small batches, a snapshot every now and then, one static member."""
        return lane_settings(
            self.bootstrap,
            instance_id="struck",
            batch_records_max=8,
            retry_attempts_max=2,
            retry_backoff_ms=5,
            retry_backoff_ms_max=50,
            state_dir=self.state_dir,
            snapshot_interval_ms=100,
            snapshot_records_min=1,
            # Far beyond a restart: the group waits for the static member and moves nothing.
            session_timeout_ms=5_500,
        )


def is_hopeless(event_id: int) -> bool:
    """Whether an event can only end as a dead letter."""
    return event_id % _EVENTS in {_NEVER_DECIDED, _TOO_LARGE}


def writes_too_much_later(event_id: int) -> bool:
    """Whether the timer of an event can only end as a dead letter, keyed by the event's id."""
    return event_id % _EVENTS == _TOO_LARGE_LATER


def struck_worker(spec: WorkerSpec) -> CountingWorker:
    """Return a worker that asks a model, and now and then meets an event it cannot see through."""

    async def think(batch: Batch[Item, Counts]) -> None:
        for item in batch.items:
            if item.event_id % _EVENTS == _NEVER_DECIDED:
                raise LaterError("the outside world does not take this one")
            if item.event_id % _EVENTS == _TOO_LARGE:
                batch.forward(Output(spec.layout.outputs, item.record.key, _LARGE))
            if writes_too_much_later(item.event_id):
                now_ms, key = batch.context.now_ms, str(item.event_id)
                batch.context.timers.set(Timer("later", key, now_ms, "processing", b""))
        for firing in batch.firings:
            batch.forward(Output(spec.layout.outputs, firing.key.encode(), _LARGE))

    async def ask(_: Batch[Item, Counts]) -> None:
        await asyncio.sleep(_MODEL_S)

    return CountingWorker(spec.settings(), spec.layout, think, ask)


class Nursery:
    """Runs one struck worker after the other."""

    def __init__(self, spec: WorkerSpec) -> None:
        described = json.dumps(dataclasses.asdict(spec))
        self._process = subprocess.Popen(  # noqa: S603 - our own arguments
            [sys.executable, "-m", "batuta.streams.lanes.failpoint_testing", described],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def run(self, strikes: Sequence[Strike], patience_s: float) -> Ending:
        """Run one worker until its last strike has killed it, or for so long.

        Raises:
            OursError: the nursery itself ended.
        """
        asked, answered = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answered is not None
        asked.write(json.dumps([strikes, patience_s]).encode() + b"\n")
        asked.flush()
        line = answered.readline()
        if not line:
            raise OursError("the nursery ended")
        return Ending(*json.loads(line))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


# In the nursery's own process


class _Strikes:
    """Strikes one worker, in order; each is noted, as one byte, before it happens."""

    def __init__(self, strikes: Sequence[Strike], noting: int) -> None:
        self._left = list(strikes)
        self._passed = 0
        self._noting = noting

    def strike(self, failpoint: str) -> None:
        if not self._left or self._left[0].failpoint != failpoint:
            return
        self._passed += 1
        if self._passed < self._left[0].passing:
            return
        self._passed = 0
        due = self._left.pop(0)
        os.write(self._noting, b"!")
        if due.what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise KafkaConnectionError(f"failpoint {failpoint}")


def _be_struck(spec: WorkerSpec, strikes: Sequence[Strike], noting: int) -> None:
    """Be a worker, until the end of this process."""
    FAILPOINTS.strike = _Strikes(strikes, noting).strike

    async def live() -> None:
        worker = struck_worker(spec)
        await worker.start()
        while worker.source.failure is None:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.05)
        raise worker.source.failure

    asyncio.run(live())


def _speak_to(path: str) -> None:
    """Let what this process says go to a file."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(log, stream.fileno())


def _raise_one(spec: WorkerSpec, strikes: Sequence[Strike], patience_s: float) -> Ending:
    """Fork a worker and see how it ends."""
    reading, noting = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            _speak_to(spec.log)
            _be_struck(spec, strikes, noting)
        except BaseException as error:  # noqa: BLE001 - the end of a process, told on stderr
            sys.stderr.write(f"a struck worker failed: {error!r}\n")
            sys.stderr.flush()
        finally:
            os._exit(1)
    os.close(noting)
    until = time.monotonic() + patience_s
    ended, status = os.waitpid(child, os.WNOHANG)
    while not ended and time.monotonic() < until:
        time.sleep(_POLL_S)
        ended, status = os.waitpid(child, os.WNOHANG)
    if not ended:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    struck = len(os.read(reading, len(strikes) + 1))
    os.close(reading)
    if not ended:
        return Ending("late", struck)
    return Ending("killed" if os.WIFSIGNALED(status) else "failed", struck)


def main() -> None:
    """Run the workers that are asked for, until nobody asks any more."""
    given: dict[str, Any] = json.loads(sys.argv[1])
    told: dict[str, Any] = given["layout"]
    told["inputs"] = tuple(told["inputs"])
    layout = Layout(**told)
    spec = WorkerSpec(given["bootstrap"], layout, given["state_dir"])
    for line in sys.stdin:
        strikes, patience_s = json.loads(line)
        asked = [Strike(*strike) for strike in cast("list[tuple[Any, ...]]", strikes)]
        sys.stdout.write(json.dumps(_raise_one(spec, asked, patience_s)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
