"""What is redriven goes back to the stage that refused it, and is processed once."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from batuta.schemas import codec
from batuta.schemas.dead_letter import UNWRITTEN, DeadLetter
from batuta.schemas.partition import PartitionOf
from batuta.schemas.record import Output
from batuta.schemas.redriven import REDRIVEN_OF
from batuta.streams.broker.process import BrokerProcess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conftest import Office, Offices

MUTANTS: Final = Path(__file__).parents[1] / "mutants"


def _cut_output(office: Office, reason: str) -> DeadLetter:
    """Return the dead letter of an output that was too large to be written."""
    letter = office.letter(office.event(office.fresh()), reason=reason)
    return replace(letter, record=letter.record._replace(offset=UNWRITTEN))


def test_a_dry_run_says_what_would_go_where_and_writes_nothing(office: Office) -> None:
    office.bury(
        [
            office.letter(office.event(office.fresh()), reason="dry"),
            office.letter(office.event(office.fresh(), amount="x"), reason="dry"),
            office.letter(
                codec.encode_decision(office.decision("d"), office.topics.decisions),
                "escalation",
                "dry",
            ),
            office.letter(office.event(office.fresh()), stage="abolished", reason="dry"),
            _cut_output(office, "dry"),
        ]
    )
    before = office.returned()
    told = office.json("redrive", "fraud", "--reason", "dry", "--dry-run", code=1)
    assert (told["found"], told["would_redrive"], told["redriven"]) == (5, 3, 0)
    assert told["by_stage"] == {"ingestion": 2, "escalation": 1}
    assert told["would_be_refused_again"] == 1
    assert office.returned() == before
    _, said = office.run("redrive", "fraud", "--reason", "dry", code=1)
    assert "1 stay: no stage of theirs" in said
    assert "1 stay: outputs too large for their topic" in said
    assert (office.returned() - before).total() == 3


def test_a_record_goes_back_as_it_came(office: Office) -> None:
    value = b"\xff\x00" + os.urandom(3 << 20)
    came = Output(office.topics.events, b"\xff key", value, (("a", b"\xfe"), ("a", b"2")))
    office.bury([office.letter(came, reason="whole")])
    office.json("redrive", "fraud", "--reason", "whole")
    (record,) = [r for r in office.read(office.topics.redrive("ingestion")) if r.key == b"\xff key"]
    assert record.value == value
    assert record.headers[:-1] == came.headers
    assert record.headers[-1][0] == REDRIVEN_OF
    assert record.partition == PartitionOf(4)(b"\xff key")


def test_each_stage_takes_back_what_it_refused_and_nothing_is_doubled(
    own_office: Office, tmp_path: Path
) -> None:
    office = own_office
    office.bury(
        [
            office.letter(office.event("from-ingestion")),
            office.letter(
                codec.encode_ingested(office.ingested("from-scoring"), office.topics.ingested),
                "scoring",
            ),
            office.letter(
                codec.encode_decision(office.decision("from-escalation"), office.topics.decisions),
                "escalation",
            ),
            office.letter(
                codec.encode_notification(
                    office.notification("from-notification"), office.topics.notifications
                ),
                "notification",
            ),
        ]
    )
    log = tmp_path / "worker.log"
    worker = office.work(log)
    done = office.json("redrive", "fraud", "--all")
    refused = ("ingestion", "scoring", "escalation", "notification")
    assert done["by_stage"] == dict.fromkeys(refused, 1)
    assert office.json("redrive", "fraud", "--all")["redriven"] == 0

    def cases() -> list[str]:
        read = map(codec.decode_case, office.read(office.topics.escalations))
        return sorted(case.decision.event_id for case in read)

    def decisions() -> list[str]:
        read = map(codec.decode_decision, office.read(office.topics.decisions))
        return sorted(decision.event_id for decision in read)

    office.until(lambda: len(decisions()) >= 2 and "from-escalation" in cases())
    office.until(lambda: "note-from-notification" in log.read_text())
    worker.terminate()
    office.finish(worker, 0)
    assert decisions() == ["from-ingestion", "from-scoring"], "escalation's is not doubled"
    assert cases().count("from-escalation") == 1
    assert log.read_text().count("note-from-notification") == 1
    assert len(office.read(office.topics.deadletters)) == 4
    kinds = office.json("list", "fraud", "--all")
    assert (kinds["waiting"], kinds["already_redriven"]) == (0, 4)


def test_what_is_refused_again_waits_again_under_a_new_id(
    own_office: Office, tmp_path: Path
) -> None:
    office = own_office
    office.bury([office.letter(office.event("refused", amount="12.75"), reason="wrong_type")])
    first = office.json("list", "fraud")["groups"][0]["example_id"]
    office.work(tmp_path / "worker.log", "ingestion", "scoring")
    office.json("redrive", "fraud", first)
    office.until(lambda: len(office.read(office.topics.deadletters)) == 2)
    told = office.json("list", "fraud")
    assert (told["waiting"], told["already_redriven"]) == (1, 1)
    second = told["groups"][0]["example_id"]
    (shown,) = office.json("show", "fraud", second)["letters"]
    assert shown["headers"][REDRIVEN_OF] == first
    fix = ("fix", "fraud", second, "--set", "amount=double(event.amount)", "--apply")
    assert office.json(*fix)["redriven"] == 1
    office.until(lambda: len(office.read(office.topics.decisions)) == 1)


LETTERS: Final = 240
RATE: Final = "30"


def kill_in_the_middle(office: Office, program: Sequence[str] = ()) -> None:
    """Redrive all, killed as a power cut would after some more were remembered, or sent."""
    before = office.returned().total()
    process = office.start("redrive", "fraud", "--all", "--rate", RATE, program=program)
    office.until(lambda: office.returned().total() > before)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert before < office.returned().total() < LETTERS, "it was killed at the wrong moment"


def bury_many(office: Office) -> None:
    office.bury([office.letter(office.event(f"tx-{n}", f"card-{n}")) for n in range(LETTERS)])


def test_killed_in_the_middle_and_run_again_each_goes_once(
    own_office: Office, tmp_path: Path
) -> None:
    office = own_office
    bury_many(office)
    for _ in range(2):
        kill_in_the_middle(office)
    done = office.json("redrive", "fraud", "--all")
    assert 0 < done["redriven"] < LETTERS
    assert done["redriven"] + done["already_redriven"] <= LETTERS
    counts = office.returned()
    assert (len(counts), counts.total()) == (LETTERS, LETTERS)

    worker = office.work(tmp_path / "worker.log", "ingestion", "scoring")
    office.until(lambda: len(office.read(office.topics.decisions)) >= LETTERS)
    worker.terminate()
    office.finish(worker, 0)
    decided = Counter(
        codec.decode_decision(r).event_id for r in office.read(office.topics.decisions)
    )
    assert decided == Counter({f"tx-{n}": 1 for n in range(LETTERS)})


def test_killed_inside_a_transaction_it_leaves_nothing_behind(own_office: Office) -> None:
    office = own_office
    bury_many(office)
    program = (str(MUTANTS / "redriving_for_ever.py"),)
    process = office.start("redrive", "fraud", "--all", program=program)
    assert process.stderr is not None
    assert "delivered" in process.stderr.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert office.json("redrive", "fraud", "--all")["redriven"] == LETTERS
    counts = office.returned()
    assert (len(counts), counts.total()) == (LETTERS, LETTERS)


@pytest.mark.parametrize("mutant", ["redriving_without_a_ledger", "redriving_in_two_transactions"])
def test_the_kill_would_show_a_redrive_that_doubles(offices: Offices, mutant: str) -> None:
    program = (str(MUTANTS / f"{mutant}.py"),)
    with BrokerProcess() as broker:
        office = offices.open(broker.bootstrap)
        bury_many(office)
        kill_in_the_middle(office, program)
        office.json("redrive", "fraud", "--all", program=program)
        counts = office.returned()
    assert len(counts) == LETTERS
    assert counts.total() > LETTERS


def test_two_at_once_redrive_each_once_and_the_first_says_that_it_stopped(
    own_office: Office,
) -> None:
    office = own_office
    bury_many(office)
    slow = office.start("redrive", "fraud", "--all", "--rate", "20", "--json")
    office.until(lambda: office.returned().total() > 0)
    quick = office.json("redrive", "fraud", "--all")
    out, _ = office.finish(slow, 1)
    stopped = json.loads(out)
    assert "another redrive of fraud has taken over" in stopped["stopped"]
    assert 0 < stopped["redriven"] < LETTERS
    assert stopped["redriven"] + quick["redriven"] == LETTERS
    counts = office.returned()
    assert (len(counts), counts.total()) == (LETTERS, LETTERS)


def test_interrupted_it_finishes_its_transaction_and_says_how_to_go_on(office: Office) -> None:
    office.bury(
        [
            office.letter(office.event(name), reason="interrupted")
            for name in [office.fresh() for _ in range(LETTERS)]
        ]
    )
    before = office.returned()
    process = office.start("redrive", "fraud", "--reason", "interrupted", "--rate", "20", "--json")
    office.until(lambda: office.returned() != before)
    process.send_signal(signal.SIGINT)
    out, _ = office.finish(process, 130)
    done = json.loads(out)
    assert "run this again" in done["stopped"]
    assert (office.returned() - before).total() == done["redriven"] < LETTERS
    rest = office.json("redrive", "fraud", "--reason", "interrupted")
    assert rest["redriven"] == LETTERS - done["redriven"]
