"""Times as they travel: RFC 3339 text outside, milliseconds since 1970 UTC inside."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

__all__ = [
    "BAD_TIME",
    "EARLIEST_MS",
    "LATEST_MS",
    "EventTime",
    "parse_rfc3339",
    "rfc3339",
    "rfc3339_all",
    "time_ms",
]

#: The pydantic error type of a text that is not a time, turned into a sentence by `refusals`.
BAD_TIME: Final = "bad_time"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL: Final = _EPOCH.toordinal()
#: The moments that RFC 3339 can write.
EARLIEST_MS: Final = -62_135_596_800_000
LATEST_MS: Final = 253_402_300_799_999
_MILLISECOND: Final = timedelta(milliseconds=1)
_DAY_MS: Final = 86_400_000
_MINUTES: Final = tuple(f"T{minute // 60:02d}:{minute % 60:02d}:" for minute in range(1440))
_SECONDS: Final = tuple(f"{second:02d}." for second in range(60))
_MILLISECONDS: Final = tuple(f"{millisecond:03d}Z" for millisecond in range(1000))
_PATTERN: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)


class _Rfc3339:
    """Reads a time from JSON as RFC 3339 with a zone and nothing else.

    pydantic alone also takes numeric text ("1522577863"), in seconds or milliseconds by size.
    Reading by the standard library costs less too: its UTC is one object, pydantic's is many.
    """

    def __get_pydantic_core_schema__(
        self, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        text = core_schema.chain_schema(
            [
                core_schema.str_schema(pattern=_PATTERN, strict=True),
                core_schema.no_info_plain_validator_function(datetime.fromisoformat),
            ]
        )
        return core_schema.json_or_python_schema(
            json_schema=core_schema.custom_error_schema(
                text, custom_error_type=BAD_TIME, custom_error_message="not an RFC 3339 time"
            ),
            python_schema=core_schema.datetime_schema(tz_constraint="aware", strict=False),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "format": "date-time", "pattern": _PATTERN}


#: A moment with its zone. In JSON: RFC 3339 such as 2018-04-01T10:17:43.250Z or ...+02:00.
EventTime = Annotated[datetime, _Rfc3339()]


def time_ms(moment: datetime) -> int:
    """Return a moment as milliseconds since 1970 UTC, rounded down.

    An offset may carry the first and last day of the calendar out of the years 1 to 9999.
    """
    return (moment - _EPOCH) // _MILLISECOND


@lru_cache(maxsize=4096)
def _day(days: int) -> str:
    return date.fromordinal(_EPOCH_ORDINAL + days).isoformat()


def rfc3339(moment_ms: int) -> str:
    """Return milliseconds since 1970 as RFC 3339 in UTC with milliseconds.

    Args:
        moment_ms: from `EARLIEST_MS` to `LATEST_MS`, the years 1 to 9999.

    >>> rfc3339(1522577863052)
    '2018-04-01T10:17:43.052Z'
    """
    days, rest_ms = divmod(moment_ms, _DAY_MS)
    minute, rest_ms = divmod(rest_ms, 60_000)
    second, millisecond = divmod(rest_ms, 1000)
    return _day(days) + _MINUTES[minute] + _SECONDS[second] + _MILLISECONDS[millisecond]


def rfc3339_all(moments_ms: Sequence[int]) -> list[str]:
    """Return each of `moments_ms` as `rfc3339` does; one that all share is written once.

    >>> rfc3339_all([0, 0])
    ['1970-01-01T00:00:00.000Z', '1970-01-01T00:00:00.000Z']
    """
    if moments_ms and moments_ms.count(moments_ms[0]) == len(moments_ms):
        return [rfc3339(moments_ms[0])] * len(moments_ms)
    return list(map(rfc3339, moments_ms))


def parse_rfc3339(text: str) -> int:
    """Return the milliseconds since 1970 that `rfc3339` wrote.

    Raises:
        ValueError: `text` is not a time with a zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    return (moment - _EPOCH) // _MILLISECOND
