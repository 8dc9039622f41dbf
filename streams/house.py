"""What the stages of one pipeline are built from, and how its parts are put together for them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel

from batuta.agents.models.port import AnyModel
from batuta.agents.notification import Notifier
from batuta.agents.pipelines import LoadedPipeline
from batuta.schemas import codec
from batuta.schemas.record import Record
from batuta.schemas.topics import Topics
from batuta.streams.adapters.isolation import Threads
from batuta.streams.lanes.stage import Intake, NoState, Stage
from batuta.streams.places import Places
from batuta.streams.registry.following import Following
from batuta.streams.sinks.port import Sink
from batuta.streams.telemetry.stage_telemetry import StageTelemetry

__all__ = ["House", "door_of", "notifier_of", "stateless"]

ItemT = TypeVar("ItemT")


@dataclass(frozen=True)
class House:
    """What the stages of one pipeline are built from.

    Attributes:
        models: what its plans ask, by name; or the one that answers whatever they say.
        sinks: where its notifications go.
        aligned: whether scoring takes events and outcomes in the order of their time, as in a
            replay; live it takes them as they come.
        following: what is live of its models; None where none follows the registry.
        places: of models whose bound on open calls other pipelines share, by name.
    """

    shipped: LoadedPipeline
    models: AnyModel | Mapping[str, AnyModel]
    sinks: Sequence[Sink] = ()
    aligned: bool = False
    following: Following | None = None
    places: Mapping[str, Places] = field(default_factory=dict[str, Places])

    @property
    def topics(self) -> Topics:
        """The pipeline's topics."""
        return self.shipped.topics


def door_of(
    house: House, telemetry: StageTelemetry
) -> Callable[[Sequence[Record], int], codec.Decoded[BaseModel]]:
    """Return how a stage decodes the source, which counts the fields that nobody knows."""
    door = codec.EventCodec(house.shipped.pipeline.source, house.shipped.data)

    def decode(records: Sequence[Record], now_ms: int) -> codec.Decoded[BaseModel]:
        decoded = door.decode(records, now_ms)
        telemetry.unknown_fields(decoded.unknown_fields)
        return decoded

    return decode


def notifier_of(house: House, telemetry: StageTelemetry) -> Notifier:
    """Return what chooses whom to tell what."""
    shipped = house.shipped
    isolation = Threads(telemetry.part_broke)
    return Notifier(shipped.pipeline, shipped.reasons, shipped.plan.told, isolation)


def stateless(
    house: House, name: str, topic: str, decode: Callable[[Sequence[Record], int], Intake[ItemT]]
) -> Stage[ItemT, NoState]:
    """Return a stage that reads one topic and remembers nothing."""
    return Stage(
        pipeline=house.shipped.pipeline.name,
        name=name,
        group=house.topics.group(name),
        inputs=(topic, house.topics.redrive(name)),
        decode=decode,
        open_state=NoState,
        changelog=None,
        deadletters=house.topics.deadletters,
    )
