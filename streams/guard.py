"""The guard of one model: whatever a stage asks of it goes through here.

    breaker    one that fails too often is not asked: `breaker_open`
    bulkhead   so many calls are under way, so many wait for a place; the next is `overloaded`
    retry      what may be otherwise the next time is asked again, after a while and Retry-After
    hedge      a call that takes longer than nearly all others is made a second time; the first
               answer wins, the other call is let go of

Retries and hedges together are a tenth of a model's load. The rules are `agents/delegation`; here
is the waiting. Nothing of it is kept: a process begins with closed breakers.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn

from batuta.agents.delegation.breaker import Breaker, BreakerState
from batuta.agents.delegation.hedging import Durations
from batuta.agents.delegation.retrying import RETRIABLE, ExtraLoad, wait_ms
from batuta.agents.delegation.terms import Terms
from batuta.agents.delegation.work import UNBILLED, Call, put_call
from batuta.agents.models.answers import Answers
from batuta.agents.models.port import AnyModel
from batuta.schemas.errors import ModelFailedError
from batuta.streams.places import Places
from batuta.streams.telemetry.facts import Fact
from batuta.streams.telemetry.guard_facts import Attempt, AttemptMade, BreakerChanged
from batuta.streams.unwaited import look_at

__all__ = ["Asked", "Guard", "unheard"]

#: A call fails where so large a share of its rows does.
_ROWS_SHARE: Final = 0.5


def unheard(fact: Fact) -> None:
    """Take in a fact that nobody is told of."""
    del fact


@dataclass(slots=True)
class Asked:
    """One call of a model.

    Attributes:
        model: as it is now.
        call: what it is asked.
        attempts: how often the model was asked so far that somebody may bill: also a hedge that
            lost, and what was let go of.
        lapsed: set before the call is cancelled because it took too long for its plan.
    """

    model: AnyModel
    call: Call
    lapsed: bool = False
    again: bool = False
    attempts: int = 0


class Guard:
    """Guards one model, for all lanes of a stage."""

    def __init__(
        self,
        model: str,
        terms: Terms,
        tell: Callable[[Fact], None] = unheard,
        places: Places | None = None,
    ) -> None:
        """Keep the terms of a model.

        Args:
            model: its name.
            terms: how it is asked.
            tell: hears what the guard does.
            places: of the model, where others ask it too.
        """
        self._name = model
        self._terms = terms
        self._tell = tell
        self._breaker = Breaker(terms.breaker) if terms.breaker else None
        self._places = places or Places(model, terms.bulkhead, terms.timeout_ms)
        self._extra = ExtraLoad()
        self._durations = Durations()
        self._shown: BreakerState | None = None
        self._lately_ms = 0
        #: When each call that is under way was made, the oldest first.
        self._began_ms: dict[object, int] = {}
        self._show()

    @property
    def refuses(self) -> bool:
        """Whether a call made now would not be let through."""
        return self._breaker is not None and self._breaker.refuses(_now_ms())

    def slower_than(self, duration_ms: int) -> bool:
        """Say whether the last call took longer, or one that is under way does."""
        if self._lately_ms > duration_ms:
            return True
        began_ms = next(iter(self._began_ms.values()), None)
        return began_ms is not None and _now_ms() - began_ms >= duration_ms

    async def put(self, asked: Asked) -> Answers:
        """Put one call to the model.

        Raises:
            ModelFailedError: it has no answer, or is not asked.
            LaterError, OursError: as the model raised them.
        """
        patience_ms = asked.call.patience_ms
        until_ms = None if patience_ms is None else _now_ms() + patience_ms
        retries = 0
        while True:
            try:
                return await self._attempt(asked)
            except ModelFailedError as failure:
                pause_ms = self._pause_ms(failure, asked.call, retries, until_ms)
                if pause_ms is None:
                    raise
            await asyncio.sleep(pause_ms / 1000)
            retries += 1
            asked.again = True
            self._say("retry")

    def _pause_ms(
        self, failure: ModelFailedError, call: Call, retries: int, until_ms: int | None
    ) -> int | None:
        """Return how long to wait before the call is made again; None: it is not."""
        rule = self._terms.retry
        if rule is None or retries >= rule.times or failure.kind not in RETRIABLE or self.refuses:
            return None
        # What the model asks for comes first: a shorter wait would be refused anyway.
        pause_ms = wait_ms(rule, retries, call.seed) + (failure.retry_after_ms or 0)
        if until_ms is not None and _now_ms() + pause_ms >= until_ms:
            return None
        return pause_ms if self._spend(call) else None

    def _spend(self, call: Call) -> bool:
        if self._extra.spend(len(call.rows)):
            return True
        self._say("no_budget")
        return False

    async def _attempt(self, asked: Asked) -> Answers:
        if self.refuses:
            self._refuse()
        try:
            await self._places.enter()
        except ModelFailedError:
            self._say("no_place")
            raise
        try:
            return await self._judged(asked)
        finally:
            self._places.leave()

    async def _judged(self, asked: Asked) -> Answers:
        """Ask, and let the breaker know what came of it."""
        breaker = self._breaker
        if breaker is None:
            return await self._hedged(asked)
        ticket = breaker.admit(_now_ms())
        if ticket is None:
            self._refuse()
        self._show()
        patience_ms = asked.call.patience_ms
        until_ms = None if patience_ms is None else _now_ms() + patience_ms
        failed: bool | None = None
        try:
            answers = await self._hedged(asked)
            failed = len(answers.failures) >= _ROWS_SHARE * max(len(asked.call.rows), 1)
        except ModelFailedError as failure:
            # One that says when to come back is left alone until then as it is.
            failed = None if failure.retry_after_ms else True
            raise
        except asyncio.CancelledError:
            late = until_ms is not None and _now_ms() >= until_ms
            failed = True if asked.lapsed or late else None
            raise
        finally:
            if failed is None:
                breaker.release(ticket)
            else:
                breaker.settle(ticket, _now_ms(), failed=failed)
            self._show()
        return answers

    async def _hedged(self, asked: Asked) -> Answers:
        if not asked.again:
            self._extra.earn(len(asked.call.rows))
            self._say("first")
        after_ms = self._durations.p95_ms if self._terms.hedge else None
        if after_ms is None:
            # In this very task: one that answers at once needs no turn of the loop for it.
            return await self._timed(asked)
        tasks = [first := asyncio.ensure_future(self._timed(asked))]
        try:
            await asyncio.wait(tasks, timeout=(after_ms + 1) / 1000)
            if not first.done() and self._may_hedge(asked.call):
                self._say("hedge")
                tasks.append(second := asyncio.ensure_future(self._timed(asked)))
                second.add_done_callback(lambda _: self._places.leave())
            return (await _winner(tasks)).result()
        finally:
            for task in tasks:
                if task.cancel():
                    task.add_done_callback(look_at)
                    self._say("cancelled")

    def _may_hedge(self, call: Call) -> bool:
        if not self._places.enter_now():
            return False
        if self._spend(call):
            return True
        self._places.leave()
        return False

    async def _timed(self, asked: Asked) -> Answers:
        began_ms = self._began_ms[call := object()] = _now_ms()
        took_ms = self._lately_ms
        asked.attempts += 1
        try:
            answers = await put_call(asked.model, asked.call)
            self._durations.add(took_ms := _now_ms() - began_ms)
        except asyncio.CancelledError:
            # It took so long at least, which says little where it was not waited for.
            took_ms = max(took_ms, _now_ms() - began_ms)
            raise
        except ModelFailedError as failure:
            took_ms = _now_ms() - began_ms
            asked.attempts -= failure.kind in UNBILLED
            raise
        finally:
            del self._began_ms[call]
            self._lately_ms = took_ms
        return answers

    # Telling

    def count_refusal(self) -> None:
        """Note that it would have been asked, but rests."""
        self._say("breaker_open")

    def _refuse(self) -> NoReturn:
        self.count_refusal()
        raise ModelFailedError("breaker_open", f"{self._name} fails too often and rests")

    def _say(self, attempt: Attempt) -> None:
        if self._terms.guarded:
            self._tell(AttemptMade(self._name, attempt))

    def _show(self) -> None:
        if self._breaker is not None and self._breaker.state != self._shown:
            self._tell(BreakerChanged(self._name, self._breaker.state, self._shown))
            self._shown = self._breaker.state


async def _winner(tasks: "list[asyncio.Task[Answers]]") -> "asyncio.Task[Answers]":
    """Return the first that is answered; where none is, the first of them."""
    waiting = set(tasks)
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        answered = [task for task in tasks if task in done and task.exception() is None]
        if answered:
            return answered[0]
    return tasks[0]


def _now_ms() -> int:
    return round(asyncio.get_running_loop().time() * 1000)
