"""Asks models at once: every call that a plan has due is under way together.

Answers are given back in the order in which they were asked for, so that what is decided does not
hang on which of two answers of one moment came first. Whom nobody waits for any more, because
enough have answered or the time for them is over, is let go of.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batuta.agents.delegation.work import Call, Work, put_call
from batuta.agents.models.port import AnyModel
from batuta.schemas.errors import ModelFailedError

if TYPE_CHECKING:
    from batuta.agents.models.answers import Answers

__all__ = ["AtOnce"]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A call under way, and when it was made, in milliseconds since its plan began."""

    call: Call
    at_ms: int


class AtOnce:
    """A Driver that keeps the time of the running loop."""

    def __init__(
        self, models: Mapping[str, AnyModel], report: Callable[[Exception], None] | None = None
    ) -> None:
        """Take the models by name, and who hears of failures; models that are metered tell them."""
        self._models = models
        self._report = report

    async def drive(self, work: Work) -> None:
        """Bring work to its end; the lane's soft deadline decides who waits for that.

        Raises:
            LaterError: a model's outside world failed; the batch may be tried again.
        """
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        under_way: dict[asyncio.Task[Answers], _Asked] = {}
        try:
            while True:
                now_ms = round((loop.time() - began_s) * 1000)
                calls = work.due(now_ms)
                if len(calls) == 1 and work.next_ms is None and not under_way:
                    await self._ask_alone(work, calls[0])
                    continue
                for call in calls:
                    task = asyncio.ensure_future(put_call(self._models[call.model], call))
                    under_way[task] = _Asked(call, now_ms)
                if work.done or not under_way:
                    return
                wait_s = None if work.next_ms is None else max(work.next_ms - now_ms, 1) / 1000
                await asyncio.wait(under_way, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
                self._hear(work, under_way, round((loop.time() - began_s) * 1000))
        finally:
            for task in under_way:
                task.add_done_callback(_unheard)
                task.cancel()

    async def _ask_alone(self, work: Work, call: Call) -> None:
        """Ask the only one there is, in this very task: a model of this process answers at once.

        As a task of its own it had to wait for whatever else the loop had ready, other lanes'
        batches above all, and a busy worker took its model for a late one.
        """
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            answers = await put_call(self._models[call.model], call)
        except ModelFailedError as failure:
            self._failed(work, call, failure, round((loop.time() - began_s) * 1000))
        else:
            work.take(call, answers, round((loop.time() - began_s) * 1000))

    def _failed(self, work: Work, call: Call, failure: ModelFailedError, took_ms: int) -> None:
        cause = failure.__cause__
        if self._report is not None:
            self._report(cause if isinstance(cause, Exception) else failure)
        work.fail(call, failure.kind, took_ms)

    def _hear(
        self, work: Work, under_way: "dict[asyncio.Task[Answers], _Asked]", now_ms: int
    ) -> None:
        for task in [task for task in under_way if task.done()]:
            asked = under_way.pop(task)
            try:
                work.take(asked.call, task.result(), now_ms - asked.at_ms)
            except ModelFailedError as failure:
                self._failed(work, asked.call, failure, now_ms - asked.at_ms)


def _unheard(task: "asyncio.Task[Answers]") -> None:
    """Take note of how a call ended that nobody waits for, so that nobody else has to."""
    if not task.cancelled():
        task.exception()
