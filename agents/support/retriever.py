"""Retriever: the policies that a message may be about."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from batuta.agents.models.answers import Answers
from batuta.agents.support.classifier import text_of
from batuta.agents.support.policies import POLICIES, policies_of
from batuta.agents.support.ranking import TextIndex

__all__ = ["Retriever"]

_MOST: Final = 3


class Retriever:
    """Answers with the policies that hold most of a message's words.

    A RowModel's part; its value is a list of passages, the best first: {"title", "steps", "text",
    "share"}; its score the share of the query's weight that the best one holds.
    """

    def __init__(self, policies: Sequence[Mapping[str, object]] = (), most: int = _MOST) -> None:
        """Index the policies: those given, else the sample pipeline's.

        Raises:
            ValueError: one of them is none.
        """
        self._policies = policies_of(policies) if policies else POLICIES
        self._most = most
        self._index = TextIndex([one.whole for one in self._policies])

    def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        """Return one answer per row of the cleaned text and the intent's value."""
        values = [self._found(_query(row)) for row in rows]
        shares = [float(str(found[0]["share"])) if found else 0.0 for found in values]
        titles = ["; ".join(str(one["title"]) for one in found) for found in values]
        return Answers(np.clip(np.array(shares), 0.0, 1.0), values=values, evidence=titles)

    def _found(self, query: str) -> list[dict[str, object]]:
        return [
            {**self._policies[place].as_passage(), "share": share}
            for place, share in self._index.best(query, self._most)
        ]


def _query(row: Mapping[str, object]) -> str:
    """Return the message, and its intent as words: these say it as the house would."""
    intent = row.get("intents.value")
    label = intent.get("label", "") if isinstance(intent, Mapping) else ""
    return f"{text_of(row)} {str(label).replace('_', ' ')}"
