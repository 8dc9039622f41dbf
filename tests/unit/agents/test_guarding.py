"""The rules by which a model is left alone, asked again, or asked twice: pure machines."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batuta.agents.delegation.breaker import TRANSITIONS, Breaker, BreakerRule
from batuta.agents.delegation.bulkhead import Bulkhead, BulkheadRule
from batuta.agents.delegation.hedging import CALLS_MIN, Durations
from batuta.agents.delegation.plans import Ask, Fallback, Parallel, Sequence
from batuta.agents.delegation.retrying import EXTRA_SHARE, ExtraLoad, RetryRule, wait_ms
from batuta.agents.delegation.vetoes import can_answer, vetoed
from batuta.schemas.decision import Selection

RULE = BreakerRule(failures_share=0.2, window_ms=1_000, calls_min=5, open_ms=500)


def call(breaker: Breaker, now_ms: int, *, failed: bool) -> bool:
    """Make one call and settle it at once; say whether it was let through."""
    ticket = breaker.admit(now_ms)
    if ticket is None:
        return False
    breaker.settle(ticket, now_ms, failed=failed)
    return True


def opened() -> Breaker:
    breaker = Breaker(RULE)
    for now_ms in range(5):
        call(breaker, now_ms, failed=True)
    assert breaker.state == "open"
    return breaker


def test_a_breaker_opens_by_the_share_of_failures_once_there_are_enough_calls() -> None:
    breaker = Breaker(RULE)
    states = [(call(breaker, 10 * n, failed=n == 0), breaker.state)[1] for n in range(5)]
    assert states == ["closed"] * 4 + ["open"], "one of five is 20 %"


def test_what_is_older_than_the_window_counts_no_more() -> None:
    breaker = Breaker(RULE)
    for now_ms in range(4):
        call(breaker, now_ms, failed=True)
    for now_ms in range(2_000, 2_400, 100):
        call(breaker, now_ms, failed=False)
    assert breaker.state == "closed"
    call(breaker, 2_400, failed=True)
    assert breaker.state == "open"


def test_an_open_breaker_rests_then_lets_one_probe_through() -> None:
    breaker = opened()
    assert breaker.admit(503) is None
    probe = breaker.admit(504)
    assert probe is not None
    assert breaker.state == "half_open"
    assert breaker.admit(600) is None, "one probe at a time"
    breaker.settle(probe, 700, failed=False)
    assert breaker.state == "closed"


def test_a_failed_probe_opens_it_for_as_long_again() -> None:
    breaker = opened()
    probe = breaker.admit(600)
    assert probe is not None
    breaker.settle(probe, 700, failed=True)
    assert breaker.refuses(1_199)
    assert not breaker.refuses(1_200)


def test_a_probe_that_nobody_waits_for_makes_room_for_another() -> None:
    breaker = opened()
    probe = breaker.admit(600)
    assert probe is not None
    breaker.release(probe)
    assert breaker.admit(601) is not None


def test_a_call_that_outlives_its_state_says_nothing() -> None:
    breaker = Breaker(RULE)
    old = breaker.admit(0)
    assert old is not None
    for now_ms in range(5):
        call(breaker, now_ms, failed=True)
    probe = breaker.admit(600)
    breaker.settle(old, 601, failed=False)
    assert (breaker.state, probe is not None) == ("half_open", True)


@given(st.lists(st.tuples(st.integers(0, 400), st.sampled_from(["ok", "fail", "lost", "hang"]))))
def test_whatever_happens_a_breaker_lives_by_its_table(steps: list[tuple[int, str]]) -> None:
    breaker, now_ms = Breaker(RULE), 0
    open_calls: deque[int] = deque()
    seen, since_ms = [breaker.state], 0
    for pause_ms, what in steps:
        now_ms += pause_ms
        refuses = breaker.refuses(now_ms)
        ticket = breaker.admit(now_ms)
        assert (ticket is None) == refuses
        if breaker.state == "open":
            assert now_ms - since_ms < RULE.open_ms, "an open one has not rested yet"
        if breaker.state != seen[-1]:
            seen.append(breaker.state)
        if ticket is not None:
            open_calls.append(ticket)
        if not open_calls or what == "hang":
            continue
        one = open_calls.popleft()
        if what == "lost":
            breaker.release(one)
        else:
            breaker.settle(one, now_ms, failed=what == "fail")
        if breaker.state != seen[-1]:
            seen.append(breaker.state)
            since_ms = now_ms
    legal = {(before, after) for (before, _), after in TRANSITIONS.items()}
    assert set(pairwise(seen)) <= legal


@given(st.lists(st.sampled_from(["knock", "leave", "give up"])), st.integers(1, 3))
def test_a_bulkhead_never_holds_more_than_it_may(steps: list[str], calls_max: int) -> None:
    bulkhead = Bulkhead(BulkheadRule(calls_max, queue_max=2))
    for step in steps:
        if step == "knock":
            full = bulkhead.under_way == calls_max and bulkhead.waiting == 2
            assert (bulkhead.knock() == "full") == full
        elif step == "leave" and bulkhead.under_way:
            waited = bulkhead.waiting > 0
            assert bulkhead.leave() == waited
        elif step == "give up" and bulkhead.waiting:
            bulkhead.give_up()
        assert bulkhead.under_way <= calls_max
        assert 0 <= bulkhead.waiting <= 2
        assert bulkhead.under_way == calls_max or not bulkhead.waiting, "a free place is taken"


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 500))))
def test_extra_load_is_a_tenth_at_most(steps: list[tuple[bool, int]]) -> None:
    extra = ExtraLoad()
    first = again = 0
    for asks_again, rows in steps:
        if asks_again:
            again += rows if extra.spend(rows) else 0
        else:
            extra.earn(rows)
            first += rows
        assert again <= EXTRA_SHARE * first + 10 + 1e-6


@given(st.text(), st.integers(0, 20))
def test_waits_are_drawn_from_the_whole_range_and_repeat(seed: str, retries: int) -> None:
    rule = RetryRule(times=3, wait_ms=50)
    waited_ms = wait_ms(rule, retries, seed)
    assert 0 <= waited_ms <= min(50 * 2**retries, 60_000)
    assert waited_ms == wait_ms(rule, retries, seed)


def test_callers_that_failed_together_do_not_return_together() -> None:
    waits = {wait_ms(RetryRule(wait_ms=1_000), 0, f"e{n}") for n in range(100)}
    assert len(waits) > 80
    assert min(waits) < 200
    assert max(waits) > 800


@given(st.lists(st.integers(0, 10_000), min_size=CALLS_MIN, max_size=256))
def test_one_call_in_twenty_takes_longer_than_the_95th_percentile(took_ms: list[int]) -> None:
    durations = Durations()
    for one in took_ms[: CALLS_MIN - 1]:
        durations.add(one)
    assert durations.p95_ms is None, "too few to tell"
    for one in took_ms[CALLS_MIN - 1 :]:
        durations.add(one)
    p95_ms = durations.p95_ms
    assert p95_ms in took_ms
    assert sum(one > p95_ms for one in took_ms) <= 0.05 * len(took_ms)


A, B, C = Ask("a"), Ask("b"), Ask("c")


@dataclass
class Plans:
    nodes: dict[str, Ask | Fallback | Sequence] = field(
        default_factory=lambda: {"fast": A, "deep": Sequence((A, B)), "safe": Fallback((B, C))}
    )

    def choose(self, plan: str, *refusing: str) -> Selection:
        chances = {"fast": 0.5, "deep": 0.3, "safe": 0.2}
        choice = Selection(plan, "weights", "no rule narrows", chances[plan], chances)
        return vetoed([choice], self.nodes, frozenset(refusing))[0]


@pytest.mark.parametrize(
    ("node", "refusing", "able"),
    [
        (Sequence((A, B)), "b", False),
        (Parallel((A, B, C), "mean", (1.0,) * 3, quorum=2), "b", True),
        (Parallel((A, B, C), "mean", (1.0,) * 3, quorum=2), "bc", False),
        (Fallback((A, B)), "a", True),
        (Fallback((A, B)), "ab", False),
    ],
)
def test_a_plan_can_answer_if_enough_of_its_models_are_asked(
    node: Sequence | Parallel | Fallback, refusing: str, able: object
) -> None:
    assert can_answer(node, frozenset(refusing)) is able


def test_a_plan_that_cannot_answer_gives_way_to_the_next_candidate() -> None:
    choice = Plans().choose("deep", "b")
    assert (choice.plan, choice.by) == ("safe", "breaker")
    assert choice.reason == "deep cannot answer: not asked now: b"
    assert choice.propensity == pytest.approx(0.5)
    assert choice.candidates == pytest.approx({"fast": 0.5, "deep": 0.0, "safe": 0.5})


def test_where_another_choice_was_made_its_chance_is_told_as_it_is_now() -> None:
    choice = Plans().choose("safe", "b")
    assert (choice.plan, choice.by) == ("safe", "weights")
    assert choice.propensity == pytest.approx(0.5)


def test_where_no_plan_can_answer_the_choice_stands() -> None:
    assert Plans().choose("deep", "a", "b", "c").plan == "deep"
