"""The assignor: keeps co-partitions together, balances lanes, and lets lanes stay where they are.

A lane is one partition number over all input topics of a stage, so the unit handed out is the
partition number, never a single partition: aiokafka's round robin splits co-partitions over three
workers. Each member reports the lanes it held and in which round of assignment it got them; they
stay with it up to its fair share. The round settles who is right where two claim a lane: a worker
that slept through a rebalance remembers an older one. aiokafka's sticky assignor keeps its memory
on the class, so several consumers in one process mix theirs up: here every consumer has an
instance of its own.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)

__all__ = ["Claim", "LaneAssignor", "share_lanes"]

_VERSION: Final = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """What a member says it holds.

    Attributes:
        lanes: the lanes of its last assignment.
        round_number: which assignment that was, counted over the group's life; 0 for none.
    """

    lanes: Sequence[int] = ()
    round_number: int = 0


def share_lanes(lanes: int, claims: Mapping[str, Claim]) -> dict[str, list[int]]:
    """Share lanes 0 to `lanes` - 1 among members, each its fair share, moving as few as possible.

    Args:
        lanes: how many there are.
        claims: what each member held before; of two that claim a lane the later round is right,
            and between equals it goes to neither.

    Returns:
        Member id to its lanes, ascending; shares differ by one at most.
    """
    kept = _undisputed(lanes, claims)
    # Who keeps the most gets the larger share: nothing moves that need not.
    members = sorted(claims, key=lambda member: (-len(kept[member]), member))
    small, larger = divmod(lanes, len(members))
    room = {member: small + (index < larger) for index, member in enumerate(members)}
    shares = {member: kept[member][: room[member]] for member in members}
    taken = {lane for share in shares.values() for lane in share}
    rest = [lane for lane in range(lanes) if lane not in taken]
    for member in members:
        missing = room[member] - len(shares[member])
        shares[member] = sorted(shares[member] + rest[:missing])
        rest = rest[missing:]
    return shares


def _undisputed(lanes: int, claims: Mapping[str, Claim]) -> dict[str, list[int]]:
    """Return the lanes that each member rightly claims, ascending."""
    claimants: dict[int, list[str]] = {}
    for member, claim in claims.items():
        for lane in {lane for lane in claim.lanes if 0 <= lane < lanes}:
            claimants.setdefault(lane, []).append(member)
    kept: dict[str, list[int]] = {member: [] for member in claims}
    for lane in sorted(claimants):
        latest = max(claims[member].round_number for member in claimants[lane])
        right = [m for m in claimants[lane] if claims[m].round_number == latest]
        if len(right) == 1:
            kept[right[0]].append(lane)
    return kept


class LaneAssignor(AbstractPartitionAssignor):
    """One consumer's assignor; `claim` is what the last assignment gave it."""

    name = "batuta-lanes"  # pyright: ignore[reportIncompatibleMethodOverride, reportAssignmentType]

    def __init__(self) -> None:
        self.claim = Claim()

    def metadata(  # pyright: ignore[reportIncompatibleMethodOverride]  an instance's, not a class's
        self, topics: Iterable[str]
    ) -> ConsumerProtocolMemberMetadata:
        """Report the subscription and the lanes held."""
        return ConsumerProtocolMemberMetadata(_VERSION, sorted(topics), _written(self.claim))

    def on_assignment(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, assignment: ConsumerProtocolMemberAssignment
    ) -> None:
        """Remember the lanes given."""
        lanes = sorted({tp.partition for tp in assignment.partitions()})
        self.claim = Claim(lanes, _read(assignment.user_data).round_number)

    def assign(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Share the lanes of the subscribed topics among the members."""
        topics = sorted({topic for m in members.values() for topic in m.subscription})
        lanes = max((len(cluster.partitions_for_topic(t) or ()) for t in topics), default=0)
        claims = {member: _read(metadata.user_data) for member, metadata in members.items()}
        next_round = 1 + max(claim.round_number for claim in claims.values())
        return {
            member: _assignment(share, members[member].subscription, next_round)
            for member, share in share_lanes(lanes, claims).items()
        }


def _written(claim: Claim) -> bytes:
    return json.dumps({"lanes": list(claim.lanes), "round": claim.round_number}).encode()


def _read(user_data: bytes | None) -> Claim:
    """Read what a member reported; a member of another version holds nothing."""
    try:
        claim = json.loads(user_data or b"{}")
        return Claim([int(lane) for lane in claim["lanes"]], int(claim["round"]))
    except (ValueError, TypeError, KeyError):
        return Claim()


def _assignment(
    lanes: Sequence[int], topics: Iterable[str], round_number: int
) -> ConsumerProtocolMemberAssignment:
    """Give every topic's partition of each lane, also of a topic that is hidden for a moment."""
    given = [(topic, list(lanes)) for topic in sorted(topics)]
    return ConsumerProtocolMemberAssignment(_VERSION, given, _written(Claim((), round_number)))
