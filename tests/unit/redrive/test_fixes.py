"""Fixes: what each option does to a dead letter, and what it says where it cannot."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonpatch import JsonPatch

from batuta.schemas.dead_letter import DeadLetter
from batuta.schemas.errors import RefusedEventError, UsageError
from batuta.schemas.fix_expressions import Expression
from batuta.schemas.fixes import ABSENT, Fix, changes
from batuta.schemas.letter_value import open_value
from batuta.schemas.record import Headers, Record
from batuta.streams.cli.deadletters_fixing import FixOptions, read_fix

BARE = b'{"id":"a","amount":"12.50","lines":[{"n":"1"},{"n":"2"}],"big":1180591620717411303424}'
STRUCTURED = (("content-type", b"application/cloudevents+json"),)


def letter(value: bytes | None, headers: Headers = ()) -> DeadLetter:
    record = Record("fraud.events", 2, 17, 1_000, b"k\xff", value, headers)
    return DeadLetter(record, "ingestion", "wrong_type", "amount is wrong", 2_000, "amount")


def options(**given: Any) -> FixOptions:
    names = ("sets", "patch", "value", "encoding", "headers", "drop_headers")
    return FixOptions(**{**dict.fromkeys(names), **given})


def mended(came: bytes, came_with: Headers = (), /, **given: Any) -> Record:
    return read_fix(options(**given)).apply(letter(came, came_with))


def data(record: Record) -> Any:
    return json.loads(record.value or b"null")


@pytest.mark.parametrize(
    ("text", "path", "after"),
    [
        ("amount=double(event.amount)", ("amount",), 12.5),
        ("currency='EUR'", ("currency",), "EUR"),
        ("lines/1/n=int(event.lines[1].n)", ("lines", 1, "n"), 2),
        ("lines=event.lines.filter(l, l.n == '1')", ("lines",), [{"n": "1"}]),
        ("id=key + letter.reason", ("id",), "k\\xffwrong_type"),
        ("at=timestamp('2018-04-01T10:17:43Z')", ("at",), "2018-04-01T10:17:43.000Z"),
        ("both={'a': 1, 'b': [null, true]}", ("both",), {"a": 1, "b": [None, True]}),
        ("a~1b=1", ("a/b",), 1),
    ],
)
def test_set_gives_one_field_and_leaves_the_rest(text: str, path: Any, after: object) -> None:
    before = letter(BARE).record
    (change,) = changes(before, mended(BARE, sets=[text]))
    assert (change.path, change.after) == (path, after)


def test_sets_are_applied_one_after_the_other() -> None:
    record = mended(BARE, sets=["amount=double(event.amount)", "twice=event.amount * 2.0"])
    assert data(record)["twice"] == 25.0


def test_a_patch_is_rfc_6902_and_may_be_a_file(tmp_path: Any) -> None:
    patch = '[{"op": "move", "from": "/amount", "path": "/total"}]'
    file = tmp_path / "fix.json"
    file.write_text(patch)
    inline, filed = mended(BARE, patch=patch), mended(BARE, patch=str(file))
    assert inline == filed
    assert data(inline)["total"] == "12.50"
    assert "amount" not in data(inline)


def test_a_value_gives_all_of_the_data_or_as_text_all_of_the_value() -> None:
    assert data(mended(BARE, value="{'id': event.id}")) == {"id": "a"}
    assert mended(b'{"id":1,}', value="text.replace(',}', '}')").value == b'{"id":1}'


def test_an_encoding_is_read_and_headers_are_set_and_removed() -> None:
    came = (("content-type", b"text/csv"), ("x", b"1"), ("x", b"2"))
    record = mended(
        '{"n":"é"}'.encode("latin-1"),
        came,
        encoding="latin-1",
        headers=["content-type=application/json"],
        drop_headers=["x"],
    )
    assert record.value == '{"n":"é"}'.encode()
    assert record.headers == (("content-type", b"application/json"),)


def test_a_structured_event_keeps_its_envelope() -> None:
    value = b'{"specversion":"1.0","id":"1","data":{"amount":"3"}}'
    record = mended(value, STRUCTURED, sets=["amount=double(event.amount)"])
    assert data(record) == {"specversion": "1.0", "id": "1", "data": {"amount": 3.0}}


def test_what_json_does_not_have_can_be_mended() -> None:
    assert data(mended(b'{"amount":NaN}', sets=["amount=1.5"])) == {"amount": 1.5}


@pytest.mark.parametrize(
    ("value", "given", "says"),
    [
        (b"<event/>", {"sets": ["amount=1.0"]}, "--value gives a new one"),
        (BARE, {"sets": ["amount=double(event.amont)"]}, "amont"),
        (BARE, {"sets": ["amount=double(event.id)"]}, "cannot convert string to double"),
        (BARE, {"sets": ["none/there=1"]}, "nothing that could hold it"),
        (BARE, {"sets": ["amount=b'abc'"]}, "nothing that JSON knows"),
        (BARE, {"patch": '[{"op": "test", "path": "/id", "value": "b"}]'}, "does not hold"),
        (BARE, {"patch": '[{"op": "remove", "path": "/none"}]'}, "does not fit"),
        (b"\xff", {"encoding": "ascii"}, "not ascii either"),
    ],
)
def test_what_does_not_fit_says_why_and_quotes_no_data(
    value: bytes, given: dict[str, Any], says: str
) -> None:
    with pytest.raises(RefusedEventError, match="fix_failed") as refused:
        mended(value, **given)
    assert says in refused.value.detail
    assert "12.50" not in refused.value.detail


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "nothing to fix with"),
        ({"sets": ["amount"]}, "FIELD=CEL"),
        ({"sets": ["amount=double(evnt.amount)"]}, "undeclared reference to 'evnt"),
        ({"sets": ["amount=1 +"]}, "at character"),
        ({"sets": ["a~2=1"]}, "no path"),
        ({"patch": "[1]"}, "RFC 6902"),
        ({"patch": '[{"op": "mve", "path": "/a"}]'}, "RFC 6902"),
        ({"patch": "nowhere.json"}, "nowhere.json"),
        ({"headers": ["x"]}, "NAME=TEXT"),
        ({"encoding": "hex"}, "latin-1"),
    ],
)
def test_an_option_that_cannot_be_read_is_named_with_the_fix(
    given: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError) as wrong:
        read_fix(options(**given))
    assert says in str(wrong.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(old=st.dictionaries(st.text(), json_values, max_size=4), new=json_values)
def test_differences_are_complete(old: dict[str, object], new: object) -> None:
    before = letter(json.dumps(old).encode()).record
    after = before._replace(value=json.dumps({**old, "new": new}).encode())
    told = changes(before, after)
    operations = [
        {"op": "add", "path": "/" + "/".join(_escaped(p) for p in one.path), "value": one.after}
        if one.before is ABSENT or not isinstance(one.path[-1], int)
        else {"op": "replace", "path": "/" + "/".join(_escaped(p) for p in one.path)}
        | {"value": one.after}
        for one in told
    ]
    patched = JsonPatch(operations).apply(old)
    assert repr(patched) == repr(json.loads(after.value or b""))
    assert changes(before, before) == []


def _escaped(part: str | int) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")


@given(value=json_values)
def test_what_is_opened_closes_to_the_same(value: object) -> None:
    opened = open_value(json.dumps(value).encode(), ())
    assert opened is not None
    assert repr(json.loads(opened.closed(opened.data))) == repr(value)


@pytest.mark.parametrize("value", [None, b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_not_opened(value: bytes | None) -> None:
    assert open_value(value, ()) is None


def test_whole_numbers_beyond_64_bits_do_not_stop_an_expression() -> None:
    assert Expression("--set", "event.n > 1.0").answer({"event": {"n": 2**70}}) is True


def test_a_fix_of_nothing_changes_nothing() -> None:
    assert Fix().apply(letter(BARE)) == letter(BARE).record
