"""Bad input, as producers send it: what no stage can accept ends in the dead letters, whole.

Every bad record lies between two good ones of the same card. It must come out of the dead letters
with its key, bytes and headers untouched and a sentence that a person understands; its neighbours
must not notice, nor may what is remembered of their card.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson
import pytest

from batuta.schemas.dead_letter import DEAD_LETTER_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conftest import HeaderList, Sent, Town, Towns

HEADERS: Final = (
    ("origin", b"\x00\xff"),
    ("origin", b"again"),
    ("empty", b""),
    ("null", None),
    ("batuta-deadletter-reason", b"redriven once"),
)


class Bad(NamedTuple):
    """A way to be wrong, and what is said of it."""

    value: bytes | None
    reason: str
    path: str
    says: str
    headers: HeaderList = ()


TRANSACTION: Final[Mapping[str, object]] = {
    "transaction_id": "bad-1",
    "event_time": "2018-04-01T10:01:50Z",
    "card_id": "bad",
    "terminal_id": "t-bad",
    "amount": 101.0,
    "currency": "EUR",
    "channel": "pos",
}


def bare(**changes: object) -> bytes:
    fields = {**TRANSACTION, **changes}
    return orjson.dumps({name: value for name, value in fields.items() if value != "absent"})


def cloud(**attributes: object) -> bytes:
    """A structured CloudEvent; an attribute that is None is left out."""
    whole = {"specversion": "1.0", "id": "1", "source": "/tills", "type": "sale", **attributes}
    present = {name: value for name, value in whole.items() if value is not None}
    return orjson.dumps(present)


def ce(**attributes: bytes) -> HeaderList:
    whole = {"specversion": b"1.0", "id": b"1", "source": b"/tills", "type": b"sale", **attributes}
    return tuple((f"ce_{name}", value) for name, value in whole.items() if value)


STRUCTURED: Final = (("content-type", b"application/cloudevents+json; charset=utf-8"),)
NOT_A_TIME: Final = "must be a time as in RFC 3339"
BAD: Final[Mapping[str, Bad]] = {
    "not_json": Bad(b"amount=12.50;card=c1", "not_json", "", "not JSON"),
    "cut_short": Bad(bare()[:60], "not_json", "", "not JSON"),
    "two_documents": Bad(bare() + bare(), "not_json", "", "not JSON"),
    "empty": Bad(b"", "not_json", "", "empty"),
    "null_value": Bad(None, "null_value", "", "has no value"),
    "bad_utf8": Bad(bare().replace(b"EUR", b"E\xffR"), "bad_utf8", "", "not UTF-8"),
    "utf16": Bad(bare().decode().encode("utf-16"), "bad_utf8", "", "not UTF-8"),
    "lone_surrogate": Bad(bare().replace(b"EUR", rb"\ud800"), "not_json", "", "not JSON"),
    "list": Bad(b"[" + bare() + b"]", "not_object", "", "must be a JSON object, but is a list"),
    "nested": Bad(b'{"a":' * 5000 + b"1" + b"}" * 5000, "too_deep", "", "nested too deeply"),
    "five_megabytes": Bad(
        bare(note="x" * 5_000_000), "too_large", "", "more than the 1048576 this pipeline takes"
    ),
    "missing": Bad(bare(amount="absent"), "missing_field", "amount", "amount is missing"),
    "no_id": Bad(bare(transaction_id="absent"), "missing_field", "transaction_id", "is missing"),
    "no_card": Bad(bare(card_id="absent"), "missing_field", "card_id", "card_id is missing"),
    "empty_id": Bad(bare(transaction_id=""), "bad_value", "transaction_id", "at least 1 char"),
    "long_id": Bad(bare(transaction_id="x" * 9000), "bad_value", "transaction_id", "at most 128"),
    "text_amount": Bad(bare(amount="12.50"), "wrong_type", "amount", "number, but is the text"),
    "true_amount": Bad(bare(amount=True), "wrong_type", "amount", "a number, but is true"),
    "null_amount": Bad(bare(amount=None), "wrong_type", "amount", "a number, but is null"),
    "object_card": Bad(bare(card_id={"no": 7}), "wrong_type", "card_id", "text, but is an object"),
    "number_id": Bad(bare(transaction_id=7), "wrong_type", "transaction_id", "the number 7"),
    "nan": Bad(bare().replace(b"101.0", b"NaN"), "not_finite", "amount", "finite number"),
    "infinity": Bad(bare().replace(b"101.0", b"-Infinity"), "not_finite", "amount", "finite"),
    "overflow": Bad(bare().replace(b"101.0", b"1e999"), "not_finite", "amount", "beyond 1e308"),
    "endless": Bad(bare().replace(b"101.0", b"9" * 5000), "not_json", "", "out of range"),
    "negative": Bad(bare(amount=-0.01), "bad_value", "amount", "greater than or equal to 0"),
    "huge": Bad(bare(amount=9.5e8), "bad_value", "amount", "less than or equal to 900000000"),
    "currency": Bad(bare(currency="euro"), "bad_value", "currency", "the text 'euro'"),
    "latitude": Bad(bare(lat=90.5), "bad_value", "lat", "less than or equal to 90"),
    "far_future": Bad(
        bare(event_time="2999-01-01T00:00:00Z"), "absurd_time", "event_time", "ahead of the clock"
    ),
    "last_moment": Bad(
        bare(event_time="9999-12-31T23:59:59-23:59"), "absurd_time", "event_time", "ahead of the"
    ),
    "first_moment": Bad(
        bare(event_time="0001-01-01T00:00:00+23:59"), "absurd_time", "event_time", "the earliest"
    ),
    "before_1970": Bad(
        bare(event_time="1969-12-31T23:59:59Z"), "absurd_time", "event_time", "the earliest"
    ),
    "no_such_day": Bad(bare(event_time="2018-02-30T00:00:00Z"), "bad_time", "event_time", "02-30"),
    "yesterday": Bad(bare(event_time="yesterday"), "bad_time", "event_time", NOT_A_TIME),
    "no_zone": Bad(bare(event_time="2018-04-01T10:17:43"), "bad_time", "event_time", "add Z"),
    "seconds": Bad(bare(event_time=1_522_577_863), "wrong_type", "event_time", "a time as text"),
    "ce_version": Bad(
        bare(), "bad_specversion", "ce_specversion", "1.0 is read here", ce(specversion=b"0.3")
    ),
    "ce_no_type": Bad(
        bare(), "missing_attribute", "ce_type", "ce_type is missing", ce(type=b"")
    ),
    "ce_no_id": Bad(bare(), "missing_attribute", "ce_id", "ce_id is missing", ce(id=b"")),
    "ce_source": Bad(
        bare(), "bad_attribute", "ce_source", "without spaces", ce(source=b"the tills")
    ),
    "ce_not_utf8": Bad(
        bare(), "bad_attribute", "ce_source", "not UTF-8", ce(source=b"/tills/\xff")
    ),
    "ce_text": Bad(
        bare(),
        "bad_content_type",
        "content-type",
        "must be JSON",
        (*ce(), ("content-type", b"text/plain")),
    ),
    "ce_data": Bad(
        bare(amount="absent"), "missing_field", "amount", "amount is missing", ce()
    ),
    "structured_no_data": Bad(cloud(), "bad_data", "data", "carries no data", STRUCTURED),
    "structured_two_data": Bad(
        cloud(data={}, data_base64="e30="), "bad_data", "data", "exclude each other", STRUCTURED
    ),
    "structured_version": Bad(
        cloud(specversion="2", data={}), "bad_specversion", "specversion", "1.0", STRUCTURED
    ),
    "structured_type": Bad(
        cloud(type=7, data={}), "bad_attribute", "type", "must be a text", STRUCTURED
    ),
    "structured_not_json": Bad(b"<event/>", "not_json", "", "not JSON", STRUCTURED),
    "id_reused": Bad(
        bare(transaction_id="card-id_reused-1", card_id="card-id_reused"),
        "id_reused",
        "transaction_id",
        "already used by an event with another payload",
    ),
}  # fmt: skip


def spoiled(town: Town, case: str) -> Sent:
    """The bad record of a case, where its card's events lie, under a key that is no text."""
    bad, key = BAD[case], b"\xff\x00" + case.encode()
    neighbour = town.good(f"card-{case}", 1)
    return neighbour._replace(key=key, value=bad.value, headers=(*HEADERS, *bad.headers))


