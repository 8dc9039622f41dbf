"""Cleaner: a message without quotations, addresses and long numbers."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from batuta.agents.models.answers import Answers

__all__ = ["Cleaner"]

_QUOTED: Final = re.compile(r"^\s*>.*$", re.MULTILINE)
_ADDRESS: Final = re.compile(r"[^\s@]{1,64}@[^\s@]{1,255}")
_LINK: Final = re.compile(r"https?://\S+")
_NUMBER: Final = re.compile(r"\d(?:[ -]?\d){6,}")
_SPACE: Final = re.compile(r"\s+")


class Cleaner:
    """Answers with the text as others may read it.

    A RowModel's part; its value is {"text": ...}, its score the share of the text that is left.
    """

    def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        """Return one answer per row of {"event.text": ...}."""
        texts = [str(row["event.text"]) for row in rows]
        cleaned = [_cleaned(text) for text in texts]
        shares = [len(new) / max(len(old), 1) for new, old in zip(cleaned, texts, strict=True)]
        scores = np.clip(np.array(shares), 0.0, 1.0)
        return Answers(scores, values=[{"text": text} for text in cleaned])


def _cleaned(text: str) -> str:
    text = _QUOTED.sub("", text)
    for pattern, stand_in in ((_LINK, "[link]"), (_ADDRESS, "[address]"), (_NUMBER, "[number]")):
        text = pattern.sub(stand_in, text)
    return _SPACE.sub(" ", text).strip()
