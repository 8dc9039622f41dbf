"""The world of a lane: what all lanes of a stage share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from faust.types import ChannelT

from batuta.schemas.partition import PartitionOf
from batuta.streams.lanes.log import Log
from batuta.streams.settings import Settings
from batuta.streams.telemetry.stage_telemetry import StageTelemetry

__all__ = ["LaneWorld"]


@dataclass(frozen=True)
class LaneWorld:
    """What all lanes of a stage share.

    Attributes:
        channel: the Faust channel the agent iterates.
        partition_of: topic name to the partition a key belongs to.
        log: the Kafka cluster.
        clock: milliseconds since 1970 UTC.
    """

    settings: Settings
    log: Log
    channel: ChannelT[object]
    telemetry: StageTelemetry
    partition_of: Mapping[str, PartitionOf]
    clock: Callable[[], int]
