"""Spoils events on purpose, so that a demonstration shows what becomes of bad input.

Each way of spoiling stands in `WAYS`; every one of them must end as a dead letter with a reason,
and none may touch its neighbours. Pure: the same seed spoils the same events the same way.
"""

from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Final, NamedTuple

import orjson

from batuta.schemas.pipeline import Source
from batuta.schemas.record import Output

__all__ = ["SPOILED_HEADER", "WAYS", "Sample", "spoil_some"]

#: Marks a spoiled event with an identity of its own, since its bytes may have none left.
SPOILED_HEADER: Final = "batuta-demo-spoiled"

Fields = dict[str, object]

#: Stands where a number that is none goes, until the rest is written.
_NOT_A_NUMBER: Final = "<no number>"


class Sample(NamedTuple):
    """One event to publish, and by what it is recognised when it comes back.

    Attributes:
        label: what will be known of it later, where that is what the pipeline looks for; empty
            where it has no labels.
    """

    identity: str
    output: Output
    spoiled: bool = False
    label: bytes | None = None

    @property
    def positive(self) -> bool:
        """Whether it is what the pipeline looks for."""
        return self.label is not None


def _cut(value: bytes, source: Source) -> bytes:
    del source
    return value[: len(value) // 2]


def _not_utf8(value: bytes, source: Source) -> bytes:
    del source
    return value.replace(b'":"', b'":"\xff', 1)


def _without_time(value: bytes, source: Source) -> bytes:
    return _changed(value, {source.time_field: None}, without=source.time_field)


def _without_key(value: bytes, source: Source) -> bytes:
    return _changed(value, {}, without=source.key_field)


def _far_future(value: bytes, source: Source) -> bytes:
    return _changed(value, {source.time_field: "2999-01-01T00:00:00Z"})


def _no_time_at_all(value: bytes, source: Source) -> bytes:
    return _changed(value, {source.time_field: "yesterday"})


def _list(value: bytes, source: Source) -> bytes:
    del source
    return b"[" + value + b"]"


def _no_number(value: bytes, source: Source) -> bytes:
    # Its digits may stand in a text as well: what is replaced stands nowhere else.
    name = _first_number(value) or source.time_field
    marked = _changed(value, {name: _NOT_A_NUMBER})
    return marked.replace(orjson.dumps(_NOT_A_NUMBER), b"NaN", 1)


def _nothing(value: bytes, source: Source) -> None:
    del value, source


#: How an event is spoiled, by name.
WAYS: Final[Mapping[str, Callable[[bytes, Source], bytes | None]]] = {
    "cut": _cut,
    "not_utf8": _not_utf8,
    "without_time": _without_time,
    "without_key": _without_key,
    "far_future": _far_future,
    "no_time_at_all": _no_time_at_all,
    "list": _list,
    "no_number": _no_number,
    "nothing": _nothing,
}


def spoil_some(
    samples: Iterator[Sample], share: float, source: Source, seed: int
) -> Iterator[Sample]:
    """Yield `samples`, about `share` (0 to 1) of them spoiled."""
    random = Random(seed)  # noqa: S311 - a repeatable choice, not a secret
    ways = tuple(WAYS)
    spoiled = 0
    for sample in samples:
        if random.random() >= share:
            yield sample
            continue
        way = ways[spoiled % len(ways)]
        spoiled += 1
        yield _spoiled(sample, way, source, f"{way}-{spoiled}")


def _spoiled(sample: Sample, way: str, source: Source, identity: str) -> Sample:
    output = sample.output
    assert output.value is not None
    headers = (*output.headers, (SPOILED_HEADER, identity.encode()))
    value = WAYS[way](output.value, source)
    return Sample(identity, output._replace(value=value, headers=headers), spoiled=True)


def _changed(value: bytes, changes: Fields, without: str = "") -> bytes:
    fields: Fields = {**orjson.loads(value), **changes}
    fields.pop(without, None)
    return orjson.dumps(fields)


def _first_number(value: bytes) -> str | None:
    """Return the name of the first field that holds a number."""
    fields: Fields = orjson.loads(value)
    return next((name for name, field in fields.items() if isinstance(field, float)), None)
