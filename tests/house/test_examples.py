"""Examples in docstrings run."""

from __future__ import annotations

import doctest
import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def test_every_docstring_example_holds(
    sources: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with_examples = [path for path, text in sources.items() if ">>> " in text]
    rooms = ("schemas/", "agents/", "streams/")
    tried = 0
    for path in with_examples:
        if path.startswith(rooms):
            name = "batuta." + path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            result = doctest.testmod(importlib.import_module(name))
            tried += result.attempted
    assert tried, "no example was found"
    assert not (said := capsys.readouterr().out), said
