"""Whether an output is right, by event: no figure is printed for one that is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
from peers.work import decide, transaction

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Expected", "WrongOutputError"]

#: Engines round in their own language; a cent and a millionth may go either way.
TOTAL_TOLERANCE = 0.0101
SCORE_TOLERANCE = 1.01e-6
SHOWN_MAX = 3


class WrongOutputError(Exception):
    """What an engine wrote is not what was asked; the message says what is wrong, by event."""


@dataclass(frozen=True)
class _Row:
    card_id: str
    n: int
    total: float
    score: float


class Expected:
    """What must come out for the first so many events.

    Args:
        events: how many went in.
        stateful: False for an engine that scores each event as the first of its card.
    """

    def __init__(self, events: int, *, stateful: bool = True) -> None:
        self._rows: list[_Row] = []
        cards: dict[str, tuple[int, float]] = {}
        for number in range(events):
            tx = transaction(number)
            n, total = cards.get(tx["card_id"], (0, 0.0)) if stateful else (0, 0.0)
            n, total = n + 1, total + tx["amount"]
            cards[tx["card_id"]] = (n, total)
            made = decide(tx, n, total)
            self._rows.append(_Row(made["card_id"], n, made["total"], made["score"]))

    def check(self, outputs: Iterable[bytes]) -> None:
        """Check that every event has its one right decision.

        Raises:
            WrongOutputError: some are missing, doubled, wrong or were never asked for.
        """
        seen = bytearray(len(self._rows))
        doubled: list[str] = []
        wrong: list[str] = []
        for output in outputs:
            number, fault = self._judge(output)
            if fault is not None:
                wrong.append(fault)
            elif seen[number]:
                doubled.append(f"tx-{number:09d}")
            else:
                seen[number] = 1
        missing = [f"tx-{number:09d}" for number, once in enumerate(seen) if not once]
        faults = {"missing": missing, "doubled": doubled, "wrong": wrong}
        told = [
            f"{len(them)} {kind} ({'; '.join(them[:SHOWN_MAX])})"
            for kind, them in faults.items()
            if them
        ]
        if told:
            raise WrongOutputError(f"of {len(self._rows)} events: {', '.join(told)}")

    def _judge(self, output: bytes) -> tuple[int, str | None]:
        try:
            made = orjson.loads(output)
            number = int(made["transaction_id"][3:])
            expected = self._rows[number] if number >= 0 else None
            right = (
                expected is not None
                and made["card_id"] == expected.card_id
                and made["n"] == expected.n
                and abs(made["total"] - expected.total) <= TOTAL_TOLERANCE
                and abs(made["score"] - expected.score) <= SCORE_TOLERANCE
            )
        except (ValueError, TypeError, KeyError, IndexError) as error:
            return -1, f"{output[:80]!r}: {error!r}"
        return number, None if right else f"{output[:200]!r}, expected {expected}"
