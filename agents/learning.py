"""The learning agent: labels find the key that scoring knows their event by.

A label names only its event. The index says of each event under which key its state is held; both
come here by the event's id, in any order:

    outcome     the event is known: the label goes on under its key, with what it replaces
    waiting     the event has not come yet: the label is kept, and goes on when it does
    repeated    the same label once more: nothing changes
    outdated    a label that became known before the one that holds: nothing changes
    unmatched   the event did not come in the time that labels are kept for: put aside

A label is kept for that time also once it is matched, so that a later one of the same event is told
from a first one; the index is kept as long.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from batuta.agents.context import Context
from batuta.agents.identity import scoped
from batuta.agents.state.event_index import EventKeys, Indexed
from batuta.agents.state.kept_labels import KeptLabel, KeptLabels, LabelName
from batuta.agents.state.port import Tables
from batuta.schemas.labels import EventIndex, Label, LabelOutcome

__all__ = ["Learning", "LearningState", "Learnt"]

#: The bounds of one lane: beyond them the oldest make way.
_EVENTS_MAX: Final = 5_000_000
_LABELS_MAX: Final = 1_000_000
#: So many labels are put aside with one batch at most, where it brings time alone.
_DUE_MAX: Final = 10_000


@dataclass
class Learnt:
    """What became of a batch.

    Attributes:
        outcomes: labels that found their event.
        unmatched: labels that are kept no longer and found none.
        waiting, repeated, outdated: how many labels ended so in this batch.
    """

    outcomes: list[LabelOutcome] = field(default_factory=list[LabelOutcome])
    unmatched: list[Label] = field(default_factory=list[Label])
    waiting: int = 0
    repeated: int = 0
    outdated: int = 0


class LearningState(Tables):
    """What learning remembers: events by their ids, and labels."""

    def __init__(self, index: EventKeys, labels: KeptLabels) -> None:
        super().__init__((index, labels))
        self.index = index
        self.labels = labels


class Learning:
    """Joins labels with events, for one pipeline.

    Args:
        expire_ms: how long an event and a label are kept for each other.
    """

    def __init__(self, expire_ms: int) -> None:
        self._expire_ms = expire_ms

    def open_state(self) -> LearningState:
        """Return the empty state of one lane."""
        return LearningState(
            EventKeys(b"i", self._expire_ms, _EVENTS_MAX), KeptLabels(b"l", _LABELS_MAX)
        )

    def learn(self, items: Sequence[Label | EventIndex], context: Context[LearningState]) -> Learnt:
        """Take labels and parts of the index in, in order."""
        learnt = Learnt()
        for name, kept in context.state.labels.due(context.now_ms, _DUE_MAX):
            _put_aside(name, kept, learnt)
        for item in items:
            if isinstance(item, Label):
                self._labelled(item, context, learnt)
            else:
                self._indexed(item, context, learnt)
        return learnt

    def _indexed(self, index: EventIndex, context: Context[LearningState], learnt: Learnt) -> None:
        """Remember events; send on the labels that waited for them."""
        state = context.state
        names = [scoped(*pair) for pair in zip(index.tenants, index.event_ids, strict=True)]
        events = list(map(Indexed, index.scoring_keys, index.event_times_ms))
        state.index.add(names, events, context.now_ms)
        if not state.labels.entries():
            return
        for tenant, event_id, event in zip(index.tenants, index.event_ids, events, strict=True):
            name = LabelName(tenant, event_id)
            kept = state.labels.get(name)
            if kept is not None and not kept.matched:
                state.labels.put(name, kept._replace(matched=True))
                learnt.outcomes.append(_outcome(name, event, kept, None))

    def _labelled(self, label: Label, context: Context[LearningState], learnt: Learnt) -> None:
        """Send a label on, or keep it until its event comes."""
        state, name = context.state, LabelName(label.tenant, label.event_id)
        before = state.labels.get(name)
        if before is not None and label.label_time_ms < before.label_time_ms:
            learnt.outdated += 1
            return
        if before is not None and label.label == before.label:
            state.labels.put(name, before._replace(label_time_ms=label.label_time_ms))
            learnt.repeated += 1
            return
        event = state.index.get(scoped(label.tenant, label.event_id))
        until_ms = context.now_ms + self._expire_ms
        kept = KeptLabel(label.label_time_ms, until_ms, label.label, matched=event is not None)
        if (gone := state.labels.put(name, kept)) is not None:
            _put_aside(*gone, learnt)
        if event is None:
            learnt.waiting += 1
        else:
            learnt.outcomes.append(_outcome(name, event, kept, before))


def _put_aside(name: LabelName, kept: KeptLabel, learnt: Learnt) -> None:
    if not kept.matched:
        label = Label(name.event_id, name.tenant, kept.label, kept.label_time_ms)
        learnt.unmatched.append(label)


def _outcome(
    name: LabelName, event: Indexed, kept: KeptLabel, before: KeptLabel | None
) -> LabelOutcome:
    return LabelOutcome(
        event_id=name.event_id,
        tenant=name.tenant,
        scoring_key=event.key,
        event_time_ms=event.event_time_ms,
        label=kept.label,
        previous=before.label if before is not None and before.matched else None,
        label_time_ms=kept.label_time_ms,
    )
