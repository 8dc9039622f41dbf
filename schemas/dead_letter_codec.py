"""Dead letters between records and values: the original whole, our words in headers behind its own.

Our headers are one block, opened by its version and always last. A refused redrive carries an
older block among its own headers: that one is the original's, and stays.
"""

from typing import Final

from batuta.schemas.dead_letter import DEAD_LETTER_PREFIX, DEAD_LETTER_VERSION, DeadLetter
from batuta.schemas.errors import RefusedEventError
from batuta.schemas.record import Headers, Output, Record
from batuta.schemas.refusals import shown
from batuta.schemas.times import parse_rfc3339, rfc3339

__all__ = ["decode_dead_letter", "encode_dead_letter"]

_OPENING: Final = f"{DEAD_LETTER_PREFIX}version"


def encode_dead_letter(letter: DeadLetter, topic: str) -> Output:
    """Write a dead letter: the original's key, value and headers, then ours."""
    record = letter.record
    words = {
        "version": str(DEAD_LETTER_VERSION),
        "stage": letter.stage,
        "reason": letter.reason,
        "path": letter.path,
        "detail": letter.detail,
        "attempts": str(letter.attempts),
        "refused-at": rfc3339(letter.refused_at_ms),
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "timestamp-ms": str(record.timestamp_ms),
    }
    ours = tuple(
        (DEAD_LETTER_PREFIX + name, text.encode("utf-8", "backslashreplace"))
        for name, text in words.items()
    )
    return Output(topic, record.key, record.value, (*record.headers, *ours))


def decode_dead_letter(record: Record) -> DeadLetter:
    """Read one dead letter; its `record` is the original as it was read.

    Raises:
        RefusedEventError: the record carries no dead letter headers of a version known here.
    """
    start = _opening(record.headers)
    words = _words(record.headers[start:])
    if words["version"] != str(DEAD_LETTER_VERSION):
        detail = f"version {DEAD_LETTER_VERSION} is read here, not {shown(words['version'])}"
        raise RefusedEventError("unknown_version", detail, _OPENING)
    try:
        return _letter(record, record.headers[:start], words)
    except (KeyError, ValueError) as error:
        detail = f"the dead letter headers are damaged: {error}"
    raise RefusedEventError("bad_value", detail, _OPENING)


def _opening(headers: Headers) -> int:
    for position in range(len(headers) - 1, -1, -1):
        if headers[position][0] == _OPENING:
            return position
    raise RefusedEventError("missing_field", "the record is no dead letter", _OPENING)


def _words(headers: Headers) -> dict[str, str]:
    return {
        name.removeprefix(DEAD_LETTER_PREFIX): (raw or b"").decode("utf-8", "replace")
        for name, raw in headers
    }


def _letter(record: Record, headers: Headers, words: dict[str, str]) -> DeadLetter:
    return DeadLetter(
        record=Record(
            topic=words["topic"],
            partition=int(words["partition"]),
            offset=int(words["offset"]),
            timestamp_ms=int(words["timestamp-ms"]),
            key=record.key,
            value=record.value,
            headers=headers,
        ),
        stage=words["stage"],
        reason=words["reason"],
        detail=words["detail"],
        refused_at_ms=parse_rfc3339(words["refused-at"]),
        path=words["path"],
        attempts=int(words["attempts"]),
    )
