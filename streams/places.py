"""The places of one model: who is let in, who waits for a place, and who is turned away.

The counting is `agents/delegation/bulkhead`; here is the waiting, first come, first served.
"""

import asyncio
from collections import deque

from batuta.agents.delegation.bulkhead import Bulkhead, BulkheadRule
from batuta.schemas.errors import ModelFailedError

__all__ = ["Places"]


class Places:
    """The calls of one model that may be open."""

    def __init__(self, model: str, rule: BulkheadRule | None, timeout_ms: int) -> None:
        """Let calls in.

        Args:
            model: whose they are.
            rule: how many; None: any number.
            timeout_ms: how long a call waits for a place.
        """
        self._model = model
        self._bulkhead = Bulkhead(rule) if rule else None
        self._timeout_s = timeout_ms / 1000
        self._queue: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Take a place, or wait for one.

        Raises:
            ModelFailedError: too many wait already, or none came free in time.
        """
        if self._bulkhead is None:
            return
        said = self._bulkhead.knock()
        if said == "full":
            raise ModelFailedError("overloaded", f"{self._model}: too many calls wait already")
        if said == "waits":
            await self._wait(self._bulkhead)

    def enter_now(self) -> bool:
        """Take a place if one is free."""
        if self._bulkhead is None:
            return True
        said = self._bulkhead.knock()
        if said == "waits":
            self._bulkhead.give_up()
        return said == "enters"

    def leave(self) -> None:
        """Give a place back."""
        if self._bulkhead is not None and self._bulkhead.leave():
            self._queue.popleft().set_result(None)

    async def _wait(self, bulkhead: Bulkhead) -> None:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(place)
        try:
            # Not the future itself: cancelling a waiter must not end a place that it was given.
            await asyncio.wait((place,), timeout=self._timeout_s)
        except asyncio.CancelledError:
            self._give_up(place, bulkhead)
            raise
        if not place.done():
            self._give_up(place, bulkhead)
            what = f"{self._model}: no place came free within {self._timeout_s:g} s"
            raise ModelFailedError("overloaded", what)

    def _give_up(self, place: "asyncio.Future[None]", bulkhead: Bulkhead) -> None:
        if place.done():
            self.leave()
        else:
            self._queue.remove(place)
            bulkhead.give_up()
