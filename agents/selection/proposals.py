"""Proposals as they come: the plan in a planner's answer as canonical JSON, or why there is none.

An answer's value holds `plan`: a mapping, or a text that is JSON. It is read as strictly as the
pipeline file: no key twice, no number that is none, nothing nested deeper than a plan can be. What
is nested is counted before anything is parsed, so that brackets without end cost nothing.

    >>> canonical_plan({"plan": '{"sequence": ["a", "b"]}'}, 100)
    '{"sequence":["a","b"]}'
"""

import json
import re
from collections.abc import Mapping
from typing import Final, Literal, cast, get_args

__all__ = ["REFUSALS", "ProposalRefused", "Refusal", "canonical_plan", "refusal_of"]

#: Why a proposal is not followed; stands in decision records and in metrics.
Refusal = Literal[
    "no_plan",
    "too_large",
    "too_deep",
    "not_json",
    "duplicate_key",
    "not_a_plan",
    "check_not_allowed",
    "model_unknown",
    "not_compiled",
    "model_not_allowed",
    "too_many_steps",
    "read_too_early",
    "over_price",
]
REFUSALS: Final[tuple[Refusal, ...]] = get_args(Refusal)
#: A step of a plan is a mapping in a list in a mapping: two levels for each, and lists of numbers.
_NESTED_MAX: Final = 24
_TEXTS: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


class ProposalRefused(Exception):  # noqa: N818 - control flow between a planner and its compiler
    """A proposal is not followed.

    Attributes:
        reason: why.
    """

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason)
        self.reason: Refusal = reason


def canonical_plan(value: object, bytes_max: int) -> str:
    """Return the plan in an answer's value: keys in order, no spaces.

    Raises:
        ProposalRefused: there is none, or it is no JSON, too large or nested too deep.
    """
    plan = cast("Mapping[str, object]", value).get("plan") if isinstance(value, Mapping) else None
    if isinstance(plan, str):
        plan = _parsed(plan, bytes_max)
    if not isinstance(plan, dict):
        raise ProposalRefused("no_plan")
    try:
        text = json.dumps(
            plan, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
        )
        size = len(text.encode())
    except (TypeError, ValueError) as error:
        raise ProposalRefused("not_json") from error
    except RecursionError as error:
        raise ProposalRefused("too_deep") from error
    if size > bytes_max:
        raise ProposalRefused("too_large")
    _refuse_nested(text)
    return text


def refusal_of(value: object) -> str | None:
    """Return why an answer was refused that was judged before; None for any other."""
    refused = cast("Mapping[str, object]", value).get("refused") if _lone(value) else None
    return refused if isinstance(refused, str) and refused in REFUSALS else None


def _lone(value: object) -> bool:
    return isinstance(value, Mapping) and len(cast("Mapping[str, object]", value)) == 1


def _parsed(text: str, bytes_max: int) -> object:
    # A character is a byte at least.
    if len(text) > bytes_max:
        raise ProposalRefused("too_large")
    _refuse_nested(text)
    try:
        # What is no number, and no text, is refused where it is written again.
        return json.loads(text, object_pairs_hook=_once)
    except ValueError as error:
        raise ProposalRefused("not_json") from error
    except RecursionError as error:
        raise ProposalRefused("too_deep") from error


def _refuse_nested(text: str) -> None:
    depth = 0
    for character in _TEXTS.sub("", text):
        if character in "[{":
            depth += 1
            if depth > _NESTED_MAX:
                raise ProposalRefused("too_deep")
        elif character in "]}":
            depth -= 1


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ProposalRefused("duplicate_key")
    return found
