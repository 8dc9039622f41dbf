"""A model server in a process of its own, which misbehaves as its path says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batuta.streams.model_server.process import ModelServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def model_server() -> Iterator[ModelServerProcess]:
    with ModelServerProcess() as server:
        yield server
