"""A shipped pipeline as a play: its whole route, from source events to notifications."""

from collections.abc import Iterator, Sequence

from batuta.agents.pipelines import Shipped
from batuta.schemas import codec
from batuta.schemas.record import Output
from batuta.schemas.topics import TopicSpec
from batuta.streams.app import LaneApp
from batuta.streams.house import House
from batuta.streams.rehearsal.ends import unbalanced
from batuta.streams.rehearsal.outside_world import RehearsedModel, RememberingSink, Unreliable
from batuta.streams.rehearsal.plan import Plan
from batuta.streams.rehearsal.play import ByTopic
from batuta.streams.rehearsal.source_events import source_records
from batuta.streams.stages import ROUTE

__all__ = ["PipelinePlay"]


class PipelinePlay:
    """The stages of `ROUTE` over one pipeline."""

    busy_share = 1.0

    def __init__(self, shipped: Shipped, unreliable: Unreliable) -> None:
        self._shipped = shipped
        self._topics = shipped.topics
        self._model = RehearsedModel(shipped, unreliable)
        self._sink = RememberingSink(unreliable)

    @property
    def recomputed(self) -> frozenset[str]:
        """All groups of the route."""
        return frozenset(self._topics.group(stage.__name__) for stage in ROUTE)

    @property
    def kept(self) -> frozenset[str]:
        """Topics whose outputs are never refused."""
        topics = self._topics
        return frozenset((topics.events, topics.feedback, topics.deadletters))

    def topics(self, partitions: int) -> Sequence[TopicSpec]:
        """Return the pipeline's topics."""
        return self._topics.declared(partitions)

    def source_records(self, plan: Plan) -> Sequence[Output]:
        """Return source events, good and bad."""
        return source_records(plan, self._shipped)

    def build(self, app: LaneApp) -> None:
        """Register the route's stages."""
        house = House(self._shipped, self._model, (self._sink,))
        for stage in ROUTE:
            stage(app, house)

    def unbalanced(self, read: ByTopic) -> Iterator[str]:
        """Yield events that did not end once, and notifications that nobody was told."""
        yield from unbalanced(self._shipped, read)
        yield from self._untold(read)

    def _untold(self, read: ByTopic) -> Iterator[str]:
        topic, taken = self._topics.notifications, set(self._sink.taken)
        letters = [codec.decode_dead_letter(each).record for each in read[self._topics.deadletters]]
        buried = {(each.partition, each.offset) for each in letters if each.topic == topic}
        for record in read[topic]:
            told = codec.decode_notification(record).notification_id in taken
            if not told and (record.partition, record.offset) not in buried:
                yield f"{topic}[{record.partition}]@{record.offset} was never delivered"
