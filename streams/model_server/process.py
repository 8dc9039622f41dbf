"""The server in a process of its own, which ends with us.

with ModelServerProcess() as server:
    url = server.url("hangs")
"""

import select
import subprocess
import sys
from typing import Final, Self

from batuta.schemas.errors import LaterError

__all__ = ["ModelServerProcess"]

_START_DEADLINE_S: Final = 60.0
_STOP_DEADLINE_S: Final = 10.0


class ModelServerProcess:
    """Serves on loopback until it is left, or this process ends: its stdin is our pipe."""

    def __init__(self, delay_ms: int = 0) -> None:
        """Start it and wait until it listens.

        Args:
            delay_ms: how long each answer takes.

        Raises:
            LaterError: it did not start in time.
        """
        command = [sys.executable, "-P", "-m", "batuta.streams.model_server"]
        self._process = subprocess.Popen(  # noqa: S603 - our own arguments
            [*command, "--delay-ms", str(delay_ms)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.address = self._address()

    def url(self, behaviour: str) -> str:
        """Return the address under which it behaves so."""
        return f"{self.address}/{behaviour}"

    def stop(self) -> None:
        """End it and wait until it is gone."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        try:
            self._process.wait(_STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _address(self) -> str:
        pipe = self._process.stdout
        assert pipe is not None
        ready, _, _ = select.select([pipe], [], [], _START_DEADLINE_S)
        address = pipe.readline().decode().strip() if ready else ""
        if not address:
            self._process.kill()
            self.stop()
            raise LaterError("the model server did not start; its errors stand above")
        return address
