"""What `batuta deadletters` shows, hides and mends: the command as a user meets it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from batuta.schemas import codec
from batuta.schemas.record import Output
from batuta.streams.broker.process import BrokerProcess

if TYPE_CHECKING:
    from conftest import Office, Offices

# What it shows


def test_kinds_are_counted_by_reason_stage_and_schema_path(office: Office) -> None:
    numbers = [office.fresh() for _ in range(3)]
    paths = ("lines/0/n", "lines/7/n", "other")
    office.bury(
        [
            office.letter(
                office.event(name),
                reason="counted",
                path=path,
                refused_at_ms=office.now_ms + n,
                detail=path,
            )
            for n, (name, path) in enumerate(zip(numbers, paths, strict=True))
        ]
    )
    told = office.json("list", "fraud", "--reason", "counted")
    assert (told["found"], told["waiting"], told["already_redriven"]) == (3, 3, 0)
    groups = [(g["path"], g["waiting"], g["example"]) for g in told["groups"]]
    assert groups == [("lines/*/n", 2, "lines/7/n"), ("other", 1, "other")]
    assert told["groups"][0]["first"] < told["groups"][0]["last"]
    out, _ = office.run("list", "fraud", "--reason", "counted")
    assert "counted at lines/*/n, by ingestion" in " ".join(out.split())
    one = office.json("list", "fraud", "--reason", "counted", "--path", "other")
    assert [g["path"] for g in one["groups"]] == ["other"]


def test_personal_fields_are_hidden_until_they_are_revealed(office: Office) -> None:
    headers = (("ce_subject", office.card.encode()), ("x-\u00e9", b"\xff"))
    broken = Output(
        office.topics.events,
        office.card.encode(),
        b'{"card_id": "' + office.card.encode() + b'", \xff',
    )
    office.bury(
        [
            office.letter(
                office.event(office.fresh(), headers=headers, cardId=office.card), reason="secret"
            ),
            office.letter(broken, reason="secret"),
            office.letter(
                codec.encode_ingested(office.ingested("a"), office.topics.ingested),
                "scoring",
                "secret",
            ),
            office.letter(
                codec.encode_decision(office.decision("a"), office.topics.decisions),
                "escalation",
                "secret",
            ),
        ]
    )
    for form in ((), ("--json",)):
        out, _ = office.run("show", "fraud", "--reason", "secret", *form)
        assert "amount" in out
        assert office.card not in out
        shown, _ = office.run("show", "fraud", "--reason", "secret", "--reveal", *form)
        assert shown.count(office.card) > 6
    hidden, _ = office.run(
        "fix", "fraud", "--reason", "secret", "--set", f"card_id='{office.card}-2'", code=1
    )
    assert office.card not in hidden.replace(f"'{office.card}-2'", "")
    letters = office.json("show", "fraud", "--reason", "secret", "--reveal")["letters"]
    told = {(one["stage"], one["value_is"]) for one in letters}
    assert told >= {("ingestion", "json"), ("ingestion", "bytes"), ("scoring", "json")}


def test_a_dead_letter_is_shown_whole_by_its_id(office: Office) -> None:
    name = office.fresh()
    office.bury([office.letter(office.event(name), reason="by_id", path="amount", attempts=5)])
    listed = office.json("list", "fraud", "--reason", "by_id")["groups"][0]["example_id"]
    (shown,) = office.json("show", "fraud", listed)["letters"]
    assert (shown["id"], shown["reason"], shown["attempts"]) == (listed, "by_id", 5)
    assert shown["source"]["topic"] == "fraud.events"
    assert shown["value"]["transaction_id"] == name
    assert shown["redriven_at"] is None
    assert office.json("show", "fraud", "3:999999", code=1)["missing"] == ["3:999999"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["list", "frawd"], 2, "did you mean fraud?"),
        (
            ["list", "fraud", "--stage", "x"],
            2,
            "ingestion, rekeying, learning, scoring, escalation, notification",
        ),
        (["list", "fraud", "--since", "monday"], 2, "2h"),
        (["list", "fraud", "--reason", "never_seen"], 1, "batuta deadletters list fraud --all"),
        (["show", "fraud", "2-17"], 2, "PARTITION:OFFSET"),
        (["redrive", "fraud"], 2, "--all"),
        (["redrive", "fraud", "--reason", "never_seen"], 1, "none of the"),
        (["fix", "fraud", "--reason", "x"], 2, "--set FIELD=CEL"),
        (["fix", "fraud", "--set", "amount=doubel(event.amount)"], 2, "undeclared reference"),
    ],
)
def test_wrong_usage_and_nothing_found_are_told_apart(
    office: Office, arguments: list[str], code: int, says: str
) -> None:
    _, said = office.run(*arguments, code=code)
    assert says in " ".join(said.split())


def test_out_of_reach_is_3_and_a_broker_without_the_pipeline_2(
    offices: Offices, nowhere: str
) -> None:
    for command in (["list"], ["show"], ["redrive", "--all"], ["fix", "--set", "amount=1.0"]):
        _, said = offices.at(nowhere).run(command[0], "fraud", *command[1:], code=3)
        assert f"no broker answers at {nowhere}" in said
    with BrokerProcess() as empty:
        _, said = offices.at(empty.bootstrap).run("redrive", "fraud", "--all", code=2)
        assert "no topic fraud.deadletters" in said
        _, said = offices.at(empty.bootstrap).run("list", "fraud", code=2)


# What it mends


def test_a_fix_is_tried_first_and_only_what_is_accepted_is_redriven(office: Office) -> None:
    good, bad = [office.fresh() for _ in range(2)]
    office.bury(
        [
            office.letter(office.event(good, amount="12.75"), reason="to_fix", path="amount"),
            office.letter(office.event(bad, amount="much"), reason="to_fix", path="amount"),
            office.letter(
                office.event(office.fresh(), amount="1.0", currency="euro"), reason="to_fix"
            ),
        ]
    )
    before = office.returned()
    fix = ("fix", "fraud", "--reason", "to_fix", "--set", "amount=double(event.amount)")
    tried = office.json(*fix, code=1)
    assert (tried["fixed"], tried["not_fixed"], tried["applied"]) == (1, 2, False)
    results = {one["fixed"]: one for one in tried["letters"]}
    assert results[True]["changes"] == [{"path": "amount", "before": "12.75", "after": 12.75}]
    refusals = {one["refused"]["reason"] for one in tried["letters"] if not one["fixed"]}
    assert refusals == {"fix_failed", "bad_value"}
    assert office.returned() == before, "a dry run writes nothing"
    out, _ = office.run(*fix, code=1)
    assert '- amount: "12.75"' in out
    assert "+ amount: 12.75" in out

    applied = office.json(*fix, "--apply", code=1)
    assert (applied["redriven"], applied["by_stage"]) == (1, {"ingestion": 1})
    assert (office.returned() - before).total() == 1
    values = [json.loads(r.value or b"") for r in office.read(office.topics.redrive("ingestion"))]
    assert [v["amount"] for v in values if v["transaction_id"] == good] == [12.75]
    again = office.json(*fix, "--apply", code=1)
    assert (again["redriven"], again["already_redriven"], again["not_fixed"]) == (0, 1, 2)


def test_a_fixed_key_decides_where_a_stage_that_does_not_forward_reads(office: Office) -> None:
    before = office.ingested("moved")
    office.bury(
        [office.letter(codec.encode_ingested(before, office.topics.ingested), "scoring", "to_move")]
    )
    sets = ("--set", "scoring_key='t-3'")
    office.json("fix", "fraud", "--reason", "to_move", *sets, "--apply")
    (record,) = [r for r in office.read(office.topics.redrive("scoring")) if r.key == b"t-3"]
    assert record.partition == office.home_of("t-3") != office.home_of("t-1")
