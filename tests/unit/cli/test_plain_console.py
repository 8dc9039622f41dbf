"""What events, models and people say gives a terminal no orders, whichever command prints it."""

from __future__ import annotations

import contextlib
import io
import json
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batuta import streams
from batuta.schemas.dead_letter import DeadLetter
from batuta.schemas.decision import CheckResult, Correction, Decision, ModelAnswer, Selection
from batuta.schemas.fixes import Change
from batuta.schemas.notification import Notification
from batuta.schemas.record import Record
from batuta.schemas.redriven import LetterId
from batuta.schemas.review import ReviewCase, Reviewed, StepCase, Verdict
from batuta.streams.cli.deadletters_groups import Groups
from batuta.streams.cli.deadletters_options import Wanted, open_bureau
from batuta.streams.cli.deadletters_screen import Screen, change_as_text
from batuta.streams.cli.demo_screen import Page
from batuta.streams.cli.progress import meter
from batuta.streams.cli.records import as_json, as_text
from batuta.streams.cli.story import Evidence, Story
from batuta.streams.cli.story_screen import story_as_json, story_as_text
from batuta.streams.cli.terminal import print_json, say, stdout, step
from batuta.streams.deadletters.dead_letters import Found
from batuta.streams.demo.tally import Seen, Tally
from batuta.streams.demo.view import Pace, Stage, view_of
from batuta.streams.pipelines.finding import PIPELINES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FRAUD = PIPELINES["fraud"]
NOW_MS = 1_522_577_863_000
#: Orders to a terminal, to rich, and to whoever reads from the right; halves of signs; brackets.
ORDERS = (
    *("\x1b[2J", "\x1b]0;owned\x07", "\x1b]8;;http://example.org\x1b\\", "\x9b31m", "\x00", "\x08"),
    *("\r", "\x7f", "\t", "\n", "\u202e", "\u2066", "\u200b", "\ud800", "\u2028"),
    *("[/]", "[bold]", "[link=http://example.org]", "\\[", "\u3000", "\u00a0", "\U0001f600"),
)
SAID = st.lists(st.sampled_from(ORDERS) | st.text(max_size=4), max_size=6).map("".join)


def is_sign(character: str) -> bool:
    spaces = character == "\n" or unicodedata.category(character) == "Zs"
    return character.isprintable() or spaces


def record(said: str) -> Record:
    raw = said.encode("utf-8", "surrogatepass")
    return Record("fraud.events", 1, 17, NOW_MS, raw, raw, (("note", raw),))


def event(said: str) -> Record:
    told = json.dumps({"transaction_id": "tx-1", "note": said})
    return record(said)._replace(value=told.encode())


def decision(said: str) -> Decision:
    answer = ModelAnswer(said, said, 0.7, 0.8, "", 2, 10_000, "EUR", said, (said,))
    failed = ModelAnswer("forest", said, None, None, "timeout", 150)
    correction = Correction(said, 1, said, (said,), "failed", said, said, said)
    return Decision(
        event_id=said, pipeline="fraud", pipeline_version=1, tenant=said, entity=said,
        event_time_ms=NOW_MS, decided_at_ms=NOW_MS + 12, outcome="review", score=0.71,
        reasons=(said, said), model=said, features={said: 3.0}, input_sha256="0" * 64,
        selection=Selection(said, "planner", said, 0.5, {said: 0.5, "b": 0.5}, said, said),
        answers=(answer, failed), checks=(CheckResult(said, said, said),), taint=(said,),
        corrections=(correction,), fallback=True,
    )  # fmt: skip


def letter(said: str) -> Found:
    refused = DeadLetter(event(said), "ingestion", said, said, NOW_MS, said)
    return Found(LetterId(1, 17), NOW_MS, refused)


def story(said: str) -> Story:
    made = decision(said)
    question = StepCase(
        "case-2", said, NOW_MS, NOW_MS + 1, said, said, 3, "fraud", 1, said, said, said, NOW_MS,
        said, {said: said}, {},
    )  # fmt: skip
    verdict = Verdict("case-2", "block", said, NOW_MS, 0.9, said)
    notes = Notification("n-1", "fraud", said, "warning", said, said, said, {said: said}, NOW_MS)
    found = record(said)
    told = Story(said)
    told.events.append(Evidence(event(said), None))  # type: ignore[arg-type]
    told.decisions.append(Evidence(found, made))
    told.cases.append(Evidence(found, ReviewCase("case-1", said, NOW_MS, NOW_MS + 1, made)))
    told.questions.append(Evidence(found, question))
    told.reviewed.append(
        Evidence(found, Reviewed("case-2", "answered", verdict, "fraud", said, said, NOW_MS))
    )
    told.notifications.append(Evidence(found, notes))
    told.dead_letters.append(Evidence(found, letter(said).letter))
    return told


