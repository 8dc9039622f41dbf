"""The wire: one request of a client, as a protocol message, to the broker's logic and back.

Every call of the in-process log passes through one `Wire`, decoded, without socket or bytes. A
rehearsal puts its own wire before `BrokerWire` and does there what a network and a machine may do:

    async def call(self, client: str, request: object) -> object:
        await asyncio.sleep(delay_s)                        # late
        raise RequestTimedOutError                          # the request is lost
        await self.next.call(client, request)               # ... or it arrives, and the
        raise KafkaConnectionError                          #     answer is lost
        await self.next.call(client, request)               # it arrives twice
        return await self.next.call(client, request)

Whatever goes wrong is raised as a `KafkaError` that is retriable, in bounded time; what the client
does about it (try again, with the same sequence numbers, or give up) is the client's own. The
broker's alarms outlive the callers: its clock must belong to none of them.
"""

import asyncio
from typing import Final, Protocol, TypeVar, cast

from batuta.streams.broker.api import APIS, Api
from batuta.streams.broker.broker import Broker
from batuta.streams.broker.messages_cluster import MetadataRequest
from batuta.streams.broker.messages_groups import (
    HeartbeatRequest,
    JoinGroupRequest,
    LeaveGroupRequest,
    SyncGroupRequest,
)
from batuta.streams.broker.messages_offsets import OffsetFetchRequest, TxnOffsetCommitRequest
from batuta.streams.broker.messages_records import FetchRequest, ListOffsetsRequest, ProduceRequest
from batuta.streams.broker.messages_transactions import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    EndTxnRequest,
    InitProducerIdRequest,
)
from batuta.streams.broker.pending import Pending
from batuta.streams.broker.state import Call

__all__ = ["BrokerWire", "Link", "Wire", "deliver"]

R = TypeVar("R")

#: What aiokafka 0.14 speaks: a broker answers some things otherwise in other versions.
_SPOKEN: Final[dict[type[object], int]] = {
    AddOffsetsToTxnRequest: 0,
    AddPartitionsToTxnRequest: 0,
    EndTxnRequest: 0,
    FetchRequest: 11,
    HeartbeatRequest: 1,
    InitProducerIdRequest: 0,
    JoinGroupRequest: 5,
    LeaveGroupRequest: 1,
    ListOffsetsRequest: 5,
    MetadataRequest: 5,
    OffsetFetchRequest: 3,
    ProduceRequest: 8,
    SyncGroupRequest: 3,
    TxnOffsetCommitRequest: 0,
}
_BY_REQUEST: Final[dict[type[object], Api]] = {api.request: api for api in APIS.values()}


class Wire(Protocol):
    """Carries requests to the broker."""

    async def call(self, client: str, request: object) -> object:
        """Carry one request there and its answer back.

        Args:
            client: who asks: the worker's name, a slash, and the group or transactional id.
            request: a request message of `batuta.streams.broker`; it is not changed.

        Returns:
            The response message.

        Raises:
            aiokafka.errors.KafkaError: there is no answer; nobody knows what became of the request.
        """
        ...


def deliver(broker: Broker, client: str, request: object) -> object:
    """Let a broker handle one request, now.

    Returns:
        The response message, or a `Pending` of it where it is given later.
    """
    kind = type(request)
    api = _BY_REQUEST[kind]
    version = _SPOKEN.get(kind, api.versions[1])
    return api.handle(broker.state, request, Call(version, client))


class BrokerWire:
    """The wire on which nothing goes wrong."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def call(self, client: str, request: object) -> object:
        """Carry one request there and its answer back; nobody gets one before others have run."""
        await asyncio.sleep(0)
        answer = deliver(self._broker, client, request)
        if not isinstance(answer, Pending):
            return answer
        arrival: asyncio.Future[object] = asyncio.get_running_loop().create_future()

        def arrive(value: object) -> None:
            if not arrival.done():  # nobody may be waiting any more
                arrival.set_result(value)

        cast("Pending[object]", answer).then(arrive)
        return await arrival


class Link:
    """One client's end of a wire."""

    def __init__(self, wire: Wire, client: str) -> None:
        self._wire = wire
        self._client = client

    async def ask(self, request: object, answer: type[R]) -> R:
        """Ask once.

        Raises:
            aiokafka.errors.KafkaError: there is no answer.
        """
        found = await self._wire.call(self._client, request)
        assert isinstance(found, answer), f"{answer.__name__} expected, not {found!r}"
        return found
