"""The story of an event holds what is about it, told in order, and nothing else."""

import io
from dataclasses import replace

import orjson
import pytest
from rich.console import Console

from batuta.agents.delegation.plans import Ask, Checked, Sequence
from batuta.agents.verification.checkpoint import BoundCheck, Checkpoint
from batuta.agents.verification.ranges import RangeCheck
from batuta.schemas.action import Action
from batuta.schemas.codec import (
    encode_action,
    encode_case,
    encode_dead_letter,
    encode_decision,
    encode_ingested,
    encode_notification,
    encode_outcome,
    encode_reviewed,
    encode_step_case,
)
from batuta.schemas.dead_letter import DeadLetter
from batuta.schemas.decision import CheckResult, Decision, ModelAnswer, Selection
from batuta.schemas.ingested import Ingested
from batuta.schemas.labels import LabelOutcome
from batuta.schemas.notification import Notification
from batuta.schemas.record import Output, Record
from batuta.schemas.review import ReviewCase, Reviewed, StepCase, Verdict
from batuta.streams.cli.story import StorySearch
from batuta.streams.cli.story_screen import story_as_json, story_as_text
from batuta.streams.cli.story_tree import tree_of
from batuta.streams.pipelines.finding import PIPELINES

FRAUD = PIPELINES["fraud"]
NOW_MS = 1_522_577_863_000
DATA = {
    "transaction_id": "tx-1",
    "event_time": "2018-04-01T10:17:43Z",
    "card_id": "c1",
    "terminal_id": "t1",
    "amount": 225.41,
    "currency": "EUR",
    "channel": "pos",
}
DECISION = Decision(
    event_id="tx-1",
    pipeline="fraud",
    pipeline_version=1,
    tenant="default",
    entity="c1",
    event_time_ms=NOW_MS,
    decided_at_ms=NOW_MS + 12,
    outcome="review",
    score=0.71,
    reasons=("score_high", "large_amount"),
    model="forest@5f1d0c9a7b3e",
    features={"amount": 225.41, "card_count_1d": 3.0},
    input_sha256="0" * 64,
)


def lying(output: Output, offset: int, at_ms: int) -> Record:
    return Record(output.topic, 1, offset, at_ms, output.key, output.value, output.headers)


def published(data: dict[str, object], offset: int) -> Record:
    return Record("fraud.events", 1, offset, NOW_MS, b"c1", orjson.dumps(data))


def walk(event_id: str = "tx-1") -> list[Record]:
    """Return every record an event leaves behind, each at its own offset."""
    decision = DECISION._replace(event_id=event_id)
    case = ReviewCase("case-1", "fraud_review", NOW_MS + 12, NOW_MS + 1_800_012, decision)
    ingested = Ingested(event_id, "c1", "t1", NOW_MS, NOW_MS, "default", DATA, {"card_count_1d": 3})
    notification = Notification(
        "n-1", "fraud", "default", "warning", "title", "summary", event_id, {}, NOW_MS + 12
    )
    return [
        published({**DATA, "transaction_id": event_id}, 10),
        lying(encode_ingested(ingested, "fraud.ingested"), 20, NOW_MS + 5),
        lying(encode_decision(decision, "fraud.decisions"), 30, NOW_MS + 14),
        lying(encode_case(case, "fraud.escalations"), 40, NOW_MS + 20),
        lying(encode_notification(notification, "fraud.notifications"), 50, NOW_MS + 21),
    ]


def search(event_id: str, records: list[Record]) -> StorySearch:
    found = StorySearch(FRAUD, event_id)
    for record in records:
        found.take(record)
    return found


def page(found: StorySearch, width: int = 100) -> str:
    screen = io.StringIO()
    Console(file=screen, width=width).print(story_as_text(found.story, FRAUD))
    return screen.getvalue()


def test_the_whole_walk_is_found_among_others() -> None:
    found = search("tx-1", [*walk("tx-2"), *walk(), *walk("tx-11")])
    kinds = story_as_json(found.story, FRAUD)
    for kind, offset in (
        ("events", 10),
        ("ingested", 20),
        ("decisions", 30),
        ("escalations", 40),
        ("notifications", 50),
    ):
        records = kinds[kind]
        assert isinstance(records, list)
        assert [record["offset"] for record in records] == [offset], kind
    assert kinds["outcome"] == "review"
    assert kinds["deadletters"] == []


