"""Backpressure: lanes that take no records, because those in hand are not seen through.

A lane fetches for itself, once it has room: while a model hangs or a sink is slow it does not, and
nobody fetches for it. One that has parked as much as it may fetches only what makes room. So there
is nothing to hold back, only something to see: how long lanes took nothing, and which of them take
nothing at all. Those are paused, so that the broker is not asked for them either; their next fetch
lets them flow again, from the position they have.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aiokafka import TopicPartition

from batuta.streams.lanes.lane_facts import LaneFlows, LaneHeldBack, LanePaused
from batuta.streams.lanes.log import Member
from batuta.streams.telemetry.stage_telemetry import StageTelemetry

__all__ = ["Backpressure"]


@dataclass(slots=True)
class _Lane:
    """One lane's taking.

    Attributes:
        tps: what it fetched last.
        since_s: when it fetched last, in the running loop's time; None while it fetches.
        counted_s: up to when its taking nothing was counted.
        holding: whether it fetches only what makes room.
    """

    tps: Sequence[TopicPartition]
    since_s: float | None = None
    counted_s: float = 0.0
    paused: bool = False
    holding: bool = False


class Backpressure:
    """The lanes of one assignment of one member.

    Args:
        pause_after_ms: a lane that takes nothing for longer is paused.
    """

    def __init__(self, member: Member, telemetry: StageTelemetry, pause_after_ms: int) -> None:
        self._member = member
        self._telemetry = telemetry
        self._pause_after_s = pause_after_ms / 1000
        self._lanes: dict[int, _Lane] = {}

    def hold(self, partition: int, *, holding: bool) -> None:
        """A lane fetches, from now on, only what makes room, or all it may."""
        lane = self._lanes.get(partition)
        if lane is not None and lane.holding is not holding:
            self._count(lane)
            lane.holding, lane.counted_s = holding, _now_s()

    def fetching(self, tps: Sequence[TopicPartition]) -> None:
        """A lane has room, and fetches: let it flow."""
        lane = self._lanes.setdefault(tps[0].partition, _Lane(tps))
        self._count(lane)
        if lane.paused:
            self._member.resume(*lane.tps)
            self._tell_flows(lane)
        lane.tps, lane.since_s = tps, None

    def fetched(self, partition: int) -> None:
        """A lane has fetched, and has work in hand."""
        lane = self._lanes[partition]
        self._count(lane)
        lane.since_s = lane.counted_s = _now_s()

    def watch(self, at_work: Iterable[int]) -> None:
        """Count, and pause who takes nothing; to be called a few times a second.

        Args:
            at_work: the lanes that are neither starting nor in trouble; others are seen elsewhere.
        """
        for partition in at_work:
            lane = self._lanes.get(partition)
            if lane is None:
                continue
            self._count(lane)
            if lane.since_s is None:
                continue
            idle_s = lane.counted_s - lane.since_s
            if not lane.paused and idle_s >= self._pause_after_s:
                self._member.pause(*lane.tps)
                lane.paused = True
                self._telemetry.tell(LanePaused(partition, idle_s))

    def end(self) -> None:
        """Forget the lanes: the assignment ended, and the next one begins with all of them."""
        for lane in self._lanes.values():
            if lane.paused:
                self._tell_flows(lane)
        self._lanes.clear()

    def _count(self, lane: _Lane) -> None:
        if lane.since_s is not None or lane.holding:
            now_s = _now_s()
            self._telemetry.tell(LaneHeldBack(now_s - lane.counted_s))
            lane.counted_s = now_s

    def _tell_flows(self, lane: _Lane) -> None:
        lane.paused = False
        paused_s = 0.0 if lane.since_s is None else _now_s() - lane.since_s
        self._telemetry.tell(LaneFlows(lane.tps[0].partition, paused_s))


def _now_s() -> float:
    return asyncio.get_running_loop().time()
