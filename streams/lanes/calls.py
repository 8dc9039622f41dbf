"""Calls: what a lane's agent has asked of models, and answers that came after their batch.

A call that is not answered within the soft deadline goes on outside its batch; the answer waits
here for a later one. Nothing of it is kept: where a lane begins again its calls are forgotten, and
the parked steps that the state remembers are asked anew.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, TypeVar

from batuta.agents.asking import OUTSTANDING, Arrival, Outstanding
from batuta.streams.lanes.failpoints import reach

__all__ = ["Calls"]

AnswerT = TypeVar("AnswerT")


class Calls:
    """The calls of one lane that are under way."""

    def __init__(self, soft_deadline_ms: int) -> None:
        self._soft_deadline_s = soft_deadline_ms / 1000
        self._questions: dict[asyncio.Task[object], object] = {}
        self._arrivals: deque[Arrival[object, object]] = deque()

    @property
    def outstanding(self) -> int:
        """How many calls have outlived their batch and are not answered yet."""
        return len(self._questions)

    @property
    def arrived(self) -> bool:
        """Whether an answer waits for a batch."""
        return bool(self._arrivals)

    async def ask(
        self, question: object, asking: Coroutine[Any, Any, AnswerT]
    ) -> AnswerT | Outstanding:
        """Return the answer, or `OUTSTANDING` where it takes longer than the soft deadline.

        Raises:
            Exception: what asking raised within the deadline.
        """
        task = asyncio.ensure_future(asking)
        try:
            reach("call.answer")
            await asyncio.wait((task,), timeout=self._soft_deadline_s)
        except BaseException:
            task.cancel()
            raise
        if task.done():
            return task.result()
        self._follow(question, task)
        return OUTSTANDING

    def start(self, question: object, asking: Coroutine[Any, Any, object]) -> None:
        """Ask outside of any batch."""
        self._follow(question, asyncio.ensure_future(asking))

    def take(self) -> tuple[Arrival[object, object], ...]:
        """Return the answers that came since the last time."""
        arrivals = tuple(self._arrivals)
        self._arrivals.clear()
        return arrivals

    def forget(self) -> None:
        """Give every call up."""
        tasks = list(self._questions)
        self._questions.clear()
        self._arrivals.clear()
        for task in tasks:
            task.cancel()

    def _follow(self, question: object, task: "asyncio.Task[Any]") -> None:
        self._questions[task] = question
        task.add_done_callback(self._arrive)

    def _arrive(self, task: "asyncio.Task[object]") -> None:
        error = None if task.cancelled() else task.exception()
        question = self._questions.pop(task, None)
        if question is None or task.cancelled():
            return
        if isinstance(error, Exception):
            self._arrivals.append(Arrival(question, None, error))
        elif error is None:
            self._arrivals.append(Arrival(question, task.result()))
