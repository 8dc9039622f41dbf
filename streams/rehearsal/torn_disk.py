"""A disk in memory under a broker that may be killed in the middle of any write."""

from batuta.schemas.errors import OursError
from batuta.streams.broker.disk import MemoryDisk

__all__ = ["BrokerKilledError", "TornDisk"]


class BrokerKilledError(OursError):
    """The broker's process ended here; no line of it runs any more."""


class TornDisk(MemoryDisk):
    """Files of which the last write may be torn.

    What a write returned from survives, as it survives the end of a process; of the one in
    progress survives what `arm` says.
    """

    def __init__(self) -> None:
        super().__init__()
        self._writes_left: int | None = None
        self._share = 0.0
        self._is_dead = False

    def arm(self, writes: int, share: float) -> None:
        """Let the process end inside the `writes`-th write from now, `share` of it done."""
        self._writes_left, self._share = writes, share

    def disarm(self) -> None:
        """Let no write be torn."""
        self._writes_left = None

    def end(self) -> None:
        """Let the process end now: nothing is written any more."""
        self._is_dead = True

    def found(self) -> "TornDisk":
        """What the next process finds."""
        twin = TornDisk()
        for folder, files in self._folders.items():
            for name, file in files.items():
                twin.write(f"{folder}/{name}", 0, file.read(0, file.size))
        return twin

    def write(self, path: str, position: int, data: bytes) -> None:
        """Put bytes at a place in a file.

        Raises:
            BrokerKilledError: this is the write that is torn, or one behind it.
        """
        self._check()
        if self._writes_left is not None:
            self._writes_left -= 1
            if self._writes_left <= 0:
                super().write(path, position, data[: int(len(data) * self._share)])
                self.end()
                self._check()
        super().write(path, position, data)

    def truncate(self, path: str, size: int) -> None:
        """Cut a file short."""
        self._check()
        super().truncate(path, size)

    def rename(self, path: str, target: str) -> None:
        """Put a file in another's place."""
        self._check()
        super().rename(path, target)

    def remove(self, path: str) -> None:
        """Remove a file or a folder."""
        self._check()
        super().remove(path)

    def _check(self) -> None:
        if self._is_dead:
            raise BrokerKilledError("the broker was killed")
