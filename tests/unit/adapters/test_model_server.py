"""The page on models lists what the misbehaving server does, word for word."""

from __future__ import annotations

import re
from pathlib import Path

from batuta.streams.model_server.behaviours import BEHAVIOURS, FAULTS

PAGE = (Path(__file__).parents[3] / "docs" / "models.md").read_text("utf-8")


def test_the_page_lists_every_behaviour() -> None:
    told = PAGE.partition("## A server that misbehaves")[2]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", told, re.MULTILINE))
    assert rows == {**BEHAVIOURS, **FAULTS}
