"""The ledger sees what is lost and what is doubled; the ages are exact to the millisecond."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batuta.streams.demo.ages import Ages
from batuta.streams.demo.ledger import Ledger


def test_each_identity_is_awaited_until_it_comes_back() -> None:
    ledger = Ledger()
    ledger.expect("a", 100)
    ledger.expect("b", 110)
    assert ledger.arrive("a", 105) == 5
    assert (ledger.expected, ledger.arrived, ledger.awaited, ledger.duplicated) == (2, 1, 1, 0)


def test_what_comes_back_twice_is_doubled_and_what_was_never_sent_is_a_strangers() -> None:
    ledger = Ledger()
    ledger.expect("a", 100)
    ledger.arrive("a", 100)
    assert ledger.arrive("a", 101) is None
    assert ledger.arrive("c", 101) is None
    assert (ledger.arrived, ledger.awaited, ledger.duplicated, ledger.strangers) == (1, 0, 1, 1)


def test_a_clock_that_goes_back_makes_no_negative_age() -> None:
    ledger = Ledger()
    ledger.expect("a", 100)
    assert ledger.arrive("a", 90) == 0


def test_only_so_many_are_remembered() -> None:
    ledger = Ledger(remembered_max=2)
    for identity in "abc":
        ledger.expect(identity, 0)
        ledger.arrive(identity, 0)
    ledger.arrive("a", 0)
    ledger.arrive("c", 0)
    assert (ledger.duplicated, ledger.strangers) == (1, 1)


def test_the_same_identity_cannot_be_sent_twice() -> None:
    ledger = Ledger()
    ledger.expect("a", 0)
    with pytest.raises(AssertionError):
        ledger.expect("a", 0)


@given(st.lists(st.integers(0, 70_000), min_size=1), st.floats(0, 1))
def test_a_percentile_is_the_nearest_rank(ages_ms: list[int], share: float) -> None:
    ages = Ages()
    for age_ms in ages_ms:
        ages.add(age_ms)
    found = ages.percentile(share)
    assert found is not None
    not_above = sum(min(age_ms, 60_000) <= found for age_ms in ages_ms)
    below = sum(min(age_ms, 60_000) < found for age_ms in ages_ms)
    assert not_above >= share * len(ages_ms)
    assert below == 0 or below < share * len(ages_ms)


def test_without_ages_there_is_no_percentile() -> None:
    assert Ages().percentile(0.5) is None
