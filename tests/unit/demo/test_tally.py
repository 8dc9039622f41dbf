"""The tally tells good from spoiled, ours from strangers', and keeps one example to explain."""

from collections.abc import Sequence

from batuta.schemas.codec import encode_dead_letter, encode_decision, encode_outcome
from batuta.schemas.dead_letter import DeadLetter
from batuta.schemas.decision import Decision, Outcome
from batuta.schemas.labels import LabelOutcome
from batuta.schemas.record import Output, Record
from batuta.streams.demo.spoil import SPOILED_HEADER, Sample
from batuta.streams.demo.tally import Tally
from batuta.streams.demo.view import Pace, Stage, result_of, view_of
from batuta.streams.publisher import Timed

STAGE = Stage("fraud", "127.0.0.1:9092", True, "m@1", "http://x/metrics", ("scoring",), 0.5)


def decision(event_id: str, outcome: Outcome = "approve") -> Record:
    made = Decision(
        event_id=event_id,
        pipeline="fraud",
        pipeline_version=1,
        tenant="default",
        entity="c1",
        event_time_ms=0,
        decided_at_ms=0,
        outcome=outcome,
        score=0.5,
        reasons=("score_low",),
        model="m@1",
        features={},
        input_sha256="0" * 64,
    )
    return read(encode_decision(made, "fraud.decisions"))


def dead_letter(identity: str) -> Record:
    original = Record("fraud.events", 0, 0, 0, b"c1", b"{", ((SPOILED_HEADER, identity.encode()),))
    letter = DeadLetter(original, "ingestion", "not_json", "it is not", 0)
    return read(encode_dead_letter(letter, "fraud.deadletters"))


def read(output: Output) -> Record:
    return Record(output.topic, 0, 0, 0, output.key, output.value, output.headers)


def tally_of(published: Sequence[Sample], seen: Sequence[Record]) -> Tally:
    tally = Tally("fraud")
    tally.announce(published, [Timed(1_000 + n, s.output) for n, s in enumerate(published)])
    tally.take(seen, 1_010)
    return tally


def samples(*identities: str) -> list[Sample]:
    output = Output("fraud.events", b"c1", b"{}")
    return [Sample(name, output, spoiled=name.startswith("bad")) for name in identities]


def test_all_answered() -> None:
    tally = tally_of(
        samples("a", "b", "bad-1"), [decision("b"), decision("a"), dead_letter("bad-1")]
    )
    result = result_of(tally, STAGE, 1.0)
    assert (result["events"], result["decisions"], result["deadletters"]) == (3, 2, 1)
    assert (result["lost"], result["duplicated"]) == (0, 0)
    assert (result["p50_ms"], result["p99_ms"]) == (9, 10)
    assert result["events_per_second"] == 300.0


def test_a_missing_decision_and_a_missing_dead_letter_are_lost() -> None:
    tally = tally_of(samples("a", "b", "bad-1", "bad-2"), [decision("a")])
    assert tally.lost == 3
    assert tally.faults() == ["1 events lost, e.g. b", "2 spoiled events lost, e.g. bad-1, bad-2"]


def test_a_decision_of_a_spoiled_event_does_not_stand_for_its_dead_letter() -> None:
    assert tally_of(samples("bad-1"), [decision("bad-1")]).lost == 1


def test_a_second_decision_and_a_second_dead_letter_are_doubled() -> None:
    seen = [decision("a"), decision("a"), dead_letter("bad-1"), dead_letter("bad-1")]
    tally = tally_of(samples("a", "bad-1"), seen)
    assert (tally.lost, tally.duplicated) == (0, 2)
    assert tally.faults()[0] == "1 events answered twice, e.g. a"
    assert sum(tally.outcomes.values()) == 1


def test_a_label_that_is_not_joined_with_its_event_is_a_fault() -> None:
    tally = Tally("fraud", labelled=True)
    tally.await_labels(["a", "b"], 1_000)
    joined = LabelOutcome("a", "default", "t1", 0, label=True, previous=None, label_time_ms=1)
    tally.take([read(encode_outcome(joined, "fraud.outcomes"))], 1_010)
    result = result_of(tally, STAGE, 1.0)
    assert (result["labels"], result["labels_joined"], result["lost"]) == (2, 1, 0)
    assert result["faults"] == ["1 labels lost, e.g. b"]


def test_strangers_are_neither() -> None:
    original = Record("e", 0, 0, 0, None, None)
    letter = read(encode_dead_letter(DeadLetter(original, "s", "r", "d", 0), "fraud.deadletters"))
    tally = tally_of(samples("a"), [decision("z"), letter, decision("a")])
    assert (tally.lost, tally.duplicated, tally.answered) == (0, 0, 1)


def test_the_example_is_the_first_blocked_event_and_stays() -> None:
    tally = tally_of(samples("a", "b", "c", "d"), [decision("a")])
    assert tally.explain_id == "a"
    tally.take([decision("b", "review")], 1_020)
    assert tally.explain_id == "b"
    tally.take([decision("c", "block"), decision("d", "block")], 1_020)
    assert tally.explain_id == "c"


def test_a_view_shows_the_latest_first() -> None:
    tally = tally_of(samples("a", "b"), [decision("a"), decision("b", "block")])
    view = view_of(tally, STAGE, Pace(1.0, 2.0))
    assert [seen.decision.event_id for seen in view.latest] == ["b", "a"]
    assert [seen.decision.event_id for seen in view.stopped] == ["b"]
    assert (view.p50_ms, view.p99_ms) == (10, 10)