@pytest.fixture(scope="module")
def town(towns: Towns) -> Town:
    """A town that has seen every case once, each between good events of its own card."""
    town = towns.found()
    town.publish(
        [
            *(town.good(f"card-{case}", 1) for case in BAD),
            *(spoiled(town, case) for case in BAD),
            *(town.good(f"card-{case}", 2) for case in BAD),
        ]
    )

    async def walk() -> None:
        async with town.at_work() as worker:
            await town.until(3 * len(BAD), worker)
        await town.gather()

    asyncio.run(walk())
    return town


@pytest.mark.parametrize("case", BAD)
def test_a_bad_record_is_kept_whole_and_explained(town: Town, case: str) -> None:
    sent, bad = spoiled(town, case), BAD[case]
    found = [n for n, record in enumerate(town.raw_letters) if record.key == sent.key]
    assert len(found) == 1
    record, letter = town.raw_letters[found[0]], town.letters[found[0]]
    assert record.value == sent.value
    assert record.headers[: len(sent.headers)] == sent.headers
    ours = record.headers[len(sent.headers) :]
    assert all(name.startswith(DEAD_LETTER_PREFIX) for name, _ in ours)
    assert letter.record.headers == sent.headers
    assert letter.record.partition == sent.partition
    assert (letter.stage, letter.record.topic) == ("ingestion", town.topics.events)
    assert (letter.reason, letter.path, letter.attempts) == (bad.reason, bad.path, 1)
    assert bad.says in letter.detail
    assert len(letter.detail) < 250
    assert letter.detail.isprintable()


@pytest.mark.parametrize("case", BAD)
def test_neighbours_never_notice(town: Town, case: str) -> None:
    decided = [d for d in town.decisions if d.entity == f"card-{case}"]
    assert [d.event_id for d in decided] == [f"card-{case}-1", f"card-{case}-2"]
    seen = [tuple(d.features.values()) for d in decided]
    # Amount, then count and mean of the card, then the terminal's count.
    assert seen == [(101.0, 1, 101.0, 1), (102.0, 2, 101.5, 2)]


def test_nothing_else_comes_out(town: Town) -> None:
    assert (len(town.decisions), len(town.letters)) == (2 * len(BAD), len(BAD))