def test_the_hops_are_told_in_order_of_time() -> None:
    hops = search("tx-1", walk()).story.hops()
    assert [(hop.what, hop.after_ms) for hop in hops][:4] == [
        ("published", 0),
        ("ingested", 5),
        ("decided", 12),
        ("review case opened", 12),
    ]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_page_tells_everything(width: int) -> None:
    told = page(search("tx-1", walk()), width)
    for part in ("REVIEW", "0.710", "large_amount", "the amount is large", "forest@5f1d0c9a7b3e"):
        assert part in told
    for place in ("fraud.events [1] @10", "fraud.decisions [1] @30", "fraud.escalations [1] @40"):
        assert place in told
    assert max(len(line) for line in told.splitlines()) <= width


def test_a_refused_event_is_told_by_its_dead_letter() -> None:
    original = published({**DATA, "amount": "much"}, 10)
    letter = DeadLetter(
        original, "ingestion", "wrong_type", "amount is no number", NOW_MS, "amount"
    )
    refused = lying(encode_dead_letter(letter, "fraud.deadletters"), 60, NOW_MS + 3)
    told = page(search("tx-1", [original, refused]))
    for part in ("REFUSED", "wrong_type at amount", "amount is no number", "fraud.events [1] @10"):
        assert part in told


def test_of_what_is_not_there_nothing_is_told() -> None:
    found = search("tx-9", walk())
    assert not found.story.told
    assert story_as_json(found.story, FRAUD)["outcome"] is None


def test_records_of_no_known_shape_are_passed_over() -> None:
    odd = [record._replace(value=b'{"event_id": "tx-1"}') for record in walk()]
    assert not search("tx-1", odd).story.told


CHOSEN = DECISION._replace(
    outcome="block",
    reasons=("score_very_high",),
    selection=Selection("deep", "weights", "no rule narrows", 0.25, {"fast": 0.75, "deep": 0.25}),
    answers=(
        ModelAnswer("forest", "forest@5f1d0c9a7b3e", 0.71, 0.8, "", 2, 10_000, "EUR", "the amount"),
        ModelAnswer("sequence", "sequence@0c9a7b3e5f1d", None, None, "timeout", 150),
        ModelAnswer(
            "analyst",
            "analyst@fraud-review",
            0.9,
            0.9,
            "",
            300_000,
            2_500_000_000,
            "EUR",
            "ada: known",
        ),
    ),
    fallback=True,
)


def test_a_tree_says_who_chose_what_each_said_and_what_came_of_it() -> None:
    question = StepCase(
        "case-2", "fraud-review", NOW_MS, NOW_MS + 1, "analyst", "tx-1", 3, "fraud", 1, "default",
        "tx-1", "c1", NOW_MS, "deep", DATA, {},
    )  # fmt: skip
    verdict = Verdict("case-2", "block", "ada", NOW_MS, 0.9, "known")
    reviewed = Reviewed("case-2", "answered", verdict, "fraud", "default", "tx-1", NOW_MS + 9)
    action = Action(
        "act-1", "fraud", 1, "default", "tx-1", "c1", "block_card", 1, ("score_very_high",), NOW_MS
    )
    outcome = LabelOutcome("tx-1", "default", "t1", NOW_MS, True, None, NOW_MS + 604_800_000)
    outputs = [
        encode_step_case(question, "fraud.escalations"),
        encode_reviewed(reviewed, "fraud.reviewed"),
        encode_decision(CHOSEN, "fraud.decisions"),
        encode_action(action, "fraud.actions"),
        encode_outcome(outcome, "fraud.outcomes"),
    ]
    waits = page(search("tx-1", [lying(outputs[0], 70, NOW_MS)]))
    assert "analyst, case case-2 for fraud-review" in " ".join(waits.split())
    found = search("tx-1", [lying(output, 70 + n, NOW_MS) for n, output in enumerate(outputs)])
    told = " ".join(page(found, 200).split())
    for part in (
        "plan deep, chosen by weights with a propensity of 25%: no rule narrows",
        "candidates: fast 75%, deep 25%",
        "forest forest@5f1d0c9a7b3e 0.710, sure by 0.800, 2 ms, 0.00001 EUR",
        "sequence sequence@0c9a7b3e5f1d no answer: timeout, 150 ms",
        "analyst analyst@fraud-review 0.900, sure by 0.900, 300,000 ms, 2.5 EUR",
        "case case-2 for fraud-review, due 2018-04-01T10:17:43.001Z",
        "answered: block by ada, known 2018-04-01T10:17:43.009Z",
        "cost 2.50001 EUR",
        "fallback: another answer stands for the intended one",
        "block score 0.710 rule: score >= 0.6",
        "action block_card act-1",
        "known since 2018-04-08T10:17:43.000Z: True",
    ):
        assert part in told.replace("│ ", "").replace("├── ", "").replace("└── ", "")
    shown = story_as_json(found.story, FRAUD)
    for kind in ("actions", "labels", "reviewed", "escalations"):
        records = shown[kind]
        assert isinstance(records, list)
        assert len(records) == 1, kind


