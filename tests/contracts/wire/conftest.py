"""Golden records: what a message of a version is on the wire, to the byte."""

from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Final

import orjson
import pytest

from batuta.schemas.record import Output

FOLDER: Final = Path(__file__).parent
Golden = Callable[[str], Output]


@pytest.fixture(scope="session")
def golden() -> Golden:
    """Read one golden record; bytes that are no text stand as base64."""

    def read(name: str) -> Output:
        stored = orjson.loads((FOLDER / f"{name}.json").read_bytes())
        value = stored.get("value")
        return Output(
            topic=stored["topic"],
            key=None if stored["key"] is None else stored["key"].encode(),
            value=b64decode(stored["value_base64"]) if value is None else value.encode(),
            headers=tuple((name, text.encode()) for name, text in stored["headers"]),
            partition=stored.get("partition"),
        )

    return read


@pytest.fixture(scope="session")
def golden_names() -> set[str]:
    return {path.stem for path in FOLDER.glob("*.json")}
