"""The broker without its sockets: a request's bytes in, a response's chunks out, now or later."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, TypeAlias, cast

from aiokafka.protocol.types import Int32

from batuta.streams.broker.api import API_VERSIONS_KEY, APIS, Api
from batuta.streams.broker.codec import (
    NO_TAGGED_FIELDS,
    Codec,
    Int16,
    MalformedRequestError,
    NullableString,
)
from batuta.streams.broker.codec import Int32 as WireInt32
from batuta.streams.broker.codes import Code
from batuta.streams.broker.disk import MemoryDisk
from batuta.streams.broker.faults import ConnectionDroppedError, Fault, Faults
from batuta.streams.broker.housekeeping import Housekeeping
from batuta.streams.broker.journal import DiskJournal, NoJournal
from batuta.streams.broker.keeping import restore
from batuta.streams.broker.log_recovery import RecoveryReport
from batuta.streams.broker.messages_cluster import ApiVersion, ApiVersionsResponse
from batuta.streams.broker.pending import Pending
from batuta.streams.broker.refusals import refuse
from batuta.streams.broker.settings import BrokerSettings
from batuta.streams.broker.state import BrokerState, Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from batuta.streams.broker.clock import Clock
    from batuta.streams.broker.disk import Disk

__all__ = ["Answer", "Broker", "Caller", "Dropped", "KeptOn"]


@dataclass(frozen=True, slots=True)
class Dropped:
    """There is no answer: the connection is to be closed."""

    reason: str


#: The chunks of one response; None where the caller wants none.
Answer: TypeAlias = "list[bytes] | Dropped | None"


@dataclass(frozen=True, slots=True)
class Caller:
    """One connection, as the broker sees it."""

    client_host: str = "127.0.0.1"
    host: str = "127.0.0.1"
    port: int = 0


@dataclass(frozen=True, slots=True)
class KeptOn:
    """Where a broker keeps its data.

    Attributes:
        salvage: whether damage is set aside instead of stopping the start.
    """

    disk: Disk
    salvage: bool = False


@dataclass(frozen=True, slots=True)
class _Header:
    api_key: Int16
    version: Int16
    correlation_id: WireInt32
    client_id: NullableString


@dataclass(frozen=True, slots=True)
class _Ask:
    """One request that has been read."""

    api: Api
    header: _Header
    request: object
    call: Call


@dataclass(frozen=True, slots=True)
class _Nothing:
    """No fields: in a flexible version, only the tagged ones."""


_HEADER = Codec(_Header, 1, flexible=False)
_TAGS = Codec(_Nothing, 2, flexible=True)


class Broker:
    """A Kafka broker that does no I/O.

    Whoever drives it hands over whole requests and a clock; on a manual clock the same requests
    give the same history.
    """

    def __init__(
        self,
        clock: Clock,
        settings: BrokerSettings | None = None,
        faults: Faults | None = None,
        kept: KeptOn | None = None,
        new_id: Callable[[], uuid.UUID] = uuid.uuid4,
    ) -> None:
        """Start, from what is on the disk if there is one.

        Args:
            clock: where all its time comes from.
            settings: its settings.
            faults: trouble on purpose.
            kept: where it keeps its data; in memory without.
            new_id: names topics, members and the cluster.

        Raises:
            CorruptFileError: something acknowledged is damaged or missing.
            FormatError: another version wrote it.
        """
        self._clock = clock
        self.faults = faults or Faults()
        self._journal = None if kept is None else DiskJournal(kept.disk)
        self.state = BrokerState(
            clock,
            settings or BrokerSettings(),
            disk=MemoryDisk() if kept is None else kept.disk,
            journal=self._journal or NoJournal(),
            new_id=new_id,
        )
        self.report = RecoveryReport()
        if kept is not None and self._journal is not None:
            self.report = restore(self.state, self._journal, salvage=kept.salvage)
        self._housekeeping = Housekeeping(self.state, self._journal)

    def start_housekeeping(self) -> None:
        """From now on remove and compact what is due, a little at a time."""
        self._housekeeping.start()

    def close(self) -> None:
        """Note and sync everything: the next start finds nothing to repair.

        Raises:
            DiskError: the system refuses; the next start will have to repair.
        """
        self._housekeeping.stop()
        if self._journal is not None:
            for topic in self.state.topics:
                for log in topic.partitions:
                    log.checkpoint()
        self.state.disk.close()

    def handle(self, frame: bytes, caller: Caller) -> Pending[Answer]:
        """Handle one request.

        Args:
            frame: the request without its length.
            caller: where it came from.

        Returns:
            The response without its length, as chunks to be written one after the other.

        Raises:
            MalformedRequestError: these bytes are no request; the connection is to be closed.
        """
        ask = self._read(frame, caller)
        answer: Pending[Answer] = Pending()
        if isinstance(ask, list):
            answer.resolve(ask)
            return answer
        fault = self.faults.next_for(ask.api.name)
        if fault is not None and fault.delay_ms:
            self._clock.call_later(fault.delay_ms, lambda: self._answer(ask, fault, answer))
        else:
            self._answer(ask, fault, answer)
        return answer

    def _read(self, frame: bytes, caller: Caller) -> _Ask | list[bytes]:
        data = BytesIO(frame)
        header = _HEADER.decode(data)
        api = APIS.get(header.api_key)
        if api is None:
            raise MalformedRequestError(f"no API {header.api_key}")
        if not api.speaks(header.version):
            return _unsupported(api, header)
        if api.is_flexible(header.version):
            _TAGS.decode(data)
        request = api.request_codec(header.version).decode(data)
        client_id = header.client_id or ""
        call = Call(header.version, client_id, caller.client_host, caller.host, caller.port)
        return _Ask(api, header, request, call)

    def _answer(self, ask: _Ask, fault: Fault | None, answer: Pending[Answer]) -> None:
        try:
            response = self._respond(ask, fault)
        except ConnectionDroppedError as error:
            answer.resolve(Dropped(str(error)))
            return
        if isinstance(response, Pending):
            later = cast("Pending[object]", response)
            later.then(lambda value: answer.resolve(_encode(ask, value)))
        else:
            answer.resolve(None if response is None else _encode(ask, response))

    def _respond(self, ask: _Ask, fault: Fault | None) -> object:
        """Do what is asked, unless a fault is in the way."""
        if fault is None:
            return ask.api.handle(self.state, ask.request, ask.call)
        takes_effect = fault.after_handling or not (fault.drop_connection or fault.error_code)
        response = ask.api.handle(self.state, ask.request, ask.call) if takes_effect else None
        if fault.drop_connection:
            raise ConnectionDroppedError(f"an injected fault of {ask.api.name}")
        if fault.error_code:
            return refuse(ask.request, ask.api.response, fault.error_code)
        return response


def _encode(ask: _Ask, response: object) -> list[bytes]:
    version = ask.header.version
    chunks = [Int32.encode(ask.header.correlation_id)]
    if ask.api.is_flexible(version) and ask.api.key != API_VERSIONS_KEY:
        chunks.append(NO_TAGGED_FIELDS)
    ask.api.response_codec(version).write(response, chunks)
    return chunks


def _unsupported(api: Api, header: _Header) -> list[bytes]:
    """Only ApiVersions can be answered in a version the caller did not ask for."""
    if api.key != API_VERSIONS_KEY:
        raise MalformedRequestError(f"{api.name} has no version {header.version} here")
    chunks = [Int32.encode(header.correlation_id)]
    own_versions = (ApiVersion(api.key, *api.versions),)
    response = ApiVersionsResponse(Code.UNSUPPORTED_VERSION, own_versions)
    api.response_codec(0).write(response, chunks)
    return chunks
