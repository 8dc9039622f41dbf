"""No figure is printed for an output that is wrong, short or doubled."""

from __future__ import annotations

import orjson
import pytest
from peers.work import decide, transaction
from yardstick.outcome import Expected, WrongOutputError

EVENTS = 12_000


@pytest.fixture(scope="module")
def right() -> list[bytes]:
    cards: dict[str, tuple[int, float]] = {}
    outputs: list[bytes] = []
    for number in range(EVENTS):
        tx = transaction(number)
        n, total = cards.get(tx["card_id"], (0, 0.0))
        cards[tx["card_id"]] = n, total = n + 1, total + tx["amount"]
        outputs.append(orjson.dumps(decide(tx, n, total)))
    return outputs


@pytest.fixture(scope="module")
def expected() -> Expected:
    return Expected(EVENTS)


def changed(output: bytes, **fields: object) -> bytes:
    return orjson.dumps({**orjson.loads(output), **fields})


def test_right_output_passes_in_any_order(expected: Expected, right: list[bytes]) -> None:
    expected.check(reversed(right))


def test_rounding_of_another_language_passes(expected: Expected, right: list[bytes]) -> None:
    made = orjson.loads(right[-1])
    near = changed(right[-1], score=made["score"] + 1e-6, total=made["total"] - 0.01)
    expected.check([*right[:-1], near])


def test_short_output_is_refused(expected: Expected, right: list[bytes]) -> None:
    with pytest.raises(WrongOutputError, match=r"1 missing \(tx-000011999\)"):
        expected.check(right[:-1])


def test_doubled_output_is_refused(expected: Expected, right: list[bytes]) -> None:
    with pytest.raises(WrongOutputError, match=r"1 doubled \(tx-000000007\)"):
        expected.check([*right, right[7]])


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 1},
        {"total": 1.0},
        {"score": 0.5},
        {"card_id": "c1"},
        {"transaction_id": f"tx-{EVENTS:09d}"},
        {"transaction_id": "tx--00000001"},
        {"total": None},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_wrong_output_is_refused(
    expected: Expected, right: list[bytes], fields: dict[str, object]
) -> None:
    with pytest.raises(WrongOutputError, match="1 wrong"):
        expected.check([*right[:-1], changed(right[-1], **fields)])


@pytest.mark.parametrize("output", [b"", b"null", b"[1]", b'{"transaction_id":"tx-1"}'])
def test_garbage_is_refused(expected: Expected, right: list[bytes], output: bytes) -> None:
    with pytest.raises(WrongOutputError, match=r"1 missing.*1 wrong"):
        expected.check([*right[:-1], output])


def test_state_that_was_lost_shows(expected: Expected, right: list[bytes]) -> None:
    """An engine that forgets its cards gives the first decision of each again and again."""
    cards = transaction(0)["card_id"]
    forgot = [
        changed(output, n=1) if orjson.loads(output)["card_id"] == cards else output
        for output in right
    ]
    with pytest.raises(WrongOutputError, match="2 wrong"):
        expected.check(forgot)