def waiting(said: str) -> Story:
    told = story(said)
    told.decisions.clear()
    return told


def groups(said: str) -> Groups:
    counted = Groups()
    counted.add(letter(said), redriven=False)
    return counted


def demonstration(said: str) -> Page:
    stage = Stage(
        pipeline="fraud",
        bootstrap="127.0.0.1:9092",
        embedded=True,
        model=said,
        metrics_url="http://127.0.0.1:1",
        stages=("scoring",),
        spoiled_share=0.01,
    )
    tally = Tally("fraud")
    seen = Seen(decision(said), 5)
    tally.latest.appendleft(seen)
    tally.stopped.appendleft(seen)
    tally.refusals[said] += 1
    return Page(view_of(tally, stage, Pace(1.0, 1.0)))


def stepped(said: str) -> None:
    with step("publish") as done:
        done(said)


def metered(said: str) -> None:
    with meter(f"looking for {said}", 1):
        pass


EVERY = Wanted(None, None, None, None, None, None)
SCREEN = Screen(open_bureau("fraud", "127.0.0.1:9092", EVERY), reveal=True)
#: What prints a text that came from outside, by the command that does.
PRINTS: Mapping[str, Callable[[str], None]] = {
    "a line": lambda said: stdout().print(f"event_id  {said}", soft_wrap=True),
    "a sentence": say,
    "a step": stepped,
    "a bar": metered,
    "json": lambda said: print_json({"said": said, said: [said]}),
    "tail": lambda said: stdout().print(as_text(record(said)), soft_wrap=True),
    "tail --json": lambda said: print_json(as_json(record(said))),
    "explain": lambda said: stdout().print(story_as_text(story(said), FRAUD)),
    "explain, undecided": lambda said: stdout().print(story_as_text(waiting(said), FRAUD)),
    "explain --json": lambda said: print_json(story_as_json(story(said), FRAUD)),
    "deadletters list": lambda said: stdout().print(groups(said).table(groups(said).by_kind)),
    "deadletters show": lambda said: stdout().print(SCREEN.as_text(letter(said), None)),
    "deadletters fix": lambda said: stdout().print(
        change_as_text(Change((said,), None, said, {said: said}), None)
    ),
    "demo": lambda said: stdout().print(demonstration(said)),
}


def printed(prints: Callable[[str], None], said: str) -> str:
    screen = io.StringIO()
    with contextlib.redirect_stdout(screen), contextlib.redirect_stderr(screen):
        prints(said)
    return screen.getvalue()


@pytest.mark.parametrize("command", PRINTS)
@settings(max_examples=30)
@given(said=SAID)
def test_nothing_but_signs_and_ends_of_lines_reaches_a_terminal(command: str, said: str) -> None:
    shown = printed(PRINTS[command], said)
    assert [one for one in shown if not is_sign(one)] == []
    shown.encode()


@given(said=SAID)
def test_json_says_what_was_said(said: str) -> None:
    assert json.loads(printed(PRINTS["json"], said))["said"] == said


def test_brackets_are_no_markup() -> None:
    assert "[bold]x[/]" in printed(PRINTS["a line"], "[bold]x[/]")


def test_what_a_model_says_is_shown_and_spelt_out() -> None:
    shown = printed(PRINTS["explain"], "paid\x1b[2J")
    assert "paid\\x1b[2J" in shown


def test_no_command_prints_past_the_console() -> None:
    room = Path(streams.__file__).parent
    own = {"plain_console.py", "terminal.py"}
    files = (*room.glob("cli/*.py"), *room.glob("demo/*.py"))
    direct = re.compile(r"\bConsole\(|(?<![.\w])print\(|sys\.std(?:out|err)\.write")
    assert {one.name for one in files if direct.search(one.read_text())} <= own
