"""A short share of what `benchmarks/keyed_order.py` does with a million events."""

from __future__ import annotations

from keyed_order import run


def test_events_of_a_key_are_decided_in_their_order_whatever_calls_take() -> None:
    found = run(5_000)
    assert (found["events"], found["decisions"]) == (5_000, 5_000)
    assert (found["order_violations"], found["keys_incomplete"]) == (0, 0)
    assert not found["troubles"]
