"""Asks models at once: every call that a plan has due is under way together.

Answers are given back in the order in which they were asked for, so that what is decided does not
hang on which of two answers of one moment came first. Whom nobody waits for any more, because
enough have answered or the time for them is over, is let go of. Each model is asked by its guard.
Where all that is outstanding has lately taken longer than a batch waits, the batch waits no longer.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from batuta.agents.delegation.terms import Terms
from batuta.agents.delegation.work import Call, Work
from batuta.agents.models.port import AnyModel
from batuta.schemas.errors import ModelFailedError
from batuta.streams.guard import Asked, Guard, unheard
from batuta.streams.lanes.patience import PATIENCE
from batuta.streams.telemetry.facts import Fact

if TYPE_CHECKING:
    from batuta.agents.models.answers import Answers

__all__ = ["AtOnce"]


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A call under way, and when it was made, in milliseconds since its plan began."""

    asked: Asked
    at_ms: int


class AtOnce:
    """A Driver that keeps the time of the running loop."""

    def __init__(
        self,
        models: Mapping[str, AnyModel],
        terms: Mapping[str, Terms] | None = None,
        tell: Callable[[Fact], None] = unheard,
        guards: Mapping[str, Guard] | None = None,
    ) -> None:
        """Guard models.

        Args:
            models: by name, looked up at each call; those that are metered tell their failures.
            terms: of each, by name; a model without any is asked as it comes.
            tell: hears what guards do.
            guards: of models that were asked before.
        """
        self._models = models
        self._terms = terms or {}
        self._tell = tell
        self._guards = dict(guards or {})
        for name, of in self._terms.items():
            if name not in self._guards:
                self._guards[name] = Guard(name, of, tell)

    def refusing(self) -> frozenset[str]:
        """Return the models that would not be asked now: their breakers are open."""
        return frozenset(name for name, guard in self._guards.items() if guard.refuses)

    def followed_by(self, models: Mapping[str, AnyModel]) -> "AtOnce":
        """Return the driver of other versions of some models; who stays keeps its guard."""
        stays = {
            name: guard
            for name, guard in self._guards.items()
            if models.get(name) is self._models.get(name)
        }
        return AtOnce(models, self._terms, self._tell, stays)

    async def drive(self, work: Work) -> None:
        """Bring work to its end; the lane's soft deadline decides who waits for that.

        Raises:
            LaterError: a model's outside world failed; the batch may be tried again.
        """
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        under_way: dict[asyncio.Task[Answers], _UnderWay] = {}
        try:
            while True:
                now_ms = round((loop.time() - began_s) * 1000)
                calls = work.due(now_ms, self._refuses)
                if len(calls) == 1 and not under_way and work.end_ms != 0:
                    await self._ask_alone(work, calls[0], began_s)
                    continue
                for call in calls:
                    asked = Asked(self._models[call.model], call)
                    task = asyncio.ensure_future(self._guard(call.model).put(asked))
                    under_way[task] = _UnderWay(asked, now_ms)
                if work.done or not (under_way or work.unpaid):
                    return
                wait_s = None if work.next_ms is None else max(work.next_ms - now_ms, 1) / 1000
                if not under_way:
                    assert wait_s is not None, "who waits to be paid for looks again"
                    _let_the_batch_go()
                    await asyncio.sleep(wait_s)
                    continue
                self._mind_patience({one.asked.call.model for one in under_way.values()})
                await asyncio.wait(under_way, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
                self._hear(work, under_way, round((loop.time() - began_s) * 1000))
        finally:
            for task, one in under_way.items():
                one.asked.lapsed = work.lapsed
                task.add_done_callback(partial(_let_go, work, one.asked))
                task.cancel()

    async def _ask_alone(self, work: Work, call: Call, began_s: float) -> None:
        """Ask the only one there is, in this very task: a model of this process answers at once.

        As a task of its own it had to wait for whatever else the loop had ready, other lanes'
        batches above all, and a busy worker took its model for a late one.
        """
        loop, guard = asyncio.get_running_loop(), self._guard(call.model)
        asked_s = loop.time()
        self._mind_patience({call.model})
        until_s = None if work.end_ms is None else began_s + work.end_ms / 1000
        limit = asyncio.timeout_at(until_s)
        asked = Asked(self._models[call.model], call)
        try:
            async with limit:
                answers = await guard.put(asked)
        except TimeoutError:
            if not limit.expired():
                raise
        except ModelFailedError as failure:
            took_ms = round((loop.time() - asked_s) * 1000)
            work.fail(call, failure.kind, took_ms, asked.attempts)
        else:
            work.take(call, answers, round((loop.time() - asked_s) * 1000), asked.attempts)
        finally:
            work.let_go(call, asked.attempts)

    def _refuses(self, model: str) -> bool:
        """Say whether a model that is wanted is not asked; its guard counts that."""
        guard = self._guard(model)
        refuses = guard.refuses
        if refuses:
            guard.count_refusal()
        return refuses

    def _guard(self, model: str) -> Guard:
        guard = self._guards.get(model)
        if guard is None:
            terms = self._terms.get(model, Terms())
            guard = self._guards[model] = Guard(model, terms, self._tell)
        return guard

    def _mind_patience(self, models: set[str]) -> None:
        """Let the batch go on where none of these is likely to answer before it would anyway."""
        patience = PATIENCE.get()
        if patience is None:
            return
        if all(self._guard(name).slower_than(patience.soft_deadline_ms) for name in models):
            patience.lose()

    def _hear(
        self, work: Work, under_way: "dict[asyncio.Task[Answers], _UnderWay]", now_ms: int
    ) -> None:
        for task in [task for task in under_way if task.done()]:
            one = under_way[task]
            call, took_ms = one.asked.call, now_ms - one.at_ms
            try:
                work.take(call, task.result(), took_ms, one.asked.attempts)
            except ModelFailedError as failure:
                work.fail(call, failure.kind, took_ms, one.asked.attempts)
            del under_way[task]


def _let_go(work: Work, asked: Asked, task: "asyncio.Task[Answers]") -> None:
    """Count what a call has cost, or may have, that nobody waits for any more."""
    if not task.cancelled() and task.exception() is None:
        work.pay(asked.call, task.result(), asked.attempts)
    work.let_go(asked.call, asked.attempts)


def _let_the_batch_go() -> None:
    """Let the batch wait no longer for what it is to be paid from: it comes with a later one."""
    patience = PATIENCE.get()
    if patience is not None:
        patience.lose()
