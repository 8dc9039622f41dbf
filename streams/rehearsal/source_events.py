"""What a rehearsal's users send: good events, and everything that makes a stream interesting.

Generated samples of the pipeline, moved onto few keys so that keys are contended, and among them
identical redeliveries, ids used twice, spoiled events, events on another partition than their
key's, and late ones. Where the pipeline has labels, some come as well: before their event and after
it, twice, corrected, of events that nobody knows, and broken.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Final

import orjson

from batuta.agents.pipelines import Shipped
from batuta.agents.samples import SampleEvent
from batuta.schemas.partition import murmur2
from batuta.schemas.pipeline import Pipeline
from batuta.schemas.record import Output
from batuta.schemas.times import rfc3339
from batuta.schemas.topics import Topics
from batuta.streams.demo.spoil import Sample, spoil_some
from batuta.streams.rehearsal.broker_house import START_MS
from batuta.streams.rehearsal.plan import Plan

__all__ = ["source_records"]

_POOL: Final = 2_000
_POOLS: Final[dict[str, Sequence[SampleEvent]]] = {}
_KEYS: Final = 24
_SCORING_KEYS: Final = 10
_SPOILED_SHARE: Final = 0.04
_REDELIVERED_SHARE: Final = 0.06
_REUSED_SHARE: Final = 0.02
_ASTRAY_SHARE: Final = 0.05
_LATE_SHARE: Final = 0.05
_LATE_MS_MAX: Final = 40 * 86_400_000
_LABELLED_SHARE: Final = 0.2
_KNOWN_SHARE: Final = 0.9
_POSITIVE_SHARE: Final = 0.4
#: Source records come about this far apart in event time.
_PACE_MS: Final = 60


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Who draws, and for which plan."""

    plan: Plan
    pipeline: Pipeline
    chance: Random


def source_records(plan: Plan, shipped: Shipped) -> list[Output]:
    """Return a plan's source records in the order they are sent, each with its partition."""
    pipeline = shipped.pipeline
    drawn = _Drawn(plan, pipeline, plan.chance("events"))
    topic = Topics(pipeline.name).events
    samples = (
        Sample(str(number), Output(topic, key.encode(), data))
        for number, (key, data) in enumerate(_events(drawn, shipped))
    )
    spoiled = spoil_some(samples, _SPOILED_SHARE, pipeline.source, plan.seed)
    records = [_placed(sample.output, drawn) for sample in islice(spoiled, plan.events)]
    return _with_feedback(_redelivered(records, drawn), drawn)[: plan.events]


def _events(drawn: _Drawn, shipped: Shipped) -> Iterator[tuple[str, bytes]]:
    """Yield key and payload of events without end."""
    source, chance = drawn.pipeline.source, drawn.chance
    pool = _pool(shipped)
    number = 0
    while True:
        fields: dict[str, object] = orjson.loads(chance.choice(pool).data)
        time_ms = START_MS + number * _PACE_MS
        if chance.random() < _LATE_SHARE:
            time_ms -= int(chance.random() ** 2 * _LATE_MS_MAX)
        key = f"k{int(chance.random() ** 2 * _KEYS)}"
        fields[source.key_field] = key
        fields[drawn.pipeline.scoring_key_field] = f"s{chance.randrange(_SCORING_KEYS)}"
        fields[source.time_field] = rfc3339(time_ms)
        if source.id_field is not None:
            fields[source.id_field] = f"e{drawn.plan.seed}-{number}"
        yield key, orjson.dumps(fields)
        number += 1


def _pool(shipped: Shipped) -> Sequence[SampleEvent]:
    """Return generated events to draw from, made once per process."""
    name = shipped.pipeline.name
    if name not in _POOLS:
        _POOLS[name] = tuple(islice(shipped.samples(0, START_MS), _POOL))
    return _POOLS[name]


def _placed(output: Output, drawn: _Drawn) -> Output:
    """Put a record on its key's partition, or now and then on another one."""
    partitions = drawn.plan.partitions
    home = (murmur2(output.key or b"") & 0x7FFFFFFF) % partitions
    if drawn.chance.random() < _ASTRAY_SHARE:
        home = (home + 1) % partitions
    return output._replace(partition=home)


def _redelivered(records: list[Output], drawn: _Drawn) -> list[Output]:
    """Send some records again later, and some ids again with another payload."""
    chance = drawn.chance
    sent: list[tuple[float, Output]] = [(float(place), r) for place, r in enumerate(records)]
    for place, record in enumerate(records):
        if chance.random() < _REDELIVERED_SHARE:
            sent.append((place + chance.expovariate(1 / 40), record))
        if chance.random() < _REUSED_SHARE and (changed := _changed(record)) is not None:
            sent.append((place + chance.expovariate(1 / 40), changed))
    return [record for _, record in sorted(sent, key=lambda each: each[0])]


def _with_feedback(records: list[Output], drawn: _Drawn) -> list[Output]:
    """Put labels among the records, near their events; some are corrected later."""
    rule, chance = drawn.pipeline.labels, drawn.plan.chance("labels")
    if rule is None:
        return records
    topic = Topics(drawn.pipeline.name).feedback
    sent: list[tuple[float, Output]] = [(float(place), r) for place, r in enumerate(records)]
    for place in range(len(records)):
        while chance.random() < _LABELLED_SHARE:
            event = place if chance.random() < _KNOWN_SHARE else len(records) + place
            said: dict[str, object] = {
                rule.id_field: f"e{drawn.plan.seed}-{event}",
                rule.time_field: rfc3339(START_MS + (place + chance.randrange(200)) * _PACE_MS),
                rule.of: chance.random() < _POSITIVE_SHARE,
            }
            if chance.random() < _SPOILED_SHARE:
                said.pop(chance.choice(sorted(said)))
            key = b"k%d" % chance.randrange(_KEYS)
            label = Output(
                topic, key, orjson.dumps(said), (), chance.randrange(drawn.plan.partitions)
            )
            sent.append((place + chance.gauss(20, 40), label))
    return [record for _, record in sorted(sent, key=lambda each: each[0])]


def _changed(record: Output) -> Output | None:
    """Return the record with another payload under the same id, where it is a good one."""
    try:
        fields = orjson.loads(record.value or b"")
    except orjson.JSONDecodeError:
        return None
    if not isinstance(fields, dict):
        return None
    numbers = [name for name, value in fields.items() if isinstance(value, float)]
    if not numbers:
        return None
    fields[numbers[0]] += 1.0
    return record._replace(value=orjson.dumps(fields))
