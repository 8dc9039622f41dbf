"""Tools of Debian's prometheus package: a loud skip at home, a failure where CI is set."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def require_tool() -> Callable[[str], str]:
    def required(name: str) -> str:
        found = shutil.which(name)
        if found is None:
            say = pytest.fail if os.environ.get("CI") else pytest.skip
            say(f"{name.upper()} WAS NOT RUN: install Debian's package 'prometheus'")
        return found or name

    return required
