from __future__ import annotations

import asyncio
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batuta.schemas.errors import UsageError
from batuta.streams.broker.api import APIS
from batuta.streams.broker.messages_cluster import ApiVersionsRequest, ApiVersionsResponse
from batuta.streams.broker.process import BrokerProcess, BrokerProcessError
from batuta.streams.broker.raw_client import RawClient, encode_request, eventually
from batuta.streams.broker.server import BrokerServer
from batuta.streams.broker.serving import load_faults
from batuta.streams.broker.settings import BrokerSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

API_VERSIONS = APIS[18]


@pytest.fixture
async def small_server() -> AsyncIterator[tuple[BrokerServer, str]]:
    """A broker that takes two connections and a thousand bytes."""
    server = BrokerServer(BrokerSettings(max_connections=2, max_request_bytes=1000))
    bootstrap = await server.start()
    yield server, bootstrap
    await server.stop()


async def connect(bootstrap: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = bootstrap.rpartition(":")
    return await asyncio.open_connection(host, int(port))


def framed(correlation_id: int) -> bytes:
    frame = encode_request(API_VERSIONS, ApiVersionsRequest(), 0)
    frame = frame[:4] + struct.pack(">i", correlation_id) + frame[8:]
    return struct.pack(">i", len(frame)) + frame


async def read_id(reader: asyncio.StreamReader) -> int:
    (size,) = struct.unpack(">i", await reader.readexactly(4))
    (correlation_id,) = struct.unpack_from(">i", await reader.readexactly(size))
    return int(correlation_id)


async def test_requests_in_one_packet_are_answered_in_order(
    small_server: tuple[BrokerServer, str],
) -> None:
    reader, writer = await connect(small_server[1])
    writer.write(b"".join(framed(number) for number in range(50)))
    assert [await read_id(reader) for _ in range(50)] == list(range(50))
    writer.close()


async def test_a_request_in_many_packets_is_answered(
    small_server: tuple[BrokerServer, str],
) -> None:
    reader, writer = await connect(small_server[1])
    for byte in framed(9):
        writer.write(bytes([byte]))
        await writer.drain()
    assert await read_id(reader) == 9
    writer.close()


@pytest.mark.parametrize("size", [-1, 0, 1001, 0x7FFFFFFF])
async def test_a_length_that_cannot_be_closes_the_connection(
    small_server: tuple[BrokerServer, str], size: int
) -> None:
    reader, writer = await connect(small_server[1])
    writer.write(struct.pack(">i", size))
    assert await reader.read() == b""
    writer.close()
    client = RawClient(small_server[1])
    assert (await client.ask(ApiVersionsRequest(), ApiVersionsResponse)).error_code == 0


async def test_one_connection_too_many_is_refused(
    small_server: tuple[BrokerServer, str],
) -> None:
    links = [await connect(small_server[1]) for _ in range(2)]
    for number, (reader, writer) in enumerate(links):
        writer.write(framed(number))
        assert await read_id(reader) == number
    reader, writer = await connect(small_server[1])
    assert await reader.read() == b""
    writer.close()
    links[0][1].close()

    async def admitted() -> bool:
        again, back = await connect(small_server[1])
        back.write(framed(3))
        try:
            return await read_id(again) == 3
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        finally:
            back.close()

    assert await eventually(admitted)
    links[1][1].close()


async def test_it_binds_loopback(small_server: tuple[BrokerServer, str]) -> None:
    assert small_server[1].startswith("127.0.0.1:")


def test_a_child_ends_by_its_pid() -> None:
    child = BrokerProcess()
    assert child.pid != os.getpid()
    child.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


def is_zombie(pid: int) -> bool:
    """Whether a process is gone but for its exit code; nobody in a container may collect it."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_a_child_ends_with_its_parent() -> None:
    script = (
        "import os; from batuta.streams.broker.process import BrokerProcess;"
        "print(BrokerProcess().pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=False
    )
    pid = int(done.stdout)

    async def gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return is_zombie(pid)

    asyncio.run(eventually(gone))


def test_a_taken_port_is_said_clearly(capfd: pytest.CaptureFixture[str]) -> None:
    with BrokerProcess() as first:
        port = int(first.bootstrap.rpartition(":")[2])
        with pytest.raises(BrokerProcessError):
            BrokerProcess(port=port)
    assert f"cannot listen on 127.0.0.1:{port}" in capfd.readouterr().err


def test_faults_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    path.write_text('{"seed": 3, "faults": [{"api": "Produce", "error_code": 19, "count": 1}]}')
    faults = load_faults(path)
    hit = faults.next_for("Produce")
    assert hit is not None
    assert hit.error_code == 19
    assert faults.next_for("Produce") is None


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"faults": [{"api": "Nonsense"}]}', '{"faults": [{"api": "Fetch", "x": 1}]}'],
)
def test_a_file_without_faults_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "faults.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"faults\.json"):
        load_faults(path)
