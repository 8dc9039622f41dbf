"""Micro-batches: rows that several callers ask about at about the same time become one request.

A request leaves once it is full, or once its first row has waited for the window; a caller with
more rows than fit into one is answered by several, in the order of its rows. What a request cost is
shared out by rows, so that the parts add up to the whole.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from batuta.agents.models.answers import Answers, Usage
from batuta.agents.models.port import Matrix
from batuta.schemas.errors import FailureKind, ModelFailedError
from batuta.streams.unwaited import look_at

__all__ = ["BatchLimits", "MicroBatches", "joined", "parted"]

_ROWS_WAITING_MAX: Final = 200_000


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """When a request leaves.

    Attributes:
        rows_max: it is full then.
        window_ms: how long its first row waits for company; 0 sends what one caller asks.
    """

    rows_max: int = 256
    window_ms: int = 2


@dataclass(frozen=True, slots=True)
class _Part:
    rows: Matrix
    answered: "asyncio.Future[Answers]"


class MicroBatches:
    """Gathers rows into requests."""

    def __init__(self, send: Callable[[Matrix], Awaitable[Answers]], limits: BatchLimits) -> None:
        """Gather for `send`, which answers one request's rows or raises ModelFailedError."""
        self._send = send
        self._limits = limits
        self._parts: deque[_Part] = deque()
        self._rows = 0
        self._waiting: asyncio.TimerHandle | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._rows_unanswered = 0

    async def answer(self, rows: Matrix) -> Answers:
        """Return the answers to the rows, in order.

        Raises:
            ModelFailedError: a request failed, or too many rows wait already.
        """
        if self._rows_unanswered + len(rows) > _ROWS_WAITING_MAX:
            what = f"{self._rows_unanswered} rows wait for an answer already"
            raise ModelFailedError("overloaded", what)
        loop, size = asyncio.get_running_loop(), self._limits.rows_max
        pieces = [rows[start : start + size] for start in range(0, len(rows), size)]
        parts = [_Part(piece, loop.create_future()) for piece in pieces]
        for part in parts:
            self._take(part)
        try:
            return joined(await asyncio.gather(*(part.answered for part in parts)))
        finally:
            # Whoever gave up leaves failures behind that nobody else will look at.
            for part in parts:
                if not part.answered.done():
                    part.answered.cancel()
                else:
                    look_at(part.answered)

    async def close(self) -> None:
        """Give up what is under way."""
        if self._waiting is not None:
            self._waiting.cancel()
        for part in self._parts:
            part.answered.cancel()
        self._parts.clear()
        tasks = list(self._under_way)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _take(self, part: _Part) -> None:
        if self._rows + len(part.rows) > self._limits.rows_max:
            self._leave()
        self._parts.append(part)
        self._rows += len(part.rows)
        if self._rows >= self._limits.rows_max or self._limits.window_ms == 0:
            self._leave()
        elif self._waiting is None:
            loop = asyncio.get_running_loop()
            self._waiting = loop.call_later(self._limits.window_ms / 1000, self._leave)

    def _leave(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        parts = [part for part in self._parts if not part.answered.cancelled()]
        self._parts.clear()
        self._rows = 0
        if parts:
            task = asyncio.ensure_future(self._ask(parts))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
            for part in parts:
                part.answered.add_done_callback(partial(_let_go, task, parts))

    async def _ask(self, parts: list[_Part]) -> None:
        rows = np.concatenate([part.rows for part in parts]) if len(parts) > 1 else parts[0].rows
        self._rows_unanswered += len(rows)
        try:
            answers = await self._send(rows)
        except ModelFailedError as error:
            for part in parts:
                if not part.answered.done():
                    again = error.retry_after_ms
                    failure = ModelFailedError(error.kind, error.detail, retry_after_ms=again)
                    part.answered.set_exception(failure)
        except asyncio.CancelledError:
            for part in parts:
                part.answered.cancel()
            raise
        else:
            shares = parted(answers, [len(part.rows) for part in parts])
            for part, share in zip(parts, shares, strict=True):
                if not part.answered.done():
                    part.answered.set_result(share)
        finally:
            self._rows_unanswered -= len(rows)


def _let_go(
    task: "asyncio.Task[None]", parts: list[_Part], answered: "asyncio.Future[Answers]"
) -> None:
    """End a request that nobody waits for any more; a server that hangs would keep it."""
    if answered.cancelled() and all(part.answered.cancelled() for part in parts):
        task.cancel()


def joined(answers: list[Answers]) -> Answers:
    """Return answers to consecutive rows as one."""
    if len(answers) == 1:
        return answers[0]
    failures: dict[int, FailureKind] = {}
    first = 0
    for one in answers:
        failures |= {first + row: kind for row, kind in one.failures.items()}
        first += len(one.scores)
    told = all(one.confidence is not None for one in answers)
    confidences = [one.confidence for one in answers if one.confidence is not None]
    return Answers(
        scores=np.concatenate([one.scores for one in answers]) if answers else np.empty(0),
        confidence=np.concatenate(confidences) if told and answers else None,
        values=[value for one in answers for value in one.values],
        evidence=[text for one in answers for text in one.evidence],
        failures=failures,
        usage=Usage(
            sum(one.usage.requests for one in answers),
            sum(one.usage.input_tokens for one in answers),
            sum(one.usage.output_tokens for one in answers),
        ),
        cost_nano=sum(one.cost_nano for one in answers),
        currency=next((one.currency for one in answers if one.currency), ""),
    )


def parted(answers: Answers, counts: list[int]) -> list[Answers]:
    """Return the answers to the first `counts[0]` rows, to the next `counts[1]`, and so on.

    What was taken and paid is shared out by rows, what does not divide goes to the last.
    """
    if len(counts) == 1:
        return [answers]
    parts: list[Answers] = []
    rows, first = len(answers.scores), 0
    for count in counts:
        end = first + count
        parts.append(
            Answers(
                scores=answers.scores[first:end],
                confidence=None if answers.confidence is None else answers.confidence[first:end],
                values=answers.values[first:end],
                evidence=answers.evidence[first:end],
                failures={r - first: k for r, k in answers.failures.items() if first <= r < end},
                usage=Usage(
                    _share(answers.usage.requests, first, end, rows),
                    _share(answers.usage.input_tokens, first, end, rows),
                    _share(answers.usage.output_tokens, first, end, rows),
                ),
                cost_nano=_share(answers.cost_nano, first, end, rows),
                currency=answers.currency,
            )
        )
        first = end
    return parts


def _share(whole: int, first: int, end: int, rows: int) -> int:
    """Return what rows `first` to `end` bear of a whole, so that all shares add up to it."""
    return whole * end // rows - whole * first // rows
