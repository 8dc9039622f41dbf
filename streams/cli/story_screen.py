"""Tells the story of one event, for people and for programs."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from batuta.agents.guarded_reasons import GuardedReasons
from batuta.schemas.decision import Decision, Outcome
from batuta.schemas.pipeline_rules import Rule
from batuta.streams.cli.records import as_json, at, clock, shown_value, when
from batuta.streams.cli.story import Story
from batuta.streams.cli.story_tree import tree_of

if TYPE_CHECKING:
    from batuta.agents.pipelines import Shipped

__all__ = ["OUTCOME_STYLES", "story_as_json", "story_as_text"]

OUTCOME_STYLES: Final[Mapping[Outcome, str]] = {
    "approve": "green",
    "review": "yellow",
    "block": "red",
}
_LABEL_WIDTH: Final = 13


def story_as_json(story: Story, shipped: "Shipped") -> dict[str, object]:
    """Return the story as one JSON object, each record with where it lies."""
    codes = story.decisions[0].message.reasons if story.decisions else ()
    reasons = GuardedReasons(shipped.reasons)
    return {
        "event_id": story.event_id,
        "pipeline": shipped.pipeline.name,
        "outcome": story.decisions[0].message.outcome if story.decisions else None,
        "reasons": [{"code": code, "text": reasons.text_of(code)} for code in codes],
        "rules": [rule.model_dump() for rule in shipped.pipeline.decide],
        "times": [
            {"what": hop.what, "at": when(hop.time_ms), "after_ms": hop.after_ms}
            for hop in story.hops()
        ],
        "events": [as_json(found.record) for found in story.events],
        "ingested": [as_json(found.record) for found in story.ingested],
        "decisions": [as_json(found.record) for found in story.decisions],
        "escalations": [as_json(found.record) for found in (*story.questions, *story.cases)],
        "actions": [as_json(found.record) for found in story.actions],
        "labels": [as_json(found.record) for found in story.labels],
        "reviewed": [as_json(found.record) for found in story.reviewed],
        "notifications": [as_json(found.record) for found in story.notifications],
        "deadletters": [as_json(found.record) for found in story.dead_letters],
    }


def story_as_text(story: Story, shipped: "Shipped") -> RenderableType:
    """Return the story as a page to read, top to bottom in the order it happened."""
    page = Table.grid(padding=(0, 1))
    page.add_column(style="bold", min_width=_LABEL_WIDTH, no_wrap=True)
    page.add_column()
    for label, told in _chapters(story, shipped):
        page.add_row(label, told)
    return Group(_title(story, shipped), "", page)


def _title(story: Story, shipped: "Shipped") -> Text:
    line = Text(story.event_id, style="bold")
    if story.decisions:
        outcome = story.decisions[0].message.outcome
        line.append(f"  {outcome.upper()}", style=f"bold {OUTCOME_STYLES[outcome]}")
    elif story.dead_letters:
        line.append("  REFUSED", style="bold red")
    else:
        line.append("  no decision yet", style="bold yellow")
    return line.append(f"  pipeline {shipped.pipeline.name}", style="dim")


def _chapters(story: Story, shipped: "Shipped") -> Iterator[tuple[str, RenderableType]]:
    for found in story.events:
        yield "Event", _fields(found.record.value)
        yield "", _where(found.record.topic and at(found.record))
    for made in story.decisions:
        yield "", ""
        yield "Decision", _verdict(made.message, shipped.pipeline.decide)
        yield "", _where(at(made.record))
        yield "Because", _reasons(made.message, shipped)
        yield "How", tree_of(story, made.message, shipped)
        yield "Seen", _features(made.message.features)
    yield from _consequences(story)
    yield "", ""
    yield "Times (UTC)", _times(story)


def _consequences(story: Story) -> Iterator[tuple[str, RenderableType]]:
    for asked in story.questions if not story.decisions else ():
        question = asked.message
        who = f"{question.asked}, case {question.case_id} for {question.queue}"
        yield "", ""
        yield "Waits for", f"{who}, due {when(question.due_at_ms)}"
        yield "", _where(at(asked.record))
    for opened in story.cases:
        case = opened.message
        yield "", ""
        yield "Review case", f"{case.case_id} for {case.queue}, due {when(case.due_at_ms)}"
        yield "", _where(at(opened.record))
    for sent in story.notifications:
        yield "", ""
        yield "Notification", f"{sent.message.severity}: {sent.message.title}"
        yield "", Text(sent.message.summary)
        yield "", _where(at(sent.record))
    for refused in story.dead_letters:
        letter = refused.message
        path = f" at {letter.path}" if letter.path else ""
        yield "", ""
        yield "Dead letter", f"{letter.stage} refused it: {letter.reason}{path}"
        yield "", Text(letter.detail)
        yield "", _where(f"{at(refused.record)}, from {at(letter.record)}")


def _fields(value: bytes | None) -> Text:
    shown = shown_value(value)
    if not isinstance(shown, dict):
        return Text(str(shown))
    line = Text()
    for name, part in shown.items():
        line.append("  " if line else "").append(f"{name} ", style="dim").append(f"{part}")
    return line


def _where(place: str) -> Text:
    return Text(place, style="dim")


def _verdict(decision: Decision, rules: Sequence[Rule]) -> Text:
    line = Text(decision.outcome, style=f"bold {OUTCOME_STYLES[decision.outcome]}")
    line.append(f"  score {decision.score:.3f}", style="default not bold")
    hit = next((rule for rule in rules if rule.reason == decision.reasons[0]), None)
    told = "" if hit is None else f"  (rule: {hit.when or 'no other holds'})"
    return line.append(told, style="dim not bold")


def _reasons(decision: Decision, shipped: "Shipped") -> Table:
    rows, reasons = Table.grid(padding=(0, 2)), GuardedReasons(shipped.reasons)
    for code in decision.reasons:
        rows.add_row(Text(code, style="cyan"), Text(reasons.text_of(code)))
    return rows


def _features(features: Mapping[str, float]) -> Table:
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim")
    rows.add_column(justify="right")
    for name, value in features.items():
        rows.add_row(name, _number(float(value)))
    return rows


def _number(value: float) -> str:
    if math.isnan(value):
        return "unknown"
    return f"{value:,.0f}" if value.is_integer() else f"{value:,.4g}"


def _times(story: Story) -> Table:
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim")
    rows.add_column(justify="right")
    rows.add_column()
    for hop in story.hops():
        rows.add_row(clock(hop.time_ms), f"+{hop.after_ms:,} ms", hop.what)
    return rows
