"""The assignor: keeps co-partitions together, balances lanes, and lets lanes stay where they are.

A lane is one partition number over all input topics of a stage, so the unit handed out is the
partition number, never a single partition: aiokafka's round robin splits co-partitions over three
workers. Each member reports the lanes it held; they stay with it up to its fair share. aiokafka's
sticky assignor keeps its memory on the class, so several consumers in one process mix theirs up:
here every consumer has an instance of its own.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)

__all__ = ["LaneAssignor", "share_lanes"]

_VERSION: Final = 0


def share_lanes(lanes: int, held: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """Share lanes 0 to `lanes` - 1 among members, each its fair share, moving as few as possible.

    Args:
        lanes: how many there are.
        held: member id to the lanes it held before; a lane that two claim goes to neither.

    Returns:
        Member id to its lanes, ascending; shares differ by one at most.
    """
    members = sorted(held, key=lambda member: (-len(held[member]), member))
    small, larger = divmod(lanes, len(members))
    claims = [lane for member in members for lane in set(held[member])]
    free = set(range(lanes))
    shares: dict[str, list[int]] = {}
    room = {member: small + (index < larger) for index, member in enumerate(members)}
    for member in members:
        undisputed = sorted(n for n in set(held[member]) & free if claims.count(n) == 1)
        shares[member] = undisputed[: room[member]]
        free -= set(shares[member])
    rest = sorted(free)
    for member in members:
        missing = room[member] - len(shares[member])
        shares[member] = sorted(shares[member] + rest[:missing])
        rest = rest[missing:]
    return shares


class LaneAssignor(AbstractPartitionAssignor):
    """One consumer's assignor; `held` is what the last assignment gave it."""

    name = "batuta-lanes"

    def __init__(self) -> None:
        self.held: tuple[int, ...] = ()

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """Report the subscription and the lanes held."""
        return ConsumerProtocolMemberMetadata(
            _VERSION, sorted(topics), json.dumps(self.held).encode()
        )

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Remember the lanes given."""
        self.held = tuple(sorted({tp.partition for tp in assignment.partitions()}))

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Share the lanes of the subscribed topics among the members."""
        topics = sorted({topic for m in members.values() for topic in m.subscription})
        lanes = max((len(cluster.partitions_for_topic(t) or ()) for t in topics), default=0)
        held = {member: _held(metadata.user_data) for member, metadata in members.items()}
        return {
            member: _member_assignment(share, members[member].subscription, cluster)
            for member, share in share_lanes(lanes, held).items()
        }


def _held(user_data: bytes | None) -> list[int]:
    """Read what a member reported; a member of another version holds nothing."""
    try:
        lanes = json.loads(user_data or b"[]")
    except ValueError:
        return []
    return [n for n in lanes if isinstance(n, int)] if isinstance(lanes, list) else []


def _member_assignment(
    lanes: Sequence[int], topics: Sequence[str], cluster: ClusterMetadata
) -> ConsumerProtocolMemberAssignment:
    given = [
        (topic, [n for n in lanes if n in (cluster.partitions_for_topic(topic) or ())])
        for topic in sorted(topics)
    ]
    return ConsumerProtocolMemberAssignment(_VERSION, given, b"")
