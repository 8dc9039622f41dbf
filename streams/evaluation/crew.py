"""The workers of an evaluation, each in a process of its own, which ends with ours."""

import asyncio
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from batuta.schemas.errors import LaterError

__all__ = ["Crew", "CrewPlan"]

_READY_WITHIN_S: Final = 120.0
_ENDS_WITHIN_S: Final = 60.0
#: Batches are large, nothing is parked that is answered at all, and watermarks go out soon.
_SETTINGS: Final[Mapping[str, object]] = {
    "batch_records_max": 5_000,
    "soft_deadline_ms": 10_000,
    "watermark_interval_ms": 20,
    "metrics_port": 0,
    "log_level": "error",
}


@dataclass(frozen=True)
class CrewPlan:
    """What each worker is started with.

    Attributes:
        pipeline: a shipped name, or the path of a file.
        bootstrap: the brokers.
        aligned: whether events and labels are taken in the order of their time.
        model_dir: where the model is that they ask.
    """

    pipeline: str
    bootstrap: str
    aligned: bool
    model_dir: Path


class Crew:
    """Starts workers, watches over them, and asks them at the end what they took.

    Attributes:
        seconds: of processor time by stage, of the workers that ended by `stop`.
    """

    def __init__(self, plan: CrewPlan) -> None:
        self._plan = plan
        self._workers: list[asyncio.subprocess.Process] = []
        self.seconds: Counter[str] = Counter()

    async def start(self, workers: int) -> None:
        """Start so many workers, and wait until each has every lane it was given at work.

        Raises:
            LaterError: one ended, or is not ready in time.
        """
        started = [await self._started() for _ in range(workers)]
        self._workers += started
        for worker in started:
            line = await self._line(worker, _READY_WITHIN_S)
            if line.strip() != b"ready":
                raise LaterError(f"a worker of the evaluation did not start: {line.decode()!r}")

    def kill(self) -> None:
        """End the worker that was started last, as `kill -9` does."""
        self._workers.pop().kill()

    def check(self) -> None:
        """Make sure that every worker lives.

        Raises:
            LaterError: one has ended by itself; what it said is on our stderr.
        """
        for worker in self._workers:
            if worker.returncode is not None:
                raise LaterError(f"a worker of the evaluation ended with {worker.returncode}")

    async def stop(self) -> None:
        """Let every worker end, and take up what its stages took."""
        workers, self._workers = self._workers, []
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.close()
        for worker in workers:
            line = await self._line(worker, _ENDS_WITHIN_S)
            self.seconds.update(orjson.loads(line) if line.startswith(b"{") else {})
            try:
                async with asyncio.timeout(_ENDS_WITHIN_S):
                    await worker.wait()
            except TimeoutError:
                worker.kill()
                await worker.wait()

    async def _started(self) -> asyncio.subprocess.Process:
        plan = self._plan
        own = {"bootstrap": plan.bootstrap, "model_dir": str(plan.model_dir)}
        settings = orjson.dumps({**_SETTINGS, **own}).decode()
        # Nothing is imported from the folder that we happen to be in.
        command = [sys.executable, "-P", "-m", "batuta.streams.evaluation", plan.pipeline, settings]
        if plan.aligned:
            command.append("--aligned")
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )

    async def _line(self, worker: asyncio.subprocess.Process, within_s: float) -> bytes:
        assert worker.stdout is not None
        try:
            async with asyncio.timeout(within_s):
                return await worker.stdout.readline()
        except TimeoutError:
            return b""
