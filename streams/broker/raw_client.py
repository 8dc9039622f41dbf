"""A client that hides nothing: one request, one answer, in any version; for tests of brokers."""

from __future__ import annotations

import asyncio
import struct
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, TypeVar, cast

from aiokafka.protocol.types import Int16, Int32, String, TaggedFields
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from batuta.streams.broker.api import API_VERSIONS_KEY, APIS, Api
from batuta.streams.broker.messages_groups import (
    FindCoordinatorRequest,
    FindCoordinatorResponse,
    HeartbeatRequest,
    HeartbeatResponse,
)
from batuta.streams.broker.messages_transactions import EndTxnRequest, EndTxnResponse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

__all__ = ["RawClient", "build_batch", "encode_request", "eventually"]

R = TypeVar("R")
T = TypeVar("T")

DEADLINE_S = 20.0
PAUSE_S = 0.01
NO_CODEC = 0
#: A coordinator that loads, is unknown, or is elsewhere.
NOT_YET = frozenset({14, 15, 16})

_APIS_BY_REQUEST = {api.request: api for api in APIS.values()}


class RawClient:
    """Asks one broker, over a new connection each time."""

    def __init__(self, bootstrap: str) -> None:
        host, _, port = bootstrap.rpartition(":")
        self._host, self._port = host, int(port)

    async def ask(self, request: object, answer: type[R], version: int | None = None) -> R:
        """Send one request and read its whole answer.

        Args:
            request: one of the request messages.
            answer: the class of its response.
            version: the version to speak; the newest by default.

        Raises:
            ValueError: the answer has bytes left over.
        """
        api = _APIS_BY_REQUEST[type(request)]
        assert api.response is answer
        spoken = api.versions[1] if version is None else version
        frame = await self.send(encode_request(api, request, spoken))
        return cast("R", _decode_response(api, spoken, frame))

    async def send(self, frame: bytes) -> bytes:
        """Send the bytes of one request and read those of its answer, both without length.

        Raises:
            IncompleteReadError: the broker closed the connection.
        """
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            async with asyncio.timeout(DEADLINE_S):
                writer.write(struct.pack(">i", len(frame)) + frame)
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                return await reader.readexactly(size)
        finally:
            writer.close()

    async def wait_for_coordinators(self, *names: str) -> None:
        """Wait until groups and transactional ids of these names have a working coordinator."""
        for name in names:
            await eventually(partial(self._coordinates_group, name))
            await eventually(partial(self._coordinates_transactions, name))

    async def _coordinates_group(self, name: str) -> bool:
        await self.ask(FindCoordinatorRequest(name, 0), FindCoordinatorResponse, 1)
        answer = await self.ask(HeartbeatRequest(name, 1, "nobody"), HeartbeatResponse)
        return answer.error_code not in NOT_YET

    async def _coordinates_transactions(self, name: str) -> bool:
        await self.ask(FindCoordinatorRequest(name, 1), FindCoordinatorResponse, 1)
        answer = await self.ask(EndTxnRequest(name, 0, 0, committed=True), EndTxnResponse)
        return answer.error_code not in NOT_YET


def encode_request(api: Api, request: object, version: int) -> bytes:
    """The bytes of one request, without length."""
    chunks = [Int16.encode(api.key), Int16.encode(version), Int32.encode(7)]
    chunks.append(String("utf-8").encode("raw"))
    if api.is_flexible(version):
        chunks.append(TaggedFields.encode({}))
    api.request_codec(version).write(request, chunks)
    return b"".join(chunks)


def _decode_response(api: Api, version: int, frame: bytes) -> object:
    data = BytesIO(frame)
    Int32.decode(data)
    if api.is_flexible(version) and api.key != API_VERSIONS_KEY:
        TaggedFields.decode(data)
    response = api.response_codec(version).decode(data)
    left = len(frame) - data.tell()
    if left:
        raise ValueError(f"{left} bytes left over in {api.name} v{version}")
    return response


def build_batch(  # noqa: PLR0913 - all that a producer decides
    values: Sequence[bytes | None],
    *,
    producer: tuple[int, int] = (-1, -1),
    sequence: int = -1,
    transactional: bool = False,
    first_timestamp_ms: int = 1_700_000_000_000,
    keys: Sequence[bytes | None] = (),
) -> bytes:
    """One record batch, as a producer would send it.

    Args:
        values: one record each; None for a tombstone.
        producer: producer id and epoch; -1 for none.
        sequence: the sequence number of the first record.
        transactional: whether it belongs to a transaction.
        first_timestamp_ms: of the first record; each next one is a millisecond later.
        keys: of the records; none by default.
    """
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=NO_CODEC,
        is_transactional=transactional,
        producer_id=producer[0],
        producer_epoch=producer[1],
        base_sequence=sequence,
        batch_size=1 << 30,
    )
    for index, value in enumerate(values):
        key = keys[index] if keys else None
        builder.append(index, first_timestamp_ms + index, key, value, [])
    return bytes(builder.build())


async def eventually(probe: Callable[[], Awaitable[T]], deadline_s: float = DEADLINE_S) -> T:
    """Ask again and again until the answer is true.

    Raises:
        TimeoutError: it never was.
    """
    async with asyncio.timeout(deadline_s):
        while True:
            found = await probe()
            if found:
                return found
            await asyncio.sleep(PAUSE_S)
