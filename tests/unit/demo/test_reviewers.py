"""Who stands in for people in a demonstration: what they say, when, and about what alone."""

from __future__ import annotations

import pytest

from batuta.schemas import codec
from batuta.schemas.decision import Decision
from batuta.schemas.record import Output, Record
from batuta.schemas.review import ReviewCase, StepCase
from batuta.streams.demo.reviewers import Reviewers
from batuta.streams.demo.spoil import Sample
from batuta.streams.demo.tally import Tally
from batuta.streams.pipelines.finding import PIPELINES
from batuta.streams.settings import client_options, load_settings

OPTIONS = client_options(load_settings(bootstrap="127.0.0.1:1"))
TOPIC = "support.escalations"


def read(output: Output) -> Record:
    return Record(output.topic, 0, 0, 0, output.key, output.value, output.headers)


def asked(case_id: str, event_id: str) -> Record:
    case = StepCase(
        case_id, "support-desk", 0, 60_000, "clerk", event_id, 0, "support", 1, "default",
        event_id, "k1", 0, "only", {}, {},
    )  # fmt: skip
    return read(codec.encode_step_case(case, TOPIC))


def to_review(event_id: str) -> Record:
    decision = Decision(
        event_id, "support", 1, "default", "k1", 0, 0, "review", 0.5, ("unclear",), "m@1", {},
        "0" * 64,
    )  # fmt: skip
    return read(codec.encode_case(ReviewCase("aa99", "support", 0, 60_000, decision), TOPIC))


def samples(**labels: bytes | None) -> list[Sample]:
    output = Output("support.events", b"k1", b"{}")
    return [Sample(name, output, label=label) for name, label in labels.items()]


def test_a_case_has_a_verdict_a_moment_later_once_by_what_its_event_is() -> None:
    reviewers = Reviewers(OPTIONS, PIPELINES["support"])
    reviewers.announce(samples(urgent=b"", routine=None))
    cases = [asked("0001", "urgent"), asked("0002", "routine"), asked("0008", "routine")]
    reviewers.hear([*cases, to_review("urgent"), asked("0003", "somebody else's")], 5_000)
    assert reviewers.due(5_999) == []
    said = {one.case_id: one.verdict for one in reviewers.due(6_000)}
    assert said == {"0001": "block", "0002": "approve", "0008": "unsure"}
    assert reviewers.due(9_000) == []


def test_where_no_people_are_asked_they_have_nothing_to_do() -> None:
    reviewers = Reviewers(OPTIONS, PIPELINES["fraud"])
    reviewers.announce(samples(urgent=b""))
    reviewers.hear([asked("0001", "urgent")], 0)
    assert reviewers.due(60_000) == []


@pytest.mark.parametrize(
    ("record", "counts"), [(asked("0001", "a"), (1, 0)), (to_review("a"), (0, 1))]
)
def test_the_tally_tells_whom_people_are_asked_about_from_what_they_are_to_look_at(
    record: Record, counts: tuple[int, int]
) -> None:
    tally = Tally("support")
    tally.take([record], 0)
    assert (tally.people_asked, tally.escalations) == counts
