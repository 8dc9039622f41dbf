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

from aiokafka.errors import KafkaConnectionError

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
    """The wire on which nothing goes wrong, to a broker that may be down or another by now."""

    def __init__(self, broker: Broker | None) -> None:
        self._broker = broker
        self._waiting: dict[asyncio.Future[object], None] = {}

    @property
    def broker(self) -> Broker | None:
        """The broker; None while it is down."""
        return self._broker

    def replace(self, broker: Broker | None) -> None:
        """Go on with another broker, or with none; who waits for the last one's answer gets none.

        Args:
            broker: started from what the last one left on its disk; None for one that is down.
        """
        self._broker = broker
        waiting, self._waiting = self._waiting, {}
        for answer in waiting:
            if not answer.done():
                answer.set_exception(KafkaConnectionError("the broker went down"))

    async def call(self, client: str, request: object) -> object:
        """Carry one request there and its answer back.

        Raises:
            KafkaConnectionError: the broker is down, or went down before it answered.
        """
        await asyncio.sleep(0)  # nobody gets an answer without letting others run
        if self._broker is None:
            raise KafkaConnectionError("the broker is down")
        answer = deliver(self._broker, client, request)
        if isinstance(answer, Pending):
            return await self._arrival(cast("Pending[object]", answer))
        return answer

    async def _arrival(self, answer: Pending[object]) -> object:
        arrival: asyncio.Future[object] = asyncio.get_running_loop().create_future()

        def arrive(value: object) -> None:
            if not arrival.done():
                arrival.set_result(value)

        answer.then(arrive)
        self._waiting[arrival] = None
        try:
            return await arrival
        finally:
            self._waiting.pop(arrival, None)


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
