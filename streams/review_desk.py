"""The desk of reviewers: cases and what became of them, read from topics; verdicts, written there.

Nothing is kept here. Which verdict counts is for escalation to say; what can be told beforehand is.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Final, Literal, cast

import orjson

from batuta.agents.pipelines import LoadedPipeline
from batuta.schemas import codec
from batuta.schemas.errors import RefusedEventError
from batuta.schemas.masking import Mask
from batuta.schemas.personal import personal_fields
from batuta.schemas.record import Record
from batuta.schemas.review import Case, Reviewed, StepCase, Verdict
from batuta.schemas.review_codec import StepCaseWire
from batuta.schemas.topics import Topics
from batuta.schemas.wire import WRITTEN, ReviewCaseWire
from batuta.streams.publisher import Publisher, Timed
from batuta.streams.settings import ClientOptions
from batuta.streams.topic_reader import TopicReader

__all__ = ["CaseFile", "ReviewDesk", "Standing"]

#: How a case stands; `overdue` is a step's whose end escalation has not told yet.
Standing = Literal["open", "overdue", "answered", "closed", "expired"]
_ENDS: Final = frozenset(("answered", "closed", "expired"))


@dataclass
class CaseFile:
    """One case, the record it stands in, and what became of it so far."""

    case: Case
    record: Record
    reviewed: list[Reviewed] = field(default_factory=list[Reviewed])

    @property
    def end(self) -> Reviewed | None:
        """What closed it, or None."""
        return next((one for one in self.reviewed if one.result in _ENDS), None)

    def standing(self, now_ms: int) -> Standing:
        """Return how it stands."""
        end = self.end
        if end is not None:
            return cast("Standing", end.result)
        late = isinstance(self.case, StepCase) and now_ms >= self.case.due_at_ms
        return "overdue" if late else "open"


class ReviewDesk:
    """The cases of one pipeline."""

    def __init__(self, loaded: LoadedPipeline, options: ClientOptions) -> None:
        """Take the pipeline, and how to reach the brokers."""
        self._topics = Topics(loaded.pipeline.name)
        self._options = options
        self._mask_of_step, self._mask_of_decision = _masks(loaded)

    async def cases(self) -> dict[str, CaseFile]:
        """Return every case that stands on the topics, by its id, in the order they were read."""
        found: dict[str, CaseFile] = {}
        reviewed: list[Reviewed] = []
        topics = (self._topics.escalations, self._topics.reviewed)
        async with TopicReader(self._options, topics) as reader:
            async for records in reader.until_end():
                for record in records:
                    try:
                        if record.topic == self._topics.reviewed:
                            reviewed.append(codec.decode_reviewed(record))
                            continue
                        case = codec.decode_any_case(record)
                    except RefusedEventError:
                        continue  # of another version or hand: not ours to judge
                    found.setdefault(case.case_id, CaseFile(case, record))
        for one in reviewed:
            if one.case_id in found:
                found[one.case_id].reviewed.append(one)
        return found

    async def say(self, verdict: Verdict, wait_s: float) -> Reviewed | None:
        """Write a verdict; return what became of it, or None where nobody told within `wait_s`."""
        topics = self._topics
        async with TopicReader(self._options, [topics.reviewed]) as reader:
            await reader.from_end()
            async with Publisher(self._options, topics.verdicts) as publisher:
                output = codec.encode_verdict(verdict, topics.verdicts)
                await publisher.publish([Timed(time.time_ns() // 1_000_000, output)])
                await publisher.flush()
            try:
                async with asyncio.timeout(wait_s):
                    while True:
                        for record in await reader.poll():
                            told = codec.decode_reviewed(record)
                            if told.verdict == verdict:
                                return told
            except TimeoutError:
                return None

    def shown(self, file: CaseFile, *, reveal: bool) -> dict[str, object]:
        """Return a case as it stands on its topic, without what is personal unless revealed."""
        body = cast("dict[str, object]", orjson.loads(file.record.value or b"{}"))
        if reveal:
            return body
        step = isinstance(file.case, StepCase)
        mask = self._mask_of_step if step else self._mask_of_decision
        return cast("dict[str, object]", mask.value(body))


def _masks(loaded: LoadedPipeline) -> tuple[Mask, Mask]:
    """Return what hides personal fields of a step's case, and of a decision's."""
    personal, source = personal_fields(loaded.data), loaded.pipeline.source
    entity, named = source.key_field in personal, source.id_field in personal
    paths = {"entity": entity, "event_id": named, "step_id": named}
    hidden = frozenset(path for path, holds in paths.items() if holds)
    careful = bool(personal)
    # What a model has written, and what is said of it, may repeat whatever the event says.
    written = frozenset(WRITTEN if careful else ())
    failed = frozenset(("failed/text", "failed/critique") if careful else ())
    decision = frozenset(f"decision/{path}" for path in hidden | written)
    return (
        Mask(StepCaseWire, hidden | written | failed, loaded.data, careful=careful),
        Mask(ReviewCaseWire, decision, careful=careful),
    )
