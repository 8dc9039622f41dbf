"""The value of a dead letter, opened: its JSON data, and the envelope it came in."""

import json
from dataclasses import dataclass
from typing import cast

from batuta.schemas.cloudevents import STRUCTURED_TYPE
from batuta.schemas.record import Headers

__all__ = ["Opened", "open_value"]


@dataclass(frozen=True, slots=True)
class Opened:
    """A value that is JSON.

    Attributes:
        data: the event's data, any JSON.
        envelope: the structured CloudEvent around it, None where it came without.
    """

    data: object
    envelope: dict[str, object] | None

    def closed(self, data: object) -> bytes:
        """Return the value again, with other data in the same envelope."""
        return _written(data if self.envelope is None else {**self.envelope, "data": data})


def open_value(value: bytes | None, headers: Headers) -> Opened | None:
    """Open a record's value; None where it is not JSON, or nested too deeply to be read.

    Numbers that JSON does not have (NaN, Infinity) are read, so that they can be mended.
    """
    if value is None:
        return None
    try:
        found: object = json.loads(value.decode())
    except (ValueError, RecursionError):
        return None
    if isinstance(found, dict):
        members = cast("dict[str, object]", found)
        if _structured(members, headers):
            return Opened(members["data"], members)
    return Opened(found, None)


def _structured(members: dict[str, object], headers: Headers) -> bool:
    if "data" not in members:
        return False
    declared = any(
        name.lower() == "content-type" and (raw or b"").startswith(STRUCTURED_TYPE.encode())
        for name, raw in headers
    )
    binary = any(name.lower().startswith("ce_") for name, _ in headers)
    return declared or (not binary and "specversion" in members)


def _written(value: object) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # a lone surrogate: escaped, as it came
        return json.dumps(value, separators=(",", ":")).encode()
