"""Calls: what a lane's agent has asked of models, and answers that came after their batch.

A call that is not answered within the soft deadline, or before its batch loses patience, goes on
outside its batch; the answer waits here for a later one. Nothing of it is kept: where a lane
begins again its calls are forgotten, and the parked steps that the state remembers are asked anew.
Where the batch itself is given up its call is withdrawn, even from who has the answer already: the
question was understood on a state that never was, and the next attempt asks about the same events
anew.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from batuta.agents.asking import Arrival
from batuta.streams.lanes.failpoints import reach
from batuta.streams.lanes.patience import PATIENCE, Patience

__all__ = ["Call", "Calls"]

AnswerT = TypeVar("AnswerT")


@dataclass(eq=False)
class Call:
    """One call that has outlived its batch.

    Attributes:
        question: what was asked.
        answered: what came of it; None so far.
        withdrawn: whether nobody is to hear of it any more.
    """

    question: object
    task: "asyncio.Task[object]"
    answered: Arrival[object, object] | None = None
    withdrawn: bool = False

    def withdraw(self) -> None:
        """Let nobody hear of it any more."""
        self.withdrawn = True
        self.task.cancel()


class Calls:
    """The calls of one lane that are under way."""

    def __init__(self, soft_deadline_ms: int) -> None:
        self._soft_deadline_s = soft_deadline_ms / 1000
        self._open: dict[asyncio.Task[object], Call] = {}
        self._answered: deque[Call] = deque()

    @property
    def outstanding(self) -> int:
        """How many calls have outlived their batch and are not answered yet."""
        return len(self._open)

    @property
    def arrived(self) -> bool:
        """Whether an answer waits for a batch."""
        return bool(self._answered)

    async def ask(self, question: object, asking: Coroutine[Any, Any, AnswerT]) -> AnswerT | Call:
        """Return the answer, or the call where it takes longer than the soft deadline.

        Raises:
            Exception: what asking raised within the deadline.
        """
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        patience = Patience(round(self._soft_deadline_s * 1000), partial(_end, over))
        waits = PATIENCE.set(patience)
        task = asyncio.ensure_future(asking)  # takes the context along
        PATIENCE.reset(waits)
        try:
            reach("call.answer")
            await asyncio.wait(
                (task, over), timeout=self._soft_deadline_s, return_when=asyncio.FIRST_COMPLETED
            )
        except BaseException:
            task.cancel()
            raise
        if task.done():
            return task.result()
        return self._follow(question, task)

    def start(self, question: object, asking: Coroutine[Any, Any, object]) -> None:
        """Ask outside of any batch."""
        self._follow(question, asyncio.ensure_future(asking))

    def take(self) -> tuple[Call, ...]:
        """Return the calls that were answered since the last time."""
        answered = tuple(self._answered)
        self._answered.clear()
        return answered

    def forget(self) -> None:
        """Give every call up."""
        calls = list(self._open.values())
        self._open.clear()
        self._answered.clear()
        for call in calls:
            call.withdraw()

    def _follow(self, question: object, task: "asyncio.Task[Any]") -> Call:
        call = self._open[task] = Call(question, task)
        task.add_done_callback(self._arrive)
        return call

    def _arrive(self, task: "asyncio.Task[object]") -> None:
        error = None if task.cancelled() else task.exception()
        call = self._open.pop(task, None)
        if call is None or call.withdrawn or task.cancelled():
            return
        if isinstance(error, Exception):
            call.answered = Arrival(call.question, None, error)
        elif error is None:
            call.answered = Arrival(call.question, task.result())
        if call.answered is not None:
            self._answered.append(call)


def _end(over: "asyncio.Future[None]") -> None:
    if not over.done():
        over.set_result(None)
