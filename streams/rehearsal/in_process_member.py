"""A group member over a wire: what aiokafka's coordinator does, without aiokafka's client.

Two tasks on the running loop: one joins and joins again, the other sends heartbeats while a
generation lasts. Rebalances are eager: everything is let go of before the member joins, and its
heartbeat pauses only from there to the next assignment, as aiokafka's does.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, cast

from aiokafka import TopicPartition
from aiokafka.coordinator.protocol import ConsumerProtocol, ConsumerProtocolMemberAssignment
from aiokafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    IllegalGenerationError,
    KafkaError,
    MemberIdRequired,
    NoError,
    NotCoordinatorError,
    RebalanceInProgressError,
    UnknownMemberIdError,
    for_code,
)

from batuta.schemas.errors import InstanceIdTakenError
from batuta.schemas.record import Record
from batuta.streams.broker.messages_cluster import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
)
from batuta.streams.broker.messages_groups import (
    HeartbeatRequest,
    HeartbeatResponse,
    JoinGroupMember,
    JoinGroupProtocol,
    JoinGroupRequest,
    JoinGroupResponse,
    LeaveGroupRequest,
    LeaveGroupResponse,
    SyncGroupAssignment,
    SyncGroupRequest,
    SyncGroupResponse,
)
from batuta.streams.broker.messages_offsets import (
    OffsetFetchRequest,
    OffsetFetchResponse,
    TopicPartitions,
)
from batuta.streams.lanes.assignor import LaneAssignor
from batuta.streams.lanes.log import Assignments, Offsets
from batuta.streams.rehearsal.in_process_fetching import (
    BACKOFF_S,
    EARLIEST,
    Fetcher,
    list_offsets,
    persist,
)
from batuta.streams.rehearsal.wire import Link
from batuta.streams.settings import Settings

if TYPE_CHECKING:
    from aiokafka.cluster import ClusterMetadata

__all__ = ["InProcessMember"]

_NOBODY: Final = ""
_NO_GENERATION: Final = -1
_FENCED_INSTANCE_ID: Final = 82
#: What passes by itself.
_BUSY: Final = frozenset(
    {CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError}
)


class InProcessMember:
    """One member of a consumer group; used for one start and stop."""

    def __init__(
        self,
        link: Link,
        group: str,
        assignor: LaneAssignor,
        settings: Settings,
        instance_id: str | None,
    ) -> None:
        self._link = link
        self._group = group
        self._assignor = assignor
        self._settings = settings
        self._instance_id = instance_id
        self._member_id, self._generation = _NOBODY, _NO_GENERATION
        self._fetcher = Fetcher(link, settings)
        self._topics: Sequence[str] = ()
        self._counts: dict[str, int] = {}
        self._counts_known_at_s = 0.0
        self._assignments: Assignments | None = None
        self._joined = asyncio.Event()
        self._wants_join = asyncio.Event()
        self._let_go = False
        self._taken = False
        self._coordinating: asyncio.Task[None] | None = None
        self._beating: asyncio.Task[None] | None = None

    # Membership

    async def start(self, topics: Sequence[str], assignments: Assignments) -> None:
        """Join the group; returns with the first assignment, as aiokafka does."""
        self._topics, self._assignments = tuple(topics), assignments
        self._wants_join.set()
        self._coordinating = asyncio.create_task(self._coordinate(), name=f"{self._group} member")
        joined = asyncio.create_task(self._joined.wait())
        try:
            await asyncio.wait((joined, self._coordinating), return_when=asyncio.FIRST_COMPLETED)
        finally:
            joined.cancel()
        self.raise_error()

    async def stop(self) -> None:
        """Leave the group, with one try; a static member leaves nothing but silence."""
        await self.abandon()
        if self._generation > 0 and self._instance_id is None:
            request = LeaveGroupRequest(self._group, self._member_id)
            try:
                await self._link.ask(request, LeaveGroupResponse)
            except KafkaError:
                return  # the session ends by itself

    async def abandon(self) -> None:
        """Let go of the tasks; the group notices by the silence."""
        tasks = [task for task in (self._coordinating, self._beating) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def raise_error(self) -> None:
        """Raise what stopped one of the tasks."""
        if self._taken:
            raise InstanceIdTakenError(
                f"another worker has taken the place of instance id {self._instance_id!r} in group"
                f" {self._group}"
            )
        for task in (self._coordinating, self._beating):
            if task is not None and task.done() and not task.cancelled():
                task.result()

    async def heartbeat_error_code(self) -> int:
        """Send a heartbeat of its own and return the protocol's error code."""
        request = HeartbeatRequest(
            self._group, self._generation, self._member_id, self._instance_id
        )
        named = self._member_id != _NOBODY
        code = (await self._link.ask(request, HeartbeatResponse)).error_code
        self._taken |= named and code == _FENCED_INSTANCE_ID
        return code

    async def _coordinate(self) -> None:
        """Join whenever that is needed; look now and then whether partitions were added."""
        while True:
            while self._wants_join.is_set():
                await self._rejoin()
            try:
                async with asyncio.timeout(self._settings.metadata_age_ms_max / 1000):
                    await self._wants_join.wait()
            except TimeoutError:
                before = dict(self._counts)
                if await self._learn_counts() and self._counts != before:
                    self._wants_join.set()

    async def _rejoin(self) -> None:
        """Try once to get into the next generation."""
        assert self._assignments is not None
        if not self._let_go:
            await self._assignments.on_revoked()
            self._let_go = True
        await self._stop_beating()
        given = await self._join()
        if given is None:
            await asyncio.sleep(BACKOFF_S)
            return
        tps = sorted(given.partitions())
        self._fetcher.assign(tps)
        self._assignor.on_assignment(given)
        self._let_go = False
        await self._assignments.on_assigned(tps)
        self._joined.set()
        self._beating = asyncio.create_task(self._beat(), name=f"{self._group} heartbeat")

    async def _join(self) -> ConsumerProtocolMemberAssignment | None:
        """Take part in a rebalance; None where it has to be begun again.

        Raises:
            KafkaError: the group will never take this member.
        """
        if not await self._learn_counts():
            return None
        answer = await self._ask_to_join()
        if answer is not None and for_code(answer.error_code) is MemberIdRequired:
            self._member_id = answer.member_id
            answer = await self._ask_to_join()
        if answer is None:
            return None
        error = for_code(answer.error_code)
        if error is UnknownMemberIdError:
            self._forget_membership()
        elif error is not NoError and error not in _BUSY:
            self._taken |= answer.error_code == _FENCED_INSTANCE_ID
            raise KafkaError(f"{self._group} takes no such member: {error.__name__}")
        if error is not NoError:
            return None
        self._member_id, self._generation = answer.member_id, answer.generation_id
        leads = answer.leader == answer.member_id
        return await self._sync(self._assigned_by_us(answer.members) if leads else {})

    async def _ask_to_join(self) -> JoinGroupResponse | None:
        metadata = self._assignor.metadata(self._topics).encode()
        request = JoinGroupRequest(
            self._group,
            self._settings.session_timeout_ms,
            self._settings.rebalance_timeout_ms,
            self._member_id,
            self._instance_id,
            ConsumerProtocol.PROTOCOL_TYPE,
            (JoinGroupProtocol(self._assignor.name, metadata),),
        )
        try:
            return await self._link.ask(request, JoinGroupResponse)
        except KafkaError:
            return None

    def _assigned_by_us(self, members: Sequence[JoinGroupMember]) -> Mapping[str, bytes]:
        """Share the lanes out, as the leader of this generation."""
        told = {m.member_id: ConsumerProtocol.METADATA.decode(m.metadata) for m in members}
        cluster = cast("ClusterMetadata", _Counted(self._counts))
        shares = self._assignor.assign(cluster, told)
        return {member: share.encode() for member, share in shares.items()}

    async def _sync(self, assigned: Mapping[str, bytes]) -> ConsumerProtocolMemberAssignment | None:
        self._wants_join.clear()
        request = SyncGroupRequest(
            self._group,
            self._generation,
            self._member_id,
            self._instance_id,
            assignments=tuple(SyncGroupAssignment(*share) for share in assigned.items()),
        )
        try:
            answer = await self._link.ask(request, SyncGroupResponse)
        except KafkaError:
            self._wants_join.set()
            return None
        error = for_code(answer.error_code)
        if error is NoError:
            return ConsumerProtocol.ASSIGNMENT.decode(answer.assignment)
        self._wants_join.set()
        if error in {UnknownMemberIdError, IllegalGenerationError}:
            self._forget_membership()
        elif error is not RebalanceInProgressError and error not in _BUSY:
            self._taken |= answer.error_code == _FENCED_INSTANCE_ID
            raise KafkaError(f"{self._group} gives this member nothing: {error.__name__}")
        return None

    def _forget_membership(self) -> None:
        self._member_id, self._generation = _NOBODY, _NO_GENERATION
        self._wants_join.set()

    async def _beat(self) -> None:
        """Keep the session alive until the group says that it is over."""
        interval_s = self._settings.heartbeat_interval_ms / 1000
        pause_s = interval_s
        while self._member_id != _NOBODY:
            await asyncio.sleep(pause_s)
            pause_s = interval_s if await self._beat_once() else BACKOFF_S

    async def _beat_once(self) -> bool:
        """Send one heartbeat and say whether the group still counts us in."""
        try:
            error = for_code(await self.heartbeat_error_code())
        except KafkaError:
            return False
        if error is RebalanceInProgressError:
            self._wants_join.set()
        elif error in {IllegalGenerationError, UnknownMemberIdError}:
            self._forget_membership()
        elif error is not NoError and error not in _BUSY:
            raise KafkaError(f"unexpected answer to a heartbeat: {error.__name__}")
        return error is NoError or error is RebalanceInProgressError

    async def _stop_beating(self) -> None:
        if (beating := self._beating) is not None:
            self._beating = None
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)

    # Topics

    def partition_count(self, topic: str) -> int | None:
        """Return how many partitions a topic has; None where the broker does not show it."""
        return self._counts.get(topic)

    async def _learn_counts(self) -> bool:
        """Ask how many partitions the topics have, unless that was asked a moment ago."""
        now_s = asyncio.get_running_loop().time()
        if self._counts and now_s - self._counts_known_at_s < BACKOFF_S:
            return True
        names = tuple(MetadataRequestTopic(name=topic) for topic in self._topics)
        try:
            answer = await self._link.ask(MetadataRequest(names), MetadataResponse)
        except KafkaError:
            return False
        self._counts_known_at_s = now_s
        self._counts = {
            topic.name or "": len(topic.partitions)
            for topic in answer.topics
            if not topic.error_code
        }
        return True

    # Records

    def assignment(self) -> frozenset[TopicPartition]:
        """Return what this member has now."""
        return self._fetcher.assigned

    def pause(self, *tps: TopicPartition) -> None:
        """Fetch nothing of `tps`."""
        for tp in tps:
            self._fetcher.pause(tp)

    def resume(self, *tps: TopicPartition) -> None:
        """Fetch `tps` again."""
        for tp in tps:
            self._fetcher.resume(tp)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Read `tp` from `offset` on."""
        self._fetcher.seek(tp, offset)

    async def fetch(
        self, tps: Sequence[TopicPartition], records_max: int, timeout_ms: int
    ) -> Mapping[TopicPartition, Sequence[Record]]:
        """Return committed records of `tps`."""
        return await self._fetcher.fetch(tps, records_max, timeout_ms / 1000)

    async def position(self, tp: TopicPartition) -> int:
        """Return the next offset to read."""
        return self._fetcher.position(tp)

    def highwater(self, tp: TopicPartition) -> int | None:
        """Return the end of the log as the last fetch saw it."""
        return self._fetcher.highwater(tp)

    async def committed(self, tp: TopicPartition) -> int | None:
        """Return the group's committed offset, asked afresh."""
        request = OffsetFetchRequest(self._group, (TopicPartitions(tp.topic, (tp.partition,)),))
        answer = await persist(self._link, request, OffsetFetchResponse, _is_told, self._patience_s)
        offset = answer.topics[0].partitions[0].offset
        return None if offset < 0 else offset

    async def beginning_offsets(self, tps: Sequence[TopicPartition]) -> Offsets:
        """Return the first offset that each partition still has."""
        return await list_offsets(self._link, tps, EARLIEST, self._patience_s)

    @property
    def _patience_s(self) -> float:
        return self._settings.request_timeout_ms / 1000


class _Counted:
    """As much of aiokafka's cluster metadata as an assignor looks at."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._counts = counts

    def partitions_for_topic(self, topic: str) -> range | None:
        """Return the partition numbers of a topic."""
        count = self._counts.get(topic)
        return None if count is None else range(count)


def _is_told(answer: OffsetFetchResponse) -> bool:
    return not answer.error_code and not answer.topics[0].partitions[0].error_code
