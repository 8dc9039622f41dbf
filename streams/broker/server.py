"""The broker's sockets: framing, one request at a time per connection, answers in order."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Final

import structlog

from batuta.schemas.errors import BatutaError
from batuta.streams.broker.broker import Answer, Broker, Caller, Dropped, KeptOn
from batuta.streams.broker.clock import LoopClock
from batuta.streams.broker.disk import DiskError
from batuta.streams.broker.settings import BrokerSettings

if TYPE_CHECKING:
    from batuta.streams.broker.disk import Disk
    from batuta.streams.broker.faults import Faults

__all__ = ["BrokerServer"]

_LENGTH = struct.Struct(">i")
WRITE_BUFFER_BYTES: Final = 8 * 1024 * 1024

_log = structlog.get_logger(__name__)


class BrokerServer:
    """One broker listening on one address.

    As Apache Kafka does, it reads a connection's next request only when the last is answered.
    """

    def __init__(
        self,
        settings: BrokerSettings | None = None,
        faults: Faults | None = None,
        kept: KeptOn | None = None,
    ) -> None:
        self.settings = settings or BrokerSettings()
        self._faults, self._kept = faults, kept
        self._broker: Broker | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    @property
    def broker(self) -> Broker:
        """The broker, once it has been started."""
        assert self._broker is not None
        return self._broker

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen.

        Args:
            host: the address to bind.
            port: the port to bind; 0 picks a free one.

        Returns:
            The address to give to clients, as host:port.

        Raises:
            OSError: it cannot listen there.
            CorruptFileError: the data directory is damaged.
        """
        loop = asyncio.get_running_loop()
        self._broker = Broker(LoopClock(), self.settings, self._faults, self._kept)
        self._server = await loop.create_server(lambda: _Connection(self), host, port)
        self._broker.start_housekeeping()
        if self._kept is not None:
            self._flushing = asyncio.create_task(self._flush(self._kept.disk))
        bound_host, bound_port = self._server.sockets[0].getsockname()[:2]
        return f"{bound_host}:{bound_port}"

    async def stop(self) -> None:
        """Stop listening, close every connection, and sync what was written."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.close()
        if self._server is not None:
            await self._server.wait_closed()
        if self._flushing is not None:
            self._flushing.cancel()
            await asyncio.wait([self._flushing])
        if self._broker is not None:
            self._broker.close()

    async def _flush(self, disk: Disk) -> None:
        """Sync what was written, again and again, in a thread: requests do not wait for it."""
        while True:
            await asyncio.sleep(self.settings.flush_interval_ms / 1e3)
            try:
                await asyncio.to_thread(disk.sync_all)
            except DiskError as error:
                # From now on the disk refuses every write, and producers are told.
                _log.error("sync_failed", reason=str(error))

    def admit(self, connection: _Connection) -> bool:
        """Count a connection in, unless there are too many."""
        if len(self._connections) >= self.settings.max_connections:
            _log.warning("connection_refused", connections=len(self._connections))
            return False
        self._connections.add(connection)
        return True

    def dismiss(self, connection: _Connection) -> None:
        """Count a connection out."""
        self._connections.discard(connection)


class _Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, server: BrokerServer) -> None:
        self._server = server
        self._buffer = bytearray()
        self._busy = False
        self._draining = False
        self._transport: asyncio.Transport | None = None
        self._caller = Caller()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not self._server.admit(self):
            transport.close()
            return
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        self._caller = Caller(str(peer[0]), str(own[0]), int(own[1]))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._transport = None
        self._server.dismiss(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._proceed()

    def pause_writing(self) -> None:
        self._draining = True

    def resume_writing(self) -> None:
        self._draining = False
        self._proceed()

    def close(self) -> None:
        """Close the connection, whatever is going on."""
        if self._transport is not None:
            self._transport.close()

    def _proceed(self) -> None:
        """Handle requests while there are whole ones and nothing is in the way."""
        try:
            while not self._busy and not self._draining and self._transport is not None:
                frame = self._next_frame()
                if frame is None:
                    break
                self._handle(frame)
        except BatutaError as error:
            _log.warning("connection_closed", client=self._caller.client_host, reason=str(error))
            self.close()
        self._hold_back()

    def _next_frame(self) -> bytes | None:
        if len(self._buffer) < _LENGTH.size:
            return None
        (size,) = _LENGTH.unpack_from(self._buffer)
        if not 0 < size <= self._server.settings.max_request_bytes:
            raise _RequestSizeError(size)
        end = _LENGTH.size + size
        if len(self._buffer) < end:
            return None
        frame = bytes(memoryview(self._buffer)[_LENGTH.size : end])
        del self._buffer[:end]
        return frame

    def _handle(self, frame: bytes) -> None:
        self._busy = True
        answer = self._server.broker.handle(frame, self._caller)
        is_late = not answer.done
        answer.then(self._write)
        if is_late:
            answer.then(self._proceed_soon)

    def _proceed_soon(self, _: Answer) -> None:
        asyncio.get_running_loop().call_soon(self._proceed)

    def _write(self, answer: Answer) -> None:
        self._busy = False
        if self._transport is None or answer is None:
            return
        if isinstance(answer, Dropped):
            _log.warning("connection_dropped", reason=answer.reason)
            self.close()
            return
        size = sum(map(len, answer))
        self._transport.write(b"".join((_LENGTH.pack(size), *answer)))

    def _hold_back(self) -> None:
        """Let the network wait while we do: what we have not read cannot fill our memory."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._busy or self._draining:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()


class _RequestSizeError(BatutaError):
    """A request claims a length it may not have."""

    def __init__(self, size: int) -> None:
        super().__init__(f"a request of {size} bytes")
