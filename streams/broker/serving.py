"""Serve until told to stop: what the command and the child process both run."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

import orjson
import structlog

from batuta.schemas.errors import UsageError
from batuta.streams.broker.api import APIS
from batuta.streams.broker.broker import KeptOn
from batuta.streams.broker.disk_watch import DiskWatch
from batuta.streams.broker.faults import Fault, Faults
from batuta.streams.broker.folder_disk import FolderDisk
from batuta.streams.broker.log_recovery import RecoveryReport
from batuta.streams.broker.server import BrokerServer
from batuta.streams.broker.settings import BrokerSettings

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["READY", "ServeOptions", "load_faults", "serve"]

#: The first word of the line that says where the broker listens.
READY = "ready"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How to serve.

    Attributes:
        host: the address to bind.
        port: the port to bind; 0 picks a free one.
        faults: a JSON file of faults to inject; see `load_faults`.
        until_stdin_closes: whether to stop when whoever started us is gone.
        settings: those of the broker.
        data_dir: where it keeps its data; None for nowhere.
        salvage: whether damage there is set aside instead of stopping the start.
    """

    host: str = "127.0.0.1"
    port: int = 9092
    faults: Path | None = None
    until_stdin_closes: bool = False
    settings: BrokerSettings = BrokerSettings()  # noqa: RUF009 - it is frozen
    data_dir: Path | None = None
    salvage: bool = False


def load_faults(path: Path) -> Faults:
    """Read faults from a JSON file: `{"seed": 7, "faults": [{"api": "Produce", ...}]}`.

    Raises:
        UsageError: the file is no such thing, or names an API that is not there.
    """
    try:
        document = orjson.loads(path.read_bytes())
        found = [Fault(**entry) for entry in document["faults"]]
        faults = Faults(found, int(document.get("seed", 0)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        known = ", ".join(field.name for field in fields(Fault))
        raise UsageError(f"{path}: not a file of faults ({error}); a fault has {known}") from error
    names = {api.name for api in APIS.values()}
    for fault in found:
        if fault.api not in names:
            raise UsageError(f"{path}: no API is called {fault.api!r}")
    return faults


async def serve(options: ServeOptions) -> None:
    """Serve until SIGTERM, SIGINT, or the end of stdin; prints one line when ready.

    Raises:
        UsageError: it cannot listen there, or the data directory is in use or damaged.
    """
    _log_to_stderr()
    faults = None if options.faults is None else load_faults(options.faults)
    server = BrokerServer(options.settings, faults, _kept_on(options))
    try:
        bootstrap = await server.start(options.host, options.port)
    except OSError as error:
        address = f"{options.host}:{options.port}"
        remedy = "choose another --port, or 0 for any"
        raise UsageError(f"cannot listen on {address}: {error.strerror}; {remedy}") from error
    _log_repairs(server.broker.report)
    sys.stdout.write(f"{READY} {bootstrap}\n")
    sys.stdout.flush()
    await _until_told(options)
    await server.stop()


def _kept_on(options: ServeOptions) -> KeptOn | None:
    if options.data_dir is None:
        return None
    return KeptOn(DiskWatch(FolderDisk(options.data_dir)), options.salvage)


def _log_to_stderr() -> None:
    """Keep stdout for the one line: whoever waits for it may read no further, and it would fill."""
    if not structlog.is_configured():
        structlog.configure(
            wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        )


def _log_repairs(report: RecoveryReport) -> None:
    if report != RecoveryReport():
        _log.warning("repaired_at_start", **asdict(report))


async def _until_told(options: ServeOptions) -> None:
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, told.set)
    if options.until_stdin_closes:
        await loop.connect_read_pipe(lambda: _StdinWatch(told), sys.stdin)
    await told.wait()


class _StdinWatch(asyncio.Protocol):
    """Notices that the other end of stdin is gone."""

    def __init__(self, told: asyncio.Event) -> None:
        self._told = told

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._told.set()
