"""A TCP proxy that loses what tests want lost, before any Kafka broker.

It rewrites the broker's address in every answer to its own (same length, so frames stay whole);
so clients that discover brokers stay with it.
"""

import asyncio
from collections import Counter

__all__ = ["LossyProxy"]

_LIMIT_BYTES = 1 << 26


class LossyProxy:
    """Stands between clients and one broker on loopback, and loses what it is told to lose.

    Attributes:
        bootstrap: where clients find it.
        losing: the API whose answers are lost, with their connection, from the next one on.
        withholding: the API whose requests are lost likewise.
        lost: how many of either were.
        asked: how many requests of each API were carried.
        answered_bytes: how long the answers to each API's requests were, all together.
    """

    def __init__(self, bootstrap: str) -> None:
        host, port = bootstrap.rsplit(":", 1)
        self._host, self._port = host, int(port)
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.StreamWriter] = set()
        self._carrying: set[asyncio.Task[None]] = set()
        self._away = False
        self.bootstrap = ""
        self.losing: int | None = None
        self.withholding: int | None = None
        self.lost = 0
        self.asked: Counter[int] = Counter()
        self.answered_bytes: Counter[int] = Counter()

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._link, "127.0.0.1", 0, limit=_LIMIT_BYTES)
        self.bootstrap = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Drop every connection and listen no more."""
        assert self._server is not None
        self.cut()
        self._server.close()
        await self._server.wait_closed()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    def cut(self) -> None:
        """Be away: drop every connection and take no other."""
        self._away = True
        for link in list(self._links):
            link.close()

    def heal(self) -> None:
        """Lose nothing more."""
        self._away, self.losing, self.withholding = False, None, None

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            self._carrying.add(task)
            task.add_done_callback(self._carrying.discard)
        if self._away:
            writer.close()
            return
        far_reader, far_writer = await asyncio.open_connection(
            self._host, self._port, limit=_LIMIT_BYTES
        )
        self._links |= {writer, far_writer}
        asked: dict[bytes, int] = {}
        ways = [
            asyncio.create_task(self._ask(reader, far_writer, asked)),
            asyncio.create_task(self._answer(far_reader, writer, asked)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for link in (writer, far_writer):
                self._links.discard(link)
                link.close()

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: dict[bytes, int]
    ) -> None:
        while True:
            frame = await _frame(reader)
            api = asked[frame[8:12]] = int.from_bytes(frame[4:6], "big")
            if api == self.withholding:
                self.lost += 1
                return
            self.asked[api] += 1
            writer.write(frame)
            await writer.drain()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: dict[bytes, int]
    ) -> None:
        near = int(self.bootstrap.rsplit(":", 1)[1])
        here = b"127.0.0.1" + near.to_bytes(4, "big")
        there = b"127.0.0.1" + self._port.to_bytes(4, "big")
        while True:
            frame = await _frame(reader)
            api = asked.pop(frame[4:8])
            if api == self.losing:
                self.lost += 1
                return
            self.answered_bytes[api] += len(frame)
            writer.write(frame.replace(there, here))
            await writer.drain()


async def _frame(reader: asyncio.StreamReader) -> bytes:
    size = await reader.readexactly(4)
    return size + await reader.readexactly(int.from_bytes(size, "big"))
