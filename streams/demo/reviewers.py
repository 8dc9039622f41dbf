"""Gives the verdicts that a pipeline asks people for: by what its events were generated as.

A stand-in for people, so that a demonstration ends by itself. A verdict comes a moment after its
case, and now and then it is that nobody can tell. Only cases of events that this run has published
have one: on a broker of yours those of other events wait for you.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from batuta.agents.pipelines import LoadedPipeline
from batuta.schemas import codec
from batuta.schemas.record import Record
from batuta.schemas.review import StepCase, Verdict
from batuta.schemas.topics import Topics
from batuta.streams.demo.speaker import Speaker
from batuta.streams.demo.spoil import Sample
from batuta.streams.publisher import Timed
from batuta.streams.settings import ClientOptions

__all__ = ["Reviewers"]

#: How long a case is looked at.
_LOOK_MS: Final = 1_000
#: About one of so many cases nobody can tell.
_UNSURE_ONE_OF: Final = 8
#: So many events are known at most, the latest.
_KNOWN_MAX: Final = 200_000
_BY: Final = "demo"


class Reviewers(Speaker):
    """The people of one run; where a pipeline asks none they have nothing to do.

    async with Reviewers(options, loaded) as reviewers:
        reviewers.announce(block)         # what goes out
        reviewers.hear(records, now_ms)   # what was read, cases among it
        await reviewers.say(now_ms)       # what is due
    """

    def __init__(self, options: ClientOptions, loaded: LoadedPipeline) -> None:
        topics, delegating = Topics(loaded.pipeline.name), loaded.deciding.delegating
        asked = delegating is not None and bool(delegating.people)
        super().__init__(options, topics.verdicts, speaks=asked)
        self._cases = topics.escalations
        #: Whether an event is what the pipeline looks for, by its id.
        self._known: dict[str, bool] = {}
        self._open: deque[tuple[int, StepCase]] = deque()

    def announce(self, samples: Sequence[Sample]) -> None:
        """Take note of what events are that go out."""
        if not self._speaks:
            return
        self._known |= {one.identity: one.positive for one in samples if not one.spoiled}
        while len(self._known) > _KNOWN_MAX:
            del self._known[next(iter(self._known))]

    def hear(self, records: Sequence[Record], now_ms: int) -> None:
        """Take in the cases that were read at `now_ms`."""
        if not self._speaks:
            return
        for record in records:
            if record.topic == self._cases:
                case = codec.decode_any_case(record)
                if isinstance(case, StepCase) and case.event_id in self._known:
                    self._open.append((now_ms + _LOOK_MS, case))

    def due(self, now_ms: int) -> list[Verdict]:
        """Return the verdicts that are ready, each once."""
        found: list[Verdict] = []
        while self._open and self._open[0][0] <= now_ms:
            found.append(self._verdict(self._open.popleft()[1], now_ms))
        return found

    async def say(self, now_ms: int) -> None:
        """Publish the verdicts that are ready.

        Raises:
            OutputRefusedError: the broker refused one.
        """
        if self._publisher is not None and (verdicts := self.due(now_ms)):
            outputs = [codec.encode_verdict(one, self._topic) for one in verdicts]
            await self._publisher.publish([Timed(now_ms, output) for output in outputs])

    def _verdict(self, case: StepCase, now_ms: int) -> Verdict:
        if int(case.case_id[:4], 16) % _UNSURE_ONE_OF == 0:
            return Verdict(case.case_id, "unsure", _BY, now_ms)
        positive = self._known.get(case.event_id, False)
        return Verdict(case.case_id, "block" if positive else "approve", _BY, now_ms)
