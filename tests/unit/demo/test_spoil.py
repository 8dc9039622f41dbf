"""Every way of spoiling an event is refused at the door, and only the chosen share is spoiled."""

from collections.abc import Iterator

import orjson
import pytest

from batuta.schemas.codec import EventCodec
from batuta.schemas.record import Output, Record
from batuta.streams.demo.spoil import SPOILED_HEADER, WAYS, Sample, spoil_some
from batuta.streams.pipelines.finding import PIPELINES

FRAUD = PIPELINES["fraud"]
SOURCE = FRAUD.pipeline.source
NOW_MS = 1_522_577_900_000


def good(count: int) -> Iterator[Sample]:
    for n in range(count):
        fields = {
            "transaction_id": f"tx-{n:09d}",
            "event_time": "2018-04-01T10:17:43Z",
            "card_id": f"c{n}",
            "terminal_id": "t1",
            "amount": 225.41,
            "currency": "EUR",
            "channel": "pos",
        }
        output = Output("fraud.events", f"c{n}".encode(), orjson.dumps(fields))
        yield Sample(f"tx-{n:09d}", output)


def decode(sample: Sample) -> tuple[list[str], list[str]]:
    out = sample.output
    record = Record(out.topic, 0, 0, NOW_MS, out.key, out.value, out.headers)
    decoded = EventCodec(SOURCE, FRAUD.data).decode([record], NOW_MS)
    return [e.id for e in decoded.events], [r.error.reason for r in decoded.refused]


def test_what_is_not_spoiled_is_accepted() -> None:
    for sample in spoil_some(good(20), 0.0, SOURCE, seed=1):
        assert decode(sample) == ([sample.identity], [])


def test_every_way_is_refused() -> None:
    spoiled = list(spoil_some(good(len(WAYS)), 1.0, SOURCE, seed=1))
    accepted = [s.identity for s in spoiled if decode(s)[0]]
    assert accepted == []
    reasons = {decode(s)[1][0] for s in spoiled}
    assert len(reasons) > len(WAYS) / 2, reasons


def test_a_spoiled_event_keeps_its_key_and_carries_its_identity() -> None:
    (sample,) = spoil_some(good(1), 1.0, SOURCE, seed=1)
    assert sample.spoiled
    assert sample.output.key == b"c0"
    assert dict(sample.output.headers)[SPOILED_HEADER] == sample.identity.encode()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_about_the_share_is_spoiled_each_with_an_identity_of_its_own(share: float) -> None:
    samples = list(spoil_some(good(4_000), share, SOURCE, seed=1))
    assert sum(s.spoiled for s in samples) == pytest.approx(4_000 * share, rel=0.4)
    assert len({s.identity for s in samples}) == 4_000


def test_the_same_seed_spoils_the_same() -> None:
    one, other = (list(spoil_some(good(500), 0.1, SOURCE, seed=s)) for s in (3, 3))
    assert one == other
    assert one != list(spoil_some(good(500), 0.1, SOURCE, seed=4))
