"""The watermark on the wire: up to which event time an upstream lane has sent everything.

A record without key or value, with one header; it goes to every partition of a topic, behind the
events that it speaks of, and takes part in their transaction. Version 1.
"""

from typing import Final, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from batuta.schemas.errors import OursError
from batuta.schemas.record import Output, Record

__all__ = ["WATERMARK_HEADER", "Watermark", "decode_watermark", "encode_watermark", "is_watermark"]

WATERMARK_HEADER: Final = "batuta_watermark"


class Watermark(NamedTuple):
    """What an upstream lane promises.

    Attributes:
        lane: its partition number.
        time_ms: no event before this will come; None where it has seen none yet.
        idle: nothing is to be waited for from this lane until it says otherwise.
    """

    lane: int
    time_ms: int | None
    idle: bool = False


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    v: int = Field(ge=1, le=1)
    lane: int = Field(ge=0)
    time_ms: int | None
    idle: bool


def is_watermark(record: Record) -> bool:
    """Return whether a record carries a watermark and no event."""
    headers = record.headers
    return record.key is None and len(headers) == 1 and headers[0][0] == WATERMARK_HEADER


def encode_watermark(watermark: Watermark, topic: str, partition: int) -> Output:
    """Make the record that tells one partition of `topic`.

    >>> encode_watermark(Watermark(3, 1_000), "fraud.ingested", 0).headers
    (('batuta_watermark', b'{"v":1,"lane":3,"time_ms":1000,"idle":false}'),)
    """
    value = orjson.dumps({"v": 1, **watermark._asdict()})
    return Output(topic, None, b"", ((WATERMARK_HEADER, value),), partition)


def decode_watermark(record: Record) -> Watermark:
    """Read what `encode_watermark` wrote.

    Raises:
        OursError: nobody but a lane of ours writes these, and this one no lane of ours wrote.
    """
    try:
        wire = _Wire.model_validate_json(record.headers[0][1])
    except ValidationError as error:
        place = f"{record.topic}[{record.partition}]@{record.offset}"
        raise OursError(f"{place} is no watermark that this release reads: {error}") from error
    return Watermark(wire.lane, wire.time_ms, wire.idle)
