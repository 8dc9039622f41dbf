"""Drafter: a reply that says what the policy says, step by step, and nothing else."""

from collections.abc import Mapping, Sequence
from typing import Final, cast

import numpy as np

from batuta.agents.models.answers import Answers

__all__ = ["Drafter", "draft_of"]

_GREETING: Final = "Hello, and thank you for your message."
_CLOSING: Final = "Kind regards, your support team"
#: A policy that holds less of what was asked is about something else.
_SHARE_MIN: Final = 0.1


class Drafter:
    """Answers with the steps of the policy that was found first: extractive, nothing is made up.

    A RowModel's part; its value is {"text", "policy"}, without text where no policy fits; its score
    the share of the question that the policy holds, its evidence the draft, for people.
    """

    def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        """Return one answer per row of the policies that were found."""
        best = [_best(row["policies.value"]) for row in rows]
        values = [{"text": "", "policy": ""} if one is None else _draft(one) for one in best]
        shares = [0.0 if one is None else _share(one) for one in best]
        drafts = [value["text"] for value in values]
        return Answers(np.clip(np.array(shares), 0.0, 1.0), values=values, evidence=drafts)


def _best(found: object) -> Mapping[str, object] | None:
    passages = cast("list[Mapping[str, object]]", found) if isinstance(found, list) else []
    return passages[0] if passages and _share(passages[0]) >= _SHARE_MIN else None


def _share(passage: Mapping[str, object]) -> float:
    return float(cast("float", passage["share"]))


def _draft(passage: Mapping[str, object]) -> dict[str, str]:
    return draft_of(str(passage["title"]), cast("list[str]", passage["steps"]))


def draft_of(title: str, steps: Sequence[str]) -> dict[str, str]:
    """Return the reply that tells a policy step by step."""
    return {"text": " ".join((_GREETING, *steps, _CLOSING)), "policy": title}
