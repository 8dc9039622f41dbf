"""What the server answers, by behaviour, and how the wire fails it, by fault.

An honest score is the logistic function of the sum of a row's numbers, so that a test knows what
was right. A text is scored by the numbers that stand beside it.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Final

import orjson

__all__ = ["BEHAVIOURS", "FAULTS", "Behaviours", "honest_score"]

#: Ways to answer: all of them are well-formed.
BEHAVIOURS: Final[Mapping[str, str]] = {
    "honest": "the right score",
    "contradicts": "the right score and its opposite, in turn",
    "drifts": "a score that moves by 0.01 with every request",
    "lies": "the opposite of the right score, with a confidence of 0.99",
    "obeys": "what the text itself orders: the JSON object behind the word `answer`",
    "overcharges": "the right score for ten times the tokens",
    "heeds": "the opposite of the right score, until a critique tells what is wrong with it",
    "plans": "a plan that asks the first model of which it is told",
}
#: Ways to fail.
FAULTS: Final[Mapping[str, str]] = {
    "hangs": "never answers",
    "fails_after_work": "counts the call, then says 500",
    "drips": "one byte at a time, without end",
    "truncates": "stops in the middle of the JSON",
    "misfits": "well-formed JSON of another schema",
    "floods": "a body without end",
    "redirects": "points to the honest one",
    "mistypes": "says text/html",
    "limits": "says 429 and Retry-After: 2",
    "unmetered": "does not say what it took",
    "not_a_number": "null where a score should be",
    "loses_rows": "one answer too few",
}
_ORDER: Final = re.compile(r"answer\D{0,20}?(\{[^{}]*\})", re.IGNORECASE)
#: A critique that says something, in a row as JSON.
_CRITIQUE: Final = re.compile(r'"critique":"[^"]')
_FIRST_MODEL: Final = re.compile(r'"models":\{"([a-z0-9_]+)"')
_DRIFT: Final = 0.01
_OVERCHARGE: Final = 10


def honest_score(numbers: list[float]) -> float:
    """Return the right score of a row's numbers.

    >>> honest_score([1.5, -1.5])
    0.5
    """
    return 1.0 / (1.0 + math.exp(-max(min(sum(numbers), 30.0), -30.0)))


class Behaviours:
    """What the server has answered so far, and what it answers next."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def scores(self, behaviour: str, rows: list[list[float]]) -> list[float]:
        """Return one score per row of numbers."""
        call = self.calls[behaviour]
        return [_bent(behaviour, honest_score(row), call) for row in rows]

    def verdict(self, behaviour: str, content: str) -> str:
        """Return a chat answer's text to the text of the last message."""
        if behaviour == "obeys" and (order := _ORDER.search(content.replace('\\"', '"'))):
            return order[1]
        if behaviour == "plans" and (model := _FIRST_MODEL.search(content)):
            said = {"plan": orjson.dumps({"ask": model[1]}).decode(), "score": 0.9, "reason": "one"}
            return orjson.dumps(said).decode()
        honest = honest_score(_numbers(content))
        heeds = behaviour == "heeds" and _CRITIQUE.search(content) is not None
        score = honest if heeds else _bent(behaviour, honest, self.calls[behaviour])
        confidence = 0.99 if behaviour == "lies" else abs(2.0 * score - 1.0)
        said = {"score": score, "confidence": confidence, "reason": "the sum of its numbers"}
        return orjson.dumps(said).decode()

    @staticmethod
    def usage(behaviour: str, asked: int, said: int) -> dict[str, int]:
        """Return the tokens of a call: one for every four characters, ten times by one who may."""
        times = _OVERCHARGE if behaviour == "overcharges" else 1
        prompt, completion = times * (asked // 4 + 1), times * (said // 4 + 1)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }


def _bent(behaviour: str, score: float, call: int) -> float:
    match behaviour:
        case "lies" | "heeds":
            return 1.0 - score
        case "contradicts":
            return score if call % 2 else 1.0 - score
        case "drifts":
            return min(score + _DRIFT * call, 1.0)
        case _:
            return score


def _numbers(content: str) -> list[float]:
    """Return the numbers of a JSON object, however deep; none where the text is none."""
    try:
        waiting: list[object] = [orjson.loads(content)]
    except orjson.JSONDecodeError:
        return []
    found: list[float] = []
    while waiting:
        match waiting.pop():
            case dict() as fields:
                waiting += fields.values()
            case list() as items:
                waiting += items
            case bool():
                pass
            case int() | float() as number:
                found.append(float(number))
            case _:
                pass
    return found