def test_a_tree_says_of_each_answer_what_checks_found_and_what_taints_it() -> None:
    """The checkpoint `models` stands behind the whole plan; `urgency.0` behind nobody now."""
    support = PIPELINES["support"]
    answers = (
        ModelAnswer("classifier", "classifier@1", 0.7, 0.7, taint=("outside_text",)),
        ModelAnswer(
            *("reader", "small@chat", 0.6, 0.2),
            taint=("outside_text", "unverified_model"),
            value={"language": "de"},
        ),
    )
    decision = DECISION._replace(
        pipeline="support",
        answers=answers,
        checks=(
            CheckResult("urgency.0", "range"),
            CheckResult("models", "contradiction", "models_contradict"),
            CheckResult("models", "auditor"),
        ),
        taint=("outside_text", "failed_check"),
    )
    screen = io.StringIO()
    tree = tree_of(StorySearch(support, "tx-1").story, decision, support)
    Console(file=screen, width=100).print(tree)
    told = screen.getvalue().splitlines()[1:]
    assert [line.rstrip() for line in told[:12]] == [
        "├── classifier  classifier@1  0.700, sure by 0.700, 0 ms",
        "│   └── tainted: outside_text",
        "├── reader  small@chat  0.600, sure by 0.200, 0 ms",
        '│   ├── says {"language": "de"}',
        "│   └── tainted: outside_text, unverified_model",
        "├── checked at urgency.0: passed",
        "│   └── range  passed",
        "├── checked at models: refused",
        "│   ├── contradiction  refused: models_contradict",
        "│   └── auditor  passed",
        "├── tainted: outside_text, failed_check; acts only through a person",
        "└── review  score 0.710  reserved for a person: score_high",
    ]


def test_a_tree_draws_a_checkpoint_of_one_model_under_its_answer() -> None:
    checkpoint = Checkpoint("deep.0", (BoundCheck("range", RangeCheck(0.0, 0.5)),))
    deep = Sequence((Checked(Ask("forest"), checkpoint), Ask("sequence")))
    delegating = replace(FRAUD.plan.delegating, plans={"deep": deep})
    shipped = replace(FRAUD, plan=replace(FRAUD.plan, delegating=delegating))
    decision = DECISION._replace(
        answers=(ModelAnswer("forest", "forest@1", 0.7, 0.7),),
        checks=(CheckResult("deep.0", "range", "out_of_range"),),
    )
    screen = io.StringIO()
    story = StorySearch(shipped, "tx-1").story
    Console(file=screen, width=100).print(tree_of(story, decision, shipped))
    assert [line.rstrip() for line in screen.getvalue().splitlines()[1:4]] == [
        "├── forest  forest@1  0.700, sure by 0.700, 0 ms",
        "│   └── checked at deep.0: refused",
        "│       └── range  refused: out_of_range",
    ]
